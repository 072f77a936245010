import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type NeededClient, proposedRedirectAddress, type WaitingSignIn } from "../../../shared/model/sign-in.ts";
import { type Gate, type GateOptions, type HandRegistered, startGate } from "../../../test/fixtures/gate.ts";
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
let clientVault: Map<string, string>;
let waiting: WaitingSignIn[][];
let needed: NeededClient[];
let lines: unknown[];
let http: PinnedHttp;
let gate: Gate;
let signIns: SignIns;
let sessions: McpSessions;
let target: McpTarget;
const closers: (() => unknown)[] = [];
/** Stands in for the person in the browser; a test may replace it. */
let visit: (url: string) => void;

const placeIn = (entries: Map<string, string>) => ({
  get: async (id: string) => entries.get(id),
  set: async (id: string, value: string) => void entries.set(id, value),
  delete: async (id: string) => void entries.delete(id),
});

function open(lifetimeMs?: number): void {
  const note = (event: string, fields?: LogFields) => void lines.push([event, fields]);
  const log = { debug: note, info: note, warn: note, error: note, close: () => undefined };
  const made = createSignIns({
    secrets: placeIn(vault),
    clientSecrets: placeIn(clientVault),
    connections: () => ["connection", "other"],
    openPage: (url) => {
      pages.push(url);
      visit(url);
    },
    onWaiting: (now) => waiting.push(now),
    onClientsNeeded: (now) => {
      needed = now;
    },
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
  [vault, clientVault, pages, waiting, needed, lines] = [new Map(), new Map(), [], [], [], []];
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
    expect(waiting).toEqual([[{ connectionId: "connection", host: new URL(gate.url).host, url: pages[0], client: null }], []]);
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
      code: "GATEWAY_REFUSED",
      message: expect.stringContaining("Only on weekdays."),
    });
    await expect(call("two")).rejects.toMatchObject({ code: "GATEWAY_REFUSED" });
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

describe("an authorization server that registers nobody", () => {
  const secret = "the-secret-of-the-client";
  let client: HandRegistered;
  beforeEach(async () => {
    client = { id: "by-hand", secret, redirectAddress: await freeAddress() };
  });
  const give = (changes: { clientId?: string; clientSecret?: string; redirectAddress?: string; vouchesForPkce?: true } = {}) =>
    signIns.giveClient({
      ...{ issuer: gate.url, clientId: client.id, redirectAddress: client.redirectAddress, vouchesForPkce: null },
      ...changes,
    });
  const host = () => new URL(gate.url).host;

  it.each([
    ["offers no registration", {}, "registers no application by itself"],
    ["refuses to register", { registers: "refuses" as const }, "did not register the control centre (status 403)"],
  ])("ends the call with what it needs where it %s, and opens no page", async (_what, options, reason) => {
    await start({ client, ...options });
    await expect(call("one")).rejects.toMatchObject({ code: "GATEWAY_REFUSED", message: expect.stringContaining(reason) });
    expect(needed).toEqual([
      {
        connectionId: "connection",
        client: {
          ...{ issuer: gate.url, clientId: null, hasSecret: false, vouchesForPkce: null },
          redirectAddress: proposedRedirectAddress,
        },
        reason: expect.stringContaining(host()),
      },
    ]);
    expect(pages).toEqual([]);
    await signIns.forget("connection");
    expect(needed).toEqual([]);
  });

  it("is signed in at with the client that somebody gave, by every connection, and is asked for no other", async () => {
    await start({ client, registers: true });
    await give({ clientSecret: secret });
    expect(await textOf(call("one"))).toBe("one");
    expect(waiting[0]?.[0]?.client).toMatchObject({ issuer: gate.url, clientId: "by-hand", hasSecret: true });
    const other = sessions.callTool("other", target, { name: "two", arguments: {} }, { signal: never, onProgress: () => {} });
    expect(await textOf(other)).toBe("two");
    expect(gate.asked).not.toContain("register");
    const asked = Object.fromEntries(new URL(pages[0] ?? "").searchParams);
    expect(asked).toMatchObject({ client_id: "by-hand", redirect_uri: client.redirectAddress, code_challenge_method: "S256" });
  });

  it("lets people of several connections sign in at the same time, by way of one address", async () => {
    await start({ client });
    await give({ clientSecret: secret });
    visit = () => undefined;
    const calls = ["a", "b"].map((id) =>
      sessions.callTool(id, target, { name: id, arguments: {} }, { signal: never, onProgress: () => {} }),
    );
    await until(() => waiting.at(-1)?.length === 2);
    for (const page of pages) await fetch(page);
    expect(await Promise.all(calls.map(textOf))).toEqual(["a", "b"]);
  });

  it("is renewed at silently as that client, also after a restart, and while another program has the port", async () => {
    await start({ client });
    await give({ clientSecret: secret });
    await call("one");
    open();
    gate.expire();
    const taken = await occupy(client.redirectAddress);
    expect(await textOf(call("two"))).toBe("two");
    expect(pages.length).toBe(1);
    await signIns.forget("connection");
    await sessions.forget("connection");
    await expect(call("three")).rejects.toMatchObject({ message: expect.stringContaining("another program has its port") });
    expect(needed[0]?.client).toMatchObject({ clientId: "by-hand", redirectAddress: client.redirectAddress });
    await taken();
    expect(await textOf(call("three"))).toBe("three");
    expect(needed).toEqual([]);
  });

  it("says that the secret is wrong, which is then corrected, while what it gave before is kept", async () => {
    await start({ client });
    await give({ clientSecret: "a wrong one" });
    await expect(call("one")).rejects.toMatchObject({
      code: "GATEWAY_REFUSED",
      message: expect.stringContaining("not its secret"),
    });
    expect(needed[0]).toMatchObject({ client: { clientId: "by-hand" }, reason: expect.stringContaining("not its secret") });
    await give({ clientSecret: secret });
    expect(needed).toEqual([]);
    expect(await textOf(call("one"))).toBe("one");
    const count = pages.length;

    gate.expire();
    client.secret = "another one by now";
    await expect(call("two")).rejects.toMatchObject({ message: expect.stringContaining("not its secret") });
    await give({ clientSecret: client.secret });
    expect(await textOf(call("two"))).toBe("two");
    expect(pages.length).toBe(count);
  });

  it.each(["unauthorized_client", "access_denied"])(
    "tells %s on the way back from what another client could help with",
    async (error) => {
      await start({ client });
      await give({ clientSecret: secret });
      visit = (url) => {
        const { searchParams } = new URL(url);
        const answer = { error, state: searchParams.get("state") ?? "", iss: gate.url };
        void fetch(`${searchParams.get("redirect_uri")}?${new URLSearchParams(answer)}`);
      };
      await expect(call("one")).rejects.toMatchObject({ code: "GATEWAY_REFUSED", message: expect.stringContaining(error) });
      expect(needed.length).toBe(error === "unauthorized_client" ? 1 : 0);
    },
  );

  it("is waited for no longer when the client is corrected, and the next call goes on with the new one", async () => {
    await start({ client });
    visit = (url) => void fetch(url).then(({ status }) => status);
    await give({ clientId: "a-typo", clientSecret: secret });
    const lost = call("one");
    lost.catch(() => undefined);
    await until(() => waiting.at(-1)?.length === 1);
    await give({ clientSecret: secret });
    await expect(lost).rejects.toMatchObject({ code: "CANCELLED" });
    expect(await textOf(call("one"))).toBe("one");
  });

  it("asks to look at the client when nobody comes back", async () => {
    await start({ client });
    open(50);
    await give({ redirectAddress: client.redirectAddress.replace("/back", "/elsewhere"), clientSecret: secret });
    await expect(call("one")).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
      message: expect.stringContaining("redirect address"),
    });
    expect(needed[0]?.client.clientId).toBe("by-hand");
  });

  it("is told of its client in full, but for the secret, until that is forgotten with what came to it", async () => {
    await start({ client });
    expect(await signIns.clientOf("connection")).toBeNull();
    await give({ clientSecret: secret });
    await call("one");
    const known = await signIns.clientOf("connection");
    expect(known).toEqual({
      ...{ issuer: gate.url, clientId: "by-hand", hasSecret: true, redirectAddress: client.redirectAddress },
      vouchesForPkce: null,
    });
    await give();
    expect(await signIns.clientOf("connection")).toEqual(known);
    for (const told of [lines, waiting, known, [...vault]]) expect(JSON.stringify(told)).not.toContain(secret);
    expect(await signIns.accessToken("connection", target.endpoint.url)).toMatch(/^access-/);

    await signIns.forgetClient(gate.url);
    expect(vault.size).toBe(0);
    expect(await signIns.clientOf("connection")).toBeNull();
    expect(await signIns.accessToken("connection", target.endpoint.url)).toBeUndefined();
    expect(clientVault.size).toBe(0);
    await expect(call("one")).rejects.toMatchObject({ message: expect.stringContaining("registers no application") });
  });

  it("never gets the secret of another client, and gives nothing to who signs in as another", async () => {
    await start({ client });
    await give({ clientSecret: secret });
    await call("one");
    await give({ clientId: "another" });
    expect([...clientVault.values()].join()).not.toContain(secret);
    expect(await signIns.accessToken("connection", target.endpoint.url)).toBeUndefined();
  });

  it("needs no secret where it gave none", async () => {
    delete client.secret;
    await start({ client });
    await give();
    expect(await textOf(call("one"))).toBe("one");
  });

  it("is trusted to do PKCE without saying so only by a person's word", async () => {
    await start({ client, saysPkce: null });
    await expect(call("one")).rejects.toMatchObject({ code: "GATEWAY_REFUSED" });
    expect(needed[0]?.client.vouchesForPkce).toBe(false);
    await give({ clientSecret: secret });
    await expect(call("one")).rejects.toMatchObject({ message: expect.stringContaining("PKCE") });
    expect(pages).toEqual([]);
    await give({ vouchesForPkce: true });
    expect(await textOf(call("one"))).toBe("one");
  });

  it("is not trusted to do PKCE where it says otherwise, whatever a person says", async () => {
    await start({ client, saysPkce: "plain" });
    await give({ clientSecret: secret, vouchesForPkce: true });
    await expect(call("one")).rejects.toMatchObject({ code: "GATEWAY_REFUSED", message: expect.stringContaining("PKCE") });
    expect([needed, pages]).toEqual([[], []]);
  });
});

/** A redirect address whose port nobody has. */
async function freeAddress(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}/back`;
}

/** Another program that listens there, until it is ended. */
async function occupy(address: string): Promise<() => Promise<unknown>> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(Number(new URL(address).port), "127.0.0.1", resolve));
  return () => new Promise((resolve) => server.close(resolve));
}

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
