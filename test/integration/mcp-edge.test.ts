import { randomUUID } from "node:crypto";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import {
  Client,
  discoverOAuthProtectedResourceMetadata,
  extractWWWAuthenticateParams,
  StreamableHTTPClientTransport,
  UnauthorizedError,
} from "@modelcontextprotocol/client";
import { discoverOAuthProtectedResourceMetadata as discoverWithOlder } from "@modelcontextprotocol/sdk/client/auth.js";
import { Client as OlderClient } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as OlderTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hashToken } from "../../dtma/src/token-hash.ts";
import { type Bench, createBench, type DtmaProcess } from "../fixtures/dtma.ts";

/* What the MCP endpoint tells those it does not let in. None of it needs Docker. */

const noDocker = { DOCKER_HOST: "unix:///nonexistent/docker.sock" };
let bench: Bench;
let dtma: DtmaProcess;
let origin: URL;
/** Each group has its own: an address that guessed ten tokens is slowed down. */
async function start(): Promise<void> {
  dtma = await bench.start({ env: noDocker, flags: ["--calls-per-second=1", "--allow-host=toolbox.example"] });
  origin = new URL(dtma.ready.url);
}
beforeAll(async () => {
  bench = createBench();
  await start();
});
afterAll(() => bench.close());

const pathOf = (server: string) => `/mcp/servers/${server}/mcp`;
const ping = { jsonrpc: "2.0", id: 1, method: "ping" };

async function grant(server: string, more: { expiresAt?: number; connectionId?: string; token?: string } = {}) {
  const { connectionId = randomUUID(), token = `dtma_${randomUUID()}`, ...rest } = more;
  const entry = { connectionId, server, tokenHash: hashToken(token), allowedTools: null, ...rest };
  expect((await dtma.call("PUT", `/v1/access/${connectionId}`, entry)).status).toBe(204);
  return { connectionId, token };
}

async function ask(server: string, token: string | undefined, headers: Record<string, string> = {}) {
  const response = await fetch(new URL(pathOf(server), origin), {
    method: "POST",
    headers: {
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...headers,
    },
    body: JSON.stringify(ping),
  });
  return {
    status: response.status,
    challenge: response.headers.get("www-authenticate"),
    retryAfter: response.headers.get("retry-after"),
    body: (await response.json()) as { error?: { code: unknown; data?: unknown } },
  };
}

