import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AgentId, ConnectionId, ServerId, TemplateId, ToolboxId } from "../../shared/model/ids.ts";
import { serverPermissions } from "../../shared/model/spec.ts";
import { startControlCentre } from "../fixtures/control-centre.ts";
import { type Bench, createBench, type DtmaProcess } from "../fixtures/dtma.ts";
import { createSharedPostgres } from "../fixtures/shared-workspace.ts";
import { startTcpProxy, type TcpProxy } from "../fixtures/tcp-proxy.ts";
import { parts } from "../setup/parts.ts";

type ControlCentre = Awaited<ReturnType<typeof startControlCentre>>;

/* Two people, a toolbox with a DTMA of its own, one database: what works while every admin's computer is asleep. */
describe.skipIf(!parts.docker || parts.postgres === undefined)("a toolbox that reports by itself", () => {
  let shared: Awaited<ReturnType<typeof createSharedPostgres>>;
  let bench: Bench;
  let dtma: DtmaProcess;
  /** Between the computers and the toolbox. */
  let road: TcpProxy;
  let ada: ControlCentre;
  let uma: ControlCentre;
  let toolboxId: ToolboxId;
  let serverId: ServerId;
  let agentId: AgentId;
  let connectionId: ConnectionId;

  beforeAll(async () => {
    shared = await createSharedPostgres();
    bench = createBench();
    dtma = await bench.start();
    road = await startTcpProxy(Number(new URL(dtma.ready.url).port));
    [ada, uma] = [await startControlCentre(), await startControlCentre()];
  });
  afterAll(async () => {
    for (const centre of [ada, uma]) {
      await centre?.stop();
      centre?.discard();
    }
    await road?.down();
    await bench?.close();
    await shared?.stop();
  });

  /** Without a keychain the app has forgotten its secrets: the person signs in, and gives it the toolbox's token again. */
  async function signInAgain(): Promise<void> {
    const state = await ada.window.until("an answer of the database", ({ facts }) => {
      const { link } = facts.sync;
      return (link.state === "online" || link.state === "signed-out") && link.state;
    });
    if (state === "online") return;
    await ada.client.workspace.signIn({ credential: { password: shared.passwordOf("ada") } });
    await ada.client.workspace.authorizeToolbox({ id: toolboxId, token: dtma.token });
  }

  async function callEcho(centre: ControlCentre, message: string) {
    const events = [];
    for await (const event of await centre.client.connections.callTool({
      id: connectionId,
      tool: "echo",
      arguments: { message },
    }))
      events.push(event);
    return events.at(-1);
  }

  async function eventually<T>(what: string, attempt: () => Promise<T>, timeoutMs = 60_000): Promise<T> {
    const end = Date.now() + timeoutMs;
    for (;;) {
      try {
        return await attempt();
      } catch (cause) {
        if (Date.now() > end) throw new Error(`It never came to ${what}.`, { cause });
        await new Promise((resolve) => setTimeout(resolve, 300));
      }
    }
  }

  it("is told where to report when its workspace is shared", async () => {
    await shared.foundBy(ada.client.workspace, "ada");
    ({ id: toolboxId } = await ada.client.toolboxes.add({
      name: "box",
      url: `http://127.0.0.1:${road.port}`,
      token: dtma.token,
      fingerprint: null,
    }));
    await ada.client.workspace.makeReportingLogin(shared.owner);
    await ada.window.until(
      "the toolbox in the database",
      ({ rows }) => rows.toolboxes.get(toolboxId)?.shared?.canReport === true,
    );
    await eventually("a report that was accepted", async () => {
      const { body } = await dtma.call("GET", "/v1/reporting");
      expect(body).toMatchObject({ target: { toolboxId }, condition: { failure: null, lastSuccessAt: expect.any(Number) } });
    });
  });

  it("carries out a deploy with a secret that was asked for while it was away", async () => {
    await road.down();
    await ada.window.until("the lost link", ({ rows }) => rows.toolboxes.get(toolboxId)?.link.state === "lost");
    const asked = await ada.client.servers.deploy({
      toolboxId,
      templateId: "any-npm-package" as TemplateId,
      name: "later",
      source: { type: "npm", package: "time-mcp", version: "1.0.6" },
      transport: { type: "stdio" },
      settings: {},
      secrets: { API_KEY: "canary of a later deploy" },
      permissions: serverPermissions.parse({ network: "none" }),
    });
    expect(asked.operationId).toBeNull();
    await road.up();
    await ada.client.toolboxes.reconnect({ id: toolboxId });
    await ada.window.until("the running server", ({ rows }) => {
      const row = rows.servers.get(asked.serverId);
      return row?.observed.state === "present" && row.observed.health.state === "ready" && row.activeOperationId === null;
    });
    expect(JSON.stringify((await shared.dump()).servers)).not.toContain("canary");
    await ada.client.servers.delete({ id: asked.serverId });
    await ada.window.until("that it is gone", ({ rows }) => !rows.servers.has(asked.serverId));
  });

  it("lets a user see what an admin deployed", async () => {
    ({ serverId } = await ada.client.servers.deploy({
      toolboxId,
      templateId: "everything" as TemplateId,
      name: "everything",
      source: { type: "npm", package: "@modelcontextprotocol/server-everything", version: "2026.8.31" },
      transport: { type: "stdio" },
      settings: {},
      permissions: serverPermissions.parse({ network: "none" }),
    }));
    await shared.join(ada.client.workspace, uma.client.workspace, "uma");
    await uma.window.until(
      "the running server",
      ({ rows }) => rows.servers.get(serverId)?.shared?.status === "running",
      180_000,
    );
  });

  it("learns from the database of a link that a user made while no admin was there", async () => {
    await ada.window.until("that all is sent", ({ facts }) => facts.sync.queued === 0);
    await ada.stop();
    ({ id: agentId } = await uma.client.agents.create({ name: "Reader" }));
    ({ id: connectionId } = await uma.client.connections.connect({ agentId, serverId, allowedTools: ["echo"] }));
    expect(await eventually("an answer", () => callEcho(uma, "while all sleep"))).toMatchObject({
      type: "result",
      content: [{ text: expect.stringContaining("while all sleep") }],
    });
  });

  it("refuses the next call after an admin revoked the link", async () => {
    ada = await startControlCentre({ folder: ada.folder });
    await signInAgain();
    await ada.window.until("the link", ({ rows }) => rows.connections.has(connectionId));
    await ada.client.connections.disconnect({ id: connectionId });
    await eventually("a refusal", async () => {
      const outcome = await callEcho(uma, "again").then(
        () => "answered",
        (error: { data?: { code?: string } }) => error.data?.code,
      );
      expect(["NOT_FOUND", "CONNECTION_REVOKED"]).toContain(outcome);
    });
    await uma.window.until("that it is gone", ({ rows }) => !rows.connections.has(connectionId));
  });

  it("is not told a login that no admin gave", async () => {
    await expect(uma.client.workspace.setReportingLogin({ user: "x", password: "y" })).rejects.toMatchObject({
      data: { code: "FORBIDDEN" },
    });
    await ada.client.workspace.setReportingLogin({ user: "dtma_nobody", password: "wrong password" });
    await eventually("a failure that is named", async () => {
      const { body } = await dtma.call("GET", "/v1/reporting");
      expect(body).toMatchObject({ condition: { failure: { error: { code: "SIGN_IN_REFUSED" } } } });
      expect(JSON.stringify(body)).not.toContain("wrong password");
    });
  });
});
