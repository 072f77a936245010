import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Bench, createBench, type DtmaProcess, docker } from "../fixtures/dtma.ts";
import { parts } from "../setup/parts.ts";

/* `/mcp/groups`, `/mcp/health/{id}`, `/mcp/servers/{name}/restart|logs`, `/mcp/status`. */

type Health = {
  collectiveStatus: string;
  totalInstances: number;
  runningInstances: number;
  healthyInstances: number;
  sharedNetworking: boolean;
  instances: Record<string, Record<string, unknown>>;
};

describe.skipIf(!parts.docker)("groups of a caller of the agent before", () => {
  let bench: Bench;
  let data: string;
  let dtma: DtmaProcess;
  let probe: string;
  let web: string;
  let brief: string;
  let silent: string;

  beforeAll(async () => {
    bench = createBench();
    data = await bench.folder();
    dtma = await bench.start({ data, flags: ["--answer-seconds=2"] });
    probe = await bench.serverImage("probe.mjs");
    web = await bench.serverImage("probe-http.mjs");
    brief = await bench.serverImage("exits-at-once.mjs");
    silent = await bench.serverImage("silent.mjs");
  });
  afterAll(() => bench.close());

  const server = (name: string, image: string, more: object = {}) => ({
    accountToolInstanceId: randomUUID(),
    instanceNameOnToolbox: name,
    dockerImageUrl: image,
    mcpTransportType: "stdio",
    ...more,
  });
  const deploy = (groupId: string, servers: object[], options?: object) =>
    dtma.call("POST", "/mcp/groups", { groupId, servers, ...(options === undefined ? {} : { options }) });
  async function health(groupId: string): Promise<Health> {
    const answer = await dtma.call("GET", `/mcp/health/${groupId}`);
    expect(answer).toEqual({
      status: 200,
      body: { success: true, data: { groupId, health: expect.any(Object) }, timestamp: expect.any(String) },
    });
    return (answer.body as { data: { health: Health } }).data.health;
  }
  const until = (groupId: string, collectiveStatus: string) =>
    expect.poll(() => health(groupId), { timeout: 30_000 }).toMatchObject({ collectiveStatus });

  it("are deployed in their order, with the reason for each that was not, and no shared network claimed", async () => {
    const servers = [
      server("last", probe),
      server("first", probe, { environmentVariables: { MODE: "plain" } }),
      server("broken", brief),
      server("refused", probe, { baseConfigOverrideJson: { HostConfig: { Privileged: true } } }),
    ];
    const options = { sharedNetworking: true, dependencyOrder: ["first", "last"], maxConcurrentDeployments: 2 };
    expect(await deploy("mixed", servers, options)).toEqual({
      status: 201,
      body: {
        success: false,
        message: expect.stringContaining("sharedNetworking is not given"),
        data: {
          groupId: "mixed",
          deployedServers: ["last", "first"],
          errors: { broken: expect.stringContaining("exit code 3"), refused: expect.stringContaining("Privileged") },
          totalServers: 4,
          successfulDeployments: 2,
        },
      },
    });
    const created = async (name: string) =>
      Date.parse(JSON.parse(await docker("inspect", `${bench.scope}.${name}`))[0].Created as string);
    expect(await created("first")).toBeLessThan(await created("last"));
    expect((await health("mixed")).sharedNetworking).toBe(false);
  });

  it("have the health that was observed: nothing is healthy before its handshake, nothing dead runs", async () => {
    const servers = [
      server("talks", probe),
      server("web", web, {
        mcpTransportType: "sse",
        portBindings: { "8080/tcp": "" },
        environmentVariables: ["PORT=8080", "HOST=0.0.0.0"],
      }),
    ];
    expect(await deploy("well", servers)).toMatchObject({ status: 201, body: { success: true } });
    await until("well", "healthy");
    const now = await health("well");
    expect(now).toMatchObject({ totalInstances: 2, runningInstances: 2, healthyInstances: 2 });
    expect(now.instances.talks).toEqual({
      status: "running",
      healthStatus: "healthy",
      containerId: expect.stringMatching(/^[0-9a-f]{64}$/),
      startTime: expect.stringMatching(/^\d{4}-.*Z$/),
      restartCount: 0,
      mcpEndpoint: "/mcp/servers/talks/mcp",
      transportType: "stdio",
    });
    expect(now.instances.web).toMatchObject({ healthStatus: "healthy", transportType: "streamable_http" });

    expect((await dtma.call("POST", "/tools/talks/stop")).status).toBe(200);
    expect(await health("well")).toMatchObject({
      collectiveStatus: "degraded",
      runningInstances: 1,
      healthyInstances: 1,
      instances: {
        talks: { status: "exited", healthStatus: "unhealthy", errorMessage: expect.stringContaining("exit") },
      },
    });
    expect((await dtma.call("POST", "/tools/web/stop")).status).toBe(200);
    expect(await health("well")).toMatchObject({ collectiveStatus: "failed", runningInstances: 0 });
  });

  it("call a server that runs but does not speak MCP unhealthy", async () => {
    expect(await deploy("mute", [server("silent", silent)])).toMatchObject({ status: 201, body: { success: true } });
    await until("mute", "degraded");
    expect((await health("mute")).instances.silent).toMatchObject({ status: "running", healthStatus: "unhealthy" });
  });

  it("are still known after a kill, with a member that was removed behind their back", async () => {
    await docker("rm", "-f", `${bench.scope}.web`);
    await dtma.kill("SIGKILL");
    dtma = await bench.start({ data, flags: ["--answer-seconds=2"] });
    expect((await dtma.call("POST", "/tools/talks/start")).status).toBe(200);
    await until("well", "degraded");
    expect((await health("well")).instances.web).toMatchObject({
      status: "not_found",
      healthStatus: "unhealthy",
      containerId: null,
      errorMessage: "Its container does not exist any more.",
    });
    expect(await deploy("well", [server("other", probe)])).toMatchObject({ status: 409, body: { success: false } });
  });

  it("restart a server, and refuse with 400 what cannot be restarted", async () => {
    const before = (await health("well")).instances.talks;
    expect(await dtma.call("POST", "/mcp/servers/talks/restart")).toMatchObject({ status: 200, body: { success: true } });
    const after = (await health("well")).instances.talks;
    expect(after).toMatchObject({ status: "running", containerId: before?.containerId });
    expect(after?.startTime).not.toBe(before?.startTime);
    expect(await dtma.call("POST", "/mcp/servers/nobody/restart")).toMatchObject({ status: 400, body: { success: false } });
    await expect.poll(async () => (await dtma.call("GET", "/mcp/status")).body).toMatch(/^MCP: \d+ of \d+ servers ready\n$/);
  });

  it("show what a server really wrote", async () => {
    const answer = await dtma.call("GET", "/mcp/servers/silent/logs?tail=5&since=0");
    expect(answer).toEqual({
      status: 200,
      body: {
        success: true,
        data: {
          instanceName: "silent",
          logs: expect.stringContaining("waiting for something else"),
          timestamp: expect.any(String),
        },
      },
    });
    const later = await dtma.call("GET", `/mcp/servers/silent/logs?since=${Math.ceil(Date.now() / 1_000) + 60}`);
    expect(later).toMatchObject({ status: 200, body: { data: { logs: "" } } });
    expect(await dtma.call("GET", "/mcp/servers/nobody/logs")).toMatchObject({ status: 404, body: { success: false } });
    expect(await dtma.call("GET", "/mcp/servers/silent/logs?since=yesterday")).toMatchObject({ status: 400 });
  });

  it("are removed with all that they deployed, and nothing that somebody else did", async () => {
    expect(await dtma.call("POST", "/tools", server("outside", probe))).toMatchObject({ status: 201 });
    expect(await deploy("greedy", [server("outside", probe), server("inside", probe)])).toMatchObject({
      status: 201,
      body: { data: { deployedServers: ["inside"], errors: { outside: expect.stringContaining("already exists") } } },
    });
    expect(await dtma.call("DELETE", "/mcp/groups/greedy?forceRemove=true&gracefulTimeoutMs=1000")).toMatchObject({
      status: 200,
      body: {
        success: true,
        message: expect.stringMatching(/Not taken over: forceRemove, gracefulTimeoutMs\.$/),
        data: { groupId: "greedy", removedServers: ["inside"], errors: {} },
      },
    });
    expect((await dtma.call("DELETE", "/mcp/groups/well")).body).toMatchObject({ data: { removedServers: ["talks", "web"] } });
    for (const group of ["mixed", "mute"]) expect((await dtma.call("DELETE", `/mcp/groups/${group}`)).status).toBe(200);
    expect((await dtma.servers()).map(({ spec }) => spec.name)).toEqual(["outside"]);
    for (const group of ["well", "none"]) {
      const unknown = { status: 404, body: { success: false, error: `Group '${group}' not found.` } };
      expect(await dtma.call("GET", `/mcp/health/${group}`)).toEqual(unknown);
      expect(await dtma.call("DELETE", `/mcp/groups/${group}`)).toEqual(unknown);
    }
    expect(await deploy("well", [server("talks", probe)])).toMatchObject({ status: 201, body: { success: true } });
  });

  it("are refused with the path of what is wrong", async () => {
    for (const [sent, error] of [
      [{}, "Missing required fields: groupId, servers"],
      [{ groupId: "x", servers: [] }, "servers"],
      [{ groupId: "x", servers: [{ dockerImageUrl: probe }] }, "servers.0.instanceNameOnToolbox"],
      [{ groupId: "x", servers: [server("a", probe), server("a", probe)] }, "named twice"],
      [{ groupId: "x", servers: [server("a", probe)], options: { dependencyOrder: ["b"] } }, "options.dependencyOrder"],
    ] as const) {
      const answer = await dtma.call("POST", "/mcp/groups", sent);
      expect(answer).toMatchObject({ status: 400, body: { success: false, error: expect.stringContaining(error) } });
    }
  });
});
