import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createDocker } from "../../dtma/src/docker/engine.ts";
import { makeBaseImage } from "../fixtures/base-image.ts";
import { type Bench, createBench, type DtmaProcess, docker, dockerLines, everythingRequest } from "../fixtures/dtma.ts";
import { type ImageRegistry, startImageRegistry } from "../fixtures/image-registry.ts";
import { type NpmRegistry, startNpmRegistry } from "../fixtures/npm-registry.ts";
import { parts } from "../setup/parts.ts";

const probe = await readFile(new URL("../fixtures/mcp-servers/probe.mjs", import.meta.url), "utf8");

/** One toolbox over a week; each test goes on where the one before has stopped. */
describe.skipIf(!parts.docker || parts.dockerRegistry === undefined)("the base of servers from npm", () => {
  let bench: Bench;
  let dtma: DtmaProcess;
  let data: string;
  let registry: ImageRegistry;
  let npm: NpmRegistry;
  let base: string;
  /** Id of the base that was pulled first. */
  let first: string;
  const engine = createDocker(undefined, process.env);
  const request = everythingRequest("based", {
    source: { type: "npm", package: "probe", version: "1.0.0" },
    permissions: { network: "none" },
  });

  beforeAll(async () => {
    bench = createBench();
    const folder = await bench.folder();
    data = await bench.folder();
    registry = await startImageRegistry(folder, join(folder, "store"));
    npm = await startNpmRegistry();
    await npm.publish({
      manifest: { name: "probe", version: "1.0.0", bin: { probe: "probe.mjs" } },
      files: { "probe.mjs": probe },
    });
    base = `${registry.address}/team/node:1`;
    await publish("first");
    await start();
  });
  afterAll(async () => {
    await bench.close();
    const left = await dockerLines("images", "-q", `${registry.address}/team/node`);
    if (left.length > 0) await docker("rmi", "-f", ...left);
    await registry.close();
    await npm.close();
  });

  async function publish(text: string): Promise<void> {
    const made = await makeBaseImage(bench, { copies: {}, texts: { "/etc/edition": text } });
    await docker("tag", made, base);
    await docker("push", "-q", base);
    await docker("rmi", made, base);
  }

  async function start(): Promise<void> {
    const env = { npm_config_registry: npm.url, npm_config_cache: await bench.folder() };
    dtma = await bench.start({ data, env, flags: [`--node-image=${base}`] });
  }

  const baseId = async () => (await engine.getImage(base))?.id;
  async function deploy(): Promise<string> {
    const ended = await dtma.perform("PUT", "/v1/servers/based", request);
    expect(ended.error).toBeUndefined();
    const { container } = await dtma.seen("based", () => true);
    return await docker("exec", container.id, "node", "-p", 'require("fs").readFileSync("/etc/edition", "utf8")');
  }

  it("is pulled when it is not there", async () => {
    expect(await deploy()).toBe("first\n");
    first = (await baseId()) ?? "";
  });

  it("is left alone for a week", async () => {
    await publish("second");
    // The tag stands for what was pulled again, as on a toolbox that has published nothing.
    await docker("tag", first, base);
    expect(await deploy()).toBe("first\n");
    expect(await baseId()).toBe(first);
    expect(dtma.log()).not.toContain("base-image.");
  });

  it("is renewed after that, beside a deploy that does not wait for it, and the next one is made on it", async () => {
    await dtma.kill("SIGTERM");
    const file = join(data, "images.json");
    const ledger = JSON.parse(await readFile(file, "utf8"));
    for (const entry of Object.values(ledger.bases) as { askedAt: number }[]) entry.askedAt -= 8 * 24 * 60 * 60_000;
    await writeFile(file, JSON.stringify(ledger));
    await start();
    await deploy();
    while ((await baseId()) === first) await delay(100);
    expect(await deploy()).toBe("second\n");
  });

  it("goes when it has been replaced and nothing is made on it any more", async () => {
    // The release before keeps its image, until it is no longer the one before.
    await deploy();
    await deploy();
    expect(await engine.getImage(first)).toBeUndefined();
    expect(await baseId()).toBeDefined();
  });

  it("goes when it is one of another Node and nothing needs it; the own one stays", async () => {
    const [runtime] = await dockerLines("images", "-q", "dtma-runtime");
    const old = `dtma-runtime:${bench.scope}`;
    const needed = `dtma-runtime:${bench.scope}-needed`;
    for (const tag of [old, needed]) {
      const made = await makeBaseImage(bench, { copies: {}, texts: { "/etc/edition": tag } });
      await docker("tag", made, tag);
      await docker("rmi", made);
    }
    const container = await docker("create", "--label", parts.containerLabel, "--label", bench.label, needed);
    expect(await dtma.perform("DELETE", "/v1/servers/based")).toMatchObject({ state: "succeeded" });
    expect(await dockerLines("images", "-q", old)).toEqual([]);
    expect(await dockerLines("images", "-q", needed)).toHaveLength(1);
    expect(await dockerLines("images", "-q", "dtma-runtime")).toContain(runtime);
    await docker("rm", container.trim());
    await docker("rmi", needed);
  });
});
