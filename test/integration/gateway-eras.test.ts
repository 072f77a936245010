import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { Client } from "@modelcontextprotocol/client";
import { Client as OldClient } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as OldTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { ServerEndpoint } from "../../dtma/src/docker/server-process.ts";
import type { Failure } from "../../dtma/src/gateway/messages/failure.ts";
import { type Message, readMessage } from "../../dtma/src/gateway/messages/json-rpc.ts";
import { openHttpClient } from "../../dtma/src/gateway/servers/http-upstream.ts";
import { createStatelessHttpUpstream } from "../../dtma/src/gateway/servers/stateless-http-upstream.ts";
import { freePort } from "../fixtures/free-port.ts";
import {
  connect,
  connection,
  eventsOf,
  type GatewayHost,
  openRaw,
  startGateway,
  until,
} from "../fixtures/mcp-servers/gateway-host.ts";
import { fixtureServer, startHttpFixture } from "../fixtures/mcp-servers/local-process.ts";

/*
Clients with a session in front of servers that are stateless only (MCP 2026-07-28), over both transports.
*/

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const speech = { sessions: false, stateless: true } as const;

async function gatewayFor(endpoint: ServerEndpoint, isShared = false): Promise<GatewayHost> {
  const host = await startGateway({ probe: { ...endpoint, speech, isShared } });
  host.tokens.set("one", { type: "connection", entry: connection(1) });
  closers.push(async () => {
    await host.close();
    expect(host.faults).toEqual([]);
  });
  return host;
}

async function overStdio(): Promise<GatewayHost> {
  const local = fixtureServer("eras.mjs", "--era=new");
  closers.push(async () => expect(local.alive()).toEqual([]));
  return gatewayFor(local.endpoint);
}

let server: Awaited<ReturnType<typeof startHttpFixture>>;
beforeAll(async () => {
  server = await startHttpFixture("eras.mjs", await freePort(), "--era=new");
});
afterAll(() => server.kill());

const overHttp = () => gatewayFor({ type: "http", url: server.url });

const capabilities = { sampling: {}, elicitation: { form: {}, url: {} }, roots: { listChanged: true } };
const sampled = { role: "assistant" as const, model: "none", content: { type: "text" as const, text: "sampled words" } };
const roots = { roots: [{ uri: "file:///home/ada" }] };

/** The SDK's client that answers every question. */
function answering(name = "Ada"): Client {
  const made = new Client({ name: "test", version: "1" }, { capabilities });
  made.setRequestHandler("sampling/createMessage", async () => sampled);
  made.setRequestHandler("elicitation/create", async ({ params }) =>
    params.mode === "url" ? { action: "accept" } : { action: "accept", content: { name } },
  );
  made.setRequestHandler("roots/list", async () => roots);
  return made;
}

async function client(host: GatewayHost, made = answering()): Promise<Client> {
  const { client: connected } = await connect(host, "one", made);
  closers.push(() => connected.close());
  return connected;
}

const textOf = (result: unknown): string => (result as { content: { text: string }[] }).content[0]?.text ?? "";

/** A slow answer comes as events. */
async function answerOf(response: Response): Promise<{ id: unknown; result?: unknown; error?: unknown }> {
  if (response.headers.get("content-type") === "application/json") return await response.json();
  let last = "";
  for await (const { data } of eventsOf(response)) last = data;
  return JSON.parse(last);
}

const call = (name: string, args: object = {}, id: number | string = 1, meta?: object) => ({
  jsonrpc: "2.0",
  id,
  method: "tools/call",
  params: { name, arguments: args, ...(meta === undefined ? {} : { _meta: meta }) },
});

