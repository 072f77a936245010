import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { afterEach, expect, test } from "vitest";
import { connection, type GatewayHost, startGateway } from "../fixtures/mcp-servers/gateway-host.ts";
import { fixtureServer, type LocalServer } from "../fixtures/mcp-servers/local-process.ts";

/** One process for everybody, as a template may want it. */
/** Processes start slowly on a busy machine. */
const patience = { timeout: 30_000 };
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function shared(): Promise<{ host: GatewayHost; local: LocalServer }> {
  const local = fixtureServer("eras.mjs", "--era=old");
  const host = await startGateway({ probe: { ...local.endpoint, isShared: true } }, { queueMs: 10_000 });
  for (const number of [1, 2, 3]) host.tokens.set(String(number), { type: "connection", entry: connection(number) });
  closers.push(async () => {
    await host.close();
    expect(local.alive()).toEqual([]);
    expect(host.faults).toEqual([]);
  });
  return { host, local };
}

async function client(host: GatewayHost, token: string, name: string | undefined, isStateless = false): Promise<Client> {
  const made = new Client(
    { name: "test", version: "1" },
    {
      capabilities: name === undefined ? {} : { elicitation: { form: {} } },
      ...(isStateless ? { versionNegotiation: { mode: { pin: "2026-07-28" } } } : {}),
    },
  );
  if (name !== undefined) {
    made.setRequestHandler("elicitation/create", async () => ({ action: "accept", content: { name } }));
  }
  await made.connect(
    new StreamableHTTPClientTransport(host.url, { requestInit: { headers: { authorization: `Bearer ${token}` } } }),
  );
  closers.push(() => made.close());
  return made;
}

const textOf = (result: unknown): string => (result as { content: { text: string }[] }).content[0]?.text ?? "";
const ask = async (one: Client, name: string, args: object = {}) =>
  textOf(await one.callTool({ name, arguments: { ...args } }));

test("sessions and stateless callers of all connections have the same process", async () => {
  const { host, local } = await shared();
  const clients = [
    await client(host, "1", undefined),
    await client(host, "2", undefined),
    await client(host, "3", undefined, true),
  ];
  const pids = await Promise.all(clients.map((one) => ask(one, "pid")));
  expect(new Set(pids).size).toBe(1);
  expect(local.started()).toBe(1);
});

test("answers, progress and questions reach the one who caused them, whoever else is at work", async () => {
  const { host } = await shared();
  const names = ["Ada", "Grace", "Edsger"];
  const asking = await Promise.all(names.map((name, index) => client(host, String(index + 1), name, index === 2)));
  const silent = [await client(host, "1", undefined), await client(host, "2", undefined, true)];
  const asked = asking.map(async (one, index) => {
    for (let round = 0; round < 5; round += 1) expect(await ask(one, "ask-form")).toContain(names[index]);
  });
  const said = silent.map(async (one, index) => {
    for (let round = 0; round < 20; round += 1)
      expect(await ask(one, "echo", { text: `${index}/${round}` })).toBe(`${index}/${round}`);
  });
  const steps = silent.map(async (one) => {
    const progress: number[] = [];
    await one.callTool({ name: "slow", arguments: { ms: 80, steps: 4 } }, { onprogress: (at) => progress.push(at.progress) });
    expect(progress).toEqual([1, 2, 3, 4]);
  });
  await Promise.all([...asked, ...said, ...steps]);
});

test("nobody is asked what another one's call needs", async () => {
  const { host } = await shared();
  const silent = await client(host, "1", undefined);
  const asking = await client(host, "2", "Ada");
  const [refused, answered] = await Promise.all([
    silent.callTool({ name: "ask-form", arguments: {} }),
    ask(asking, "ask-form"),
  ]);
  expect(JSON.stringify(refused)).not.toContain("Ada");
  expect(refused.isError).toBe(true);
  expect(answered).toContain("Ada");
});

test("a resource is announced to those who subscribed, until the last one leaves", async () => {
  const { host } = await shared();
  const [first, second, third] = [
    await client(host, "1", undefined),
    await client(host, "2", undefined),
    await client(host, "3", undefined),
  ];
  const heard: string[] = [];
  for (const [name, one] of [
    ["first", first],
    ["second", second],
    ["third", third],
  ] as const) {
    one.setNotificationHandler("notifications/resources/updated", () => void heard.push(name));
  }
  await first.subscribeResource({ uri: "memo://one" });
  await second.subscribeResource({ uri: "memo://one" });
  await ask(third, "touch", { text: "a" });
  await expect.poll(() => [...heard].sort(), patience).toEqual(["first", "second"]);
  await first.unsubscribeResource({ uri: "memo://one" });
  await ask(third, "touch", { text: "b" });
  await expect.poll(() => [...heard].sort(), patience).toEqual(["first", "second", "second"]);
});

test("a session that leaves cancels its calls and leaves the process to the others", async () => {
  const { host, local } = await shared();
  const [first, second] = [await client(host, "1", undefined), await client(host, "2", undefined)];
  const call = first.callTool({ name: "never", arguments: {} });
  call.catch(() => undefined);
  await expect.poll(() => ask(second, "echo", { text: "x" }), patience).toBe("x");
  await (first.transport as StreamableHTTPClientTransport).terminateSession();
  await expect.poll(() => ask(second, "cancelled-count"), patience).toBe("1");
  expect(local.alive()).toHaveLength(1);
});

test("the process that dies gives everybody an answer, and the next session has a new one", async () => {
  const { host, local } = await shared();
  const [first, second] = [await client(host, "1", undefined), await client(host, "2", undefined, true)];
  const calls = [first, second].map((one) => one.callTool({ name: "never", arguments: {} }));
  const settled = Promise.allSettled(calls);
  await new Promise((resolve) => setTimeout(resolve, 300));
  local.killAll();
  expect((await settled).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  expect(await ask(await client(host, "1", undefined), "echo", { text: "again" })).toBe("again");
});
