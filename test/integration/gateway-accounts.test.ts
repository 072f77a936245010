import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { afterEach, describe, expect, test } from "vitest";
import { type AccessList, openAccessList } from "../../dtma/src/access.ts";
import { createLog } from "../../dtma/src/log.ts";
import type { AccessEntry, ConnectionUsage } from "../../shared/dtma-protocol.ts";
import type { ToolUsage } from "../../shared/model/usage.ts";
import { connect, connection, type GatewayHost, openRaw, startGateway, until } from "../fixtures/mcp-servers/gateway-host.ts";
import { fixtureServer, type LocalServer } from "../fixtures/mcp-servers/local-process.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const call = (name: string, id: number | string = 1, args: object = {}) => ({
  jsonrpc: "2.0",
  id,
  method: "tools/call",
  params: { name, arguments: args },
});
const listed = new Set(["raw", "fails", "never", "secret", "exit", "slow"]);

async function gateway(limits: Parameters<typeof startGateway>[1] = {}): Promise<{ host: GatewayHost; local: LocalServer }> {
  const local = fixtureServer("probe.mjs");
  const host = await startGateway({ probe: local.endpoint }, limits, { isListed: (_server, tool) => listed.has(tool) });
  host.tokens.set("one", { type: "connection", entry: connection(1) });
  host.tokens.set("two", { type: "connection", entry: connection(2, ["raw"]) });
  closers.push(async () => {
    await host.close();
    expect(local.alive()).toEqual([]);
  });
  return { host, local };
}

function booksOf(usage: readonly ConnectionUsage[], number = 1): Record<string, ToolUsage> {
  const found = usage.find(({ connectionId }) => connectionId === connection(number).connectionId);
  return Object.fromEntries((found?.tools ?? []).map((tool) => [tool.tool, tool]));
}

describe("the books of a connection", () => {
  test("tell how calls of each tool ended, how long they took and how much went through", async () => {
    const { host } = await gateway();
    const raw = await openRaw(host, "one");
    const sent = JSON.stringify(call("raw", 1));
    const answer = await (await raw.post(sent)).text();
    await (await raw.post(call("fails", 2))).text();
    await (await raw.post(call("slow", 3, { ms: 40 }))).text();
    await raw.post({ jsonrpc: "2.0", id: 4, method: "tools/list" });
    const books = booksOf(host.gateway.usage());
    expect(books.raw).toMatchObject({ calls: 1, errors: {}, bytesIn: sent.length, bytesOut: answer.length });
    expect(books.fails).toMatchObject({ calls: 1, errors: { tool: 1 } });
    expect(books.slow?.latencySumMs).toBeGreaterThanOrEqual(39);
    expect(books.slow?.latency.indexOf(1)).toBeGreaterThanOrEqual(7);
    expect(Object.keys(books).sort()).toEqual(["fails", "raw", "slow"]);
    expect(host.gateway.usage()).toMatchObject([{ calls: 3, errors: 1 }]);
    const all = JSON.stringify([host.gateway.usage(), host.gateway.usageSinceStart()]);
    expect(all).not.toMatch(/arguments|"ms"|slept/);
  });

  test("tell refusals, cancellations, deaths and made-up tools apart", async () => {
    const { host, local } = await gateway();
    const limited = await openRaw(host, "two");
    await (await limited.post(call("secret"))).text();
    await (await limited.post(call("made-up", 2))).text();
    expect(booksOf(host.gateway.usage(), 2)).toMatchObject({
      secret: { calls: 1, errors: { refused: 1 }, latency: [] },
      "": { calls: 1, errors: { refused: 1 } },
    });

    const raw = await openRaw(host, "one");
    const [cancelled, dying] = [raw.post(call("never", 1)), raw.post(call("never", 2))];
    await until(
      () => host.gateway.usage().find(({ connectionId }) => connectionId === connection(1).connectionId)?.calls === 2,
    );
    await raw.post({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: 1 } });
    await (await cancelled).text();
    expect(booksOf(host.gateway.usage()).never).toMatchObject({ calls: 1, errors: { ended: 1 }, latency: [] });
    local.killAll();
    await (await dying).text();
    expect(booksOf(host.gateway.usage()).never).toMatchObject({ calls: 2, errors: { ended: 1, died: 1 }, latency: [] });
  });

  test("hold what clients without sessions did as well", async () => {
    const local = fixtureServer("eras.mjs", "--era=old");
    const host = await startGateway({ probe: local.endpoint }, {}, { isListed: (_server, tool) => tool === "pid" });
    closers.push(() => host.close());
    host.tokens.set("one", { type: "connection", entry: connection(1) });
    host.tokens.set("two", { type: "connection", entry: connection(2, ["echo"]) });
    const open = async (token: string) => {
      const client = new Client({ name: "test", version: "1" }, { versionNegotiation: { mode: { pin: "2026-07-28" } } });
      const requestInit = { headers: { authorization: `Bearer ${token}` } };
      await client.connect(new StreamableHTTPClientTransport(host.url, { requestInit }));
      closers.push(() => client.close());
      return client;
    };
    const [one, two] = [await open("one"), await open("two")];
    await one.callTool({ name: "pid", arguments: {} });
    await expect(two.callTool({ name: "pid", arguments: {} })).rejects.toThrow("not allowed");
    const leaving = new AbortController();
    const never = one.callTool({ name: "never", arguments: {} }, { signal: leaving.signal });
    await until(() => host.gateway.usage().some(({ calls }) => calls === 2));
    leaving.abort();
    await expect(never).rejects.toThrow();
    await until(() => booksOf(host.gateway.usage())[""]?.errors.ended === 1);
    expect(host.gateway.usage()[0]).toMatchObject({ calls: 2, errors: 0 });
    expect(booksOf(host.gateway.usage()).pid).toMatchObject({ calls: 1, errors: {} });
    expect(booksOf(host.gateway.usage()).pid?.bytesOut).toBeGreaterThan(20);
    expect(booksOf(host.gateway.usage(), 2).pid).toMatchObject({ calls: 1, errors: { refused: 1 } });
  });

  test("are told tool by tool, and go on from those of an earlier start", async () => {
    const before: ConnectionUsage = {
      connectionId: connection(1).connectionId,
      calls: 5,
      errors: 5,
      lastUsedAt: 1,
      tools: [
        {
          tool: "raw",
          calls: 5,
          errors: { tool: 5 },
          latency: [0, 5],
          latencySumMs: 5,
          bytesIn: 50,
          bytesOut: 500,
          lastUsedAt: 1,
        },
      ],
    };
    const local = fixtureServer("probe.mjs");
    const host = await startGateway({ probe: local.endpoint }, {}, { usageTotals: [before] });
    closers.push(() => host.close());
    host.tokens.set("one", { type: "connection", entry: connection(1) });
    const raw = await openRaw(host, "one");
    await (await raw.post(call("pid"))).text();
    await until(() => host.usage.some(({ tools }) => tools?.length === 1));
    expect(host.usage.at(-1)).toMatchObject({ calls: 6, errors: 5, tools: [{ tool: "pid", calls: 1 }] });
    expect(booksOf(host.gateway.usage()).raw).toMatchObject({ calls: 5, errors: { tool: 5 } });
    expect(host.gateway.usageSinceStart()).toMatchObject([{ calls: 1, errors: 0, tools: [{ tool: "pid" }] }]);
  });
});

