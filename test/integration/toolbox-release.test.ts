import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Agent, fetch } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeRelease, type Release } from "../../dtma/release.ts";
import { createDocker } from "../../dtma/src/docker/engine.ts";
import { ensureRuntimeImage } from "../../dtma/src/images/runtime.ts";
import { dtmaInfo, dtmaReadyLine } from "../../shared/dtma-protocol.ts";
import { docker } from "../fixtures/dtma.ts";
import { parts } from "../setup/parts.ts";
import { runProgram } from "../setup/program.ts";

const script = join(import.meta.dirname, "../../resources/toolbox/install.sh");

it.skipIf(parts.shellcheck === undefined)("install.sh is clean for shellcheck, as POSIX sh", async () => {
  const { code, output } = await runProgram(parts.shellcheck ?? "", ["--shell=sh", "--enable=quote-safe-variables", script]);
  expect(output).toBe("");
  expect(code).toBe(0);
});

describe.skipIf(process.platform !== "linux")("a release", () => {
  let folder: string;
  let unpacked: string;
  let release: Release;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "dtma-release-test-"));
    release = await makeRelease({ folder: join(folder, "one"), level: 1 });
    unpacked = join(folder, "unpacked");
    await mkdir(unpacked);
    const { code } = await runProgram("tar", ["-xzf", release.archive, "-C", unpacked, "--strip-components=1"]);
    expect(code).toBe(0);
  });

  afterAll(async () => {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });

  it("is the same bytes when it is made again", async () => {
    const again = await makeRelease({ folder: join(folder, "two"), level: 1 });
    expect(again.sha256).toBe(release.sha256);
    expect(await readFile(`${again.archive}.sha256`, "utf8")).toMatch(/^[a-f0-9]{64} {2}dtma-[\d.]+-linux-\w+\.tar\.gz\n$/);
  });

  it("names the hash of every file in it", async () => {
    expect(await runProgram("sha256sum", ["--quiet", "--strict", "-c", "SHA256SUMS"], { cwd: unpacked })).toEqual({
      code: 0,
      output: "",
    });
    const files = (await readdir(unpacked, { recursive: true, withFileTypes: true })).filter((file) => file.isFile());
    expect((await readFile(join(unpacked, "SHA256SUMS"), "utf8")).split("\n")).toHaveLength(files.length);
  });

  it("holds the bundle and what it needs at run time, and nothing of how it was made", async () => {
    const files = await readdir(unpacked, { recursive: true });
    expect(files).toEqual(expect.arrayContaining(["dist/dtma.mjs", "bin/node", "bin/dtma", "install.sh", "dtma.service"]));
    expect(files.filter((file) => /\.(map|ts|test\.\w+)$/.test(file))).toEqual([]);
    expect(files.filter((file) => /^node_modules\/(typescript|vite|vitest|electron)(\/|$)/.test(file))).toEqual([]);
    expect((await stat(release.archive)).size).toBeLessThan(80 * 2 ** 20);
  });

  it("runs with nothing of this machine but its C library", async () => {
    const env = { PATH: "/usr/bin:/bin" };
    const help = await runProgram(join(unpacked, "bin", "dtma"), ["--help"], { env, cwd: "/" });
    expect(help.code).toBe(0);
    expect(help.output).toContain("dtma doctor");
    const npm = await runProgram(join(unpacked, "bin", "node"), [join(unpacked, "node_modules/npm/bin/npm-cli.js"), "-v"], {
      env,
    });
    expect(npm.output.trim()).toMatch(/^\d+\.\d+\.\d+$/);
  });

  describe.skipIf(!parts.docker)("as a container", () => {
    const name = `dtma-test-${randomUUID().slice(0, 8)}`;
    const token = randomUUID();
    let data: string;

    beforeAll(async () => {
      data = join(folder, "data");
      const engine = createDocker(undefined, process.env);
      const base = await ensureRuntimeImage(engine, await engine.info(5_000), process.execPath, AbortSignal.timeout(120_000));
      const build = ["build", "--network=none", "--label", parts.containerLabel, "--build-arg", `BASE=${base}`, "-t", name];
      const built = await runProgram("docker", [...build, unpacked], { env: { ...process.env, DOCKER_BUILDKIT: "0" } });
      expect(built).toMatchObject({ code: 0 });
    });

    afterAll(async () => {
      await runProgram("docker", ["rm", "-fv", name]);
      await runProgram("docker", ["rmi", "-f", name]);
    });

    /** The command in the head of the Dockerfile, with a place of the test's own. */
    async function documentedFlags(): Promise<string[]> {
      const text = (await readFile(join(unpacked, "Dockerfile"), "utf8")).replaceAll(/ \\\n# +/g, " ");
      const [, flags = ""] = /^# +docker run -d --name dtma (.*) dtma$/m.exec(text) ?? [];
      expect(flags).toContain("--pid host");
      return flags.replace(" --restart unless-stopped", "").replaceAll("/var/lib/dtma", data).split(" ");
    }

    it("answers on the host's network, drives the host's Docker and is known as healthy", async () => {
      const flags = await documentedFlags();
      const variables = { PORT: "0", DTMA_DATA: data, DTMA_SCOPE: name, DTMA_AUTH_TOKEN: token, DTMA_HOST: "127.0.0.1" };
      const settings = Object.entries(variables).flatMap(([key, value]) => ["-e", `${key}=${value}`]);
      await docker("run", "-d", "--name", name, "--label", parts.containerLabel, ...flags, ...settings, name);
      let line: string | undefined;
      while (line === undefined) {
        const { output } = await runProgram("docker", ["logs", name]);
        line = output.split("\n").find((text) => text.includes('"ready"'));
        if (line === undefined && (await docker("inspect", "-f", "{{.State.Running}}", name)).trim() !== "true")
          throw new Error(output);
        await delay(200);
      }
      const { url } = dtmaReadyLine.parse(JSON.parse(line));
      const response = await fetch(`${url}/v1/info`, {
        headers: { authorization: `Bearer ${token}` },
        dispatcher: new Agent({ connect: { rejectUnauthorized: false } }),
      });
      const info = dtmaInfo.parse(await response.json());
      expect(info.docker).toMatchObject({ state: "up" });
      expect(existsSync(join(data, "certificate.pem"))).toBe(true);
      const check = ["/opt/dtma/bin/node", "/opt/dtma/dist/dtma.mjs", "health", `--port=${new URL(url).port}`];
      expect(await docker("exec", name, ...check)).toBe("OK\n");
    });
  });
});