describe.each([
  ["stdio", overStdio],
  ["HTTP", overHttp],
])("a client with a session in front of a stateless server over %s", (transport, open) => {
  test("initializes, and finds what the server offers", async () => {
    const mcp = await client(await open());
    expect(mcp.getNegotiatedProtocolVersion()).toBe("2025-11-25");
    expect(mcp.getServerVersion()).toEqual({ name: "eras", version: "1" });
    expect(mcp.getInstructions()).toBe("A server for tests.");
    expect(mcp.getServerCapabilities()).toMatchObject({ resources: { subscribe: true, listChanged: true }, logging: {} });
    await mcp.ping();
    expect((await mcp.listTools()).tools.map(({ name }) => name)).toContain("echo");
    expect((await mcp.listPrompts()).prompts).toHaveLength(1);
    expect((await mcp.readResource({ uri: "memo://one" })).contents[0]).toMatchObject({ text: expect.any(String) });
  });

  test("calls tools; the server is told who calls, and what the client can do", async () => {
    const mcp = await client(await open());
    expect(textOf(await mcp.callTool({ name: "echo", arguments: { text: "hä🙂" } }))).toBe("hä🙂");
    expect(await mcp.callTool({ name: "fails" })).toMatchObject({ isError: true });
    const seen = JSON.parse(textOf(await mcp.callTool({ name: "client" })));
    expect(seen.envelope).toEqual({
      "io.modelcontextprotocol/protocolVersion": "2026-07-28",
      "io.modelcontextprotocol/clientInfo": { name: "test", version: "1" },
      "io.modelcontextprotocol/clientCapabilities": { ...capabilities, roots: {} },
    });
    expect(Object.keys(seen.headers ?? {})).not.toContain("authorization");
  });

  test("passes progress on while a call runs", async () => {
    const mcp = await client(await open());
    const progress: number[] = [];
    await mcp.callTool(
      { name: "slow", arguments: { ms: 200, steps: 4 } },
      { onprogress: (one) => progress.push(one.progress) },
    );
    expect(progress).toEqual([1, 2, 3, 4]);
  });

  test("turns what the server asks for into requests to the client", async () => {
    const mcp = await client(await open());
    expect(JSON.parse(textOf(await mcp.callTool({ name: "ask-form" })))).toEqual({
      form: { action: "accept", content: { name: "Ada" } },
    });
    expect(JSON.parse(textOf(await mcp.callTool({ name: "ask-url" })))).toEqual({ url: { action: "accept" } });
    expect(JSON.parse(textOf(await mcp.callTool({ name: "ask-sampling" })))).toEqual({ sampling: sampled });
    expect(JSON.parse(textOf(await mcp.callTool({ name: "ask-roots" })))).toEqual({ roots });
    expect(JSON.parse(textOf(await mcp.callTool({ name: "ask-all" })))).toEqual({
      form: { action: "accept", content: { name: "Ada" } },
      sampling: sampled,
      roots,
    });
  });

  test("goes round after round, with the server's state, and without questions too", async () => {
    const mcp = await client(await open());
    expect(textOf(await mcp.callTool({ name: "ask-rounds", arguments: { rounds: 3 } }))).toBe('["Ada","Ada","Ada"]');
    expect(textOf(await mcp.callTool({ name: "ask-again", arguments: { times: 2 } }))).toBe("2");
    await expect(mcp.callTool({ name: "ask-rounds", arguments: { rounds: 30 } })).rejects.toThrow("after 20 rounds");
  });

  test("a client that refuses a question ends the call with its own error", async () => {
    const made = answering();
    made.setRequestHandler("sampling/createMessage", async () => {
      throw new Error("no model today");
    });
    const mcp = await client(await open(), made);
    await expect(mcp.callTool({ name: "ask-sampling" })).rejects.toThrow("no model today");
    await expect(mcp.callTool({ name: "ask-all" })).rejects.toThrow("no model today");
  });

  test("a client without a capability is told which one the server needs", async () => {
    const mcp = await client(await open(), new Client({ name: "plain", version: "1" }));
    await expect(mcp.callTool({ name: "ask-sampling" })).rejects.toThrow("needs a client that supports sampling");
  });

  test("a cancelled call is cancelled at the server, also while the client is asked", async () => {
    const made = answering();
    const asked = Promise.withResolvers<AbortSignal>();
    made.setRequestHandler("elicitation/create", async (_request, { mcpReq }) => {
      asked.resolve(mcpReq.signal);
      return new Promise(() => undefined);
    });
    const mcp = await client(await open(), made);
    const stop = new AbortController();
    const calling = mcp.callTool({ name: "never" }, { signal: stop.signal });
    const count = async () => Number(textOf(await mcp.callTool({ name: "cancelled-count" })));
    const before = await count();
    stop.abort();
    await expect(calling).rejects.toThrow();
    await until(async () => (await count()) === before + 1);

    const stopAsking = new AbortController();
    const asking = mcp.callTool({ name: "ask-form" }, { signal: stopAsking.signal });
    const question = await asked.promise;
    stopAsking.abort();
    await expect(asking).rejects.toThrow();
    await until(() => question.aborted);
  });

  test("a resource that was subscribed to tells of its changes, until it is unsubscribed", async () => {
    const mcp = await client(await open());
    const updates: string[] = [];
    mcp.setNotificationHandler("notifications/resources/updated", ({ params }) => void updates.push(params.uri));
    const touch = (text: string) => mcp.callTool({ name: "touch", arguments: { text } });
    await touch("before");
    await mcp.subscribeResource({ uri: "memo://one" });
    await touch("second");
    await until(() => updates.length >= 1);
    expect((await mcp.readResource({ uri: "memo://one" })).contents[0]).toMatchObject({ text: "second" });
    await mcp.subscribeResource({ uri: "memo://other" });
    const before = updates.length;
    await touch("third");
    await until(() => updates.length > before);
    await mcp.unsubscribeResource({ uri: "memo://one" });
    await mcp.unsubscribeResource({ uri: "memo://other" });
    expect(new Set(updates)).toEqual(new Set(["memo://one"]));
  });

  test("changes of the list of tools are told", async () => {
    const mcp = await client(await open());
    const changed = new Promise((resolve) => mcp.setNotificationHandler("notifications/tools/list_changed", resolve));
    await mcp.callTool({ name: "grow", arguments: { name: "grown" } });
    await changed;
    expect((await mcp.listTools()).tools.map(({ name }) => name)).toContain("grown");
  });

  test("log messages come from the level the client has set", async () => {
    const mcp = await client(await open());
    const logged: unknown[] = [];
    mcp.setNotificationHandler("notifications/message", ({ params }) => void logged.push(params.data));
    await mcp.callTool({ name: "log", arguments: { text: "one" } });
    await mcp.setLoggingLevel("info");
    await mcp.callTool({ name: "log", arguments: { text: "two" } });
    await mcp.setLoggingLevel("debug");
    await mcp.callTool({ name: "log", arguments: { text: "three" } });
    await until(() => logged.length >= 3);
    expect(logged).toEqual(["two", "three", "debug three"]);
  });

  test("arguments that the tool wants in headers are in headers", async () => {
    const mcp = await client(await open());
    const where = async (args: object) =>
      JSON.parse(textOf(await mcp.callTool({ name: "where", arguments: args as Record<string, unknown> })));
    const args = { region: "Köln ", deep: { level: 3 } };
    const expected = transport === "HTTP" ? { "mcp-param-region": "=?base64?S8O2bG4g?=", "mcp-param-level": "3" } : {};
    expect(await where(args)).toEqual({ args, headers: expected });
    await mcp.listTools();
    expect(await where({ region: "eu" })).toEqual({
      args: { region: "eu" },
      headers: transport === "HTTP" ? { "mcp-param-region": "eu" } : {},
    });
  });

  test("messages of five megabytes go through in both directions", async () => {
    const mcp = await client(await open());
    const said = "ü".repeat(2_500_000);
    expect(textOf(await mcp.callTool({ name: "echo", arguments: { text: said } }))).toBe(said);
  });

  test("ids stay the client's own, whatever they look like", async () => {
    const host = await open();
    const raw = await openRaw(host, "one");
    for (const id of [0, 1, "1", "dtma-1", -7]) {
      const answer = await answerOf(await raw.post(call("echo", { text: String(id) }, id)));
      expect([answer.id, textOf(answer.result)]).toEqual([id, String(id)]);
    }
    const answers = await Promise.all(
      Array.from({ length: 20 }, async (_, index) => answerOf(await raw.post(call("echo", { text: `t${index}` }, index)))),
    );
    expect(answers.map((answer) => [answer.id, textOf(answer.result)])).toEqual(
      answers.map((_, index) => [index, `t${index}`]),
    );
  });

  test("a client of 2024-11-05 is answered in its revision, one of 2025-03-26 may send batches", async () => {
    const host = await open();
    const oldest = await openRaw(host, "one", "2024-11-05");
    expect(textOf((await answerOf(await oldest.post(call("echo", { text: "x" })))).result)).toBe("x");
    const batching = await openRaw(host, "one", "2025-03-26");
    const seen = [];
    for await (const event of eventsOf(await batching.post([call("echo", { text: "a" }, 1), call("nothing", {}, 2)])))
      seen.push(JSON.parse(event.data).id);
    expect(seen.sort()).toEqual([1, 2]);
  });

  test("the SDK of the session era works, with all it can be asked", async () => {
    const host = await open();
    const old = new OldClient({ name: "old", version: "1" }, { capabilities });
    old.setRequestHandler(CreateMessageRequestSchema, async () => sampled);
    old.setRequestHandler(ElicitRequestSchema, async ({ params }) =>
      params.mode === "url" ? { action: "accept" } : { action: "accept", content: { name: "Grace" } },
    );
    old.setRequestHandler(ListRootsRequestSchema, async () => roots);
    await old.connect(new OldTransport(host.url, { requestInit: { headers: { authorization: "Bearer one" } } }) as never);
    closers.push(() => old.close());
    const progress: number[] = [];
    await old.callTool({ name: "slow", arguments: { ms: 100, steps: 2 } }, undefined, {
      onprogress: (one) => progress.push(one.progress),
    });
    expect(progress).toEqual([1, 2]);
    expect((await old.listTools()).tools.map(({ name }) => name)).toContain("ask-all");
    expect(JSON.parse(textOf(await old.callTool({ name: "ask-all", arguments: {} })))).toEqual({
      form: { action: "accept", content: { name: "Grace" } },
      sampling: sampled,
      roots,
    });
    expect(JSON.parse(textOf(await old.callTool({ name: "ask-url", arguments: {} })))).toEqual({ url: { action: "accept" } });
    await old.subscribeResource({ uri: "memo://one" });
    await old.setLoggingLevel("info");
  });
});

