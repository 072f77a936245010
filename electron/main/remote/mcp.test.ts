import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createPinnedHttp, type PinnedHttp } from "./http.ts";
import { createMcpSessions, type McpSessions, type McpTarget } from "./mcp.ts";

type Call = { session: string; id: number; name: string; answer(): void };

/** A small MCP server over HTTP that holds its answers to tool calls back until the test lets them go. */
function createToolServer() {
  const opened: string[] = [];
  const ended: string[] = [];
  const calls: Call[] = [];
  let waiting: (() => void)[] = [];
  let isSilent = false;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const session = String(request.headers["mcp-session-id"] ?? "");
    if (request.method === "DELETE") {
      ended.push(session);
      if (!isSilent) response.writeHead(204).end();
      return;
    }
    if (request.method === "GET") return void response.writeHead(405).end();
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const message = JSON.parse(Buffer.concat(chunks).toString()) as { id?: number; method: string; params: { name: string } };
    const reply = (result: unknown, headers = {}) => {
      response.writeHead(200, { "content-type": "application/json", ...headers });
      response.end(JSON.stringify({ jsonrpc: "2.0", id: message.id, result }));
    };
    if (message.method === "initialize") {
      opened.push(`session-${opened.length + 1}`);
      const serverInfo = { name: "held", version: "1" };
      return reply(
        { protocolVersion: "2025-06-18", capabilities: { tools: {} }, serverInfo },
        { "mcp-session-id": opened.at(-1) },
      );
    }
    if (message.id !== undefined && message.method !== "tools/call") return void response.writeHead(400).end();
    if (message.method !== "tools/call") return void response.writeHead(202).end();
    const { name } = message.params;
    calls.push({ session, id: message.id ?? 0, name, answer: () => reply({ content: [{ type: "text", text: name }] }) });
    for (const wake of waiting.splice(0)) wake();
  }

  const server: Server = createServer((request, response) => void answer(request, response));
  return {
    opened,
    ended,
    calls,
    async listen(): Promise<URL> {
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`);
    },
    /** Resolves when this many calls have arrived. */
    async arrived(count: number): Promise<void> {
      while (calls.length < count) await new Promise<void>((resolve) => waiting.push(resolve));
    },
    beSilent() {
      isSilent = true;
    },
    close() {
      waiting = [];
      server.closeAllConnections();
      return new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

let tools: ReturnType<typeof createToolServer>;
let http: PinnedHttp;
let sessions: McpSessions;
let target: McpTarget;
const signIns = { accessToken: async () => undefined, obtain: async () => false };

beforeEach(async () => {
  tools = createToolServer();
  http = createPinnedHttp(null);
  sessions = createMcpSessions({ name: "test", version: "1" }, { signIns, idleMs: 100, goodbyeMs: 100 });
  target = { endpoint: { url: await tools.listen(), fetch: http.fetch }, token: "first-token" };
});
afterEach(async () => {
  await sessions.close();
  await http.close();
  await tools.close();
});

const never = new AbortController().signal;
const call = (name: string, signal = never, to = target) =>
  sessions.callTool("connection", to, { name, arguments: {} }, { signal, onProgress: () => undefined });

const until = (condition: () => boolean) => expect.poll(condition, { timeout: 5_000 }).toBe(true);

describe("an endpoint that opens no session", () => {
  it.each([
    [401, "CONNECTION_REVOKED"],
    [403, "CONNECTION_REVOKED"],
    [404, "NOT_FOUND"],
    [409, "SERVER_NOT_RUNNING"],
    [429, "LIMIT_REACHED"],
    [503, "LIMIT_REACHED"],
    [500, "TOOLBOX_INCOMPATIBLE"],
  ])("with status %i ends the call with %s", async (status, code) => {
    const refusing = createServer((_request, response) => {
      response.writeHead(status, { "www-authenticate": 'Bearer realm="dtma"', "content-type": "application/json" });
      response.end(JSON.stringify({ jsonrpc: "2.0", id: null, error: { code: -32000, message: "No." } }));
    });
    await new Promise<void>((resolve) => refusing.listen(0, "127.0.0.1", resolve));
    const url = new URL(`http://127.0.0.1:${(refusing.address() as AddressInfo).port}/mcp`);
    try {
      await expect(call("one", never, { ...target, endpoint: { url, fetch: http.fetch } })).rejects.toMatchObject({ code });
    } finally {
      refusing.closeAllConnections();
      await new Promise((resolve) => refusing.close(resolve));
    }
  });

  it("because nobody answers there is not reachable", async () => {
    const url = new URL("http://127.0.0.1:9/mcp");
    await expect(call("one", never, { ...target, endpoint: { url, fetch: http.fetch } })).rejects.toMatchObject({
      code: "TOOLBOX_UNREACHABLE",
    });
  });
});

