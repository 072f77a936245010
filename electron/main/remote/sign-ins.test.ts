import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { WaitingSignIn } from "../../../shared/model/facts.ts";
import { type Gate, type GateOptions, startGate } from "../../../test/fixtures/gate.ts";
import type { LogFields } from "../log.ts";
import { createPinnedHttp, type PinnedHttp } from "./http.ts";
import { createMcpSessions, type McpSessions, type McpTarget } from "./mcp.ts";
import { createSignIns, type SignIns } from "./sign-ins.ts";

/** The smallest server there is: every tool answers with its name. */
async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method !== "POST") return void response.writeHead(405).end();
  const { id, method, params } = (await json(request)) as { id?: number; method: string; params: { name: string } };
  const results: Record<string, unknown> = {
    initialize: { protocolVersion: "2025-06-18", capabilities: { tools: {} }, serverInfo: { name: "small", version: "1" } },
    "tools/list": { tools: [{ name: "one", inputSchema: { type: "object" } }] },
    "tools/call": { content: [{ type: "text", text: params?.name }] },
  };
  if (id === undefined) return void response.writeHead(202).end();
  const result = results[method];
  const outcome = result === undefined ? { error: { code: -32601, message: "none" } } : { result };
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ jsonrpc: "2.0", id, ...outcome }));
}

const token = "the-token-of-the-connection";
const never = new AbortController().signal;
let vault: Map<string, string>;
let pages: string[];
let waiting: WaitingSignIn[][];
let lines: unknown[];
let http: PinnedHttp;
let gate: Gate;
let signIns: SignIns;
let sessions: McpSessions;
let target: McpTarget;
const closers: (() => unknown)[] = [];
/** Stands in for the person in the browser; a test may replace it. */
let visit: (url: string) => void;

function open(lifetimeMs?: number): void {
  const note = (event: string, fields?: LogFields) => void lines.push([event, fields]);
  const log = { debug: note, info: note, warn: note, error: note, close: () => undefined };
  const made = createSignIns({
    secrets: {
      get: async (id) => vault.get(id),
      set: async (id, value) => void vault.set(id, value),
      delete: async (id) => void vault.delete(id),
    },
    openPage: (url) => {
      pages.push(url);
      visit(url);
    },
    onWaiting: (now) => waiting.push(now),
    log,
    ...(lifetimeMs === undefined ? {} : { lifetimeMs }),
  });
  const opened = createMcpSessions({ name: "test", version: "1" }, { signIns: made, goodbyeMs: 100 });
  closers.push(() => made.close(), opened.close);
  [signIns, sessions] = [made, opened];
}

async function start(options: Partial<GateOptions> = {}): Promise<void> {
  gate = await startGate({ forward: (...both) => void serve(...both), guards: (path) => path === "/mcp", ...options });
  closers.push(gate.close);
  target = { endpoint: { url: new URL("/mcp", gate.url), fetch: http.fetch }, token };
}