describe.each([
  ["stdio", overStdio],
  ["HTTP", overHttp],
])("a stateless client in front of a stateless server over %s", (transport, open) => {
  const stateless = async (host: GatewayHost): Promise<Client> => {
    const made = new Client({ name: "new", version: "1" }, { capabilities, versionNegotiation: { mode: "auto" } });
    made.setRequestHandler("sampling/createMessage", async () => sampled);
    made.setRequestHandler("elicitation/create", async () => ({ action: "accept", content: { name: "Ada" } }));
    made.setRequestHandler("roots/list", async () => roots);
    return client(host, made);
  };

  test("reaches it as it is", async () => {
    const mcp = await stateless(await open());
    expect(mcp.getNegotiatedProtocolVersion()).toBe("2026-07-28");
    const progress: number[] = [];
    const onprogress = ({ progress: one }: { progress: number }) => void progress.push(one);
    await mcp.callTool({ name: "slow", arguments: { ms: 200, steps: 2 } }, { onprogress });
    expect(progress).toEqual([1, 2]);
    expect(JSON.parse(textOf(await mcp.callTool({ name: "ask-all" })))).toEqual({
      form: { action: "accept", content: { name: "Ada" } },
      sampling: sampled,
      roots,
    });
  });

  test("has its arguments in the headers, and its cancellation is heard", async () => {
    const mcp = await stateless(await open());
    await mcp.listTools();
    const where = await mcp.callTool({ name: "where", arguments: { region: "Köln" } });
    const headers = transport === "HTTP" ? { "mcp-param-region": "=?base64?S8O2bG4=?=" } : {};
    expect(JSON.parse(textOf(where)).headers).toEqual(headers);
    const stop = new AbortController();
    const calling = mcp.callTool({ name: "never" }, { signal: stop.signal });
    const count = async () => Number(textOf(await mcp.callTool({ name: "cancelled-count" })));
    const before = await count();
    stop.abort();
    await expect(calling).rejects.toThrow();
    await until(async () => (await count()) === before + 1);
  });
});

