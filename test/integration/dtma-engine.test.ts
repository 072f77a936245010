import { execFileSync } from "node:child_process";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createDockerEngine, type DockerEngine } from "../fixtures/docker-engine.ts";
import { type Bench, createBench, everythingRequest, imageRequest } from "../fixtures/dtma.ts";
import { parts } from "../setup/parts.ts";

const isRoot = process.getuid?.() === 0;
const alone = { permissions: { network: "none" as const } };

describe.skipIf(!parts.docker || !isRoot)("a Docker daemon that is restarted", () => {
  let bench: Bench;
  let engine: DockerEngine;
  beforeAll(async () => {
    bench = createBench();
    engine = await createDockerEngine({ mebibytes: 1_024 });
  });
  afterAll(async () => {
    await bench.end();
    await engine.close();
    await bench.close();
  });

  it("is followed: servers come back as they are desired, and what was under way has an end", async () => {
    const image = await bench.serverImage("tools-of-args.mjs", { args: ["pid"] });
    const mute = await bench.serverImage("silent.mjs");
    for (const each of [image, mute]) engine.load(each);
    const dtma = await bench.start({ env: { DOCKER_HOST: engine.host } });
    expect((await dtma.perform("PUT", "/v1/servers/up", imageRequest("up", image, alone))).error).toBeUndefined();
    expect((await dtma.perform("PUT", "/v1/servers/off", imageRequest("off", image, alone))).error).toBeUndefined();
    expect((await dtma.perform("POST", "/v1/servers/off/stop")).error).toBeUndefined();
    const condition = async () => ((await dtma.call("GET", "/v1/info")).body as { docker: { state: string } }).docker.state;

    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      const { container } = await dtma.seen("up", ({ health }) => health.state === "ready");
      const underWay = await dtma.begin("PUT", "/v1/servers/mute", imageRequest("mute", mute, alone));
      await expect.poll(() => engine.docker("ps", "--format", "{{.Names}}"), { timeout: 20_000 }).toContain("mute");

      await engine.stop(signal);
      expect(await dtma.ended(underWay)).toMatchObject({ state: "failed" });
      await expect.poll(condition, { timeout: 20_000 }).toBe("down");
      await engine.start();
      await expect.poll(condition, { timeout: 30_000 }).toBe("up");

      const back = await dtma.seen(
        "up",
        // A daemon that was killed finds its containers still running.
        ({ health, container: now }) =>
          health.state === "ready" && (signal === "SIGKILL" || now.startedAt !== container.startedAt),
      );
      expect(back).toMatchObject({ desired: "running", container: { id: container.id, state: "running" } });
      expect(await dtma.seen("off", () => true)).toMatchObject({ desired: "stopped", container: { state: "exited" } });
      await expect
        .poll(() => engine.docker("ps", "-a", "--format", "{{.Names}}").split("\n").sort(), { timeout: 20_000 })
        .toEqual([`${bench.scope}.off`, `${bench.scope}.up`]);
      expect((await dtma.perform("POST", "/v1/servers/up/restart")).error).toBeUndefined();
    }
  });
});

describe.skipIf(!parts.docker || !isRoot)("a disk that is full", () => {
  let bench: Bench;
  let engine: DockerEngine;
  let data: string;
  beforeAll(async () => {
    bench = createBench();
    engine = await createDockerEngine({ mebibytes: 90 });
    data = await bench.folder();
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", data]);
  });
  afterAll(async () => {
    await bench.end();
    execFileSync("umount", [data]);
    await engine.close();
    await bench.close();
  });

  it("is named, leaves nothing half done, and is over once there is room again", async () => {
    const env = { DOCKER_HOST: engine.host };
    const elsewhere = await bench.start({ env });
    const request = everythingRequest("app", alone);
    const dockerFull = await elsewhere.perform("PUT", "/v1/servers/app", request);
    expect(dockerFull).toMatchObject({ state: "failed", error: { code: "DISK_FULL" } });
    expect(engine.docker("ps", "-aq")).toBe("");
    expect(engine.docker("images", "-q")).toBe("");
    engine.resize(1_024);
    expect((await elsewhere.perform("PUT", "/v1/servers/app", request)).error).toBeUndefined();
    expect((await elsewhere.perform("DELETE", "/v1/servers/app")).error).toBeUndefined();
    await elsewhere.kill("SIGTERM");

    const image = await bench.serverImage("tools-of-args.mjs", { args: ["pid"] });
    engine.load(image);
    const dtma = await bench.start({ env, data });
    const secrets = [{ name: "KEY", required: true }];
    const ours = { ...imageRequest("app", image, { ...alone, secrets }), secretValues: { KEY: "value" } };
    const stuffing = join(data, "stuffing");
    await writeFile(stuffing, Buffer.alloc(4 * 2 ** 20)).catch(() => {});
    expect(await dtma.perform("PUT", "/v1/servers/app", ours)).toMatchObject({
      state: "failed",
      error: { code: "DISK_FULL", message: expect.stringContaining("data folder") },
    });
    expect(engine.docker("ps", "-aq")).toBe("");
    execFileSync("rm", [stuffing]);
    expect((await dtma.perform("PUT", "/v1/servers/app", ours)).error).toBeUndefined();
    expect((await readdir(data)).filter((name) => name.endsWith(".tmp"))).toEqual([]);

    await writeFile(stuffing, Buffer.alloc(4 * 2 ** 20)).catch(() => {});
    // How a disk gets room again must not need room.
    expect((await dtma.perform("POST", "/v1/servers/app/stop")).error).toBeUndefined();
    expect((await dtma.perform("DELETE", "/v1/servers/app")).error).toBeUndefined();
    expect(await dtma.servers()).toEqual([]);
    execFileSync("rm", [stuffing]);
    expect(await readdir(join(data, "secrets"))).toEqual([]);
  });
});

describe.skipIf(!parts.docker)("a hundred servers at the same time", () => {
  let bench: Bench;
  beforeAll(() => {
    bench = createBench();
  });
  afterAll(() => bench.close());

  it("are deployed and deleted side by side, and leave nothing behind", async () => {
    const data = await bench.folder();
    const dtma = await bench.start({ data, flags: ["--answer-seconds=120"] });
    const image = await bench.serverImage("tools-of-args.mjs", { args: ["pid"] });
    const { images } = await bench.left();
    const names = Array.from({ length: 100 }, (_, index) => `many-${index}`);
    const outcomes = await Promise.all(
      names.map(async (name, index) => {
        const spec = {
          secrets: [{ name: "KEY", required: true }],
          permissions: {
            network: index % 10 === 0 ? ("open" as const) : ("none" as const),
            volumes: [{ name: "a", path: "/a" }],
          },
        };
        const request = { ...imageRequest(name, image, spec), secretValues: { KEY: name } };
        const deployed = await dtma.perform("PUT", `/v1/servers/${name}`, request);
        const deleted = await dtma.perform("DELETE", `/v1/servers/${name}`);
        return [deployed.error?.message ?? deployed.state, deleted.error?.message ?? deleted.state].join();
      }),
    );
    expect([...new Set(outcomes)]).toEqual(["succeeded,succeeded"]);
    expect(await dtma.servers()).toEqual([]);
    expect(await bench.left()).toEqual({ containers: [], volumes: [], networks: [], images });
    expect(await readdir(join(data, "secrets"))).toEqual([]);
    expect(JSON.parse(String(execFileSync("cat", [join(data, "journal.json")])))).toEqual([]);
  }, 600_000);
});
