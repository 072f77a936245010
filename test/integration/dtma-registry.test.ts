import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Bench, createBench, type DtmaProcess, docker, imageRequest } from "../fixtures/dtma.ts";
import { parts } from "../setup/parts.ts";

const paddingBytes = 8 * 2 ** 20;

describe.skipIf(!parts.docker || parts.dockerRegistry === undefined)("a server from an image registry", () => {
  let bench: Bench;
  let dtma: DtmaProcess;
  let registry: ChildProcess;
  let address: string;
  let digest: string;

  beforeAll(async () => {
    bench = createBench();
    const folder = await bench.folder();
    const port = await freePort();
    address = `127.0.0.1:${port}`;
    await mkdir(join(folder, "store"));
    const configuration = join(folder, "config.yml");
    await writeFile(
      configuration,
      `version: 0.1\nlog: { level: error }\nstorage: { filesystem: { rootdirectory: ${join(folder, "store")} } }\nhttp: { addr: "${address}" }\n`,
    );
    registry = spawn(parts.dockerRegistry ?? "", ["serve", configuration], { stdio: "ignore" });
    while (
      !(await fetch(`http://${address}/v2/`).then(
        (response) => response.ok,
        () => false,
      ))
    )
      await delay(50);

    const built = await bench.serverImage("probe.mjs", { paddingBytes });
    await docker("tag", built, `${address}/team/probe:1.0`);
    const pushed = await docker("push", `${address}/team/probe:1.0`);
    digest = /digest: (sha256:[a-f0-9]{64})/.exec(pushed)?.[1] ?? "";
    await docker("rmi", "-f", `${address}/team/probe:1.0`, built);
    dtma = await bench.start();
  });
  afterAll(async () => {
    await bench.close();
    registry.kill("SIGTERM");
    const images = await promisify(execFile)("docker", ["images", "-q", `${address}/team/probe`]);
    if (images.stdout.trim() !== "") await docker("rmi", "-f", ...new Set(images.stdout.trim().split("\n")));
  });

  it("is pulled by its tag, and the digest that runs is recorded", async () => {
    const ended = await dtma.perform("PUT", "/v1/servers/tagged", imageRequest("tagged", `${address}/team/probe:1.0`));
    expect(ended.error).toBeUndefined();
    expect(ended.steps.map(({ id }) => id)).toEqual(["fetch", "create", "start", "handshake", "tools"]);
    expect((await dtma.servers())[0]?.image).toEqual({ reference: `${address}/team/probe:1.0`, digest });
    expect(await dtma.perform("DELETE", "/v1/servers/tagged")).toMatchObject({ state: "succeeded" });
  });

  it("is pulled by its digest, with the bytes told as they come", async () => {
    await docker("rmi", "-f", `${address}/team/probe:1.0`);
    const told: number[] = [];
    const listening = new AbortController();
    const reading = (async () => {
      for await (const event of dtma.events({ stats: false, signal: listening.signal })) {
        if (event.type === "operation") told.push(event.operation.steps[0]?.totalBytes ?? 0);
      }
    })().catch(() => {});
    const ended = await dtma.perform("PUT", "/v1/servers/pinned", imageRequest("pinned", `${address}/team/probe@${digest}`));
    listening.abort();
    await reading;
    expect(ended.error).toBeUndefined();
    expect(Math.max(...told)).toBeGreaterThanOrEqual(paddingBytes);
    expect((await dtma.servers())[0]?.image.digest).toBe(digest);
  });

  it("is refused when the registry does not have it", async () => {
    for (const image of [`${address}/team/probe:2.0`, `${address}/team/other:1.0`]) {
      const ended = await dtma.perform("PUT", "/v1/servers/none", imageRequest("none", image));
      expect(ended).toMatchObject({ state: "failed", error: { code: "IMAGE_NOT_FOUND", field: "spec.source.image" } });
    }
  });
});

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
