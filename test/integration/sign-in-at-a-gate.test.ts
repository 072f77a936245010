import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ConnectionId, TemplateId } from "../../shared/model/ids.ts";
import { serverPermissions } from "../../shared/model/spec.ts";
import { startControlCentre } from "../fixtures/control-centre.ts";
import { type Bench, createBench, type DtmaProcess } from "../fixtures/dtma.ts";
import { forwardTo, type Gate, type HandRegistered, startGate } from "../fixtures/gate.ts";
import { parts } from "../setup/parts.ts";

/* An organisation's gate in front of the MCP endpoint of a real DTMA, and a control centre that is let through. */

describe.skipIf(!parts.docker)("a toolbox behind a gate that asks people to sign in", () => {
  const pages: string[] = [];
  let goesThrough = true;
  let bench: Bench;
  let image: string;
  let dtma: DtmaProcess;
  let gate: Gate;
  let centre: Awaited<ReturnType<typeof startControlCentre>>;
  let id: ConnectionId;

  type Centre = Awaited<ReturnType<typeof startControlCentre>>;
  const guarded = () => ({ forward: forwardTo(new URL(dtma.ready.url)), guards: (path: string) => path.startsWith("/mcp/") });

  /** A server of the toolbox behind a gate, and as many connections to it as there are agents. */
  async function connect({ client, window }: Centre, { url }: Gate, server: string, ...agents: string[]) {
    const { id: toolboxId } = await client.toolboxes.add({ name: "box", url, token: dtma.token, fingerprint: null });
    await window.until("a link", ({ rows }) => rows.toolboxes.get(toolboxId)?.link.state === "connected");
    const { serverId } = await client.servers.deploy({
      toolboxId,
      templateId: "any-image" as TemplateId,
      name: server,
      source: { type: "oci", image },
      transport: { type: "stdio" },
      settings: {},
      permissions: serverPermissions.parse({ network: "none" }),
    });
    await window.until("a running server", ({ rows }) => rows.servers.get(serverId)?.tools != null);
    const ids: ConnectionId[] = [];
    for (const name of agents) {
      const agent = await client.agents.create({ name });
      ids.push((await client.connections.connect({ agentId: agent.id, serverId })).id);
    }
    return ids;
  }

  beforeAll(async () => {
    bench = createBench();
    image = await bench.serverImage("tools-of-args.mjs", { args: ["pid", "echo"] });
    dtma = await bench.start();
    gate = await startGate(guarded());
    const openPage = (url: string) => {
      pages.push(url);
      if (goesThrough) void fetch(url);
    };
    centre = await startControlCentre({ openPage });
    [id] = (await connect(centre, gate, "tools", "Researcher")) as [ConnectionId];
  }, 120_000);
  afterAll(async () => {
    await centre?.stop();
    centre?.discard();
    await gate?.close();
    await bench.close();
  });

  const runIn = async ({ client }: Centre, id: ConnectionId, tool: string) => {
    const events = [];
    for await (const event of await client.connections.callTool({ id, tool, arguments: {} })) events.push(event);
    return events.at(-1);
  };
  const run = (tool: string) => runIn(centre, id, tool);
  const waiting = (count: number) => centre.window.until("the sign-in", ({ facts }) => facts.signIns.length === count);

  it("lists and calls tools once somebody has signed in, with the connection's token behind the gate's", async () => {
    goesThrough = false;
    const cancelled = run("echo");
    cancelled.catch(() => undefined);
    await waiting(1);
    expect(centre.window.copy.facts.signIns).toMatchObject([{ connectionId: id, host: new URL(gate.url).host, url: pages[0] }]);
    await centre.client.connections.cancelSignIn({ id });
    await expect(cancelled).rejects.toMatchObject({ data: { code: "CANCELLED" } });
    await waiting(0);

    goesThrough = true;
    const [tools, result] = await Promise.all([centre.client.connections.listTools({ id }), run("echo")]);
    expect(tools.map(({ name }) => name)).toEqual(["pid", "echo"]);
    expect(result).toMatchObject({ type: "result", content: [{ type: "text", text: "echo" }], isError: false });
    expect(pages.length).toBe(2);
    expect(gate.passed.length).toBeGreaterThan(0);
    for (const headers of gate.passed)
      expect(headers).toMatchObject({
        authorization: expect.stringMatching(/^Bearer access-/),
        "dtma-connection-token": expect.stringMatching(/^dtma_/),
      });

    gate.expire();
    expect(await run("pid")).toMatchObject({ isError: false });
    expect(pages.length).toBe(2);

    const own = gate.passed[0]?.["dtma-connection-token"] ?? "";
    const secrets = new RegExp(`access-|refresh-|${own}`);
    expectNone(secrets, centre);
    expect(dtma.log()).not.toMatch(secrets);
  });

  it("ends a revoked connection as one that was revoked: nobody is asked to sign in again", async () => {
    const before = pages.length;
    await run("echo");
    await dtma.call("DELETE", `/v1/access/${id}`);
    await expect(run("echo")).rejects.toMatchObject({ data: { code: "CONNECTION_REVOKED" } });
    expect(pages.length).toBe(before);
  });

  it("is signed in at with a client that somebody gave, where its authorization server registers none", async () => {
    const secret = "hand-made-secret";
    const registered: HandRegistered = { id: "by-hand", secret, redirectAddress: "http://127.0.0.1:28471/signed-in" };
    const strict = await startGate({ ...guarded(), client: registered });
    const other = await startControlCentre({ openPage: (url) => void fetch(url) });
    try {
      const { client } = other;
      const [first, second] = (await connect(other, strict, "strict", "Researcher", "Writer")) as [ConnectionId, ConnectionId];
      const needed = (count: number) =>
        other.window.until("what is needed", ({ facts }) => facts.neededClients.length === count && facts.neededClients);

      await expect(runIn(other, first, "echo")).rejects.toMatchObject({
        data: { code: "GATEWAY_REFUSED", message: expect.stringContaining("registers no application by itself") },
      });
      const [asked] = await needed(1);
      expect(asked).toMatchObject({ connectionId: first, client: { issuer: strict.url, clientId: null } });
      expect(await client.connections.signInClient({ id: first })).toBeNull();

      const given = {
        issuer: strict.url,
        clientId: "by-hand",
        redirectAddress: registered.redirectAddress,
        vouchesForPkce: null,
      };
      await expect(
        client.connections.giveSignInClient({ ...given, redirectAddress: "http://192.0.2.7:28471/signed-in" }),
      ).rejects.toMatchObject({ data: { code: "INVALID_INPUT", field: "redirectAddress" } });
      await client.connections.giveSignInClient({ ...given, clientSecret: "not-the-hand-made-secret" });
      await needed(0);
      await expect(runIn(other, first, "echo")).rejects.toMatchObject({
        data: { code: "GATEWAY_REFUSED", message: expect.stringContaining("This is not its secret.") },
      });
      await needed(1);
      await client.connections.giveSignInClient({ ...given, clientSecret: secret });
      expect(await runIn(other, first, "echo")).toMatchObject({ isError: false });
      expect(await runIn(other, second, "echo")).toMatchObject({ isError: false });
      expect(strict.asked).not.toContain("register");
      for (const each of [first, second])
        expect(await client.connections.signInClient({ id: each })).toEqual({
          ...{ issuer: strict.url, clientId: "by-hand", hasSecret: true },
          ...{ redirectAddress: registered.redirectAddress, vouchesForPkce: null },
        });
      expect(JSON.stringify(other.window.copy.facts)).not.toContain(secret);
      expectNone(new RegExp(`access-|refresh-|${secret}`), other);

      await client.connections.forgetSignInClient({ issuer: strict.url });
      await expect(runIn(other, second, "echo")).rejects.toMatchObject({ data: { code: "GATEWAY_REFUSED" } });
    } finally {
      await other.stop();
      other.discard();
      await strict.close();
    }
  });

  it("opens none of its control routes to the token of a connection, nor to its own in that header", async () => {
    for (const token of [gate.passed[0]?.["dtma-connection-token"], dtma.token]) {
      const response = await fetch(new URL("/v1/servers", dtma.ready.url), {
        headers: { "dtma-connection-token": String(token) },
      });
      expect(response.status).toBe(401);
    }
  });
});

/** Neither a line of the log nor a file of a control centre has any of it. */
function expectNone(secrets: RegExp, { lines, folder }: Awaited<ReturnType<typeof startControlCentre>>): void {
  expect(JSON.stringify(lines)).not.toMatch(secrets);
  for (const file of readdirSync(folder, { recursive: true, withFileTypes: true }).filter((each) => each.isFile()))
    expect(readFileSync(join(file.parentPath, file.name), "latin1")).not.toMatch(secrets);
}
