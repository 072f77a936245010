import { Client, ProtocolError } from "@modelcontextprotocol/client";
import { afterEach, describe, expect, test } from "vitest";
import { AppError } from "../../shared/errors.ts";
import {
  connect,
  connection,
  eventsOf,
  type GatewayHost,
  openRaw,
  startGateway,
  until,
} from "../fixtures/mcp-servers/gateway-host.ts";
import { everythingServer, fixtureServer, type LocalServer } from "../fixtures/mcp-servers/local-process.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function gatewayFor(local: LocalServer, limits: Parameters<typeof startGateway>[1] = {}): Promise<GatewayHost> {
  const host = await startGateway({ probe: local.endpoint }, limits);
  host.tokens.set("one", { type: "connection", entry: connection(1) });
  host.tokens.set("two", { type: "connection", entry: connection(2) });
  closers.push(async () => {
    await host.close();
    expect(local.alive()).toEqual([]);
    expect(host.faults).toEqual([]);
  });
  return host;
}

async function client(host: GatewayHost, token = "one", made?: Client) {
  const connected = await connect(host, token, made);
  closers.push(() => connected.client.close());
  return connected;
}

const call = (name: string, args: object = {}, id: number | string = 1) => ({
  jsonrpc: "2.0",
  id,
  method: "tools/call",
  params: { name, arguments: args },
});

const textOf = (result: unknown): string => (result as { content: { text: string }[] }).content[0]?.text ?? "";

describe("the reference server behind the endpoint", () => {
  test("lists and calls tools, resources and prompts", async () => {
    const host = await gatewayFor(everythingServer());
    const { client: mcp } = await client(host);
    expect((await mcp.listTools()).tools.map((tool) => tool.name)).toContain("echo");
    expect(textOf(await mcp.callTool({ name: "echo", arguments: { message: "hä🙂" } }))).toBe("Echo: hä🙂");
    expect((await mcp.listResources()).resources.length).toBeGreaterThan(0);
    expect((await mcp.listPrompts()).prompts.length).toBeGreaterThan(0);
    expect(mcp.getNegotiatedProtocolVersion()).toBe("2025-11-25");
  });

  test("a client that probes for the stateless era falls back to a session", async () => {
    const host = await gatewayFor(everythingServer());
    const { client: mcp } = await client(
      host,
      "one",
      new Client({ name: "auto", version: "1" }, { versionNegotiation: { mode: "auto" } }),
    );
    expect(textOf(await mcp.callTool({ name: "echo", arguments: { message: "x" } }))).toBe("Echo: x");
  });

  test("passes progress on while a call runs", async () => {
    const host = await gatewayFor(everythingServer());
    const { client: mcp } = await client(host);
    const progress: number[] = [];
    await mcp.callTool(
      { name: "trigger-long-running-operation", arguments: { duration: 1, steps: 4 } },
      { onprogress: (one) => progress.push(one.progress) },
    );
    expect(progress).toEqual([1, 2, 3, 4]);
  });

  test("carries sampling and elicitation to the client and back", async () => {
    const host = await gatewayFor(everythingServer());
    const made = new Client({ name: "test", version: "1" }, { capabilities: { sampling: {}, elicitation: { form: {} } } });
    made.setRequestHandler("sampling/createMessage", async () => ({
      role: "assistant",
      model: "none",
      content: { type: "text", text: "sampled words" },
    }));
    made.setRequestHandler("elicitation/create", async () => ({ action: "decline" }));
    const { client: mcp } = await client(host, "one", made);
    const sampled = await mcp.callTool({ name: "trigger-sampling-request", arguments: { prompt: "p", maxTokens: 10 } });
    expect(textOf(sampled)).toContain("sampled words");
    const elicited = await mcp.callTool({ name: "trigger-elicitation-request", arguments: {} });
    expect(JSON.stringify(elicited)).toContain("decline");
  });

  test("passes the server's own log messages to the client's open stream", async () => {
    const host = await gatewayFor(everythingServer());
    const { client: mcp } = await client(host);
    const logged = new Promise((resolve) => mcp.setNotificationHandler("notifications/message", resolve));
    await mcp.setLoggingLevel("debug");
    await mcp.callTool({ name: "toggle-simulated-logging", arguments: {} });
    await logged;
  });
});

