import { request } from "node:http";
import { afterEach, expect, test } from "vitest";
import { connection, eventsOf, type GatewayHost, openRaw, startGateway, until } from "../fixtures/mcp-servers/gateway-host.ts";
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
  return { local, host };
}

const call = (name: string, args: object, id: number) => ({
  jsonrpc: "2.0",
  id,
  method: "tools/call",
  params: { name, arguments: args },
});

async function answerOf(response: Response): Promise<string> {
  if (response.headers.get("content-type") === "application/json") return response.text();
  let last = "";
  for await (const event of eventsOf(response)) last = event.data;
  return last;
}

test("sessions abandoned in every way leave no process and no session", async () => {
  const { host, local } = await gateway({ idleMs: 300, sessionsPerServer: 500, sessionsPerConnection: 500 });
  const ways: ((host: GatewayHost) => Promise<void>)[] = [
    async () => void (await openRaw(host, "1")),
    async () => {
      const raw = await openRaw(host, "1");
      await fetch(host.url, { method: "DELETE", headers: raw.headers });
    },
    async () => {
      const raw = await openRaw(host, "1");
      const signal = AbortSignal.timeout(100);
      await fetch(host.url, { method: "POST", headers: raw.headers, body: JSON.stringify(call("never", {}, 1)), signal }).catch(
        () => undefined,
      );
    },
    async () => {
      const raw = await openRaw(host, "2");
      const listening = await fetch(host.url, { headers: raw.headers });
      await raw.post(call("exit", {}, 1)).then((response) => response.text());
      await listening.text();
    },
    async () => {
      const signal = AbortSignal.timeout(20);
      const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "initialize", params: {} });
      await fetch(host.url, { method: "POST", headers: host.headers("2"), body, signal }).catch(() => undefined);
    },
    async () => void (await openRaw(host, "3")),
  ];
  for (let round = 0; round < 5; round++) await Promise.all(ways.map((abandon) => abandon(host)));
  await host.gateway.accessChanged(connection(3).connectionId, undefined);
  await until(() => host.gateway.sessionCount("probe") === 0 && local.alive().length === 0);
  expect(local.started()).toBeGreaterThanOrEqual(25);
  expect(host.sessionCounts.at(-1)).toBe(0);
}, 60_000);

test("a server that stops reading holds its client back, and gets everything once it reads again", async () => {
  const { host } = await gateway({});
  const raw = await openRaw(host, "1");
  await (await raw.post(call("deaf", { ms: 1_000 }, 1))).text();
  const texts = Array.from({ length: 12 }, (_, index) => "x".repeat(1_000_000 + index));
  const answers = await Promise.all(
    texts.map(async (text, index) => answerOf(await raw.post(call("length", { text }, index + 2)))),
  );
  expect(answers.map((answer) => JSON.parse(answer).result.content[0].text)).toEqual(texts.map(({ length }) => String(length)));
}, 60_000);

test("a client that stops reading holds the server back instead of filling memory", async () => {
  const { host } = await gateway({ messageBytes: 67_108_864 });
  const raw = await openRaw(host, "1");
  const sent = JSON.stringify(call("big", { bytes: 50_000_000 }, 1));
  const { promise: answered, resolve } = Promise.withResolvers<NodeJS.ReadableStream>();
  const slow = request(host.url, { method: "POST", headers: raw.headers }, resolve);
  slow.end(sent);
  const response = await answered;
  response.pause();
  const blocked = raw.post(call("big", { bytes: 40_000_000 }, 2)).then((one) => one.text());
  let isBlocked = true;
  void blocked.then(() => {
    isBlocked = false;
  });
  await new Promise((wait) => setTimeout(wait, 1_000));
  expect(isBlocked).toBe(true);
  response.resume();
  expect((await blocked).length).toBeGreaterThan(40_000_000);
}, 60_000);
