import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { afterEach, describe, expect, test } from "vitest";
import { handshake } from "../../dtma/src/gateway/servers/handshake.ts";
import { freePort } from "../fixtures/free-port.ts";
import { connect, connection, type GatewayHost, openRaw, startGateway, until } from "../fixtures/mcp-servers/gateway-host.ts";
import { startSseEverything } from "../fixtures/mcp-servers/local-process.ts";

/*
Servers that have the HTTP+SSE pair of MCP 2024-11-05 and nothing newer.
*/

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const speech = { sessions: true, stateless: false, isOldSse: true } as const;
const textOf = (result: unknown): string => (result as { content: { text: string }[] }).content[0]?.text ?? "";
const call = (name: string, id: number | string = 1) => ({
  jsonrpc: "2.0",
  id,
  method: "tools/call",
  params: { name, arguments: {} },
});

async function gatewayFor(url: string, limits: Parameters<typeof startGateway>[1] = {}): Promise<GatewayHost> {
  const host = await startGateway({ probe: { type: "http", url, speech } }, limits);
  host.tokens.set("one", { type: "connection", entry: connection(1) });
  closers.push(async () => {
    await host.close();
    expect(host.faults).toEqual([]);
  });
  return host;
}

async function everything(): Promise<string> {
  const server = await startSseEverything(await freePort());
  closers.push(() => server.kill());
  return server.url;
}

type Say = (event: string, data: string) => void;
type Script = {
  /** What the first event says; undefined for none. */
  address?: string | undefined;
  /** A message came; answers with the status of its POST. */
  onMessage?(message: { id?: number; method: string }, say: Say, stream: ServerResponse): number | undefined;
};
type Raw = { url: string; requests: IncomingMessage[]; streams: Set<ServerResponse> };

