import { afterEach, describe, expect, test } from "vitest";
import type { AccessEntry } from "../../shared/dtma-protocol.ts";
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
import { fixtureServer, type LocalServer, startHttpFixture } from "../fixtures/mcp-servers/local-process.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const call = (name: string, id = 1) => ({ jsonrpc: "2.0", id, method: "tools/call", params: { name, arguments: {} } });

describe.each(["stdio", "http"] as const)("the allow-list in front of a server over %s", (transport) => {
  async function gateway(): Promise<{ host: GatewayHost; local: LocalServer; entry: AccessEntry }> {
    const local = fixtureServer("probe.mjs");
    const entry = connection(1, ["raw"]);
    let host: GatewayHost;
    if (transport === "stdio") host = await startGateway({ probe: local.endpoint });
    else {
      const server = await startHttpFixture("probe-http.mjs", await freePort());
      closers.push(() => server.kill());
      host = await startGateway({ probe: { type: "http", url: server.url } });
    }
    host.tokens.set("one", { type: "connection", entry });
    closers.push(async () => {
      await host.close();
      expect(local.alive()).toEqual([]);
    });
    return { host, local, entry };
  }

  test("hides other tools on every page and leaves the rest of the answer alone", async () => {
    const { host } = await gateway();
    const raw = await openRaw(host, "one");
    const first = await (await raw.post({ jsonrpc: "2.0", id: 1, method: "tools/list" })).text();
    expect(first).toContain("9223372036854775807");
    const page = JSON.parse(first).result;
    expect(page.tools.map((tool: { name: string }) => tool.name)).toEqual(["raw"]);
    expect([page.nextCursor, page._meta]).toEqual(["two", { page: 1 }]);
    const second = await raw.post({ jsonrpc: "2.0", id: 2, method: "tools/list", params: { cursor: "two" } });
    expect((await second.json()).result).toEqual({ tools: [] });
    const unrestricted = await openRaw(host, "toolbox");
    const all = await (await unrestricted.post({ jsonrpc: "2.0", id: 1, method: "tools/list" })).json();
    expect(all.result.tools.length).toBe(2);
  });

  test("refuses other tools by name, with status 200 and a sentence", async () => {
    const { host } = await gateway();
    const { client } = await connect(host, "one");
    closers.push(() => client.close());
    await expect(client.callTool({ name: "secret" })).rejects.toMatchObject({
      code: -32602,
      message: expect.stringContaining('not allowed to use the tool "secret"'),
    });
    expect(JSON.stringify(await client.callTool({ name: "raw" }))).toContain("tools/call");
    expect(host.gateway.usage()).toMatchObject([{ calls: 2, errors: 1 }]);
  });

  const odd: [string, string][] = [
    [
      "a method written with escapes",
      '{"jsonrpc":"2.0","id":1,"m\\u0065thod":"tools\\/c\\u0061ll","params":{"name":"secret"}}',
    ],
    ["a method named twice", '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"secret"},"method":"ping"}'],
    ["params named twice", '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"secret"},"params":{"name":"raw"}}'],
    ["a name given twice", '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"secret","n\\u0061me":"raw"}}'],
    [
      "a member that differs in case",
      '{"jsonrpc":"2.0","id":1,"method":"ping","METHOD":"tools/call","params":{"name":"secret"}}',
    ],
    [
      "a member with a long s",
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"raw"},"param\u017f":{"name":"secret"}}',
    ],
    ["a name that differs in case", '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"raw","Name":"secret"}}'],
    ["a method that differs in case", '{"jsonrpc":"2.0","id":1,"method":"Tools/Call","params":{"name":"secret"}}'],
    ["params that are a list", '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["secret"]}'],
    ["an answer that is also a call", '{"jsonrpc":"2.0","id":1,"result":{},"method":"tools/call","params":{"name":"secret"}}'],
    ["a call without an id", '{"jsonrpc":"2.0","method":"tools/call","params":{"name":"secret"}}'],
    [
      "a name after deep nesting",
      `{"jsonrpc":"2.0","id":1,"params":{"a":${"[".repeat(400)}${"]".repeat(400)},"name":"secret"},"method":"tools/call"}`,
    ],
  ];
  test("cannot be tricked by odd JSON", async () => {
    const { host } = await gateway();
    const raw = await openRaw(host, "one");
    for (const [what, body] of odd) {
      const answer = await (await raw.post(body)).text();
      expect(answer, what).not.toContain("the secret tool ran");
      expect([-32600, -32602], what).toContain(JSON.parse(answer).error.code);
    }
    expect((await raw.post(call("raw"))).status).toBe(200);
  });

  test("counts inside batches too", async () => {
    const { host } = await gateway();
    const raw = await openRaw(host, "one", "2025-03-26");
    const answers = [];
    for await (const event of eventsOf(await raw.post([call("secret", 1), call("raw", 2)])))
      answers.push(JSON.parse(event.data));
    expect(answers).toMatchObject([
      { id: 1, error: { code: -32602 } },
      { id: 2, result: {} },
    ]);
  });

  test("applies to open sessions as soon as it changes, and tells the client", async () => {
    const { host, entry } = await gateway();
    const { client } = await connect(host, "one");
    closers.push(() => client.close());
    const told = new Promise((resolve) => client.setNotificationHandler("notifications/tools/list_changed", resolve));
    const changed = { ...entry, allowedTools: ["secret"] };
    await host.gateway.accessChanged(entry.connectionId, changed);
    await told;
    await expect(client.callTool({ name: "raw" })).rejects.toThrow("not allowed");
    expect(JSON.stringify(await client.callTool({ name: "secret" }))).toContain("the secret tool ran");
  });

  test("revocation ends open sessions and answers what was open", async () => {
    const { host, entry } = await gateway();
    await host.gateway.accessChanged(entry.connectionId, { ...entry, allowedTools: null });
    host.tokens.set("one", { type: "connection", entry: { ...entry, allowedTools: null } });
    const raw = await openRaw(host, "one");
    const other = await openRaw(host, "toolbox");
    const calling = raw.post(call("never"));
    await until(() => host.gateway.usage()[0]?.calls === 1);
    await host.gateway.accessChanged(entry.connectionId, undefined);
    expect(await (await calling).json()).toMatchObject({ id: 1, error: { data: { code: "CONNECTION_REVOKED" } } });
    expect((await raw.post(call("raw"))).status).toBe(404);
    expect((await other.post(call("raw"))).status).toBe(200);
    expect(host.gateway.usage()).toEqual([]);
  });

  test("a revocation while the request is on its way wins", async () => {
    const { host, entry } = await gateway();
    const { readable, writable } = new TransformStream<Uint8Array>();
    const writer = writable.getWriter();
    const handle = host.gateway.handle;
    const visiting = new Promise<void>((resolve) => {
      host.gateway.handle = (...parameters) => {
        resolve();
        return handle(...parameters);
      };
    });
    void writer.write(new TextEncoder().encode(" "));
    const opening = fetch(host.url, {
      method: "POST",
      headers: host.headers("one"),
      body: readable,
      duplex: "half",
    } as RequestInit);
    await visiting;
    await host.gateway.accessChanged(entry.connectionId, undefined);
    void writer.write(new TextEncoder().encode(JSON.stringify({ jsonrpc: "2.0", id: 1, method: "initialize", params: {} })));
    void writer.close();
    expect((await opening).status).toBe(401);
    expect(host.gateway.sessionCount("probe")).toBe(0);
  });
});

test("usage is reported at most about once a second for each connection", async () => {
  const local = fixtureServer("probe.mjs");
  const host = await startGateway({ probe: local.endpoint });
  closers.push(() => host.close());
  host.tokens.set("one", { type: "connection", entry: connection(1) });
  const raw = await openRaw(host, "one");
  for (let id = 1; id <= 40; id++) await (await raw.post(call(id === 40 ? "fails" : "pid", id))).text();
  await until(() => host.usage.at(-1)?.calls === 40);
  expect(host.usage.length).toBeLessThan(40);
  expect(host.usage.at(-1)).toMatchObject({ connectionId: connection(1).connectionId, calls: 40, errors: 1 });
});
