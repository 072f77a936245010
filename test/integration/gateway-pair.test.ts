import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ToolListChangedNotificationSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { afterEach, describe, expect, test } from "vitest";
import { createSseDecoder, type SseEvent } from "../../dtma/src/gateway/messages/sse.ts";
import { AppError } from "../../shared/errors.ts";
import { freePort } from "../fixtures/free-port.ts";
import { connection, type GatewayHost, openRaw, startGateway, until } from "../fixtures/mcp-servers/gateway-host.ts";
import {
  everythingServer,
  fixtureServer,
  type LocalServer,
  startHttpEverything,
  startHttpFixture,
} from "../fixtures/mcp-servers/local-process.ts";

/*
The HTTP+SSE pair of MCP 2024-11-05 towards clients.
*/

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

type Endpoint = Parameters<typeof startGateway>[0][string];

async function gatewayFor(endpoint: Endpoint, limits: Parameters<typeof startGateway>[1] = {}): Promise<GatewayHost> {
  const host = await startGateway({ probe: endpoint, other: endpoint }, limits);
  host.tokens.set("one", { type: "connection", entry: connection(1) });
  host.tokens.set("two", { type: "connection", entry: connection(2) });
  closers.push(async () => {
    await host.close();
    expect(host.faults).toEqual([]);
  });
  return host;
}

async function gatewayForProcesses(local: LocalServer, limits: Parameters<typeof startGateway>[1] = {}): Promise<GatewayHost> {
  closers.push(async () => expect(local.alive()).toEqual([]));
  return gatewayFor(local.endpoint, limits);
}

const placeOf = (host: GatewayHost, place: "sse" | "mcp" | "message") => new URL(place, host.url);
const textOf = (result: unknown): string => (result as { content: { text: string }[] }).content[0]?.text ?? "";

/** The client of the SDK's first generation. */
async function connectOld(host: GatewayHost, place: "sse" | "mcp" = "sse", made?: Client): Promise<Client> {
  const client = made ?? new Client({ name: "old", version: "1" });
  const headers = { authorization: "Bearer one" };
  const fetchWithToken: typeof fetch = (url, init) =>
    fetch(url, { ...init, headers: { ...Object.fromEntries(new Headers(init?.headers)), ...headers } });
  await client.connect(
    new SSEClientTransport(placeOf(host, place), {
      requestInit: { headers },
      eventSourceInit: { fetch: fetchWithToken as never },
    }),
  );
  closers.push(() => client.close());
  return client;
}

type RawPair = {
  address: string;
  events: AsyncGenerator<SseEvent>;
  post(body: unknown, token?: string): Promise<Response>;
  next(): Promise<{ id?: unknown; method?: string; result?: unknown; error?: { message: string; data?: unknown } }>;
  leave(): void;
};

/** A pair by hand, with nothing sent yet. */
async function openPair(host: GatewayHost, place: "sse" | "mcp" = "sse"): Promise<RawPair> {
  const gone = new AbortController();
  const headers = { authorization: "Bearer one", accept: "text/event-stream" };
  const response = await fetch(placeOf(host, place), { headers, signal: gone.signal });
  expect([response.status, response.headers.get("content-type")]).toEqual([200, "text/event-stream"]);
  const events = read(response);
  const first = (await events.next()).value as SseEvent;
  expect(first.event).toBe("endpoint");
  const address = first.data.toString();
  closers.push(async () => gone.abort());
  return {
    address,
    events,
    post: (body, token = "one") =>
      fetch(new URL(address, host.url), {
        method: "POST",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        body: typeof body === "string" ? body : JSON.stringify(body),
      }),
    async next() {
      const { value, done } = await events.next();
      if (done) throw new Error("The stream is over.");
      expect([value.event, value.id]).toEqual(["message", undefined]);
      return JSON.parse(value.data.toString());
    },
    leave: () => gone.abort(),
  };
}

async function* read(response: Response): AsyncGenerator<SseEvent> {
  const decoder = createSseDecoder(16_777_216);
  for await (const chunk of response.body ?? []) yield* decoder.push(Buffer.from(chunk));
}

const initialize = (protocolVersion = "2024-11-05") => ({
  jsonrpc: "2.0",
  id: "init",
  method: "initialize",
  params: { protocolVersion, capabilities: {}, clientInfo: { name: "raw", version: "1" } },
});
const call = (name: string, id: number | string = 1, more: object = {}) => ({
  jsonrpc: "2.0",
  id,
  method: "tools/call",
  params: { name, arguments: {}, ...more },
});