/** A server by hand that initializes and lets the script do the rest. */
async function startRaw({ address = "/in?session=7", onMessage }: Script = {}): Promise<Raw> {
  const raw: Raw = { url: "", requests: [], streams: new Set() };
  const sayOn =
    (stream: ServerResponse): Say =>
    (event, data) =>
      void stream.write(`event: ${event}\ndata: ${data}\n\n`);
  const server = createServer(async (request, response) => {
    raw.requests.push(request);
    if (request.method === "GET") {
      raw.streams.add(response);
      response.once("close", () => raw.streams.delete(response));
      response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" }).flushHeaders();
      if (address !== "") sayOn(response)("endpoint", address);
      return;
    }
    const message = JSON.parse(await text(request));
    const [stream] = raw.streams;
    if (stream === undefined) return response.writeHead(404).end();
    if (message.method === "initialize") {
      const result = { protocolVersion: "2024-11-05", capabilities: {}, serverInfo: { name: "raw", version: "1" } };
      sayOn(stream)("message", JSON.stringify({ jsonrpc: "2.0", id: message.id, result }));
    }
    response.writeHead(onMessage?.(message, sayOn(stream), stream) ?? 202).end("Accepted");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(async () => {
    server.closeAllConnections();
    server.close();
  });
  raw.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/sse`;
  return raw;
}

describe("the reference server over the HTTP+SSE pair behind the endpoint", () => {
  test.each([
    ["found out", undefined],
    ["remembered", speech],
  ])("shakes hands and tells its tools, with its speech %s", async (_how, known) => {
    const endpoint = { type: "http", url: await everything(), ...(known === undefined ? {} : { speech: known }) } as const;
    const found = await handshake(endpoint, { deadlineMs: 20_000, signal: new AbortController().signal });
    expect(found.tools.map(({ name }) => name)).toContain("echo");
    expect(found.speech).toEqual(speech);
  });

  test("lists, calls, reports progress and asks, for a client with a session", async () => {
    const made = new Client({ name: "test", version: "1" }, { capabilities: { sampling: {}, elicitation: { form: {} } } });
    made.setRequestHandler("sampling/createMessage", async () => ({
      role: "assistant",
      model: "none",
      content: { type: "text", text: "sampled words" },
    }));
    made.setRequestHandler("elicitation/create", async () => ({ action: "decline" }));
    const host = await gatewayFor(await everything());
    const { client } = await connect(host, "one", made);
    closers.push(() => client.close());
    expect(textOf(await client.callTool({ name: "echo", arguments: { message: "hä🙂" } }))).toBe("Echo: hä🙂");
    const progress: number[] = [];
    const slow = { name: "trigger-long-running-operation", arguments: { duration: 1, steps: 4 } };
    await client.callTool(slow, { onprogress: (one) => progress.push(one.progress) });
    expect(progress).toEqual([1, 2, 3, 4]);
    const sampled = await client.callTool({ name: "trigger-sampling-request", arguments: { prompt: "p", maxTokens: 10 } });
    expect(textOf(sampled)).toContain("sampled words");
    expect(JSON.stringify(await client.callTool({ name: "trigger-elicitation-request", arguments: {} }))).toContain("decline");
    expect(host.gateway.usage()).toMatchObject([{ calls: 4, errors: 0 }]);
  });

  test("serves a stateless client", async () => {
    const host = await gatewayFor(await everything());
    const client = new Client({ name: "new", version: "1" }, { versionNegotiation: { mode: { pin: "2026-07-28" } } });
    closers.push(() => client.close());
    const requestInit = { headers: { authorization: "Bearer one" } };
    await client.connect(new StreamableHTTPClientTransport(host.url, { requestInit }));
    expect(textOf(await client.callTool({ name: "echo", arguments: { message: "x" } }))).toBe("Echo: x");
  });

  test("takes messages of megabytes", async () => {
    const host = await gatewayFor(await everything());
    const { client } = await connect(host, "one");
    closers.push(() => client.close());
    const message = "ü".repeat(1_000_000);
    expect(textOf(await client.callTool({ name: "echo", arguments: { message } }))).toBe(`Echo: ${message}`);
  });
});

describe("a server with the pair only", () => {
  test("gets each message where it said, and no credentials of the client", async () => {
    const server = await startRaw({
      onMessage: ({ id, method }, say) => void (method === "ping" && say("message", answer(id))),
    });
    const raw = await openRaw(await gatewayFor(server.url), "one", "2024-11-05");
    expect(await (await raw.post({ jsonrpc: "2.0", id: 5, method: "ping" })).json()).toMatchObject({ id: 5, result: {} });
    expect(server.requests.map(({ method, url }) => `${method} ${url}`)).toEqual([
      "GET /sse",
      "POST /in?session=7",
      "POST /in?session=7",
    ]);
    for (const { headers } of server.requests) {
      expect(Object.keys(headers).filter((name) => /authorization|cookie|mcp-|forwarded/.test(name))).toEqual([]);
    }
  });

  test("gets the messages of a batch one by one", async () => {
    const server = await startRaw({
      onMessage: ({ id, method }, say) => void (method === "ping" && say("message", answer(id))),
    });
    const raw = await openRaw(await gatewayFor(server.url), "one", "2024-11-05");
    const batch = [1, 2].map((id) => ({ jsonrpc: "2.0", id, method: "ping" }));
    expect(await (await raw.post(batch)).text()).toMatch(/"id":1.*"id":2/s);
  });

  test("loses its stream when the session ends", async () => {
    const server = await startRaw();
    const host = await gatewayFor(server.url);
    const raw = await openRaw(host, "one", "2024-11-05");
    expect(server.streams.size).toBe(1);
    expect((await fetch(host.url, { method: "DELETE", headers: raw.headers })).status).toBe(204);
    await until(() => server.streams.size === 0);
  });

  test("may not send the messages to another origin", async () => {
    const elsewhere = await startRaw();
    const server = await startRaw({ address: elsewhere.url });
    const host = await gatewayFor(server.url);
    await expect(connect(host, "one")).rejects.toThrow("another place than its own");
    expect(elsewhere.requests).toEqual([]);
    await until(() => server.streams.size === 0);
    expect(host.gateway.sessionCount("probe")).toBe(0);
  });

  test("that never says where to post to is given up", async () => {
    const server = await startRaw({ address: "" });
    const host = await gatewayFor(server.url, { answerMs: 300 });
    await expect(connect(host, "one")).rejects.toThrow(/did not (say in time|answer initialize)/);
    await until(() => server.streams.size === 0 && host.gateway.sessionCount("probe") === 0);
  });

  test("that refuses a message fails that call only", async () => {
    const server = await startRaw({
      onMessage({ id, method }, say) {
        if (method === "tools/call") return 500;
        if (method === "ping") say("message", answer(id));
        return undefined;
      },
    });
    const raw = await openRaw(await gatewayFor(server.url), "one", "2024-11-05");
    expect(await (await raw.post(call("any"))).json()).toMatchObject({
      id: 1,
      error: { message: "The server refused the message with HTTP status 500." },
    });
    expect((await raw.post({ jsonrpc: "2.0", id: 2, method: "ping" })).status).toBe(200);
  });

  test("that closes its stream ends the session, and answers what is open", async () => {
    const server = await startRaw({ onMessage: ({ method }, _say, stream) => void (method === "tools/call" && stream.end()) });
    const raw = await openRaw(await gatewayFor(server.url), "one", "2024-11-05");
    expect(await (await raw.post(call("any"))).json()).toMatchObject({
      id: 1,
      error: { message: "The server closed its stream." },
    });
    expect((await raw.post(call("any"))).status).toBe(404);
  });

  test("that says too much at once ends the session", async () => {
    const server = await startRaw({
      onMessage: ({ id, method }, say) => void (method === "tools/call" && say("message", answer(id, "x".repeat(100_000)))),
    });
    const raw = await openRaw(await gatewayFor(server.url, { messageBytes: 50_000 }), "one", "2024-11-05");
    expect(await (await raw.post(call("any"))).json()).toMatchObject({
      error: { message: "The server sent a message larger than 50000 bytes." },
    });
  });

  test("that is not there, or is something else, is said so", async () => {
    const nobody = await gatewayFor(`http://127.0.0.1:${await freePort()}/sse`);
    await expect(connect(nobody, "one")).rejects.toThrow("could not be reached");
    const page = createServer((_request, response) => response.writeHead(200, { "content-type": "text/html" }).end("Hello"));
    await new Promise<void>((resolve) => page.listen(0, "127.0.0.1", resolve));
    closers.push(async () => page.close());
    const host = await gatewayFor(`http://127.0.0.1:${(page.address() as AddressInfo).port}/sse`);
    await expect(connect(host, "one")).rejects.toThrow("opened no stream of events");
  });
});

function answer(id: number | undefined, filler = ""): string {
  return JSON.stringify({ jsonrpc: "2.0", id, result: filler === "" ? {} : { filler } });
}
