import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ToolCallEvent } from "../../shared/contract/connections.ts";
import type { OperationId, ServerId, TemplateId, ToolboxId } from "../../shared/model/ids.ts";
import { serverStatus } from "../../shared/model/server.ts";
import { serverPermissions } from "../../shared/model/spec.ts";
import { startControlCentre } from "../fixtures/control-centre.ts";
import { parts } from "../setup/parts.ts";

type ControlCentre = Awaited<ReturnType<typeof startControlCentre>>;

const canary = "canary-4f1d7c52-value";
const docker = (...args: string[]) => execFileSync("docker", args, { encoding: "utf8" }).trim();
const containersOf = (name: string) =>
  docker("ps", "-aq", "--filter", `label=${parts.containerLabel}`, "--filter", `name=${name}`).split("\n").filter(Boolean);

async function collect<T>(events: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const event of events) all.push(event);
  return all;
}

function codeOf(error: unknown): string | undefined {
  return (error as { data?: { code?: string } }).data?.code;
}

/** What the window says about a server, with the toolbox it belongs to and the time now. */
function wordFor({ window }: ControlCentre, id: string): string | undefined {
  const server = window.get("servers", id);
  return server === undefined ? undefined : serverStatus(server, window.get("toolboxes", server.toolboxId), Date.now()).state;
}