/** A pair that has been initialized. */
async function openSession(host: GatewayHost, protocolVersion = "2024-11-05"): Promise<RawPair> {
  const pair = await openPair(host);
  expect((await pair.post(initialize(protocolVersion))).status).toBe(202);
  expect(await pair.next()).toMatchObject({ id: "init", result: { protocolVersion } });
  return pair;
}

describe.each(["stdio", "HTTP"] as const)(
  "a client of the HTTP+SSE pair in front of the reference server over %s",
  (transport) => {
    async function gateway(): Promise<GatewayHost> {
      if (transport === "stdio") return gatewayForProcesses(everythingServer());
      const server = await startHttpEverything(await freePort());
      closers.push(() => server.kill());
      return gatewayFor({ type: "http", url: server.url });
    }

    test.each(["sse", "mcp"] as const)("lists and calls, pointed at …/%s", async (place) => {
      const client = await connectOld(await gateway(), place);
      expect((await client.listTools()).tools.map(({ name }) => name)).toContain("echo");
      expect(textOf(await client.callTool({ name: "echo", arguments: { message: "hä🙂" } }))).toBe("Echo: hä🙂");
      expect((await client.listResources()).resources.length).toBeGreaterThan(0);
      expect((await client.listPrompts()).prompts.length).toBeGreaterThan(0);
    });

    test("gets progress, log messages and questions", async () => {
      const made = new Client({ name: "old", version: "1" }, { capabilities: { sampling: {}, elicitation: {} } });
      made.setRequestHandler(CreateMessageRequestSchema, () => ({
        role: "assistant",
        model: "none",
        content: { type: "text", text: "sampled words" },
      }));
      made.setRequestHandler(ElicitRequestSchema, () => ({ action: "decline" }));
      const client = await connectOld(await gateway(), "sse", made);
      const progress: number[] = [];
      const slow = { name: "trigger-long-running-operation", arguments: { duration: 1, steps: 4 } };
      await client.callTool(slow, undefined, { onprogress: (one) => progress.push(one.progress) });
      // This generation of the SDK forgets the call's progress when the answer comes in the same chunk as the last of it.
      expect(progress.slice(0, 3)).toEqual([1, 2, 3]);
      const sampled = await client.callTool({ name: "trigger-sampling-request", arguments: { prompt: "p", maxTokens: 10 } });
      expect(textOf(sampled)).toContain("sampled words");
      const elicited = await client.callTool({ name: "trigger-elicitation-request", arguments: {} });
      expect(JSON.stringify(elicited)).toContain("decline");
      await client.setLoggingLevel("debug");
      await client.callTool({ name: "toggle-simulated-logging", arguments: {} });
    });
  },
);

