import { request } from "node:http";
import { describe, expect, test } from "vitest";
import { answered, careless, moment } from "../fixtures/mcp-servers/careless.ts";
import { connection, startGateway, until } from "../fixtures/mcp-servers/gateway-host.ts";
import { fixtureServer } from "../fixtures/mcp-servers/local-process.ts";

/* Who waits for a process gets one as soon as there can be one, or an answer; who leaves leaves nothing behind. */

const shared = { isShared: true };
const asking = { elicitation: { form: {} } };
const idleMs = 300;

describe("one process for everybody", () => {
  test("is one, however many sessions are opened at the same time", async () => {
    const { session, local } = await careless({ flags: ["--init-ms=300"], endpoint: shared });
    const sessions = await Promise.all(["1", "2", "3", "4", "5"].map((token) => session(token)));
    expect(sessions.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    expect(local.started()).toBe(1);
  });

  test("serves as many sessions at once as the server may have", async () => {
    const limits = { sessionsPerServer: 4, queueMs: 1_000 };
    const { session, local } = await careless({ flags: ["--init-ms=100"], endpoint: shared, limits });
    const sessions = await Promise.all(["1", "2", "3", "4"].map((token) => session(token)));
    expect(sessions.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(local.started()).toBe(1);
  });

  test("that dies is followed by another at once for the call that waits", async () => {
    const { call, did, local } = await careless({ endpoint: shared });
    const open = call("1", "hold", { who: "A" }, asking);
    await until(() => did("hold A") === 1);
    const waits = call("2", "echo", { who: "B" }, asking);
    await moment();
    local.killAll();
    expect(await answered(waits)).toBe("echo of B");
    expect((await open.done).messages.at(-1)?.error).toMatchObject({ data: { code: "SERVER_EXITED" } });
    expect(local.started()).toBe(2);
  });
});

describe("caps", () => {
  test("hold while clients leave as their processes are being opened", async () => {
    let most = 0;
    const limits = { sessionsPerServer: 2, sessionsPerConnection: 2 };
    const { session, local, host } = await careless({ flags: ["--lingers"], limits, openMs: 200 });
    const watch = setInterval(() => {
      most = Math.max(most, local.alive().length);
    }, 5);
    for (let round = 0; round < 12; round++) {
      const leave = new AbortController();
      const left = session("1", {}, leave.signal).catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 30));
      leave.abort();
      await left;
    }
    await until(() => local.alive().length === 0 && host.gateway.sessionCount("probe") === 0 && local.started() > 0);
    clearInterval(watch);
    expect(most).toBeLessThanOrEqual(2);
  });

  test("let a process that has become idle make room for another connection", async () => {
    const { call, did, release, local } = await careless({ limits: { sessionsPerServer: 1 } });
    const first = call("1", "hold", { who: "A" });
    await until(() => did("hold A") === 1);
    const waits = call("2", "echo", { who: "B" });
    await moment();
    release();
    expect(await answered(waits)).toBe("echo of B");
    expect(await answered(first)).toBe("held for A");
    expect([local.started(), local.alive().length]).toEqual([2, 1]);
  });

  test("leave an idle process alone that cannot help the one who waits", async () => {
    const limits = { sessionsPerServer: 10, sessionsPerConnection: 1, queueMs: 500 };
    const { call, session } = await careless({ limits });
    const before = await answered(call("2", "pid"));
    expect((await session("1")).status).toBe(200);
    expect((await session("1")).status).toBe(503);
    expect(await answered(call("2", "pid"))).toBe(before);
  });
});