/** One request as it is written here, over a connection of its own. */
async function raw(head: string[], body = ""): Promise<string> {
  const socket = connect(Number(origin.port), origin.hostname);
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`);
  return text(socket);
}

describe("a challenge", () => {
  it("without a token says where to read on, and accuses of nothing", async () => {
    const { status, challenge, body } = await ask("any", undefined);
    expect(status).toBe(401);
    expect(challenge).toBe(
      `Bearer realm="dtma", resource_metadata="${origin.origin}/.well-known/oauth-protected-resource${pathOf("any")}"`,
    );
    expect(body).toMatchObject({ jsonrpc: "2.0", id: null, error: { code: -32000, data: { code: "CONNECTION_REVOKED" } } });
  });

  it("for a token that is unknown, revoked or over says invalid_token, whichever it is", async () => {
    const revoked = await grant("any");
    expect((await dtma.call("DELETE", `/v1/access/${revoked.connectionId}`)).status).toBe(204);
    const over = await grant("any", { expiresAt: Date.now() - 1 });
    const answers = [await ask("any", `dtma_${randomUUID()}`), await ask("any", revoked.token), await ask("any", over.token)];
    for (const answer of answers) expect(answer).toEqual(answers[0]);
    expect(answers[0]).toMatchObject({ status: 401, challenge: expect.stringContaining('error="invalid_token"') });
  });

  it("for a token of another server says insufficient_scope, whether or not there is such a server", async () => {
    const { token } = await grant("one");
    const { status, challenge, body } = await ask("two", token);
    expect([status, challenge]).toEqual([403, expect.stringContaining('error="insufficient_scope"')]);
    expect(body).toMatchObject({ jsonrpc: "2.0", error: { data: { code: "FORBIDDEN" } } });
  });

  it("is refused the moment access ends, and taken back when it is put off", async () => {
    const { connectionId, token } = await grant("any", { expiresAt: Date.now() + 3_600_000 });
    expect((await ask("any", token)).status).not.toBe(401);
    await grant("any", { connectionId, token, expiresAt: Date.now() });
    expect((await ask("any", token)).status).toBe(401);
    await grant("any", { connectionId, token });
    expect((await ask("any", token)).status).not.toBe(401);
  });
});

describe("metadata of the resource", () => {
  const read = async (path: string) => {
    const response = await fetch(new URL(`/.well-known/oauth-protected-resource${path}`, origin));
    return { status: response.status, type: response.headers.get("content-type"), body: await response.json() };
  };

  it("is public, names the endpoint as it was called, and no authorization server", async () => {
    expect(await read(pathOf("any"))).toEqual({
      status: 200,
      type: expect.stringContaining("application/json"),
      body: {
        resource: `${origin.origin}${pathOf("any")}`,
        bearer_methods_supported: ["header"],
        resource_name: expect.any(String),
      },
    });
    expect((await read("")).body).toMatchObject({ resource: origin.origin });
  });

  it("is the same for every name, and there is none for what is no name", async () => {
    await grant("granted");
    const named = async (name: string) => JSON.stringify(await read(pathOf(name))).replaceAll(name, "NAME");
    expect(await named("granted")).toBe(await named("never-heard-of"));
    expect((await read(pathOf("No%20Name"))).status).toBe(400);
    expect((await read("/elsewhere")).status).toBe(404);
  });
});

describe("clients of the SDK", () => {
  beforeAll(start);
  const url = () => new URL(pathOf("any"), origin);

  it("understand the challenge: they find the metadata and end with an UnauthorizedError", async () => {
    const { resourceMetadataUrl, error } = extractWWWAuthenticateParams(
      await fetch(url(), { method: "POST", headers: { authorization: "Bearer wrong-token-of-somebody" } }),
    );
    expect([error, resourceMetadataUrl?.pathname]).toEqual([
      "invalid_token",
      `/.well-known/oauth-protected-resource${pathOf("any")}`,
    ]);
    const metadata = await discoverOAuthProtectedResourceMetadata(url(), { resourceMetadataUrl: resourceMetadataUrl ?? "" });
    expect(metadata.resource).toBe(url().href);
    expect((await discoverWithOlder(url())).resource).toBe(url().href);

    const authProvider = { token: async () => "wrong-token-of-somebody" };
    const client = new Client({ name: "test", version: "1" });
    await expect(client.connect(new StreamableHTTPClientTransport(url(), { authProvider }))).rejects.toBeInstanceOf(
      UnauthorizedError,
    );
  });

  it("without a way to sign in are told 401", async () => {
    const requestInit = { headers: { authorization: "Bearer wrong-token-of-somebody" } };
    const client = new Client({ name: "test", version: "1" });
    await expect(client.connect(new StreamableHTTPClientTransport(url(), { requestInit }))).rejects.toMatchObject({
      status: 401,
    });
    const older = new OlderClient({ name: "test", version: "1" });
    await expect(older.connect(new OlderTransport(url(), { requestInit }) as never)).rejects.toMatchObject({ code: 401 });
  });

  it("that can sign in elsewhere find nowhere to do so here, and give up", async () => {
    const older = new OlderClient({ name: "test", version: "1" });
    const authProvider = {
      redirectUrl: "http://localhost/callback",
      clientMetadata: { redirect_uris: ["http://localhost/callback"] },
      clientInformation: () => undefined,
      saveClientInformation() {},
      tokens: () => undefined,
      saveTokens() {},
      redirectToAuthorization() {},
      saveCodeVerifier() {},
      codeVerifier: () => "",
    };
    await expect(older.connect(new OlderTransport(url(), { authProvider }) as never)).rejects.toThrow();
  });
});

describe("a flood", () => {
  it("is answered 429 with the time to wait, in JSON-RPC, and takes nothing from another connection", async () => {
    const [one, other] = [await grant("any"), await grant("any")];
    const answers = await Promise.all(Array.from({ length: 30 }, () => ask("any", one.token)));
    const refused = answers.filter(({ status }) => status === 429);
    expect(answers.length - refused.length).toBeGreaterThanOrEqual(4);
    expect(refused.length).toBeGreaterThan(10);
    for (const { retryAfter, body } of refused) {
      expect(Number(retryAfter)).toBeGreaterThanOrEqual(1);
      expect(body).toMatchObject({ jsonrpc: "2.0", id: null, error: { data: { code: "LIMIT_REACHED" } } });
    }
    expect((await ask("any", other.token)).status).not.toBe(429);
  });
});

describe("a page that rebinds a name", () => {
  const post = `POST ${pathOf("any")} HTTP/1.1`;
  const rest = ["content-type: application/json", "content-length: 2", "connection: close"];

  it.each([
    ["a foreign name", [post, "host: evil.example", ...rest]],
    ["a foreign name and its own origin", [post, "host: evil.example", "origin: http://evil.example", ...rest]],
    ["a name that begins like a known one", [post, "host: localhost.evil.example", ...rest]],
    ["a name behind a known one", [post, "host: localhost@evil.example", ...rest]],
    ["a known name behind a foreign one", [post, "host: evil.example@localhost", ...rest]],
    ["every address", [post, "host: 0.0.0.0:30000", ...rest]],
    ["another address", [post, "host: 203.0.113.7", ...rest]],
    ["no name, as HTTP 1.0 allows", [post.replace("1.1", "1.0"), ...rest]],
    ["a foreign origin", [post, "host: localhost", "origin: https://evil.example", ...rest]],
    ["the origin of another port", [post, "host: localhost:30000", "origin: http://localhost:8080", ...rest]],
    ["an origin that hides", [post, "host: localhost", "origin: null", ...rest]],
  ])("is refused before its token is looked at: %s", async (_what, head) => {
    for (const path of [pathOf("any"), `/.well-known/oauth-protected-resource${pathOf("any")}`, "/v1/info"]) {
      const [line = "", ...headers] = head;
      const method = path === pathOf("any") ? "POST" : "GET";
      const request = [line.replace(/^POST \S+/, `${method} ${path}`), ...headers, `authorization: Bearer ${dtma.token}`];
      const answer = await raw(request, "{}");
      expect(answer).toMatch(/^HTTP\/1\.1 403 /);
      if (path === pathOf("any")) expect(answer).toMatch(/"jsonrpc":"2\.0".*"code":"FORBIDDEN"/);
      expect(answer.toLowerCase()).not.toContain("access-control-allow");
    }
  });

  it.each([
    ["two names", [post, "host: localhost", "host: evil.example", ...rest]],
    ["another name in the request line", [post.replace("/mcp", "http://evil.example/mcp"), "host: localhost", ...rest]],
  ])("gets nowhere with %s", async (_what, head) => {
    const answer = await raw([...head, "authorization: Bearer wrong-token-of-somebody"], "{}");
    expect(answer).toMatch(/^HTTP\/1\.1 4\d\d /);
    expect(answer).not.toContain("evil.example");
  });

  it.each(["localhost", "127.0.0.1:1", "[::1]:30000", "toolbox.example"])("is not who calls %s", async (host) => {
    const answer = await raw([post, `host: ${host}`, `origin: http://${host}`, ...rest], "{}");
    expect(answer).toMatch(/^HTTP\/1\.1 401 /);
    expect(answer).toContain(`resource_metadata="http://${host}/.well-known/oauth-protected-resource${pathOf("any")}"`);
  });
});