describe("sessions", () => {
  test("two sessions have a process each", async () => {
    const local = fixtureServer("probe.mjs");
    const host = await gatewayFor(local);
    const [first, second] = [await client(host), await client(host, "two")];
    const pids = await Promise.all([first, second].map(async ({ client: mcp }) => textOf(await mcp.callTool({ name: "pid" }))));
    expect(new Set(pids).size).toBe(2);
    expect(host.gateway.sessionCount("probe")).toBe(2);
  });

  test("DELETE ends the session and its process", async () => {
    const local = fixtureServer("probe.mjs");
    const host = await gatewayFor(local);
    const raw = await openRaw(host, "one");
    expect(local.alive().length).toBe(1);
    expect((await fetch(host.url, { method: "DELETE", headers: raw.headers })).status).toBe(204);
    expect(local.alive()).toEqual([]);
    expect((await raw.post(call("pid"))).status).toBe(404);
    expect(host.sessionCounts).toEqual([1, 0]);
  });

  test("a process that ignores the end of its input is ended all the same", async () => {
    const local = fixtureServer("probe.mjs", "--ignore-stdin-end");
    const host = await gatewayFor(local);
    const raw = await openRaw(host, "one");
    await fetch(host.url, { method: "DELETE", headers: raw.headers });
    expect(local.alive()).toEqual([]);
  });

  test("an unknown session is 404, a missing one 400, another caller's 404", async () => {
    const host = await gatewayFor(fixtureServer("probe.mjs"));
    const raw = await openRaw(host, "one");
    const post = (headers: Record<string, string>) =>
      fetch(host.url, { method: "POST", headers, body: JSON.stringify(call("pid")) }).then((response) => response.status);
    expect(await post({ ...raw.headers, "mcp-session-id": "nobody" })).toBe(404);
    expect(await post(host.headers("one"))).toBe(400);
    expect(await post({ ...raw.headers, authorization: "Bearer two" })).toBe(404);
    expect(await post({ ...raw.headers, authorization: "Bearer toolbox" })).toBe(404);
    expect(await post(raw.headers)).toBe(200);
    for (const method of ["GET", "DELETE"]) {
      const headers = { ...raw.headers, authorization: "Bearer two" };
      expect((await fetch(host.url, { method, headers })).status).toBe(404);
    }
  });

  test("an idle session without a stream is ended, one with a stream stays", async () => {
    const local = fixtureServer("probe.mjs");
    const host = await gatewayFor(local, { idleMs: 200 });
    const { client: mcp } = await client(host);
    await openRaw(host, "two");
    expect(host.gateway.sessionCount("probe")).toBe(2);
    await until(() => host.gateway.sessionCount("probe") === 1 && local.alive().length === 1);
    expect(textOf(await mcp.callTool({ name: "pid" }))).toBe(String(local.alive()[0]));
  });

  test("a client that vanished in the middle of a call leaves nothing behind", async () => {
    const local = fixtureServer("probe.mjs");
    const host = await gatewayFor(local, { idleMs: 200 });
    const raw = await openRaw(host, "one");
    const gone = new AbortController();
    const calling = fetch(host.url, {
      method: "POST",
      headers: raw.headers,
      body: JSON.stringify(call("never")),
      signal: gone.signal,
    });
    setTimeout(() => gone.abort(), 50);
    await expect(calling).rejects.toThrow();
    await until(() => local.alive().length === 0);
    expect(host.gateway.sessionCount("probe")).toBe(0);
  });

  test("caps refuse with 503 and a time to come back, and free places are used again", async () => {
    const local = fixtureServer("probe.mjs");
    const host = await gatewayFor(local, { sessionsPerServer: 2, sessionsPerConnection: 1 });
    const first = await openRaw(host, "one");
    const again = await fetch(host.url, {
      method: "POST",
      headers: host.headers("one"),
      body: JSON.stringify({ jsonrpc: "2.0", id: 9, method: "initialize", params: {} }),
    });
    expect([again.status, again.headers.get("retry-after")]).toEqual([503, "5"]);
    expect(await again.json()).toMatchObject({ id: 9, error: { message: expect.stringContaining("connection") } });
    await openRaw(host, "two");
    await expect(openRaw(host, "toolbox")).rejects.toThrow("503");
    await fetch(host.url, { method: "DELETE", headers: first.headers });
    await openRaw(host, "one");
    expect(local.started()).toBe(3);
  });

  test("a killed process answers the open call and ends the session", async () => {
    const local = fixtureServer("probe.mjs");
    const host = await gatewayFor(local);
    const raw = await openRaw(host, "one");
    const calling = raw.post(call("never"));
    await until(() => host.gateway.usage()[0]?.calls === 1);
    local.killAll();
    const answer = await calling;
    expect(await answer.json()).toMatchObject({ id: 1, error: { data: { code: "SERVER_EXITED" } } });
    expect((await raw.post(call("pid"))).status).toBe(404);
    expect(host.gateway.usage()[0]).toMatchObject({ calls: 1, errors: 1 });
    await openRaw(host, "one");
  });

  test("a server that says something and exits has said it", async () => {
    const host = await gatewayFor(fixtureServer("probe.mjs"));
    const raw = await openRaw(host, "one");
    const answer = await (await raw.post(call("exit"))).json();
    expect(answer).toMatchObject({ id: 1, error: { message: "The server's process ended with exit code 7." } });
  });

  test("a server that never answers initialize is given up", async () => {
    const local = fixtureServer("silent.mjs");
    const host = await gatewayFor(local, { answerMs: 300 });
    const failing = connect(host, "one");
    await expect(failing).rejects.toThrow(ProtocolError);
    await expect(failing).rejects.toThrow("did not answer initialize");
    await until(() => local.alive().length === 0);
    expect(host.gateway.sessionCount("probe")).toBe(0);
  });

  test("a client that leaves before initialize is answered takes its process along", async () => {
    const local = fixtureServer("silent.mjs");
    const host = await gatewayFor(local);
    const gone = new AbortController();
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "initialize", params: {} });
    const opening = fetch(host.url, { method: "POST", headers: host.headers("one"), body, signal: gone.signal });
    await until(() => local.alive().length === 1);
    gone.abort();
    await expect(opening).rejects.toThrow();
    await until(() => local.alive().length === 0);
  });

  test("a server that exits at once is an answer, not a wait", async () => {
    const host = await gatewayFor(fixtureServer("exits-at-once.mjs"));
    await expect(connect(host, "one")).rejects.toThrow("ended with exit code 3");
  });

  test("a server that is not running is 503 with its reason", async () => {
    const host = await startGateway({ probe: new AppError("SERVER_NOT_RUNNING") });
    closers.push(() => host.close());
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "initialize", params: {} });
    const response = await fetch(host.url, { method: "POST", headers: host.headers("toolbox"), body });
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ id: 1, error: { data: { code: "SERVER_NOT_RUNNING" } } });
  });

  test("closing the server ends its sessions, and open calls are answered", async () => {
    const local = fixtureServer("probe.mjs");
    const host = await gatewayFor(local);
    const raw = await openRaw(host, "one");
    const calling = raw.post(call("never"));
    await until(() => host.gateway.usage()[0]?.calls === 1);
    await host.gateway.closeServer("probe");
    expect(local.alive()).toEqual([]);
    expect(await (await calling).json()).toMatchObject({ error: { message: "The server is being stopped." } });
  });
});