describe("whoever waits", () => {
  test("in vain without a session gets 503 and a time to come back, however long the line is", async () => {
    const { call, did, release } = await careless({ limits: { sessionsPerConnection: 1, queueMs: 6_000 } });
    const first = call("1", "hold", { who: "A" }, asking);
    await until(() => did("hold A") === 1);
    const { status, headers, messages } = await call("1", "echo", {}, asking).done;
    expect([status, headers.get("retry-after")]).toEqual([503, "5"]);
    expect(messages[0]?.error?.data?.code).toBe("LIMIT_REACHED");
    release();
    await first.done;
  }, 20_000);

  test("for a server that is stopped gets an answer, and no process", async () => {
    const { ask, session, host, local } = await careless({ limits: { sessionsPerServer: 1 } });
    expect((await session("1")).status).toBe(200);
    const waits = [ask("2", "tools/list", {}), ask("3", "server/discover", {})];
    await moment();
    await host.gateway.closeServer("probe");
    for (const one of waits) expect((await one.done).messages.at(-1)?.error).toBeDefined();
    expect(local.alive()).toEqual([]);
    expect(local.started()).toBe(1);
  });

  test("for the one process of a server that is stopped gets an answer, and no process", async () => {
    const { call, did, host, local } = await careless({ endpoint: shared, limits: { queueMs: 60_000 } });
    const open = call("1", "hold", { who: "A" }, asking);
    await until(() => did("hold A") === 1);
    const waits = call("2", "echo", { who: "B" }, asking);
    await moment();
    await host.gateway.closeServer("probe");
    for (const one of [open, waits]) expect((await one.done).messages.at(-1)?.error).toBeDefined();
    expect(local.alive()).toEqual([]);
    expect(local.started()).toBe(1);
  });

  test("to send the rest of a message until the gateway is closed gets 503, and starts nothing", async () => {
    let requests = 0;
    const local = fixtureServer("probe.mjs");
    const host = await startGateway({ probe: local.endpoint }, {}, { onRequest: () => void requests++ });
    const params = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "raw", version: "1" } };
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "initialize", params });
    const sending = request(host.url, { method: "POST", headers: host.headers("toolbox") });
    const answer = new Promise<number | undefined>((resolve, reject) => {
      sending.once("response", (response) => resolve(response.resume().statusCode)).once("error", reject);
    });
    sending.write(body.slice(0, 10));
    await until(() => requests === 1);
    await host.gateway.close();
    sending.end(body.slice(10));
    expect(await answer).toBe(503);
    await host.close();
    expect([local.started(), host.gateway.sessionCount("probe")]).toEqual([0, 0]);
  });
});

describe("nothing is left", () => {
  const endpoints = [
    ["of its own", {}],
    ["that all share", shared],
  ] as const;

  test.each(endpoints)("of a session whose client leaves while a process %s is being opened", async (_kind, endpoint) => {
    const { session, did, local, host } = await careless({ flags: ["--init-ms=800"], endpoint, limits: { idleMs } });
    const leave = new AbortController();
    const left = session("1", {}, leave.signal).catch(() => "left");
    await until(() => did("initialize") === 1);
    leave.abort();
    expect(await left).toBe("left");
    await until(() => local.alive().length === 0 && host.gateway.sessionCount("probe") === 0);
  });

  test.each(endpoints)("of a listener that leaves while a process %s is being opened", async (_kind, endpoint) => {
    const { ask, did, local, host } = await careless({ flags: ["--init-ms=800"], endpoint, limits: { idleMs } });
    const leave = new AbortController();
    const listening = ask("1", "subscriptions/listen", { notifications: { toolsListChanged: true } }, {}, leave.signal);
    await until(() => did("initialize") === 1);
    leave.abort();
    await expect(listening.done).rejects.toThrow();
    await until(() => local.alive().length === 0 && host.gateway.sessionCount("probe") === 0);
  });

  const silent = { notifications: { resourceSubscriptions: ["memo://silent"] } };

  test.each(endpoints)("of a listener that leaves while a server %s owes it an answer", async (_kind, endpoint) => {
    const { ask, did, local, host } = await careless({ endpoint, limits: { idleMs } });
    const leave = new AbortController();
    const listening = ask("1", "subscriptions/listen", silent, {}, leave.signal);
    await until(() => did("resources/subscribe") === 1);
    leave.abort();
    await expect(listening.done).rejects.toThrow();
    await until(() => local.alive().length === 0 && host.gateway.sessionCount("probe") === 0);
  });

  test.each(endpoints)("of a listener that is revoked while a server %s owes it an answer", async (_kind, endpoint) => {
    const { ask, did, local, host } = await careless({ endpoint, limits: { idleMs } });
    ask("1", "subscriptions/listen", silent);
    await until(() => did("resources/subscribe") === 1);
    host.tokens.delete("1");
    await host.gateway.accessChanged(connection(1).connectionId, undefined);
    await until(() => local.alive().length === 0 && host.gateway.sessionCount("probe") === 0);
  });
});
