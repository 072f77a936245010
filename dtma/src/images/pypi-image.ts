import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { AppError } from "../../../shared/errors.ts";
import type { Docker } from "../docker/docker.ts";
import type { PackageSource } from "../plan.ts";
import type { BaseImages, Progress } from "./base-images.ts";
import { type Builder, buildFolder, lastOutput } from "./builder.ts";
import type { PackageImage, Report } from "./images.ts";
import { choosePythonCommand, findPinned, normalName, toRequirement, uvEnvironment, uvProblem } from "./pypi.ts";
import { driverPath, environmentPath, launcherPath, pypiLauncher, requirementsPath, uvDriver } from "./pypi-programs.ts";
import { serverUser } from "./runtime.ts";
import { addTar } from "./tar.ts";

/*
A package of PyPI as an image: uv resolves and installs in containers of a base that has it, never on the host.

INVARIANTS
- Where packages come from is uv's to know: its own default, or what is configured for the user the DTMA runs as.
- Every package is pinned with its hashes, which uv checks; the server's own are those that were resolved.
*/

const layoutVersion = "1";

export type PypiSource = Extract<PackageSource, { type: "pypi" }>;

const resolvedAnswer = z.object({ requirements: z.string() });
const installedAnswer = resolvedAnswer.extend({ commands: z.record(z.string(), z.string()) });

type PypiImageDeps = { docker: Docker; bases: BaseImages; builder: Builder; env: NodeJS.ProcessEnv };

export interface PypiImages {
  /** PACKAGE_NOT_FOUND, PACKAGE_INSTALL_FAILED; IMAGE_PULL_FAILED without a base that has uv. */
  locate(source: PypiSource, report: Report, signal: AbortSignal): Promise<PackageImage>;
}

export function createPypiImages({ docker, bases, builder, env }: PypiImageDeps): PypiImages {
  /** uv's own configuration files of this machine and user, by where uv looks for them in the container. */
  async function configurations(): Promise<[path: string, text: string][]> {
    const own = join(env.XDG_CONFIG_HOME ?? join(homedir(), ".config"), "uv", "uv.toml");
    const places = [
      ["/etc/uv/uv.toml", "etc/uv/uv.toml"],
      [own, `${buildFolder.slice(1)}/.config/uv/uv.toml`],
    ] as const;
    const found = places.filter(([path]) => existsSync(path));
    return await Promise.all(found.map(async ([path, name]) => [name, await readFile(path, "utf8")] as [string, string]));
  }

  async function runUv<T>(
    task: "resolve" | "install",
    base: string,
    { name, version }: { name: string; version: string },
    signal: AbortSignal,
    use: (answer: string, container: string) => Promise<T>,
  ): Promise<T> {
    const settings = await configurations();
    return await builder.run(
      {
        base,
        command: ["python3", driverPath, task, name],
        workingDir: buildFolder,
        environment: {
          ...uvEnvironment(env),
          UV_CACHE_DIR: `${buildFolder}/cache`,
          UV_LINK_MODE: "copy",
          UV_NO_PROGRESS: "1",
          UV_PYTHON_DOWNLOADS: "never",
          NO_COLOR: "1",
        },
        fill(tar) {
          tar.entry({ name: "app", type: "directory", mode: 0o755, ...serverUser });
          tar.entry({ name: driverPath.slice(1), mode: 0o644 }, uvDriver);
          tar.entry({ name: requirementsPath.slice(1), mode: 0o644 }, toRequirement(name, version));
          for (const [path, text] of settings) tar.entry({ name: path, mode: 0o644 }, text);
        },
      },
      signal,
      async (finished) => {
        if (finished.exitCode === 0) return await use(finished.stdout, finished.container);
        throw uvProblem(toRequirement(name, version).trim(), lastOutput(finished));
      },
    );
  }

  async function make(
    { package: wanted, base }: Pick<PackageImage, "package" | "base">,
    reference: string,
    onProgress: Progress,
    signal: AbortSignal,
  ): Promise<void> {
    await runUv("install", base, wanted, signal, async (text, container) => {
      const { requirements, commands } = installedAnswer.parse(JSON.parse(text));
      const given = findPinned(requirements, wanted.name)?.hashes.join(" ");
      if (given !== wanted.integrity) {
        throw new AppError("PACKAGE_INSTALL_FAILED", {
          message: `The package index gave another ${wanted.name}==${wanted.version} than the one it had named just before.`,
          output: `named: ${wanted.integrity}\ngiven: ${given ?? "none"}`,
        });
      }
      const [command, target] = choosePythonCommand(wanted.name, commands);
      let done = 0;
      await builder.commit(
        base,
        reference,
        async (tar) => {
          tar.entry({ name: launcherPath.slice(1), mode: 0o644 }, pypiLauncher);
          await addTar(tar, await docker.getArchive(container, environmentPath, signal), "app", {
            onBytes(bytes) {
              done += bytes;
              onProgress(done, 0);
            },
          });
        },
        {
          entrypoint: [`${environmentPath}/bin/python`, launcherPath, command, target],
          environment: [
            `PATH=${environmentPath}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
            "PYTHONUNBUFFERED=1",
            "PYTHONDONTWRITEBYTECODE=1",
          ],
        },
        signal,
      );
    });
  }

  return {
    async locate({ package: wanted, version }, report, signal) {
      const name = normalName(wanted);
      const base = await bases.uv((doneBytes, totalBytes) => report({ doneBytes, totalBytes }), signal);
      const pinned = await runUv("resolve", base, { name, version }, signal, async (text) =>
        findPinned(resolvedAnswer.parse(JSON.parse(text)).requirements, name),
      );
      if (pinned === undefined || pinned.hashes.length === 0) {
        throw new AppError("PACKAGE_INSTALL_FAILED", { message: `uv named no version of ${name} with a hash.` });
      }
      const found = { name, version: pinned.version, integrity: pinned.hashes.join(" ") };
      report({ detail: `${name} ${pinned.version}` });
      return {
        package: found,
        base,
        repository: `dtma-pypi/${name}`,
        key: [layoutVersion, pypiLauncher],
        make: (reference, onProgress, target) => make({ package: found, base }, reference, onProgress, target),
      };
    },
  };
}
