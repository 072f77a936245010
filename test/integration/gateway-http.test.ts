import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { Client } from "@modelcontextprotocol/client";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
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
import { startHttpEverything, startHttpFixture } from "../fixtures/mcp-servers/local-process.ts";

type HttpServer = Awaited<ReturnType<typeof startHttpFixture>>;

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function gatewayFor(url: string, limits: Parameters<typeof startGateway>[1] = {}): Promise<GatewayHost> {
  const host = await startGateway({ probe: { type: "http", url } }, limits);
  host.tokens.set("one", { type: "connection", entry: connection(1) });
  host.tokens.set("two", { type: "connection", entry: connection(2) });
  closers.push(async () => {
    await host.close();
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

describe("the reference server over HTTP behind the endpoint", () => {
  let server: HttpServer;
  beforeEach(async () => {
    server = await startHttpEverything(await freePort());
    closers.push(() => server.kill());
  });

  test("lists and calls tools with progress", async () => {
    const { client: mcp } = await client(await gatewayFor(server.url));
    expect((await mcp.listTools()).tools.map((tool) => tool.name)).toContain("echo");
    expect(textOf(await mcp.callTool({ name: "echo", arguments: { message: "hä🙂" } }))).toBe("Echo: hä🙂");
    const progress: number[] = [];
    const slow = { name: "trigger-long-running-operation", arguments: { duration: 1, steps: 4 } };
    await mcp.callTool(slow, { onprogress: (one) => progress.push(one.progress) });
    expect(progress).toEqual([1, 2, 3, 4]);
  });

  test("carries sampling, elicitation and log messages", async () => {
    const made = new Client({ name: "test", version: "1" }, { capabilities: { sampling: {}, elicitation: { form: {} } } });
    made.setRequestHandler("sampling/createMessage", async () => ({
      role: "assistant",
      model: "none",
      content: { type: "text", text: "sampled words" },
    }));
    made.setRequestHandler("elicitation/create", async () => ({ action: "decline" }));
    const { client: mcp } = await client(await gatewayFor(server.url), "one", made);
    const sampled = await mcp.callTool({ name: "trigger-sampling-request", arguments: { prompt: "p", maxTokens: 10 } });
    expect(textOf(sampled)).toContain("sampled words");
    const elicited = await mcp.callTool({ name: "trigger-elicitation-request", arguments: {} });
    expect(JSON.stringify(elicited)).toContain("decline");
    const logged = new Promise((resolve) => mcp.setNotificationHandler("notifications/message", resolve));
    await mcp.setLoggingLevel("debug");
    await mcp.callTool({ name: "toggle-simulated-logging", arguments: {} });
    await logged;
  });

  test("a server killed while a call is open answers it, and the next session says it is gone", async () => {
    const host = await gatewayFor(server.url);
    const raw = await openRaw(host, "one");
    const calling = raw.post(call("trigger-long-running-operation", { duration: 30, steps: 1 }));
    await until(() => host.gateway.usage()[0]?.calls === 1);
    await new Promise((resolve) => setTimeout(resolve, 200));
    await server.kill();
    const answer = await calling;
    expect(answer.status).toBe(502);
    expect(await answer.json()).toMatchObject({ id: 1, error: { message: expect.any(String) } });
    expect(host.gateway.usage()[0]).toMatchObject({ errors: 1 });
    const body = JSON.stringify({ jsonrpc: "2.0", id: 5, method: "initialize", params: {} });
    const next = await fetch(host.url, { method: "POST", headers: host.headers("one"), body });
    expect(next.status).toBe(502);
    expect(await next.json()).toMatchObject({ id: 5, error: { data: { code: "SERVER_NOT_RUNNING" } } });
    expect(host.gateway.sessionCount("probe")).toBe(1);
  });
});

describe("a server over HTTP behind the endpoint", () => {
  let server: HttpServer;
  beforeEach(async () => {
    server = await startHttpFixture("probe-http.mjs", await freePort());
    closers.push(() => server.kill());
  });

  test("gets no credentials and no other headers of the client", async () => {
    const host = await gatewayFor(server.url);
    const raw = await openRaw(host, "one");
    const headers = { ...raw.headers, cookie: "a=b", "x-forwarded-for": "10.0.0.1" };
    const response = await fetch(host.url, { method: "POST", headers, body: JSON.stringify(call("pid")) });
    expect(response.status).toBe(200);
  });

  test("two sessions are two sessions of the server, and a foreign caller reaches neither", async () => {
    const host = await gatewayFor(server.url);
    const [first, second] = [await openRaw(host, "one"), await openRaw(host, "two")];
    const pids = await Promise.all(
      [first, second].map(async (raw) => textOf((await (await raw.post(call("pid"))).json()).result)),
    );
    expect(new Set(pids).size).toBe(2);
    const headers = { ...first.headers, authorization: "Bearer two" };
    expect((await fetch(host.url, { method: "POST", headers, body: JSON.stringify(call("pid")) })).status).toBe(404);
  });

  test("DELETE ends the server's session too", async () => {
    const host = await gatewayFor(server.url);
    const raw = await openRaw(host, "one");
    const pid = Number(textOf((await (await raw.post(call("pid"))).json()).result));
    expect((await fetch(host.url, { method: "DELETE", headers: raw.headers })).status).toBe(204);
    await until(() => !isAlive(pid));
    expect((await raw.post(call("pid"))).status).toBe(404);
  });

  test("idle sessions are ended on both sides", async () => {
    const host = await gatewayFor(server.url, { idleMs: 200 });
    const raw = await openRaw(host, "one");
    const pid = Number(textOf((await (await raw.post(call("pid"))).json()).result));
    await until(() => host.gateway.sessionCount("probe") === 0 && !isAlive(pid));
  });

  test("messages of five megabytes go through in both directions", async () => {
    const { client: mcp } = await client(await gatewayFor(server.url));
    expect(textOf(await mcp.callTool({ name: "big", arguments: { bytes: 5_000_000 } })).length).toBe(5_000_000);
    expect(textOf(await mcp.callTool({ name: "length", arguments: { text: "ü".repeat(2_500_000) } }))).toBe("2500000");
  });

  test("events that come before the answer are events for the client too", async () => {
    const host = await gatewayFor(server.url);
    const raw = await openRaw(host, "one");
    const response = await raw.post({ ...call("progress"), params: { name: "progress", _meta: { progressToken: "p" } } });
    const seen = [];
    for await (const event of eventsOf(response)) seen.push(JSON.parse(event.data));
    expect(seen.map((one) => one.params?.progress ?? one.id)).toEqual([1, 2, 3, 1]);
  });

  test("a cancelled call ends and the session goes on", async () => {
    const host = await gatewayFor(server.url);
    const raw = await openRaw(host, "one");
    const calling = raw.post(call("never"));
    await until(() => host.gateway.usage()[0]?.calls === 1);
    await raw.post({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: 1 } });
    expect(await (await calling).text()).toContain("cancelled");
    expect((await raw.post(call("pid", {}, 2))).status).toBe(200);
  });

  test("a server that forgot the session ends ours, so that the client starts anew", async () => {
    const host = await gatewayFor(server.url);
    const raw = await openRaw(host, "one");
    await server.kill();
    const { url } = server;
    server = await startHttpFixture("probe-http.mjs", Number(new URL(url).port));
    closers.push(() => server.kill());
    expect((await raw.post(call("pid"))).status).toBe(404);
    expect((await raw.post(call("pid"))).status).toBe(404);
    expect((await (await openRaw(host, "one")).post(call("pid"))).status).toBe(200);
  });
});

test("a server that accepts connections and says nothing is given up after the deadline", async () => {
  const silent = createServer(() => undefined);
  const port = await freePort();
  await new Promise<void>((resolve) => silent.listen(port, "127.0.0.1", resolve));
  closers.push(async () => {
    silent.closeAllConnections();
    silent.close();
  });
  const host = await gatewayFor(`http://127.0.0.1:${port}/mcp`, { answerMs: 300 });
  await expect(connect(host, "one")).rejects.toThrow("did not answer initialize");
  await until(() => host.gateway.sessionCount("probe") === 0);
});

test("a server that lets its clients poll for a long answer is polled until it comes", async () => {
  let polls = 0;
  let asked: unknown;
  const result = (id: unknown, body: object) => JSON.stringify({ jsonrpc: "2.0", id, result: body });
  const polling = createServer(async (request, response) => {
    if (request.method === "GET" && request.headers["last-event-id"] === undefined) return void response.writeHead(405).end();
    if (request.method === "GET") {
      polls++;
      response.writeHead(200, { "content-type": "text/event-stream" });
      return void response.end(`id: e${polls}\ndata: ${polls < 6 ? "" : result(asked, { polls })}\n\n`);
    }
    const message = JSON.parse((await text(request)) || "{}");
    asked = message.id ?? asked;
    if (message.method === "initialize") {
      const initialized = { protocolVersion: "2025-11-25", capabilities: {}, serverInfo: { name: "p", version: "1" } };
      return void response.writeHead(200, { "content-type": "application/json" }).end(result(message.id, initialized));
    }
    response.writeHead(200, { "content-type": "text/event-stream" }).end("id: e0\nretry: 100\ndata: \n\n");
  });
  const port = await freePort();
  await new Promise<void>((resolve) => polling.listen(port, "127.0.0.1", resolve));
  closers.push(async () => void polling.close());
  const host = await gatewayFor(`http://127.0.0.1:${port}/mcp`);
  const raw = await openRaw(host, "one");
  expect(await (await raw.post(call("anything"))).json()).toEqual({ jsonrpc: "2.0", id: 1, result: { polls: 6 } });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
