import { afterEach, expect, test } from "vitest";
import { connection, openRaw, startGateway, until } from "../fixtures/mcp-servers/gateway-host.ts";
import { fixtureServer } from "../fixtures/mcp-servers/local-process.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function gateway(limits: Parameters<typeof startGateway>[1]) {
  const local = fixtureServer("probe.mjs");
  const host = await startGateway({ probe: local.endpoint }, limits);
  for (const number of [1, 2, 3]) host.tokens.set(`${number}`, { type: "connection", entry: connection(number) });
  closers.push(async () => {
    await host.close();
    expect(local.alive()).toEqual([]);
  });
  const initialize = (token: string, signal?: AbortSignal) => {
    const params = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "raw", version: "1" } };
    const body = JSON.stringify({ jsonrpc: "2.0", id: "mine", method: "initialize", params });
    return fetch(host.url, { method: "POST", headers: host.headers(token), body, signal: signal ?? null });
  };
  /** Whether there is no room in the line; who finds some leaves it again at once. */
  const isLineFull = (token: string) =>
    initialize(token, AbortSignal.timeout(300)).then(
      ({ status }) => status === 503,
      () => false,
    );
  return { local, host, initialize, isLineFull };
}

test("who finds the server full waits, and is let in once another session's process is gone", async () => {
  const { host, local, initialize } = await gateway({ sessionsPerServer: 1, queueMs: 10_000 });
  const first = await openRaw(host, "1");
  const waiting = initialize("2");
  await fetch(host.url, { method: "DELETE", headers: first.headers });
  const answer = await waiting;
  expect([answer.status, answer.headers.has("mcp-session-id")]).toEqual([200, true]);
  expect([local.started(), local.alive().length]).toEqual([2, 1]);
});

test("who waits too long is refused with 503, a time to come back, and the reason in JSON-RPC", async () => {
  const { host, local, initialize } = await gateway({ sessionsPerServer: 1, queueMs: 100 });
  await openRaw(host, "1");
  const answer = await initialize("2");
  expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "5"]);
  expect(await answer.json()).toMatchObject({ id: "mine", error: { data: { code: "LIMIT_REACHED" } } });
  expect(local.started()).toBe(1);
});

test("a client that leaves while it waits gives its turn to the next", async () => {
  const { host, local, initialize, isLineFull } = await gateway({ sessionsPerServer: 1, queueMs: 10_000 });
  const first = await openRaw(host, "1");
  const leaving = new AbortController();
  const left = initialize("2", leaving.signal).catch((error: Error) => error.name);
  // The line is one long here: the next one is let into it when the first has left it.
  await until(() => isLineFull("3"));
  leaving.abort();
  expect(await left).toBe("AbortError");
  await fetch(host.url, { method: "DELETE", headers: first.headers });
  await until(async () => (await initialize("3")).status === 200);
  expect(local.started()).toBe(2);
});

test("a connection that is revoked, and a server that is stopped, let nobody wait any longer", async () => {
  const { host, local, initialize, isLineFull } = await gateway({ sessionsPerServer: 2, queueMs: 10_000 });
  await openRaw(host, "1");
  await openRaw(host, "1");
  const revoked = initialize("2");
  const stopped = initialize("3");
  // Both wait once there is no room in the line.
  await until(() => isLineFull("toolbox"));
  await host.gateway.accessChanged(connection(2).connectionId, undefined);
  expect([(await revoked).status, await (await revoked).json()]).toMatchObject([
    401,
    { error: { data: { code: "CONNECTION_REVOKED" } } },
  ]);
  await host.gateway.closeServer("probe");
  expect([(await stopped).status, await (await stopped).json()]).toMatchObject([
    503,
    { id: "mine", error: { data: { code: "SERVER_NOT_RUNNING" } } },
  ]);
  expect(local.started()).toBe(2);
});