test("one stateless process serves the sessions of everybody, and tells each what is its own", async () => {
  const local = fixtureServer("eras.mjs", "--era=new");
  const host = await gatewayFor(local.endpoint, true);
  host.tokens.set("two", { type: "connection", entry: connection(2) });
  const [first, second] = [await client(host, answering("Ada")), (await connect(host, "two", answering("Grace"))).client];
  closers.push(() => second.close());
  const updates: string[] = [];
  first.setNotificationHandler("notifications/resources/updated", ({ params }) => void updates.push(params.uri));
  second.setNotificationHandler("notifications/resources/updated", () => void updates.push("second"));
  await first.subscribeResource({ uri: "memo://one" });
  const names = await Promise.all([first, second].map(async (mcp) => textOf(await mcp.callTool({ name: "ask-form" }))));
  expect(names.map((one) => JSON.parse(one).form.content.name)).toEqual(["Ada", "Grace"]);
  await second.callTool({ name: "touch", arguments: { text: "changed" } });
  await until(() => updates.length > 0);
  expect([updates, local.started()]).toEqual([["memo://one"], 1]);
});

describe("the way to a stateless server over HTTP", () => {
  type Heard = { method: string | undefined; headers: IncomingHttpHeaders; body: { id?: number; method?: string } };

  async function upstreamTo(listener: (heard: Heard, response: ServerResponse) => void) {
    const heard: Heard[] = [];
    const fake = createServer(async (request, response) => {
      const body = JSON.parse((await text(request)) || "{}");
      const one = { method: request.method, headers: request.headers, body };
      heard.push(one);
      listener(one, response);
    });
    await new Promise<void>((resolve) => fake.listen(0, "127.0.0.1", resolve));
    const client = await openHttpClient();
    const told: { stream: number | undefined; text: string }[] = [];
    const unanswered: { stream: number; failure: Failure }[] = [];
    const { port } = fake.address() as AddressInfo;
    const upstream = createStatelessHttpUpstream(
      `http://127.0.0.1:${port}/mcp`,
      {
        message: (bytes, stream) => void told.push({ stream, text: bytes.toString() }) as undefined,
        unanswered: (stream, failure) => void unanswered.push({ stream, failure }),
        gone: () => undefined,
      },
      { messageBytes: 100_000, client },
    );
    closers.push(async () => {
      await upstream.end();
      await client.destroy();
      fake.closeAllConnections();
      await new Promise((resolve) => fake.close(resolve));
    });
    const send = (stream: number, params: object = {}, headers?: Record<string, string>) =>
      upstream.send([messageOf({ id: stream, method: "tools/call", params: { name: "n", ...params } })], stream, headers);
    return { upstream, heard, told, unanswered, send };
  }

  const events = { "content-type": "text/event-stream" };
  const result = (id: unknown, body: object = {}) => JSON.stringify({ jsonrpc: "2.0", id, result: body });

  test("is a POST with headers made from the message, and no other header of the client", async () => {
    const { heard, send, told, unanswered } = await upstreamTo(({ body }, response) => {
      response.writeHead(200, { "content-type": "application/json" }).end(result(body.id));
    });
    await send(1, { name: "größe" }, { "Mcp-Param-A": "b", authorization: "Bearer secret", cookie: "a=b" });
    await until(() => unanswered.length === 1);
    expect(told).toEqual([{ stream: 1, text: result(1) }]);
    expect(heard[0]?.headers).toMatchObject({
      "mcp-method": "tools/call",
      "mcp-name": "=?base64?Z3LDtsOfZQ==?=",
      "mcp-protocol-version": "2026-07-28",
      "mcp-param-a": "b",
      accept: "application/json, text/event-stream",
    });
    for (const name of ["authorization", "cookie", "mcp-session-id"]) expect(heard[0]?.headers).not.toHaveProperty(name);
  });

  test("passes an error about the request on as its answer, whatever the status, and says why there is none otherwise", async () => {
    const refusal = JSON.stringify({ jsonrpc: "2.0", id: 1, error: { code: -32020, message: "mismatch" } });
    const { send, told, unanswered } = await upstreamTo(({ body }, response) => {
      if (body.id === 1) response.writeHead(400, { "content-type": "application/json" }).end(refusal);
      else if (body.id === 2) response.writeHead(403, { "content-type": "text/html" }).end("<h1>no</h1>");
      else response.writeHead(200, { "content-type": "text/plain" }).end("hello");
    });
    for (const id of [1, 2, 3]) await send(id);
    await until(() => unanswered.length === 3);
    expect(told).toEqual([{ stream: 1, text: refusal }]);
    const failures = new Map(unanswered.map(({ stream, failure }) => [stream, failure]));
    expect(failures.get(2)).toMatchObject({ status: 502, upstreamStatus: 403 });
    expect(failures.get(3)).toMatchObject({ error: { message: "The server answered with something that is not MCP." } });
  });

  test("notices a stream that breaks off, one that ends without an answer, and a message that is too large", async () => {
    const { send, told, unanswered } = await upstreamTo(({ body }, response) => {
      response.writeHead(200, events).write('data: {"jsonrpc":"2.0","method":"notifications/message"}\n\n');
      if (body.id === 1) setTimeout(() => response.destroy(), 50);
      else if (body.id === 2) response.end();
      else response.end(`data: ${result(3, { text: "x".repeat(200_000) })}\n\n`);
    });
    for (const id of [1, 2, 3]) await send(id);
    await until(() => unanswered.length === 3);
    const said = new Map(unanswered.map(({ stream, failure }) => [stream, failure.error.message]));
    expect(said.get(1)).toBe("The connection to the server broke off.");
    expect(said.get(2)).toBe("The server closed the stream without an answer.");
    expect(said.get(3)).toContain("larger than 100000 bytes");
    expect(told.map(({ stream }) => stream).sort()).toEqual([1, 2, 3]);
  });

  test("ends the POST of a request that is cancelled, and says nothing more of it", async () => {
    let closed = 0;
    const { upstream, heard, send, told, unanswered } = await upstreamTo(({ body }, response) => {
      response.once("close", () => closed++);
      response.writeHead(200, events).flushHeaders();
      if (body.id === 2) response.end(`data: ${result(2)}\n\n`);
    });
    await send(1);
    await until(() => heard.length === 1);
    upstream.cancel?.(1);
    await until(() => closed === 1);
    await upstream.send([messageOf({ method: "notifications/cancelled", params: { requestId: 1 } })], undefined);
    await send(2);
    await until(() => unanswered.length === 1);
    expect([told.map(({ stream }) => stream), unanswered.map(({ stream }) => stream), heard.length]).toEqual([[2], [2], 2]);
  });

  test("lets go of a stream that stays open after the answer", async () => {
    let closed = 0;
    const { send, told, unanswered } = await upstreamTo(({ body }, response) => {
      response.once("close", () => closed++);
      response.writeHead(200, events).write(`data: ${result(body.id)}\n\n`);
    });
    await send(1);
    await until(() => closed === 1 && unanswered.length === 1);
    expect(told).toHaveLength(1);
  });
});