describe.skipIf(!parts.docker)("a control centre with this computer as its toolbox", () => {
  let centre: ControlCentre;
  let toolboxId: ToolboxId;
  let serverId: ServerId;

  beforeAll(async () => {
    centre = await startControlCentre();
  });
  afterAll(async () => {
    for (const { id } of centre.window.list("servers")) await centre.client.servers.delete({ id }).catch(() => undefined);
    await centre.window.until("no servers", ({ rows }) => rows.servers.size === 0).catch(() => undefined);
    await centre.stop();
    centre.discard();
  });

  const ended = (id: OperationId | null) =>
    centre.window.until(`the end of operation ${id}`, ({ rows }) => {
      const activity = rows.activities.get(id ?? "");
      return activity !== undefined && activity.state !== "running" && activity;
    });

  function deployment(templateId: string, name: string, source: Parameters<typeof centre.client.servers.deploy>[0]["source"]) {
    return {
      toolboxId,
      templateId: templateId as TemplateId,
      name,
      source,
      transport: { type: "stdio" } as const,
      settings: {},
      permissions: serverPermissions.parse({ network: "none" }),
    };
  }

  it("finds Docker and offers the bundled catalogue before anything is set up", async () => {
    await centre.client.toolboxes.checkThisComputer();
    expect(await centre.window.until("Docker", ({ facts }) => facts.docker.state === "up" && facts.docker)).toMatchObject({
      state: "up",
    });
    expect(centre.window.list("templates").map(({ id }) => id as string)).toContain("everything");
    expect(await centre.client.session.get()).toMatchObject({ host: "browser", roles: ["admin", "user"] });
  });

  it("becomes a toolbox with a DTMA of its own behind a pinned certificate", async () => {
    ({ id: toolboxId } = await centre.client.toolboxes.addThisComputer());
    const toolbox = await centre.window.until("a link", ({ rows }) => {
      const row = rows.toolboxes.get(toolboxId);
      return row?.link.state === "connected" && row;
    });
    expect(toolbox).toMatchObject({ kind: "this-computer", docker: { state: "up" } });
    expect(toolbox.url).toMatch(/^https:\/\/127\.0\.0\.1:\d+/);
    expect(await centre.client.toolboxes.inspect({ url: toolbox.url ?? "" })).toEqual({ fingerprint: toolbox.fingerprint });
    const { port } = new URL(toolbox.url ?? "");
    expect(await centre.client.toolboxes.exposure({ id: toolboxId })).toMatchObject({
      beyondLoopback: false,
      listeners: expect.arrayContaining([{ what: "dtma", address: "127.0.0.1", port: Number(port) }]),
    });
    await expect(centre.client.toolboxes.addThisComputer()).rejects.toSatisfy((error) => codeOf(error) === "ALREADY_EXISTS");
  });

  it("deploys a server from an npm package, with every step seen", async () => {
    const accepted = await centre.client.servers.deploy({
      ...deployment("everything", "everything", {
        type: "npm",
        package: "@modelcontextprotocol/server-everything",
        version: "2026.8.31",
      }),
      secrets: { API_KEY: canary },
    });
    serverId = accepted.serverId;
    const activity = await ended(accepted.operationId);
    expect(activity).toMatchObject({ state: "succeeded", kind: "deploy", serverId });
    expect(activity.steps.filter(({ state }) => state === "done").map(({ id }) => id)).toEqual(
      expect.arrayContaining(["fetch", "create", "start", "handshake", "tools"]),
    );
    await centre.window.until("a running server with tools", ({ rows }) =>
      rows.servers.get(serverId)?.tools?.items.some(({ name }) => name === "echo"),
    );
    expect(wordFor(centre, serverId)).toBe("running");
    expect(containersOf("everything")).toHaveLength(1);
  });

  it("refuses a second server of that name on the toolbox", async () => {
    const again = deployment("any-npm-package", "everything", { type: "npm", package: "time-mcp", version: "1.0.6" });
    await expect(centre.client.servers.deploy(again)).rejects.toSatisfy((error) => codeOf(error) === "ALREADY_EXISTS");
  });

  it("shows its log and a load sample every second", async () => {
    const lines = await collect(await centre.client.servers.logs({ id: serverId, tail: 100, follow: false }));
    expect(lines.map(({ text }) => text).join("\n")).toMatch(/./);
    for await (const sample of await centre.client.servers.stats({ id: serverId })) {
      if (sample.server === null) continue;
      expect(sample.server.memoryBytes).toBeGreaterThan(0);
      break;
    }
  });

  it("links an agent, restricts it, runs an allowed tool and refuses another", async () => {
    const agent = await centre.client.agents.create({ name: "Researcher" });
    await centre.client.agents.update({ id: agent.id, name: "Scientist", description: "reads" });
    const connection = await centre.client.connections.connect({ agentId: agent.id, serverId });
    await centre.window.until(
      "a delivered connection",
      ({ rows }) => rows.connections.get(connection.id)?.delivery === "delivered",
    );
    expect((await centre.client.connections.listTools(connection)).length).toBeGreaterThan(3);

    await centre.client.connections.setAccess({ id: connection.id, allowedTools: ["echo"] });
    expect((await centre.client.connections.listTools(connection)).map(({ name }) => name)).toEqual(["echo"]);

    const call = { id: connection.id, tool: "echo", arguments: { message: "hello from the test" } };
    const events = await collect<ToolCallEvent>(await centre.client.connections.callTool(call));
    expect(events.at(-1)).toMatchObject({
      type: "result",
      isError: false,
      content: [{ type: "text", text: expect.stringContaining("hello from the test") }],
    });
    await expect(
      centre.client.connections.callTool({ ...call, tool: "get-sum" }).then((stream) => collect(stream)),
    ).rejects.toSatisfy((error) => codeOf(error) === "TOOL_NOT_ALLOWED");

    await centre.window.until(
      "the call on the connection",
      ({ rows }) => (rows.connections.get(connection.id)?.calls ?? 0) >= 1,
    );
    await centre.client.connections.disconnect(connection);
    await expect(centre.client.connections.listTools(connection)).rejects.toSatisfy((error) => codeOf(error) === "NOT_FOUND");
    await centre.client.agents.delete(agent);
    await centre.window.until("no connection", ({ rows }) => rows.connections.size === 0);
  });

  it("reports progress of a long call and ends it when the window stops listening", async () => {
    const agent = await centre.client.agents.create({ name: "Long" });
    const connection = await centre.client.connections.connect({ agentId: agent.id, serverId });
    const call = { id: connection.id, tool: "trigger-long-running-operation", arguments: { duration: 60, steps: 60 } };
    const stopping = new AbortController();
    for await (const event of await centre.client.connections.callTool(call, { signal: stopping.signal })) {
      expect(event.type).toBe("progress");
      break;
    }
    stopping.abort();
    const quick = await collect(
      await centre.client.connections.callTool({ id: connection.id, tool: "echo", arguments: { message: "still here" } }),
    );
    expect(quick.at(-1)).toMatchObject({ type: "result" });
    await centre.client.agents.delete(agent);
  });

  it("stops, starts and restarts the server, and says so truly", async () => {
    expect(await ended((await centre.client.servers.stop({ id: serverId })).operationId)).toMatchObject({ state: "succeeded" });
    await centre.window.until("a stopped server", () => wordFor(centre, serverId) === "stopped");
    expect(await ended((await centre.client.servers.start({ id: serverId })).operationId)).toMatchObject({
      state: "succeeded",
    });
    await centre.window.until("a running server", () => wordFor(centre, serverId) === "running");
    expect(await ended((await centre.client.servers.restart({ id: serverId })).operationId)).toMatchObject({
      state: "succeeded",
    });
    await centre.window.until("a running server", () => wordFor(centre, serverId) === "running");
  });

  it("shows a container removed behind its back as gone, and deploys it again", async () => {
    docker("rm", "-f", ...containersOf("everything"));
    await centre.window.until("a gone server", () => wordFor(centre, serverId) === "gone");
    expect(await ended((await centre.client.servers.redeploy({ id: serverId })).operationId)).toMatchObject({
      state: "succeeded",
    });
    await centre.window.until("a running server", () => wordFor(centre, serverId) === "running");
  });

  it("updates the server beside the running one, lists its releases and goes back to the one before", async () => {
    const before = await centre.client.servers.releases({ id: serverId });
    const { spec } = centre.window.get("servers", serverId) ?? {};
    const update = {
      id: serverId,
      source: spec?.source ?? { type: "oci" as const, image: "unknown" },
      transport: { type: "stdio" } as const,
      settings: { REGION: "north" },
      permissions: serverPermissions.parse({ network: "none", memoryBytes: 256 * 2 ** 20 }),
      keptSecrets: ["API_KEY"],
    };
    const activity = await ended((await centre.client.servers.update(update)).operationId);
    expect(activity).toMatchObject({
      kind: "deploy",
      state: "succeeded",
      toolChanges: { added: [], removed: [], changed: [] },
    });
    const updated = await centre.window.until("the update", ({ rows }) => {
      const row = rows.servers.get(serverId);
      return row?.spec.environment.REGION === "north" && row.observed.state === "present" && row;
    });
    expect(updated.spec.permissions.memoryBytes).toBe(256 * 2 ** 20);
    expect(updated.spec.secrets).toEqual([{ name: "API_KEY", variable: "API_KEY", required: true }]);
    expect(updated.observed).toMatchObject({ previous: { reference: expect.any(String) } });
    const [newest, older] = await centre.client.servers.releases({ id: serverId });
    expect([newest?.outcome, older?.outcome]).toEqual(["current", "replaced"]);
    expect(newest?.number).toBe((before[0]?.number ?? 0) + 1);

    const back = await ended((await centre.client.servers.rollback({ id: serverId })).operationId);
    expect(back).toMatchObject({ kind: "rollback", state: "succeeded" });
    await centre.window.until("what it was before", ({ rows }) => {
      const row = rows.servers.get(serverId);
      return row?.spec.environment.REGION === undefined && wordFor(centre, serverId) === "running";
    });
    expect((await centre.client.servers.releases({ id: serverId }))[0]).toMatchObject({ kind: "rollback", outcome: "current" });
  });

  it("replaces a secret by name, keeps a required one while it runs, and removes it when it is stopped", async () => {
    const states = () => centre.client.servers.secrets({ id: serverId });
    const [before] = await states();
    expect(before).toMatchObject({ name: "API_KEY", required: true, isSet: true });
    const replacement = { id: serverId, name: "API_KEY", value: `${canary}-2` };
    const activity = await ended((await centre.client.servers.setSecret(replacement)).operationId);
    expect(activity).toMatchObject({ kind: "rotate", state: "succeeded" });
    expect(JSON.stringify(activity)).not.toContain(canary);
    expect((await states())[0]?.changedAt).toBeGreaterThan(before?.changedAt ?? 0);

    await expect(centre.client.servers.removeSecret({ id: serverId, name: "API_KEY" })).rejects.toSatisfy(
      (error) => codeOf(error) === "SECRET_MISSING",
    );
    await ended((await centre.client.servers.stop({ id: serverId })).operationId);
    await ended((await centre.client.servers.removeSecret({ id: serverId, name: "API_KEY" })).operationId);
    expect((await states())[0]).toMatchObject({ name: "API_KEY", isSet: false });
    await expect(centre.client.servers.start({ id: serverId })).rejects.toSatisfy(
      (error) => codeOf(error) === "SECRET_MISSING",
    );
    await ended((await centre.client.servers.setSecret(replacement)).operationId);
    await ended((await centre.client.servers.start({ id: serverId })).operationId);
    await centre.window.until("a running server", () => wordFor(centre, serverId) === "running");
  });

  it.each([
    [
      "a package that does not exist",
      { type: "npm", package: "@modelcontextprotocol/no-such-server", version: "1.0.0" },
      "PACKAGE_NOT_FOUND",
    ],
    ["an image that does not exist", { type: "oci", image: "127.0.0.1:9/no/such:image" }, "IMAGE"],
    ["a package that is no server", { type: "npm", package: "is-number", version: "7.0.0" }, "PACKAGE_INSTALL_FAILED"],
  ] as const)("ends the deploy of %s in a sentence and leaves nothing on the toolbox", async (_, source, code) => {
    const template = source.type === "npm" ? "any-npm-package" : "any-image";
    const accepted = await centre.client.servers.deploy(deployment(template, "doomed", source));
    const activity = await ended(accepted.operationId);
    expect(activity).toMatchObject({
      state: "failed",
      error: { code: expect.stringContaining(code), message: expect.stringMatching(/\w+ \w+/) },
    });
    await centre.window.until("a failed server", () => wordFor(centre, accepted.serverId) === "failed");
    expect(containersOf("doomed")).toEqual([]);
    await centre.client.servers.delete({ id: accepted.serverId });
    await centre.window.until("that it is gone", ({ rows }) => !rows.servers.has(accepted.serverId));
  });

  it("cancels a deploy and undoes what was half done", async () => {
    const source = { type: "npm", package: "mcp-fetch-server", version: "1.1.2" } as const;
    const accepted = await centre.client.servers.deploy(deployment("any-npm-package", "cancelled", source));
    await centre.client.operations.cancel({ id: accepted.operationId as OperationId });
    expect(await ended(accepted.operationId)).toMatchObject({ state: "cancelled" });
    expect(containersOf("cancelled")).toEqual([]);
    await centre.client.servers.delete({ id: accepted.serverId });
  });

  it("brings its DTMA back after it was killed, with the same servers at the same address", async () => {
    const address = centre.window.get("toolboxes", toolboxId)?.url;
    const pid = centre.lines.findLast(({ event }) => event === "dtma.started")?.fields.pid as number;
    process.kill(pid, "SIGKILL");
    await centre.window.until("a lost link", ({ rows }) => rows.toolboxes.get(toolboxId)?.link.state !== "connected");
    await centre.client.toolboxes.reconnect({ id: toolboxId });
    await centre.window.until("the link again", ({ rows }) => rows.toolboxes.get(toolboxId)?.link.state === "connected");
    expect(centre.window.get("toolboxes", toolboxId)?.url).toBe(address);
    await centre.window.until("a running server", () => wordFor(centre, serverId) === "running");
  });

  it("shows the same after the app was restarted", async () => {
    const agent = await centre.client.agents.create({ name: "Kept" });
    const connection = await centre.client.connections.connect({ agentId: agent.id, serverId, allowedTools: ["echo"] });
    await centre.stop();
    centre = await startControlCentre({ folder: centre.folder });
    await centre.window.until("the link again", ({ rows }) => rows.toolboxes.get(toolboxId)?.link.state === "connected");
    await centre.window.until("a running server", () => wordFor(centre, serverId) === "running");
    expect(centre.window.get("agents", agent.id)).toMatchObject({ name: "Kept" });
    const events = await collect(
      await centre.client.connections.callTool({ id: connection.id, tool: "echo", arguments: { message: "again" } }),
    );
    expect(events.at(-1)).toMatchObject({ type: "result", isError: false });
  });

  it("keeps no secret in its data folder's rows or in its log", () => {
    const texts = [JSON.stringify(centre.lines), ...filesBelow(centre.folder).map((file) => readFileSync(file, "latin1"))];
    const holders = filesBelow(centre.folder).filter((file) => readFileSync(file, "latin1").includes(canary));
    expect(texts[0]).not.toContain(canary);
    expect(holders.filter((file) => !file.includes(join("dtma", "secrets")))).toEqual([]);
  });

  it("deletes the server and leaves no container", async () => {
    const { operationId } = await centre.client.servers.delete({ id: serverId });
    if (operationId !== null) expect(await ended(operationId)).toMatchObject({ state: "succeeded" });
    await centre.window.until("that it is gone", ({ rows }) => !rows.servers.has(serverId));
    expect(containersOf("everything")).toEqual([]);
  });

  it("is renamed, and forgotten", async () => {
    await centre.client.toolboxes.update({ id: toolboxId, name: "My laptop", serversOnQuit: "stop" });
    await centre.window.until("the new name", ({ rows }) => rows.toolboxes.get(toolboxId)?.name === "My laptop");
    await centre.client.toolboxes.remove({ id: toolboxId });
    await centre.window.until("no toolbox", ({ rows }) => rows.toolboxes.size === 0);
  });
});

