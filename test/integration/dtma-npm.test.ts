import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { installPackage, resolvePackage } from "../../dtma/src/images/npm.ts";
import { makeBaseImage } from "../fixtures/base-image.ts";
import { type Bench, createBench, type DtmaProcess, docker, everythingRequest, inspect } from "../fixtures/dtma.ts";
import { type NpmRegistry, type NpmVersion, startNpmRegistry } from "../fixtures/npm-registry.ts";
import { parts } from "../setup/parts.ts";

const scripts = new URL("../fixtures/mcp-servers/", import.meta.url);
const probe = await readFile(new URL("probe.mjs", scripts), "utf8");

/** A package whose command is the probe, and whose install script is `postinstall`. */
function probePackage(name: string, postinstall?: string): NpmVersion {
  const scriptOf = postinstall === undefined ? {} : { scripts: { postinstall: "node postinstall.mjs" } };
  return {
    manifest: { name, version: "1.2.3", bin: { [name]: "probe.mjs" }, ...scriptOf },
    files: { "probe.mjs": probe, ...(postinstall === undefined ? {} : { "postinstall.mjs": postinstall }) },
  };
}

/** Writes down what it can see and do, and the rights it has. */
const curious = `
import { execSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
const status = readFileSync("/proc/self/status", "utf8");
let canWriteRoot = true;
try { writeFileSync("/etc/written", ""); } catch { canWriteRoot = false; }
writeFileSync("found.json", JSON.stringify({
  uid: process.getuid(),
  shell: execSync("echo $0").toString().trim(),
  capabilities: /^CapEff:\\t(.*)$/m.exec(status)[1],
  noNewPrivileges: /^NoNewPrivs:\\t(.*)$/m.exec(status)[1],
  canWriteRoot,
  hasSecrets: existsSync("/run/secrets"),
  environment: process.env,
}));`;
const failing = 'console.log("compiling"); console.error("no compiler here"); process.exit(3);';
const endless = "setInterval(() => {}, 1_000);";

describe("a package of the npm registry", () => {
  let registry: NpmRegistry;
  let folder: string;
  const engine = { os: "linux", arch: process.arch };
  const signal = AbortSignal.timeout(100_000);

  beforeAll(async () => {
    registry = await startNpmRegistry();
    folder = await mkdtemp(join(tmpdir(), "dtma-npm-"));
    process.env.npm_config_registry = registry.url;
    process.env.npm_config_cache = join(folder, "cache");
  });
  afterAll(async () => {
    delete process.env.npm_config_registry;
    delete process.env.npm_config_cache;
    await registry.close();
    await rm(folder, { recursive: true });
  });

  it("is installed as it was resolved", async () => {
    const { integrity } = await registry.publish(probePackage("steady"));
    const resolved = await resolvePackage("steady", "latest", folder, signal);
    expect(resolved).toEqual({ name: "steady", version: "1.2.3", integrity });
    await installPackage(resolved, await mkdtemp(join(folder, "steady-")), engine, signal);
  });

  it("is refused when the registry gives another one of the same version", async () => {
    const named = await registry.publish(probePackage("shifty"));
    const resolved = await resolvePackage("shifty", "1.2.3", folder, signal);
    await registry.publish(probePackage("shifty", "// added"));
    const installed = installPackage(resolved, await mkdtemp(join(folder, "shifty-")), engine, signal);
    await expect(installed).rejects.toMatchObject({
      code: "PACKAGE_INSTALL_FAILED",
      message: "The registry gave another shifty@1.2.3 than the one it had named just before.",
      output: expect.stringContaining(named.integrity),
    });
  });

  it("is refused when it needs one from anywhere else, and nobody is asked for that", async () => {
    const asked: string[] = [];
    const elsewhere = createServer((request, response) => {
      asked.push(request.url ?? "");
      response.writeHead(404).end();
    });
    elsewhere.listen(0, "127.0.0.1");
    await once(elsewhere, "listening");
    const address = `127.0.0.1:${(elsewhere.address() as AddressInfo).port}`;
    const programs = await mkdtemp(join(folder, "programs-"));
    await writeFile(join(programs, "git"), `#!/bin/sh\necho "$@" >> ${programs}/started\nexit 1\n`, { mode: 0o755 });
    const near = await mkdtemp(join(folder, "near-"));
    await writeFile(join(near, "package.json"), JSON.stringify({ name: "other", version: "1.0.0" }));
    const path = process.env.PATH;
    process.env.PATH = `${programs}:${path}`;
    try {
      const places = [
        `git+http://${address}/other.git`,
        "git+ssh://git@127.0.0.1/other.git",
        "github:owner/other",
        `http://${address}/other.tgz`,
        `file:${near}`,
        `file:${near}/other.tgz`,
      ];
      for (const [index, place] of places.entries()) {
        const [name, between] = [`needy-${index}`, `between-${index}`];
        const { manifest, files } = probePackage(name);
        await registry.publish({ manifest: { ...manifest, dependencies: { [between]: "1.2.3" } }, files });
        await registry.publish({
          ...probePackage(between),
          manifest: { name: between, version: "1.2.3", dependencies: { other: place } },
        });
        const resolved = await resolvePackage(name, "latest", folder, signal);
        const installed = installPackage(resolved, await mkdtemp(join(folder, "needy-")), engine, signal);
        await expect(installed, place).rejects.toMatchObject({
          code: "PACKAGE_INSTALL_FAILED",
          message: `${name}@1.2.3 needs a package that does not come from the registry, and a toolbox fetches from nowhere else.`,
          output: expect.stringMatching(/of type "\w+" have been disabled/),
        });
      }
      expect(asked).toEqual([]);
      expect(existsSync(join(programs, "started"))).toBe(false);
    } finally {
      process.env.PATH = path;
      elsewhere.close();
    }
  });
});

