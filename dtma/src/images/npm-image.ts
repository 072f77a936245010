import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Pack } from "tar-stream";
import { AppError } from "../../../shared/errors.ts";
import type { Docker, EngineInfo } from "../docker/docker.ts";
import { pipePrograms } from "../docker/pipes.ts";
import type { PackageSource } from "../plan.ts";
import type { BaseImages, Progress } from "./base-images.ts";
import { type Builder, buildFolder, lastOutput } from "./builder.ts";
import type { PackageImage, Report } from "./images.ts";
import { nodePreload } from "./node-preload.ts";
import { findCommand, installPackage, npmFolder, type ResolvedPackage, resolvePackage } from "./npm.ts";
import { serverUser } from "./runtime.ts";
import { addTar, addTree } from "./tar.ts";

/*
A package of the npm registry as an image: npm puts it into a temporary folder here, and from there it goes onto a base.
Where the template asks for install scripts, they run between the two, in a container of their own.
*/

const layoutVersion = "2";
const npmInContainer = "/opt/dtma-npm";
const modulesPath = "/app/node_modules";
const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

export type NpmSource = Extract<PackageSource, { type: "npm" }>;

type NpmImageDeps = {
  docker: Docker;
  bases: BaseImages;
  builder: Builder;
  /** A folder of our own for temporary files. */
  workFolder: string;
  engine(): EngineInfo;
};

export interface NpmImages {
  /** PACKAGE_NOT_FOUND, PACKAGE_INSTALL_FAILED for scripts on a base without a shell. */
  locate(source: NpmSource, report: Report, signal: AbortSignal): Promise<PackageImage>;
}

export function createNpmImages({ docker, bases, builder, workFolder, engine }: NpmImageDeps): NpmImages {
  async function install(resolved: ResolvedPackage, signal: AbortSignal) {
    await mkdir(workFolder, { recursive: true, mode: 0o700 });
    const folder = await mkdtemp(join(workFolder, "npm-"));
    const dispose = () => rm(folder, { recursive: true, force: true });
    try {
      await installPackage(resolved, folder, engine(), signal);
    } catch (error) {
      await dispose();
      throw error;
    }
    return { folder, [Symbol.asyncDispose]: dispose };
  }

  /** Runs every install script below `folder`, then hands over the container in which `modulesPath` is. */
  async function runScripts(
    { name, version }: ResolvedPackage,
    base: string,
    folder: string,
    signal: AbortSignal,
    use: (container: string) => Promise<void>,
  ): Promise<void> {
    // npm asks for every package's approval otherwise; the template has given it for all of them.
    const flags = ["--foreground-scripts", "--dangerously-allow-all-scripts", "--no-update-notifier", "--color=false"];
    await builder.run(
      {
        base,
        command: ["node", `${npmInContainer}/bin/npm-cli.js`, "rebuild", ...flags],
        workingDir: "/app",
        environment: { NODE_ENV: "production", npm_config_cache: `${buildFolder}/npm` },
        async fill(tar) {
          await addTree(tar, npmFolder, npmInContainer.slice(1));
          tar.entry({ name: "app", type: "directory", mode: 0o755, ...serverUser });
          for (const file of ["package.json", "node_modules"]) {
            await addTree(tar, join(folder, file), `app/${file}`, { owner: serverUser });
          }
        },
      },
      signal,
      async (finished) => {
        if (finished.exitCode === 0) return await use(finished.container);
        throw new AppError("PACKAGE_INSTALL_FAILED", {
          message: `The install scripts of ${name}@${version} failed with exit code ${finished.exitCode}.`,
          output: lastOutput(finished),
        });
      },
    );
  }

  async function make(
    resolved: ResolvedPackage,
    base: string,
    withScripts: boolean,
    reference: string,
    onProgress: Progress,
    signal: AbortSignal,
  ): Promise<void> {
    await using installed = await install(resolved, signal);
    const command = await findCommand(resolved.name, installed.folder);
    const entrypoint = ["node", "--require", pipePrograms.node, join(modulesPath, command)];
    let done = 0;
    const onBytes = (bytes: number) => {
      done += bytes;
      onProgress(done, 0);
    };
    const commit = (addModules: (tar: Pack) => Promise<void>) =>
      builder.commit(
        base,
        reference,
        async (tar) => {
          tar.entry({ name: pipePrograms.node.slice(1), mode: 0o644 }, nodePreload);
          await addModules(tar);
        },
        { entrypoint, environment: [path, "NODE_ENV=production"] },
        signal,
      );
    await bases.restore(base, signal);
    if (!withScripts) {
      return await commit((tar) => addTree(tar, join(installed.folder, "node_modules"), modulesPath.slice(1), { onBytes }));
    }
    await runScripts(resolved, base, installed.folder, signal, (container) =>
      commit(async (tar) => addTar(tar, await docker.getArchive(container, modulesPath, signal), "app", { onBytes })),
    );
  }

  return {
    async locate({ package: name, version, installScripts = false }, report, signal) {
      await mkdir(workFolder, { recursive: true, mode: 0o700 });
      const resolved = await resolvePackage(name, version, workFolder, signal);
      report({ detail: `${resolved.name} ${resolved.version}` });
      const onPull: Progress = (doneBytes, totalBytes) => report({ doneBytes, totalBytes });
      const base = await bases.node(installScripts, onPull, signal);
      if (base === undefined) {
        throw new AppError("PACKAGE_INSTALL_FAILED", {
          message: `The install scripts of ${name} need a Node base image with a shell. None could be pulled, and the image made of this toolbox's own Node has no shell.`,
          field: "spec.source.installScripts",
        });
      }
      return {
        package: resolved,
        base,
        repository: `dtma-npm/${name}`,
        key: [layoutVersion, nodePreload, installScripts],
        make: (reference, onProgress, target) => make(resolved, base, installScripts, reference, onProgress, target),
      };
    },
  };
}