function messageOf(value: object): Message {
  const read = readMessage(Buffer.from(JSON.stringify({ jsonrpc: "2.0", ...value })));
  if (read === undefined) throw new Error("no message");
  return read;
}

test("a stateless server that was killed answers the open call, and the session is over", async () => {
  const local = fixtureServer("eras.mjs", "--era=new");
  const host = await gatewayFor(local.endpoint);
  const raw = await openRaw(host, "one");
  const calling = raw.post(call("never"));
  await until(() => host.gateway.usage()[0]?.calls === 1);
  local.killAll();
  expect(await answerOf(await calling)).toMatchObject({ id: 1, error: { data: { code: "SERVER_EXITED" } } });
  expect((await raw.post(call("pid"))).status).toBe(404);
});

test("a stateless server over HTTP that was killed answers the open call, and the session says so", async () => {
  const killed = await startHttpFixture("eras.mjs", await freePort(), "--era=new");
  closers.push(() => killed.kill());
  const host = await gatewayFor({ type: "http", url: killed.url });
  const raw = await openRaw(host, "one");
  const calling = raw.post(call("never"));
  await until(() => host.gateway.usage()[0]?.calls === 1);
  await new Promise((resolve) => setTimeout(resolve, 100));
  await killed.kill();
  expect(await answerOf(await calling)).toMatchObject({ id: 1, error: { data: { code: "SERVER_NOT_RUNNING" } } });
  const next = await raw.post(call("pid", {}, 2));
  expect(next.status).toBe(502);
  expect(await next.json()).toMatchObject({ id: 2, error: { data: { code: "SERVER_NOT_RUNNING" } } });
});