beforeEach(() => {
  [vault, pages, waiting, lines] = [new Map(), [], [], []];
  visit = (url) => void fetch(url);
  http = createPinnedHttp(null);
  closers.push(http.close);
  open();
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const call = (name: string, signal = never) =>
  sessions.callTool("connection", target, { name, arguments: {} }, { signal, onProgress: () => undefined });
const textOf = async (answer: ReturnType<typeof call>) => (await answer).content[0]?.text;
const until = (condition: () => boolean) => expect.poll(condition, { timeout: 5_000 }).toBe(true);

describe("a gate in front of an MCP endpoint", () => {
  it("is passed by signing in once, for calls that come at the same time and for those that come later", async () => {
    await start();
    expect(await Promise.all([textOf(call("one")), textOf(call("two")), textOf(call("three"))])).toEqual([
      "one",
      "two",
      "three",
    ]);
    expect(await textOf(call("four"))).toBe("four");
    expect(pages.length).toBe(1);
    const asked = Object.fromEntries(new URL(pages[0] ?? "").searchParams);
    expect(asked).toMatchObject({ code_challenge_method: "S256", resource: `${gate.url}/mcp` });
    expect(new URL(asked.redirect_uri ?? "")).toMatchObject({ protocol: "http:", hostname: "127.0.0.1" });
    expect(gate.asked).toEqual(["register", "authorize", "token authorization_code"]);
  });

  it("sees the connection's token in its own header only, and a bearer token of its own or none", async () => {
    await start();
    await call("one");
    for (const { authorization } of gate.refused) expect(authorization).toBeUndefined();
    for (const headers of gate.passed) {
      expect(headers["dtma-connection-token"]).toBe(token);
      expect(headers.authorization).toMatch(/^Bearer access-/);
    }
  });

  it("is told of to the window while somebody is waited for, and nothing of it is in the log but where", async () => {
    await start();
    await call("one");
    expect(waiting).toEqual([[{ connectionId: "connection", host: new URL(gate.url).host, url: pages[0] }], []]);
    const written = JSON.stringify(lines);
    expect(written).toContain("sign-in.opened");
    expect(written).not.toMatch(/access-|refresh-|code_challenge|the-token/);
  });

  it("is passed without anybody when the access token has ended, also after a restart", async () => {
    await start();
    await call("one");
    gate.expire();
    expect(await textOf(call("two"))).toBe("two");
    open();
    gate.expire();
    expect(await textOf(call("three"))).toBe("three");
    expect(pages.length).toBe(1);
    expect(gate.asked.slice(3)).toEqual(["token refresh_token", "token refresh_token"]);
  });

  it("asks again, as the same client, when there is nothing to renew the access token with", async () => {
    await start({ refreshes: false });
    await call("one");
    gate.expire();
    expect(await textOf(call("two"))).toBe("two");
    expect(pages.length).toBe(2);
    expect(gate.asked.filter((what) => what === "register").length).toBe(1);
  });

  it("ends the call with its own reason when it lets nobody in, and the next call asks again", async () => {
    await start({ refusal: "Only on weekdays." });
    await expect(call("one")).rejects.toMatchObject({
      code: "SIGN_IN_REFUSED",
      message: expect.stringContaining("Only on weekdays."),
    });
    await expect(call("two")).rejects.toMatchObject({ code: "SIGN_IN_REFUSED" });
    expect(pages.length).toBe(2);
    expect(waiting.at(-1)).toEqual([]);
  });

  it("is left alone when a person cancels, which ends every call that waits, and the way back", async () => {
    await start();
    visit = () => undefined;
    const both = [call("one"), call("two")];
    for (const each of both) each.catch(() => undefined);
    await until(() => waiting.at(-1)?.length === 1);
    signIns.cancel("connection");
    for (const each of both) await expect(each).rejects.toMatchObject({ code: "CANCELLED" });
    expect(waiting.at(-1)).toEqual([]);
    const back = new URL(pages[0] ?? "").searchParams.get("redirect_uri") ?? "";
    await expect(fetch(back)).rejects.toThrow();
  });

  it("is waited for as long as one call does", async () => {
    await start();
    let letIn = () => {};
    visit = (url) => {
      letIn = () => void fetch(url);
    };
    const [stop, stopLast] = [new AbortController(), new AbortController()];
    const [left, stays] = [call("left", stop.signal), call("stays", stopLast.signal)];
    await until(() => waiting.at(-1)?.length === 1);
    stop.abort();
    await expect(left).rejects.toMatchObject({ code: "CANCELLED" });
    expect(waiting.at(-1)?.length).toBe(1);
    letIn();
    expect(await textOf(stays)).toBe("stays");

    await signIns.forget("connection");
    await sessions.forget("connection");
    const last = call("last", stopLast.signal);
    await until(() => waiting.at(-1)?.length === 1);
    stopLast.abort();
    await expect(last).rejects.toMatchObject({ code: "CANCELLED" });
    await until(() => waiting.at(-1)?.length === 0);
  });

  it("is not waited for for ever", async () => {
    await start();
    visit = () => undefined;
    open(50);
    await expect(call("one")).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED", message: expect.stringContaining("browser") });
  });

  it("keeps what it gave to one address and one connection, until that is forgotten", async () => {
    await start();
    await call("one");
    expect([...vault.keys()]).toEqual(["connection"]);
    expect(await signIns.accessToken("connection", target.endpoint.url)).toMatch(/^access-/);
    expect(await signIns.accessToken("another", target.endpoint.url)).toBeUndefined();
    await signIns.forget("connection");
    expect(vault.size).toBe(0);
    expect(await signIns.accessToken("connection", target.endpoint.url)).toBeUndefined();
    await sessions.forget("connection");
    await call("two");
    expect(await signIns.accessToken("connection", new URL("/elsewhere", gate.url))).toBeUndefined();
    expect(vault.size).toBe(0);
  });
});

describe("an endpoint that only refuses", () => {
  it.each([
    ["a DTMA, whatever metadata is shown in front of it", 'Bearer realm="dtma", error="invalid_token"', true],
    ["whoever names nobody to sign in at", "Bearer", false],
  ])("is not signed in at: %s", async (_what, challenge, namesServer) => {
    const paths: string[] = [];
    const server = createServer(({ url }, response) => {
      paths.push(url ?? "");
      if (url === "/mcp") return void response.writeHead(401, { "www-authenticate": challenge }).end();
      const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const metadata = { resource: `${origin}/mcp`, ...(namesServer ? { authorization_servers: [origin] } : {}) };
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(metadata));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    closers.push(
      () => server.closeAllConnections(),
      () => new Promise((resolve) => server.close(resolve)),
    );
    const { port } = server.address() as AddressInfo;
    target = { endpoint: { url: new URL(`http://127.0.0.1:${port}/mcp`), fetch: http.fetch }, token };
    await expect(call("one")).rejects.toMatchObject({ code: "CONNECTION_REVOKED" });
    expect(pages).toEqual([]);
    expect(new Set(paths)).toEqual(new Set(namesServer ? ["/mcp"] : ["/mcp", "/.well-known/oauth-protected-resource/mcp"]));
  });
});
