import { afterEach, describe, expect, test } from "vitest";
import { connection, type GatewayHost, openRaw, startGateway, until } from "../fixtures/mcp-servers/gateway-host.ts";
import { fixtureServer, type LocalServer } from "../fixtures/mcp-servers/local-process.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function gateway(limits: Parameters<typeof startGateway>[1] = {}, local = fixtureServer("probe.mjs")) {
  const host = await startGateway({ probe: local.endpoint }, { spares: 1, ...limits });
  for (const number of [1, 2]) host.tokens.set(`${number}`, { type: "connection", entry: connection(number) });
  closers.push(async () => {
    await host.close();
    expect(local.alive()).toEqual([]);
    expect(host.faults).toEqual([]);
  });
  return { local, host };
}

const pidOf = async (raw: Awaited<ReturnType<typeof openRaw>>): Promise<number> => {
  const response = await raw.post({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "pid", arguments: {} } });
  const { result } = (await response.json()) as { result: { content: { text: string }[] } };
  return Number(result.content[0]?.text);
};
const close = (host: GatewayHost, { headers }: { headers: Record<string, string> }) =>
  fetch(host.url, { method: "DELETE", headers });
const alone = async (local: LocalServer): Promise<number> => {
  await until(() => local.alive().length === 1);
  return local.alive()[0] ?? 0;
};

describe("a warm spare", () => {
  test("is started after the first use, is the next session's process, and is filled up again", async () => {
    const { local, host } = await gateway();
    expect(local.started()).toBe(0);
    const first = await openRaw(host, "1");
    const pid = await pidOf(first);
    await until(() => local.alive().length === 2);
    const spare = local.alive().find((one) => one !== pid);
    const second = await openRaw(host, "2");
    expect(await pidOf(second)).toBe(spare);
    await until(() => local.alive().length === 3);
    expect(host.gateway.sessionCount("probe")).toBe(2);
    await close(host, first);
    await close(host, second);
    await alone(local);
    expect(local.started()).toBe(3);
  });

  test("is never a process that somebody had", async () => {
    const { local, host } = await gateway({ spares: 2 });
    const seen = new Set<number>();
    for (let round = 0; round < 12; round++) {
      const raw = await openRaw(host, `${(round % 2) + 1}`);
      const pid = await pidOf(raw);
      expect(seen).not.toContain(pid);
      seen.add(pid);
      await close(host, raw);
    }
    await until(() => local.alive().length === 2);
    expect(local.alive().some((pid) => seen.has(pid))).toBe(false);
  });

  test("that died while it waited is noticed, and its successor comes later", async () => {
    const { local, host } = await gateway();
    await close(host, await openRaw(host, "1"));
    process.kill(await alone(local), "SIGKILL");
    await until(() => local.alive().length === 0);
    const raw = await openRaw(host, "1");
    expect(local.alive()).toEqual([await pidOf(raw)]);
  });

  test("that dies as it is handed out is made good by a fresh process, once", async () => {
    const { local, host } = await gateway();
    await close(host, await openRaw(host, "1"));
    const spare = await alone(local);
    process.kill(spare, "SIGSTOP");
    const opening = openRaw(host, "1");
    await until(() => host.gateway.sessionCount("probe") === 1);
    process.kill(spare, "SIGKILL");
    const raw = await opening;
    expect(await pidOf(raw)).not.toBe(spare);
    process.kill(await pidOf(raw), "SIGKILL");
    await until(() => host.gateway.sessionCount("probe") === 0);
    expect((await raw.post({ jsonrpc: "2.0", id: 2, method: "ping" })).status).toBe(404);
  });

  test("gives way when its slot is needed", async () => {
    const { local, host } = await gateway({ sessionsPerServer: 3, queueMs: 10_000 });
    const first = await openRaw(host, "1");
    await until(() => local.alive().length === 2);
    const more = await Promise.all([openRaw(host, "1"), openRaw(host, "1")]);
    expect(new Set(await Promise.all([first, ...more].map(pidOf)))).toEqual(new Set(local.alive()));
    expect(local.alive()).toHaveLength(3);
  });

  test("goes when its server is stopped, when it is not used for long, and when its container is another one", async () => {
    const { local, host } = await gateway();
    await close(host, await openRaw(host, "1"));
    await alone(local);
    await host.gateway.closeServer("probe");
    expect(local.alive()).toEqual([]);

    const idle = await gateway({ spareIdleMs: 500, idleMs: 200 });
    await close(idle.host, await openRaw(idle.host, "1"));
    await until(() => idle.local.started() === 2);
    await until(() => idle.local.alive().length === 0);

    const [before, after] = [fixtureServer("probe.mjs"), fixtureServer("probe.mjs")];
    let container = "before";
    const moving: LocalServer["endpoint"] = {
      type: "stdio",
      get container() {
        return container;
      },
      open: () => (container === "before" ? before : after).endpoint.open(),
    };
    const moved = await gateway({}, { ...before, endpoint: moving });
    await close(moved.host, await openRaw(moved.host, "1"));
    await alone(before);
    container = "after";
    await openRaw(moved.host, "1");
    await until(() => before.alive().length === 0 && after.alive().length === 2);
    await moved.host.close();
    expect(after.alive()).toEqual([]);
  });
});