describe("a window with the role user", () => {
  it("is refused every route of the admins, before its input is looked at", async () => {
    const centre = await startControlCentre();
    try {
      const { toolboxes, servers, operations } = centre.clientWith(["user"]);
      const nothing = {} as never;
      const calls = [
        toolboxes.checkThisComputer(),
        toolboxes.addThisComputer(),
        toolboxes.inspect(nothing),
        toolboxes.add(nothing),
        toolboxes.update(nothing),
        toolboxes.reconnect(nothing),
        toolboxes.remove(nothing),
        toolboxes.installSource(),
        toolboxes.prepareEnrolment(nothing),
        toolboxes.enrol(nothing),
        toolboxes.rotateToken(nothing),
        toolboxes.registries(nothing),
        toolboxes.setRegistry(nothing),
        toolboxes.removeRegistry(nothing),
        toolboxes.audit(nothing),
        toolboxes.exposure(nothing),
        servers.deploy(nothing),
        servers.update(nothing),
        servers.releases(nothing),
        servers.rollback(nothing),
        servers.secrets(nothing),
        servers.setSecret(nothing),
        servers.removeSecret(nothing),
        servers.redeploy(nothing),
        servers.start(nothing),
        servers.stop(nothing),
        servers.restart(nothing),
        servers.delete(nothing),
        servers.logs(nothing),
        servers.stats(nothing),
        operations.cancel(nothing),
      ];
      const codes = (await Promise.allSettled(calls)).map((result) =>
        result.status === "rejected" ? codeOf(result.reason) : "allowed",
      );
      expect(codes).toEqual(calls.map(() => "FORBIDDEN"));
    } finally {
      await centre.stop();
      centre.discard();
    }
  });

  it("gets a bad input back with the field that is wrong", async () => {
    const centre = await startControlCentre();
    try {
      await expect(centre.client.agents.create({ name: "  " })).rejects.toMatchObject({
        data: { code: "INVALID_INPUT", field: "name" },
      });
      await expect(
        centre.client.toolboxes.add({ name: "far", url: "http://192.0.2.1:30000", token: "t", fingerprint: null }),
      ).rejects.toMatchObject({ data: { code: "INVALID_INPUT", field: "url" } });
      await expect(centre.client.toolboxes.inspect({ url: "https://127.0.0.1:9" })).rejects.toMatchObject({
        data: { code: "TOOLBOX_UNREACHABLE" },
      });
    } finally {
      await centre.stop();
      centre.discard();
    }
  });
});

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile());
}
