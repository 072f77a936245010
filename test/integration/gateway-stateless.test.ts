import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { afterEach, describe, expect, test } from "vitest";
import { connection, type GatewayHost, startGateway } from "../fixtures/mcp-servers/gateway-host.ts";
import { everythingServer, fixtureServer, type LocalServer } from "../fixtures/mcp-servers/local-process.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function gatewayFor(
  local: LocalServer,
  more: object = {},
  limits: Parameters<typeof startGateway>[1] = {},
): Promise<GatewayHost> {
  const host = await startGateway({ probe: { ...local.endpoint, ...more } }, limits);
  host.tokens.set("one", { type: "connection", entry: connection(1) });
  host.tokens.set("two", { type: "connection", entry: connection(2) });
  host.tokens.set("limited", { type: "connection", entry: connection(3, ["echo"]) });
  closers.push(async () => {
    await host.close();
    expect(local.alive()).toEqual([]);
    expect(host.faults).toEqual([]);
  });
  return host;
}

type Abilities = NonNullable<ConstructorParameters<typeof Client>[1]>["capabilities"];

async function stateless(host: GatewayHost, token = "one", capabilities: Abilities = {}): Promise<Client> {
  const client = new Client(
    { name: "test", version: "1" },
    { capabilities, versionNegotiation: { mode: { pin: "2026-07-28" } } },
  );
  await client.connect(
    new StreamableHTTPClientTransport(host.url, { requestInit: { headers: { authorization: `Bearer ${token}` } } }),
  );
  closers.push(() => client.close());
  expect(client.getNegotiatedProtocolVersion()).toBe("2026-07-28");
  return client;
}

const textOf = (result: unknown): string => (result as { content: { text: string }[] }).content[0]?.text ?? "";
const pid = async (client: Client) => textOf(await client.callTool({ name: "pid", arguments: {} }));

describe("a stateless client in front of a stdio server with sessions", () => {
  test("lists and calls", async () => {
    const host = await gatewayFor(everythingServer());
    const client = await stateless(host);
    expect((await client.listTools()).tools.map(({ name }) => name)).toContain("echo");
    expect(textOf(await client.callTool({ name: "echo", arguments: { message: "hä🙂" } }))).toBe("Echo: hä🙂");
    expect((await client.listResources()).resources.length).toBeGreaterThan(0);
    expect((await client.listPrompts()).prompts.length).toBeGreaterThan(0);
  });

  test("has a process of its connection, and keeps it between calls", async () => {
    const host = await gatewayFor(fixtureServer("eras.mjs", "--era=old"));
    const [first, again, other] = [await stateless(host), await stateless(host), await stateless(host, "two")];
    const pids = [await pid(first), await pid(again), await pid(other)];
    expect(pids[1]).toBe(pids[0]);
    expect(pids[2]).not.toBe(pids[0]);
  });

  test("gets progress", async () => {
    const host = await gatewayFor(fixtureServer("eras.mjs", "--era=old"));
    const client = await stateless(host);
    const progress: number[] = [];
    await client.callTool(
      { name: "slow", arguments: { ms: 200, steps: 4 } },
      { onprogress: (one) => progress.push(one.progress) },
    );
    expect(progress).toEqual([1, 2, 3, 4]);
  });

  test("cancels by leaving", async () => {
    const host = await gatewayFor(fixtureServer("eras.mjs", "--era=old"));
    const client = await stateless(host);
    const stop = new AbortController();
    const call = client.callTool({ name: "never", arguments: {} }, { signal: stop.signal });
    setTimeout(() => stop.abort(), 300);
    await expect(call).rejects.toThrow();
    await expect.poll(async () => textOf(await client.callTool({ name: "cancelled-count", arguments: {} }))).toBe("1");
  });

  test("is asked for all a server may ask, on the same call", async () => {
    const host = await gatewayFor(fixtureServer("eras.mjs", "--era=old"));
    const client = await stateless(host, "one", { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} });
    client.setRequestHandler("elicitation/create", async () => ({ action: "accept", content: { name: "Ada" } }));
    client.setRequestHandler("sampling/createMessage", async () => ({
      role: "assistant",
      model: "none",
      content: { type: "text", text: "sampled words" },
    }));
    client.setRequestHandler("roots/list", async () => ({ roots: [{ uri: "file:///tmp" }] }));
    expect(textOf(await client.callTool({ name: "ask-form", arguments: {} }))).toContain("Ada");
    expect(textOf(await client.callTool({ name: "ask-url", arguments: {} }))).toContain("accept");
    expect(textOf(await client.callTool({ name: "ask-sampling", arguments: {} }))).toContain("sampled words");
    expect(textOf(await client.callTool({ name: "ask-roots", arguments: {} }))).toContain("file:///tmp");
    const all = textOf(await client.callTool({ name: "ask-all", arguments: {} }));
    for (const word of ["Ada", "sampled words", "file:///tmp"]) expect(all).toContain(word);
    expect(textOf(await client.callTool({ name: "ask-rounds", arguments: { rounds: 3 } }))).toBe('["Ada","Ada","Ada"]');
  });

  test("hears of a resource it listens to, and of new tools", async () => {
    const host = await gatewayFor(fixtureServer("eras.mjs", "--era=old"));
    const client = await stateless(host);
    const heard: string[] = [];
    client.setNotificationHandler("notifications/resources/updated", ({ params }) => void heard.push(params.uri));
    client.setNotificationHandler("notifications/tools/list_changed", () => void heard.push("tools"));
    await client.listen({ toolsListChanged: true, resourceSubscriptions: ["memo://one"] });
    await client.callTool({ name: "touch", arguments: { text: "new" } });
    await client.callTool({ name: "grow", arguments: { name: "extra" } });
    await expect.poll(() => heard.sort()).toEqual(["memo://one", "tools"]);
  });

  test("sees and calls what its connection may use", async () => {
    const host = await gatewayFor(fixtureServer("eras.mjs", "--era=old"));
    const client = await stateless(host, "limited");
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(["echo"]);
    await expect(client.callTool({ name: "pid", arguments: {} })).rejects.toThrow("not allowed");
  });
});
