import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startDockerProxy } from "../fixtures/docker-proxy.ts";
import { type Bench, createBench, type DtmaProcess, docker, imageRequest } from "../fixtures/dtma.ts";
import { parts } from "../setup/parts.ts";

/* `GET /tools/status`, `GET /status`, `GET /system`, and what is known after a restart and without Docker. */

type Listed = {
  status: string;
  observed_at: string | null;
  docker?: { state: string; reason: string };
  tool_instances: Record<string, unknown>[];
};

const metrics = {
  cpu_load_percent: expect.any(Number),
  memory: {
    total_bytes: expect.any(Number),
    active_bytes: expect.any(Number),
    free_bytes: expect.any(Number),
    used_bytes: expect.any(Number),
  },
  disk: {
    mount: expect.stringMatching(/^\//),
    total_bytes: expect.any(Number),
    used_bytes: expect.any(Number),
    free_bytes: expect.any(Number),
  },
};

describe.skipIf(!parts.docker)("what a caller of the agent before sees of a toolbox", () => {
  let bench: Bench;
  let data: string;
  let dtma: DtmaProcess;
  let probe: string;
  let instanceId: string;
  const start = (env: NodeJS.ProcessEnv = {}) => bench.start({ data, env });
  const list = async (path = "/tools/status") => (await dtma.call("GET", path)).body as Listed;
  const find = async (name: string) =>
    (await list()).tool_instances.find(({ instance_name_on_toolbox }) => instance_name_on_toolbox === name);

  beforeAll(async () => {
    bench = createBench();
    data = await bench.folder();
    probe = await bench.serverImage("probe.mjs");
    dtma = await start();
    instanceId = randomUUID();
    const body = { dockerImageUrl: probe, instanceNameOnToolbox: "seen", accountToolInstanceId: instanceId };
    expect((await dtma.call("POST", "/tools", body)).status).toBe(201);
  });
  afterAll(() => bench.close());

  it("is every container of the host, as Docker has it, and those that it manages by their ids", async () => {
    const foreign = `${bench.scope}-Foreign`;
    const id = (await docker("create", "--name", foreign, "--label", bench.label, probe)).trim();
    await expect
      .poll(() => find(foreign))
      .toEqual({
        account_tool_instance_id: null,
        instance_name_on_toolbox: foreign,
        container_id: id,
        status: "created",
        image: expect.any(String),
        ports: [],
        created: expect.any(Number),
      });
    expect(await find("seen")).toMatchObject({ account_tool_instance_id: instanceId, status: "running" });
    const known = (await list()).tool_instances.map(({ container_id }) => container_id);
    const there = (await docker("ps", "-aq", "--no-trunc", "--filter", `label=${bench.label}`)).trim().split("\n");
    expect(known).toEqual(expect.arrayContaining(there));

    await docker("rm", id);
    await expect.poll(() => find(foreign)).toBeUndefined();
  });

  it("knows the servers of a control centre by their ids too", async () => {
    const request = imageRequest("modern", probe);
    expect((await dtma.perform("PUT", "/v1/servers/modern", request)).error).toBeUndefined();
    await expect.poll(() => find("modern")).toMatchObject({ account_tool_instance_id: request.serverId, status: "running" });
  });

  it("says how the service and its machine are, in the members it always had", async () => {
    for (const path of ["/status", "/tools/status"]) {
      expect(await list(path)).toMatchObject({
        status: "healthy",
        timestamp: expect.stringMatching(/^\d{4}-.*Z$/),
        version: expect.stringMatching(/^\d+\.\d+\.\d+/),
        service: "DTMA",
        environment: {
          hasAuthToken: true,
          hasApiKey: false,
          hasApiBaseUrl: false,
          port: Number(new URL(dtma.ready.url).port),
        },
        tool_instances: expect.any(Array),
        system_metrics: metrics,
      });
    }
    expect((await dtma.call("GET", "/system")).body).toMatchObject(metrics);
    const service = await list("/status");
    expect(service.tool_instances.find(({ names }) => String(names) === `/${bench.scope}.seen`)).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{64}$/),
      names: [`/${bench.scope}.seen`],
      image: expect.any(String),
      image_id: expect.stringMatching(/^sha256:/),
      command: expect.any(String),
      created: expect.any(Number),
      state: "running",
      status: "Up",
      ports: [],
    });
  });

  it("shows what happens behind its back: a container that dies, is paused, restarts", async () => {
    const container = `${bench.scope}.seen`;
    await docker("pause", container);
    await expect.poll(() => find("seen")).toMatchObject({ status: "paused" });
    await docker("unpause", container);
    await expect.poll(() => find("seen")).toMatchObject({ status: "running" });
    await docker("stop", "-t", "1", container);
    await expect.poll(() => find("seen")).toMatchObject({ status: "exited" });
    expect((await dtma.call("POST", "/tools/seen/start")).status).toBe(200);
    expect(await find("seen")).toMatchObject({ status: "running" });
  });

  it("still commands what it managed before, after a kill and a new start", async () => {
    const before = await find("seen");
    await dtma.kill("SIGKILL");
    dtma = await start();
    expect(await find("seen")).toEqual(before);
    const again = { dockerImageUrl: probe, instanceNameOnToolbox: "seen", accountToolInstanceId: instanceId };
    expect(await dtma.call("POST", "/tools", again)).toMatchObject({ status: 409 });
    expect((await dtma.call("POST", "/tools/seen/stop")).status).toBe(200);
    expect((await dtma.call("POST", "/tools/seen/start")).status).toBe(200);
    expect((await dtma.call("DELETE", "/tools/seen")).status).toBe(200);
    expect((await dtma.call("POST", "/tools", again)).status).toBe(201);
  });

  it("says that it is degraded without Docker, and until when the list was true", async () => {
    await dtma.kill("SIGTERM");
    const proxy = await startDockerProxy(join(await bench.folder(), "docker.sock"));
    dtma = await start({ DOCKER_HOST: proxy.host });
    expect(await list()).toMatchObject({ status: "healthy" });
    const last = (await list()).tool_instances;
    await proxy.down();
    await expect.poll(() => list(), { timeout: 20_000 }).toMatchObject({ status: "degraded", docker: { state: "down" } });
    const { observed_at, tool_instances } = await list();
    expect(tool_instances).toEqual(last);
    expect((await list()).observed_at).toBe(observed_at);
    expect(await dtma.call("POST", "/tools/seen/stop")).toMatchObject({
      status: 500,
      body: { success: false, message: expect.any(String), error: expect.any(String) },
    });
    expect((await dtma.call("GET", "/mcp/status")).body).toContain("when Docker answered last");

    await proxy.up();
    await expect.poll(() => list(), { timeout: 20_000 }).toMatchObject({ status: "healthy" });
    await dtma.kill("SIGTERM");
    await proxy.down();
  });
});
