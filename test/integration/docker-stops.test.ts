import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { OperationId, TemplateId, ToolboxId } from "../../shared/model/ids.ts";
import { serverStatus } from "../../shared/model/server.ts";
import { serverPermissions } from "../../shared/model/spec.ts";
import { startControlCentre } from "../fixtures/control-centre.ts";
import { startDockerProxy } from "../fixtures/docker-proxy.ts";
import { parts } from "../setup/parts.ts";

describe.skipIf(!parts.docker)("Docker that stops in the middle", () => {
  const folder = mkdtempSync(join(tmpdir(), "docker-stops-"));
  const before = process.env.DOCKER_HOST;
  let proxy: Awaited<ReturnType<typeof startDockerProxy>>;
  let centre: Awaited<ReturnType<typeof startControlCentre>>;
  let toolboxId: ToolboxId;

  beforeAll(async () => {
    proxy = await startDockerProxy(join(folder, "docker.sock"));
    process.env.DOCKER_HOST = `unix://${join(folder, "docker.sock")}`;
    centre = await startControlCentre();
  });
  afterAll(async () => {
    for (const { id } of centre.window.list("servers")) await centre.client.servers.delete({ id });
    await centre.window.until("no servers", ({ rows }) => rows.servers.size === 0).catch(() => undefined);
    await centre.stop();
    centre.discard();
    await proxy.down();
    if (before === undefined) delete process.env.DOCKER_HOST;
    else process.env.DOCKER_HOST = before;
    rmSync(folder, { recursive: true, force: true });
  });

  const deploy = (name: string) =>
    centre.client.servers.deploy({
      toolboxId,
      templateId: "time" as TemplateId,
      name,
      source: { type: "npm", package: "time-mcp", version: "1.0.6" },
      transport: { type: "stdio" },
      settings: {},
      permissions: serverPermissions.parse({ network: "none" }),
    });
  const ended = (id: OperationId | null) =>
    centre.window.until("the end of it", ({ rows }) => {
      const activity = rows.activities.get(id ?? "");
      return activity !== undefined && activity.state !== "running" && activity;
    });

  it("is shown on the toolbox, ends what was under way in a sentence, and is over when it is back", async () => {
    ({ id: toolboxId } = await centre.client.toolboxes.addThisComputer());
    await centre.window.until("a link", ({ rows }) => rows.toolboxes.get(toolboxId)?.docker?.state === "up");
    const steady = await deploy("steady");
    expect(await ended(steady.operationId)).toMatchObject({ state: "succeeded" });

    const doomed = await deploy("doomed");
    await proxy.down();
    const failed = await ended(doomed.operationId);
    expect(failed).toMatchObject({
      state: "failed",
      error: { code: "DOCKER_UNAVAILABLE", nextStep: expect.stringMatching(/Docker/) },
    });
    const toolbox = await centre.window.until("that Docker is down", ({ rows }) => {
      const row = rows.toolboxes.get(toolboxId);
      return row?.docker?.state === "down" && row;
    });
    expect(toolbox.link.state).toBe("connected");
    const stop = await centre.client.servers
      .stop({ id: steady.serverId })
      .catch((error: { data?: { code?: string } }) => error.data);
    const outcome = stop !== undefined && "operationId" in stop ? (await ended(stop.operationId)).error : stop;
    expect(outcome).toMatchObject({ code: "DOCKER_UNAVAILABLE" });
    const server = centre.window.get("servers", steady.serverId);
    const later = Date.now() + 21_000;
    expect(server && serverStatus(server, toolbox, later)).toMatchObject({ isFresh: false });

    await proxy.up();
    await centre.window.until("that Docker is back", ({ rows }) => rows.toolboxes.get(toolboxId)?.docker?.state === "up");
    expect(await ended((await centre.client.servers.restart({ id: steady.serverId })).operationId)).toMatchObject({
      state: "succeeded",
    });
  });
});
