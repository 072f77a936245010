import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ConnectionId, TemplateId } from "../../shared/model/ids.ts";
import { serverPermissions } from "../../shared/model/spec.ts";
import { startControlCentre } from "../fixtures/control-centre.ts";
import { type Bench, createBench, type DtmaProcess } from "../fixtures/dtma.ts";
import { forwardTo, type Gate, startGate } from "../fixtures/gate.ts";
import { parts } from "../setup/parts.ts";

/* An organisation's gate in front of the MCP endpoint of a real DTMA, and a control centre that is let through. */

describe.skipIf(!parts.docker)("a toolbox behind a gate that asks people to sign in", () => {
  const pages: string[] = [];
  let goesThrough = true;
  let bench: Bench;
  let dtma: DtmaProcess;
  let gate: Gate;
  let centre: Awaited<ReturnType<typeof startControlCentre>>;
  let id: ConnectionId;

  beforeAll(async () => {
    bench = createBench();
    const image = await bench.serverImage("tools-of-args.mjs", { args: ["pid", "echo"] });
    dtma = await bench.start();
    gate = await startGate({ forward: forwardTo(new URL(dtma.ready.url)), guards: (path) => path.startsWith("/mcp/") });
    const openPage = (url: string) => {
      pages.push(url);
      if (goesThrough) void fetch(url);
    };
    centre = await startControlCentre({ openPage });
    const { client, window } = centre;
    const { id: toolboxId } = await client.toolboxes.add({
      ...{ name: "box", url: gate.url },
      ...{ token: dtma.token, fingerprint: null },
    });
    await window.until("a link", ({ rows }) => rows.toolboxes.get(toolboxId)?.link.state === "connected");
    const { serverId } = await client.servers.deploy({
      toolboxId,
      templateId: "any-image" as TemplateId,
      name: "tools",
      source: { type: "oci", image },
      transport: { type: "stdio" },
      settings: {},
      permissions: serverPermissions.parse({ network: "none" }),
    });
    await window.until("a running server", ({ rows }) => rows.servers.get(serverId)?.tools != null);
    const agent = await client.agents.create({ name: "Researcher" });
    ({ id } = await client.connections.connect({ agentId: agent.id, serverId }));
  }, 120_000);
  afterAll(async () => {
    await centre?.stop();
    centre?.discard();
    await gate?.close();
    await bench.close();
  });

  const run = async (tool: string) => {
    const events = [];
    for await (const event of await centre.client.connections.callTool({ id, tool, arguments: {} })) events.push(event);
    return events.at(-1);
  };
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
    expect(JSON.stringify(centre.lines)).not.toMatch(secrets);
    expect(dtma.log()).not.toMatch(secrets);
    for (const file of readdirSync(centre.folder, { recursive: true, withFileTypes: true }).filter((each) => each.isFile()))
      expect(readFileSync(join(file.parentPath, file.name), "latin1")).not.toMatch(secrets);
  });

  it("ends a revoked connection as one that was revoked: nobody is asked to sign in again", async () => {
    const before = pages.length;
    await run("echo");
    await dtma.call("DELETE", `/v1/access/${id}`);
    await expect(run("echo")).rejects.toMatchObject({ data: { code: "CONNECTION_REVOKED" } });
    expect(pages.length).toBe(before);
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