describe("a connection that sends too much", () => {
  test("is refused unread, in the books by itself, and holds up nobody else", async () => {
    const { host } = await gateway({ calls: { perSecond: 0.001, burst: 5 } });
    const one = await openRaw(host, "one");
    const two = await openRaw(host, "two");
    const flood = await Promise.all(Array.from({ length: 20 }, (_, id) => one.post(call("raw", id))));
    const bodies = await Promise.all(flood.map(async (response) => ({ status: response.status, body: await response.json() })));
    expect(bodies.filter(({ status }) => status === 200)).toHaveLength(4);
    const refused = bodies.filter(({ status }) => status === 429);
    expect(refused).toHaveLength(16);
    for (const { body } of refused) expect(body).toMatchObject({ jsonrpc: "2.0", error: { data: { code: "LIMIT_REACHED" } } });
    expect(Number(flood.find(({ status }) => status === 429)?.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(booksOf(host.gateway.usage())).toMatchObject({
      raw: { calls: 4, errors: {} },
      "": { calls: 16, errors: { limited: 16 }, bytesIn: 0 },
    });
    expect((await two.post(call("raw"))).status).toBe(200);
    const own = await openRaw(host, "toolbox");
    for (let id = 0; id < 10; id++) expect((await own.post(call("raw", id))).status).toBe(200);
  });

  test("pays for a batch as for its messages", async () => {
    const { host } = await gateway({ calls: { perSecond: 0.001, burst: 5 } });
    const raw = await openRaw(host, "one", "2025-03-26");
    const batch = await raw.post(Array.from({ length: 6 }, (_, id) => call("raw", id)));
    expect([batch.status, (await batch.text()).match(/"id":/g)?.length]).toEqual([200, 6]);
    expect((await raw.post(call("raw", 7))).status).toBe(429);
  });

  test("can still end its session", async () => {
    const { host, local } = await gateway({ calls: { perSecond: 0.001, burst: 1 } });
    const raw = await openRaw(host, "one");
    expect((await raw.post(call("raw"))).status).toBe(429);
    expect((await fetch(host.url, { method: "DELETE", headers: raw.headers })).status).toBe(204);
    await until(() => local.alive().length === 0);
  });
});

describe("access that ends", () => {
  async function withList(): Promise<{ host: GatewayHost; local: LocalServer; list: AccessList; entry: AccessEntry }> {
    const { host, local } = await gateway();
    const data = { path: "", read: async () => undefined, write: async () => {}, setAside: async () => {}, close() {} };
    const list = await openAccessList(
      data,
      (id, entry) => host.gateway.accessChanged(id, entry),
      createLog(() => {}),
    );
    return { host, local, list, entry: connection(1) };
  }

  test("by revocation: once that is answered, no session and no process of it is left, and its calls are", async () => {
    const { host, local, list, entry } = await withList();
    await list.put(entry);
    const sessions = await Promise.all(Array.from({ length: 4 }, () => openRaw(host, "one")));
    const open = sessions.map(async (session) => (await session.post(call("never"))).json());
    await until(() => host.gateway.usage()[0]?.calls === 4);
    await list.remove(entry.connectionId);
    expect([host.gateway.sessionCount("probe"), local.alive()]).toEqual([0, []]);
    for (const answer of await Promise.all(open))
      expect(answer).toMatchObject({ error: { data: { code: "CONNECTION_REVOKED" } } });
  });

  test("by its own end: at that moment, without anybody asking", async () => {
    const { host, local, list, entry } = await withList();
    await list.put(entry);
    const { client } = await connect(host, "one");
    closers.push(() => client.close());
    const open = client.callTool({ name: "never" });
    open.catch(() => undefined);
    await until(() => host.gateway.usage()[0]?.calls === 1);
    const expiresAt = Date.now() + 300;
    await list.put({ ...entry, expiresAt });
    await expect(open).rejects.toMatchObject({ data: { code: "CONNECTION_REVOKED" } });
    expect(Date.now()).toBeGreaterThanOrEqual(expiresAt);
    await until(() => local.alive().length === 0);
    expect(host.gateway.sessionCount("probe")).toBe(0);
  });
});