describe("the sessions towards MCP endpoints", () => {
  it("are one per connection, also for calls that come at the same time", async () => {
    const both = [call("one"), call("two")];
    await tools.arrived(2);
    for (const { answer } of tools.calls) answer();
    await Promise.all(both);
    expect(tools.opened).toEqual(["session-1"]);
  });

  it("are not idle while a call is under way, however long it takes", async () => {
    const long = call("long");
    await tools.arrived(1);
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(tools.ended).toEqual([]);
    tools.calls[0]?.answer();
    expect((await long).content).toEqual([{ type: "text", text: "long" }]);
    await until(() => tools.ended.length === 1);
  });

  it("let other calls end when one of them is cancelled, and then take no more", async () => {
    const stop = new AbortController();
    const [cancelled, other] = [call("cancelled", stop.signal), call("other")];
    cancelled.catch(() => undefined);
    await tools.arrived(2);
    stop.abort();
    await expect(cancelled).rejects.toMatchObject({ code: "CANCELLED" });
    const next = call("next");
    await tools.arrived(3);
    expect(tools.calls.find(({ name }) => name === "next")?.session).toBe("session-2");
    expect(tools.ended).toEqual([]);
    for (const { answer } of tools.calls) answer();
    expect((await other).content).toEqual([{ type: "text", text: "other" }]);
    await next;
    await until(() => tools.ended.includes("session-1"));
  });

  it("are new for a new token", async () => {
    const first = call("one");
    await tools.arrived(1);
    tools.calls[0]?.answer();
    await first;
    const second = call("two", never, { ...target, token: "second-token" });
    await tools.arrived(2);
    tools.calls[1]?.answer();
    await second;
    expect(tools.calls.map(({ session }) => session)).toEqual(["session-1", "session-2"]);
    await until(() => tools.ended.includes("session-1"));
  });

  it("end all at once when they are closed, also those with a call, and when nobody answers the goodbye", async () => {
    tools.beSilent();
    const open = call("open");
    open.catch(() => undefined);
    await tools.arrived(1);
    await sessions.close();
    expect(tools.ended).toEqual(["session-1"]);
    await expect(open).rejects.toThrow();
  });
});

describe("arguments that a tool wants as headers", () => {
  type Message = { method: string; params: { arguments: { region?: string } } };
  let server: Server;
  let to: McpTarget;
  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  /** A stateless endpoint with one tool; `answer` is that of the tool, undefined refuses the headers. */
  async function serve(inputSchema: () => object, answer: (message: Message, request: IncomingMessage) => object | undefined) {
    server = createServer(async (request, response) => {
      const { id, ...message } = JSON.parse(await text(request)) as Message & { id: number };
      const results: Record<string, () => object> = {
        "server/discover": () => ({ supportedVersions: ["2026-07-28"], capabilities: { tools: {} } }),
        "tools/list": () => ({ tools: [{ name: "where", inputSchema: inputSchema() }] }),
      };
      const result = results[message.method]?.() ?? answer(message, request);
      const about = { ttlMs: 0, cacheScope: "private", resultType: "complete" };
      const said = result ? { result: { ...about, ...result } } : { error: { code: -32020, message: "So not." } };
      response.writeHead(result ? 200 : 400, { "content-type": "application/json" });
      response.end(JSON.stringify({ jsonrpc: "2.0", id, ...said }));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`);
    to = { ...target, endpoint: { url, fetch: http.fetch } };
  }

  const where = async () => {
    const options = { signal: never, onProgress: () => undefined };
    return (await sessions.callTool("connection", to, { name: "where", arguments: { region: "here" } }, options)).content;
  };

  it("are sent as headers, also when the tool asks for others than it did when it was listed", async () => {
    let header = "Region";
    const refused: string[] = [];
    await serve(
      () => ({ type: "object", properties: { region: { type: "string", "x-mcp-header": header } } }),
      ({ params }, request) => {
        const got = request.headers[`mcp-param-${header.toLowerCase()}`];
        if (got === params.arguments.region) return { content: [{ type: "text", text: `${header}: ${got}` }] };
        refused.push(header);
        return undefined;
      },
    );
    await sessions.listTools("connection", to);
    expect(await where()).toEqual([{ type: "text", text: "Region: here" }]);
    expect(refused).toEqual([]);
    header = "Place";
    expect(await where()).toEqual([{ type: "text", text: "Place: here" }]);
    expect(refused).toEqual(["Place"]);
  });

  it("are no reason to call a tool twice that wants none and fails with the same code", async () => {
    let ran = 0;
    await serve(
      () => ({ type: "object" }),
      () => {
        ran += 1;
        return undefined;
      },
    );
    await expect(where()).rejects.toMatchObject({ code: "TOOL_FAILED", message: "So not." });
    expect(ran).toBe(1);
  });
});