describe.skipIf(!parts.docker || process.platform !== "linux")("a server from npm", () => {
  let bench: Bench;
  let dtma: DtmaProcess;
  let start: () => Promise<DtmaProcess>;
  let registry: NpmRegistry;
  let base: string;
  const integrities: Record<string, string> = {};

  beforeAll(async () => {
    bench = createBench();
    registry = await startNpmRegistry();
    for (const [name, script] of Object.entries({ curious, failing, endless })) {
      integrities[name] = (await registry.publish(probePackage(name, script))).integrity;
    }
    base = await makeBaseImage(bench, { copies: { "/bin/sh": "/bin/sh" } });
    const [cache, data] = [await bench.folder(), await bench.folder()];
    const env = { npm_config_registry: registry.url, npm_config_cache: cache };
    start = () => bench.start({ data, env, flags: [`--node-image=${base}`] });
    dtma = await start();
  });
  afterAll(async () => {
    await bench.close();
    await registry.close();
  });

  const request = (name: string, installScripts?: boolean) =>
    everythingRequest(name, {
      source: { type: "npm", package: name, version: "latest", ...(installScripts === undefined ? {} : { installScripts }) },
      permissions: { network: "none" },
      secrets: [{ name: "API_KEY", required: true }],
    });
  const deploy = (name: string, installScripts?: boolean) =>
    dtma.perform("PUT", `/v1/servers/${name}`, { ...request(name, installScripts), secretValues: { API_KEY: "canary-npm" } });

  /** What is on the machine beside the images: containers, the network, running builds. */
  async function expectNothingLeft(): Promise<void> {
    const { containers, networks } = await bench.left();
    expect({ containers, networks }).toEqual({ containers: [], networks: [] });
  }

  it("has the exact package it was made from in what is seen of it, and on its container", async () => {
    expect((await deploy("curious")).error).toBeUndefined();
    const [server] = await dtma.servers();
    const madeOf = { name: "curious", version: "1.2.3", integrity: integrities.curious };
    expect(server?.image.package).toEqual(madeOf);
    const { Config } = (await inspect(server?.container.id ?? "")) as { Config: { Labels: Record<string, string> } };
    expect(JSON.parse(Config.Labels["dev.dtma.package"] ?? "")).toEqual(madeOf);
  });

  const exec = async (program: string) => {
    const { container } = await dtma.seen("curious", () => true);
    return await docker("exec", container.id, "node", "-p", program);
  };

  it("has not run its install scripts", async () => {
    expect(await exec('require("fs").existsSync("/app/node_modules/curious/found.json")')).toBe("false\n");
    expect(await dtma.perform("DELETE", "/v1/servers/curious")).toMatchObject({ state: "succeeded" });
  });

  it("has run them when the template asks: as a server would run, in a shell, without its secrets", async () => {
    expect((await deploy("curious", true)).error).toBeUndefined();
    const found = JSON.parse(await exec('require("fs").readFileSync("/app/node_modules/curious/found.json", "utf8")'));
    expect(found).toMatchObject({
      uid: 1000,
      shell: expect.stringContaining("sh"),
      capabilities: "0000000000000000",
      noNewPrivileges: "1",
      canWriteRoot: false,
      hasSecrets: false,
    });
    expect(JSON.stringify(found.environment)).not.toMatch(/canary-npm|DTMA_AUTH_TOKEN/);
    expect(found.environment).not.toHaveProperty("npm_config_registry");
  });

  it("cannot change what they have made, and finds nothing of the build but that", async () => {
    const look = `const fs = require("fs"); const { uid, gid } = fs.statSync("/app/node_modules/curious/found.json");
      [uid, gid, fs.existsSync("/build"), fs.existsSync("/opt/dtma-npm")].join(" ")`;
    expect(await exec(look)).toBe("0 0 false false\n");
    expect(await dtma.perform("DELETE", "/v1/servers/curious")).toMatchObject({ state: "succeeded" });
    await expectNothingLeft();
  });

  it("is not deployed when they fail, and their last lines say why", async () => {
    const ended = await deploy("failing", true);
    expect(ended).toMatchObject({ state: "failed", error: { code: "PACKAGE_INSTALL_FAILED" } });
    expect(ended.error?.message).toMatch(/^The install scripts of failing@1\.2\.3 failed/);
    expect(ended.error?.output).toContain("compiling");
    expect(ended.error?.output).toContain("no compiler here");
    await expectNothingLeft();
  });

  it("leaves nothing of scripts that do not end: at the deadline, when it is cancelled, and after the DTMA was killed", async () => {
    const late = { ...request("endless", true), secretValues: { API_KEY: "canary-npm" }, deadlineMs: 10_000 };
    expect(await dtma.perform("PUT", "/v1/servers/endless", late)).toMatchObject({
      state: "failed",
      error: { code: "DEADLINE_EXCEEDED" },
    });
    await expectNothingLeft();

    const id = await dtma.begin("PUT", "/v1/servers/endless", { ...late, deadlineMs: 100_000 });
    const isRunning = async () => (await docker("ps", "-q", "--filter", `label=${bench.label}`)) !== "";
    while (!(await isRunning())) await delay(100);
    await dtma.call("DELETE", `/v1/operations/${id}`);
    expect(await dtma.ended(id)).toMatchObject({ state: "cancelled" });
    await expectNothingLeft();

    await dtma.begin("PUT", "/v1/servers/endless", { ...late, deadlineMs: 100_000 });
    while (!(await isRunning())) await delay(100);
    await dtma.kill("SIGKILL");
    expect(await isRunning()).toBe(true);
    dtma = await start();
    await expectNothingLeft();
  });

  it("is refused with scripts on this toolbox's own Node, which has no shell", async () => {
    const own = await bench.start({ env: { npm_config_registry: registry.url, npm_config_cache: await bench.folder() } });
    const ended = await own.perform("PUT", "/v1/servers/curious", {
      ...request("curious", true),
      secretValues: { API_KEY: "canary-npm" },
    });
    expect(ended).toMatchObject({
      state: "failed",
      error: {
        code: "PACKAGE_INSTALL_FAILED",
        message: expect.stringMatching(/need a Node base image with a shell/),
        field: "spec.source.installScripts",
      },
    });
  });
});