describe("the pair", () => {
  test("is told where to post in its first event, and gets every answer as an event", async () => {
    const host = await gatewayForProcesses(fixtureServer("probe.mjs"));
    const pair = await openSession(host);
    expect(pair.address).toMatch(/^\/mcp\/servers\/probe\/message\?sessionId=[0-9a-f-]{36}$/);
    const posted = await pair.post({ ...call("progress"), params: { name: "progress", _meta: { progressToken: "p" } } });
    expect([posted.status, await posted.text()]).toEqual([202, ""]);
    expect(
      [await pair.next(), await pair.next(), await pair.next(), await pair.next()].map((one) => one.method ?? one.id),
    ).toEqual(["notifications/progress", "notifications/progress", "notifications/progress", 1]);
    expect(host.gateway.usage()).toMatchObject([{ calls: 1, errors: 0 }]);
  });

  test("answers each of several open calls", async () => {
    const pair = await openSession(await gatewayForProcesses(fixtureServer("probe.mjs")));
    await pair.post(call("slow", 1, { arguments: { ms: 200 } }));
    await pair.post(call("pid", 2));
    await pair.post({ jsonrpc: "2.0", id: 3, method: "ping" });
    expect([await pair.next(), await pair.next(), await pair.next()].map(({ id }) => id)).toEqual([2, 3, 1]);
  });

  test("takes batches where the revision has them", async () => {
    const host = await gatewayForProcesses(fixtureServer("probe.mjs"));
    const old = await openSession(host);
    expect((await old.post([call("pid", 1), call("raw", 2)])).status).toBe(202);
    expect([(await old.next()).id, (await old.next()).id]).toEqual([1, 2]);
    const recent = await openSession(host, "2025-11-25");
    expect((await recent.post([call("pid", 1)])).status).toBe(400);
  });

  test("carries messages of five megabytes in both directions", async () => {
    const pair = await openSession(await gatewayForProcesses(fixtureServer("probe.mjs")));
    await pair.post(call("big", 1, { arguments: { bytes: 5_000_000 } }));
    expect(textOf((await pair.next()).result).length).toBe(5_000_000);
    await pair.post(call("length", 2, { arguments: { text: "ü".repeat(2_500_000) } }));
    expect(textOf((await pair.next()).result)).toBe("2500000");
  });

  test("is as long as its stream: a client that leaves takes its process along", async () => {
    const local = fixtureServer("probe.mjs");
    const host = await gatewayForProcesses(local);
    const pair = await openSession(host);
    await pair.post(call("never"));
    pair.leave();
    await until(() => local.alive().length === 0);
    expect(host.gateway.sessionCount("probe")).toBe(0);
    expect((await pair.post(call("pid", 2))).status).toBe(404);
  });

  test("has no process before it is initialized, and ends when it never is", async () => {
    const local = fixtureServer("probe.mjs");
    const host = await gatewayForProcesses(local, { idleMs: 200 });
    const pair = await openPair(host);
    expect((await pair.post({ jsonrpc: "2.0", id: 1, method: "ping" })).status).toBe(400);
    expect(host.gateway.sessionCount("probe")).toBe(1);
    expect((await pair.events.next()).done).toBe(true);
    expect([host.gateway.sessionCount("probe"), local.started()]).toEqual([0, 0]);
  });

  test("is initialized once, by a request", async () => {
    const host = await gatewayForProcesses(fixtureServer("probe.mjs"));
    const fresh = await openPair(host);
    expect((await fresh.post([initialize()])).status).toBe(400);
    const pair = await openSession(host);
    expect((await pair.post(initialize())).status).toBe(400);
  });

  test("belongs to its caller, its server and its transport", async () => {
    const host = await gatewayForProcesses(fixtureServer("probe.mjs"));
    const pair = await openSession(host);
    expect((await pair.post(call("pid"), "two")).status).toBe(404);
    expect((await pair.post(call("pid"), "wrong")).status).toBe(401);
    const body = JSON.stringify(call("pid"));
    const post = (path: string, headers: object = {}) =>
      fetch(new URL(path, host.url), { method: "POST", headers: { ...host.headers("one"), ...headers }, body });
    expect((await post(pair.address.replace("probe", "other"))).status).toBe(404);
    const id = pair.address.split("=")[1] ?? "";
    expect((await post("mcp", { "mcp-session-id": id })).status).toBe(404);
    expect((await post("message", { "mcp-session-id": id })).status).toBe(400);
    const session = await openRaw(host, "one");
    expect((await post(`message?sessionId=${session.id}`)).status).toBe(404);
    expect((await fetch(placeOf(host, "sse"), { headers: { accept: "text/event-stream" } })).status).toBe(401);
    expect((await fetch(placeOf(host, "mcp"), { headers: { ...session.headers, "mcp-session-id": id } })).status).toBe(404);
  });

  test("has one method at each address", async () => {
    const host = await gatewayForProcesses(fixtureServer("probe.mjs"));
    const answers = [];
    for (const [method, place] of [
      ["POST", "sse"],
      ["DELETE", "sse"],
      ["GET", "message"],
    ] as const) {
      const init = {
        method,
        headers: host.headers("one"),
        ...(method === "POST" ? { body: JSON.stringify(initialize()) } : {}),
      };
      const response = await fetch(placeOf(host, place), init);
      answers.push([response.status, response.headers.get("allow")]);
    }
    expect(answers).toEqual([
      [405, "GET"],
      [405, "GET"],
      [405, "POST"],
    ]);
    const headers = { ...host.headers("one"), "mcp-protocol-version": "2025-11-25" };
    expect((await fetch(host.url, { headers })).status).toBe(400);
    expect(host.gateway.sessionCount("probe")).toBe(0);
  });

  test("refuses what is not MCP, and what a web page of another origin sends", async () => {
    const host = await gatewayForProcesses(fixtureServer("probe.mjs"), { messageBytes: 100_000 });
    const pair = await openSession(host);
    expect((await pair.post('{"jsonrpc":"2.0",')).status).toBe(400);
    expect((await pair.post(call("length", 1, { arguments: { text: "x".repeat(100_000) } }))).status).toBe(413);
    const headers = { ...host.headers("one"), origin: "https://elsewhere.example" };
    expect((await fetch(placeOf(host, "sse"), { headers })).status).toBe(403);
    expect((await fetch(new URL(pair.address, host.url), { method: "POST", headers, body: "{}" })).status).toBe(403);
    await pair.post(call("pid", 5));
    await pair.post(call("pid", 5)).then(async ({ status }) => expect([202, 400]).toContain(status));
    expect((await pair.next()).id).toBe(5);
  });

  test("counts in the caps of its connection", async () => {
    const host = await gatewayForProcesses(fixtureServer("probe.mjs"), { sessionsPerConnection: 1 });
    const pair = await openPair(host);
    const second = await fetch(placeOf(host, "sse"), { headers: host.headers("one") });
    expect([second.status, second.headers.get("retry-after")]).toEqual([503, "5"]);
    pair.leave();
    await until(() => host.gateway.sessionCount("probe") === 0);
    expect((await openSession(host)).address).not.toBe(pair.address);
  });

  test("is not opened to a server that is not there or does not run", async () => {
    const host = await gatewayFor(new AppError("SERVER_NOT_RUNNING"));
    const statuses = [];
    for (const url of [placeOf(host, "sse"), placeOf(host, "mcp"), new URL("../nobody/sse", host.url)]) {
      const response = await fetch(url, { headers: host.headers("one") });
      statuses.push([response.status, (await response.json()).error.data.code]);
    }
    expect(statuses).toEqual([
      [503, "SERVER_NOT_RUNNING"],
      [503, "SERVER_NOT_RUNNING"],
      [404, "NOT_FOUND"],
    ]);
    expect(host.gateway.sessionCount("nobody")).toBe(0);
  });

  test("obeys the allow-list, also when it changes", async () => {
    const host = await gatewayForProcesses(fixtureServer("probe.mjs"));
    const entry = connection(1, ["raw"]);
    host.tokens.set("one", { type: "connection", entry });
    const client = await connectOld(host);
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(["raw"]);
    await expect(client.callTool({ name: "secret" })).rejects.toThrow('not allowed to use the tool "secret"');
    const told = new Promise<void>((resolve) =>
      client.setNotificationHandler(ToolListChangedNotificationSchema, () => resolve()),
    );
    await host.gateway.accessChanged(entry.connectionId, { ...entry, allowedTools: ["secret"] });
    await told;
    expect(textOf(await client.callTool({ name: "secret" }))).toBe("the secret tool ran");
    await expect(client.callTool({ name: "raw" })).rejects.toThrow("not allowed");
    expect(host.gateway.usage()).toMatchObject([{ calls: 3, errors: 2 }]);
  });

  test("a revocation answers what is open and ends the stream", async () => {
    const local = fixtureServer("probe.mjs");
    const host = await gatewayForProcesses(local);
    const pair = await openSession(host);
    await pair.post(call("never"));
    await host.gateway.accessChanged(connection(1).connectionId, undefined);
    expect(await pair.next()).toMatchObject({ id: 1, error: { data: { code: "CONNECTION_REVOKED" } } });
    expect((await pair.events.next()).done).toBe(true);
    expect(local.alive()).toEqual([]);
  });

  test("a process that dies answers what is open and ends the stream", async () => {
    const local = fixtureServer("probe.mjs");
    const pair = await openSession(await gatewayForProcesses(local));
    await pair.post(call("never"));
    local.killAll();
    expect(await pair.next()).toMatchObject({ id: 1, error: { data: { code: "SERVER_EXITED" } } });
    expect((await pair.events.next()).done).toBe(true);
  });

  test("a server that does not start is an answer on the stream", async () => {
    const pair = await openPair(await gatewayForProcesses(fixtureServer("exits-at-once.mjs")));
    expect((await pair.post(initialize())).status).toBe(202);
    expect(await pair.next()).toMatchObject({ id: "init", error: { message: expect.stringContaining("exit code 3") } });
    expect((await pair.events.next()).done).toBe(true);
  });

  test("a server over HTTP that goes away fails the call that was open, and no other", async () => {
    const server = await startHttpFixture("probe-http.mjs", await freePort());
    closers.push(() => server.kill());
    const pair = await openSession(await gatewayFor({ type: "http", url: server.url }));
    await pair.post(call("never", 1));
    await pair.post(call("pid", 2));
    expect((await pair.next()).id).toBe(2);
    await server.kill();
    expect(await pair.next()).toMatchObject({ id: 1, error: { message: expect.any(String) } });
  });
});
