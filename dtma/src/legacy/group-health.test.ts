import { describe, expect, it } from "vitest";
import { serverId } from "../../../shared/model/ids.ts";
import { serverSpec } from "../../../shared/model/spec.ts";
import type { Health, Server } from "../servers.ts";
import { groupHealth, type Member } from "./group-health.ts";

const id = serverId.parse("6f9619ff-8b86-4d01-b42d-00cf4fc964ff");
const ready: Health = { state: "ready", checkedAt: 1, protocolVersion: "2025-06-18" };
const failed: Health = {
  state: "failed",
  checkedAt: 1,
  error: { code: "SERVER_SILENT", message: "It says nothing.", nextStep: "" },
};
const unknown: Health = { state: "unknown" };

function server(state: string, health: Health, restartCount = 0): Server {
  const spec = serverSpec.parse({ name: "one", source: { type: "oci", image: "a:1" }, transport: { type: "stdio" } });
  const container = { id: "c", state, startedAt: 0, exitCode: state === "exited" ? 3 : undefined, restartCount };
  return {
    serverId: id,
    spec,
    image: { reference: "a:1", digest: "" },
    desired: "running",
    health,
    tools: undefined,
    container: container as unknown as Server["container"],
  };
}

function of(...servers: (Server | undefined)[]) {
  const members: Member[] = servers.map((_, index) => ({ name: `m${index}`, serverId: id }));
  return groupHealth(members, ({ name }) => servers[Number(name.slice(1))], true);
}

describe("the health of a group", () => {
  it.each([
    ["healthy", [server("running", ready), server("running", ready)]],
    ["initializing", [server("running", ready), server("running", unknown)]],
    ["degraded", [server("running", ready), server("running", failed)]],
    ["degraded", [server("running", ready), server("exited", ready)]],
    ["degraded", [server("running", unknown), undefined]],
    ["degraded", [server("running", ready), server("restarting", unknown)]],
    ["failed", [server("exited", ready), undefined]],
    ["failed", [undefined]],
  ] as const)("is %s", (expected, servers) => {
    expect(of(...servers).collectiveStatus).toBe(expected);
  });

  it("counts what runs and what has answered, and never lends a dead container its last health", () => {
    const health = of(server("running", ready), server("exited", ready), server("running", unknown, 2), undefined);
    expect(health).toMatchObject({ totalInstances: 4, runningInstances: 2, healthyInstances: 1, sharedNetworking: false });
    expect(health.instances.m1).toMatchObject({
      status: "exited",
      healthStatus: "unhealthy",
      errorMessage: "Its container is exited with exit code 3.",
    });
    expect(health.instances.m2).toMatchObject({ restartCount: 2, lastRestartTime: "1970-01-01T00:00:00.000Z" });
    expect(health.instances.m0).not.toHaveProperty("lastRestartTime");
    expect(health.instances.m3).toMatchObject({ status: "not_found", containerId: null });
  });

  it("is unknown while Docker does not confirm it", () => {
    const health = groupHealth([{ name: "m0", serverId: id }], () => server("running", ready), false);
    expect(health).toMatchObject({ runningInstances: 0, healthyInstances: 0, collectiveStatus: "degraded" });
    expect(health.instances.m0).toMatchObject({ status: "unknown", healthStatus: "unknown" });
  });
});