describe("messages", () => {
  test("of five megabytes go through in both directions", async () => {
    const host = await gatewayFor(fixtureServer("probe.mjs"));
    const { client: mcp } = await client(host);
    expect(textOf(await mcp.callTool({ name: "big", arguments: { bytes: 5_000_000 } })).length).toBe(5_000_000);
    expect(textOf(await mcp.callTool({ name: "length", arguments: { text: "ü".repeat(2_500_000) } }))).toBe("2500000");
  });

  test("too large ones are 413 from the client and end the session from the server", async () => {
    const host = await gatewayFor(fixtureServer("probe.mjs"), { messageBytes: 100_000 });
    const raw = await openRaw(host, "one");
    expect((await raw.post(call("length", { text: "x".repeat(100_000) }))).status).toBe(413);
    const answer = await (await raw.post(call("big", { bytes: 100_000 }))).json();
    expect(answer).toMatchObject({ id: 1, error: { message: expect.stringContaining("larger than 100000 bytes") } });
  });

  test("reach the server byte for byte, with newlines made into spaces", async () => {
    const host = await gatewayFor(fixtureServer("probe.mjs"));
    host.tokens.set("one", { type: "connection", entry: connection(1, ["raw"]) });
    const raw = await openRaw(host, "one");
    const sent = `{"jsonrpc":"2.0",\n"id":7,\r\n"method":"tools\\/call","params":{"name":"r\\u0061w","arguments":{"n":12345678901234567890,"e":1.0,"e":2}}}`;
    const answer = await (await raw.post(sent)).json();
    expect(answer.id).toBe(7);
    expect(textOf(answer.result)).toBe(sent.replaceAll("\n", " ").replaceAll("\r", " "));
  });

  test("progress turns the answer into events that belong to the call", async () => {
    const host = await gatewayFor(fixtureServer("probe.mjs"));
    const raw = await openRaw(host, "one");
    const response = await raw.post({ ...call("progress"), params: { name: "progress", _meta: { progressToken: "p" } } });
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    const seen = [];
    for await (const event of eventsOf(response)) seen.push(JSON.parse(event.data));
    expect(seen.map((one) => one.params?.progress ?? one.id)).toEqual([1, 2, 3, 1]);
  });

  test("progress finds its call among several open ones", async () => {
    const host = await gatewayFor(fixtureServer("probe.mjs"));
    const { client: mcp } = await client(host);
    const progress: number[] = [];
    const slow = mcp.callTool({ name: "slow", arguments: { ms: 300 } });
    await mcp.callTool({ name: "progress" }, { onprogress: (one) => progress.push(one.progress) });
    await slow;
    expect(progress).toEqual([1, 2, 3]);
  });

  test("a long call becomes an event stream that a client can take up again", async () => {
    const host = await gatewayFor(fixtureServer("probe.mjs"));
    const raw = await openRaw(host, "one");
    const broken = new AbortController();
    const body = JSON.stringify(call("slow", { ms: 2_500 }));
    const response = await fetch(host.url, { method: "POST", headers: raw.headers, body, signal: broken.signal });
    const primed = await eventsOf(response).next();
    expect(primed.value.data).toBe("");
    broken.abort();
    const resumed = await fetch(host.url, { headers: { ...raw.headers, "last-event-id": primed.value.id } });
    const events = [];
    for await (const event of eventsOf(resumed)) events.push(event);
    expect(events.map((event) => JSON.parse(event.data).id)).toEqual([1]);
    const replayed = await fetch(host.url, { headers: { ...raw.headers, "last-event-id": primed.value.id } });
    expect(await replayed.text()).toContain("slept");
    const over = await fetch(host.url, { headers: { ...raw.headers, "last-event-id": events[0]?.id ?? "" } });
    expect(over.status).toBe(400);
  });

  test("what the server says without a request goes to the GET stream", async () => {
    const host = await gatewayFor(fixtureServer("probe.mjs"));
    const raw = await openRaw(host, "one");
    const listening = await fetch(host.url, { headers: raw.headers });
    const events = eventsOf(listening);
    await events.next();
    const answer = await raw.post(call("announce"));
    expect(answer.headers.get("content-type")).toBe("application/json");
    expect((await events.next()).value.data).toContain("notifications/resources/list_changed");
    await listening.body?.cancel().catch(() => undefined);
  });

  test("what the server says while nobody listens waits for the next stream", async () => {
    const host = await gatewayFor(fixtureServer("probe.mjs"));
    const raw = await openRaw(host, "one");
    await (await raw.post(call("later"))).text();
    await new Promise((resolve) => setTimeout(resolve, 200));
    const listening = await fetch(host.url, { headers: raw.headers });
    const events = eventsOf(listening);
    await events.next();
    expect((await events.next()).value.data).toContain('"later"');
    await events.return(undefined);
  });

  test("a cancelled call is passed on, ends, and the session goes on", async () => {
    const host = await gatewayFor(fixtureServer("probe.mjs"));
    const { client: mcp } = await client(host);
    const stop = new AbortController();
    const calling = mcp.callTool({ name: "never" }, { signal: stop.signal });
    setTimeout(() => stop.abort(), 50);
    await expect(calling).rejects.toThrow();
    expect(textOf(await mcp.callTool({ name: "pid" }))).toMatch(/^\d+$/);
  });

  test("a cancelled call that the server leaves open is closed by the gateway", async () => {
    const host = await gatewayFor(fixtureServer("probe.mjs"));
    const raw = await openRaw(host, "one");
    const calling = raw.post(call("never"));
    await until(() => host.gateway.usage()[0]?.calls === 1);
    const cancel = await raw.post({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: 1 } });
    expect(cancel.status).toBe(202);
    expect(await (await calling).text()).toContain("cancelled");
  });

  test("batches are for 2025-03-26 only", async () => {
    const host = await gatewayFor(fixtureServer("probe.mjs"));
    const old = await openRaw(host, "one", "2025-03-26");
    const batch = [call("raw", {}, 1), { jsonrpc: "2.0", method: "notifications/x" }, call("pid", {}, 2)];
    const ids = [];
    for await (const event of eventsOf(await old.post(batch))) ids.push(JSON.parse(event.data).id);
    expect(ids).toEqual([1, 2]);
    const recent = await openRaw(host, "one", "2025-06-18");
    expect((await recent.post(batch)).status).toBe(400);
  });

  test("what is not MCP is refused with the right status", async () => {
    const host = await gatewayFor(fixtureServer("probe.mjs"));
    const raw = await openRaw(host, "one");
    const status = (headers: object, body: unknown = call("pid")) =>
      fetch(host.url, {
        method: "POST",
        headers: { ...raw.headers, ...headers },
        body: typeof body === "string" ? body : JSON.stringify(body),
      }).then(async (response) => [response.status, (await response.json()).error?.code]);
    expect(await status({ accept: "application/json" })).toEqual([406, -32600]);
    expect(await status({ "content-type": "text/plain" })).toEqual([415, -32600]);
    expect(await status({ origin: "https://elsewhere.example" })).toEqual([403, -32600]);
    expect(await status({ "mcp-protocol-version": "1999-01-01" })).toEqual([400, -32000]);
    expect(await status({}, '{"jsonrpc":"2.0",')).toEqual([400, -32700]);
    expect(await status({}, "[]")).toEqual([400, -32600]);
    expect(await status({}, '"text"')).toEqual([400, -32600]);
    expect(await status({}, { jsonrpc: "1.0", id: 1, method: "ping" })).toEqual([400, -32600]);
    expect(await status({}, { jsonrpc: "2.0", id: {}, method: "ping" })).toEqual([400, -32600]);
    expect(await status({}, `{"jsonrpc":"2.0","id":1,"method":"ping","params":${"[".repeat(600)}${"]".repeat(600)}}`)).toEqual([
      400, -32600,
    ]);
    const put = await fetch(host.url, { method: "PUT", headers: raw.headers });
    expect([put.status, put.headers.get("allow")]).toEqual([405, "POST, GET, DELETE"]);
  });
});
