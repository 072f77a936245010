import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { Pack } from "tar-stream";
import type { ImageRun } from "../../../shared/dtma-protocol.ts";
import { AppError } from "../../../shared/errors.ts";
import type { Docker, EngineInfo, ImageView } from "../docker/docker.ts";
import { kindFilter, kindLabels, type Scope } from "../labels.ts";
import type { Log } from "../log.ts";
import { findCommand, installPackage, type ResolvedPackage, resolvePackage } from "./npm.ts";
import { ensureRuntimeImage, serverUser } from "./runtime.ts";
import { secretPreload, secretPreloadPath } from "./secret-preload.ts";
import { sendTar } from "./tar.ts";

/*
INVARIANTS
- A package's image is found by a hash of package, exact version, integrity, base and layout: same input, same image.
- Nothing is built with `docker build`: the Engine may have no builder.
- What an interrupted build leaves (a container, a temporary folder) carries its mark and is removed at the next start.
*/

const layoutVersion = "1";
const smallFileBytes = 256 * 1024;
const baseStallMs = 10_000;
const baseRetryMs = 10 * 60_000;

export type PulledImage = {
  reference: string;
  digest: string;
  /** The id that containers are created from: a tag may move meanwhile. */
  id: string;
  /** The image's own command, where arguments are to follow it because there is no entrypoint. */
  command: string[];
};
export type BuildTarget = { resolved: ResolvedPackage; base: string; reference: string; image: PulledImage | undefined };
export type Progress = (doneBytes: number, totalBytes: number) => void;

export interface Images {
  /** Pulls what is not there. IMAGE_NOT_FOUND, IMAGE_PULL_FAILED, DISK_FULL. */
  fetchImage(reference: string, onProgress: Progress, signal: AbortSignal): Promise<PulledImage>;
  /** An image that was used before, by its id on this machine; undefined when it is not there any more. */
  find(id: string, known: ImageRun): Promise<PulledImage | undefined>;
  /** What the registry means by name and version now. PACKAGE_NOT_FOUND. */
  resolve(name: string, version: string, signal: AbortSignal): Promise<ResolvedPackage>;
  /** Where the image of a package is or will be, and the image if an earlier deploy has left it. */
  locate(resolved: ResolvedPackage, onProgress: Progress, signal: AbortSignal): Promise<BuildTarget>;
  /** Installs into a temporary folder; `dispose` removes it. */
  install(resolved: ResolvedPackage, signal: AbortSignal): Promise<{ folder: string; [Symbol.asyncDispose](): Promise<void> }>;
  build(target: BuildTarget, folder: string, onProgress: Progress, signal: AbortSignal): Promise<PulledImage>;
  /** Removes images made here that none of `usedImageIds` is. */
  removeUnused(usedImageIds: ReadonlySet<string>): Promise<void>;
  /** Removes what the builds of a DTMA that was killed have left. Only while nothing is built. */
  removeInterrupted(): Promise<void>;
}

type ImagesDeps = {
  docker: Docker;
  scope: Scope;
  log: Log;
  /** A folder of our own for temporary files. */
  workFolder: string;
  nodeRuntime: string;
  /** null: never pull a base, always use the runtime image. */
  nodeImage: string | null;
  engine(): EngineInfo;
};

export function createImages({ docker, scope, log, workFolder, nodeRuntime, nodeImage, engine }: ImagesDeps): Images {
  let runtime: Promise<string> | undefined;
  let baseFailedAt = Number.NEGATIVE_INFINITY;

  async function baseImage(onProgress: Progress, signal: AbortSignal): Promise<string> {
    if (nodeImage !== null) {
      if ((await docker.getImage(nodeImage)) !== undefined) return nodeImage;
      if (Date.now() - baseFailedAt > baseRetryMs && (await pullBase(nodeImage, onProgress, signal))) return nodeImage;
    }
    // One import serves everybody who waits for it, so it must not end with the first one's patience.
    runtime ??= ensureRuntimeImage(docker, engine(), nodeRuntime, AbortSignal.timeout(300_000)).finally(() => {
      runtime = undefined;
    });
    return await untilAborted(runtime, signal);
  }

  /** Gives up when nothing moves for a while, so that a toolbox without a registry is not held up. */
  async function pullBase(reference: string, onProgress: Progress, signal: AbortSignal): Promise<boolean> {
    const stall = new AbortController();
    const giveUp = () => stall.abort(new AppError("IMAGE_PULL_FAILED"));
    let timer = setTimeout(giveUp, baseStallMs);
    let lastDone = -1;
    try {
      const watchProgress: Progress = (done, total) => {
        onProgress(done, total);
        if (done === lastDone) return;
        lastDone = done;
        clearTimeout(timer);
        timer = setTimeout(giveUp, baseStallMs);
      };
      await docker.pullImage(reference, watchProgress, AbortSignal.any([signal, stall.signal]));
      return true;
    } catch (error) {
      signal.throwIfAborted();
      baseFailedAt = Date.now();
      log.warn("base-image.not-pulled", { reference, reason: error instanceof AppError ? error.code : String(error) });
      return false;
    } finally {
      clearTimeout(timer);
    }
  }

  async function appReference(resolved: ResolvedPackage, base: string): Promise<string> {
    const view = await docker.getImage(base);
    const parts = [
      layoutVersion,
      resolved.name,
      resolved.version,
      resolved.integrity,
      view?.id ?? base,
      scope.name,
      secretPreload,
    ];
    const hash = createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 16);
    const name = resolved.name
      .replace(/^@/, "")
      .replace(/[^a-z0-9/]+/g, "-")
      .replace(/(^|\/)-+|-+(\/|$)/g, "$1$2");
    return `dtma-npm/${name}:${resolved.version.replace(/[^\w.-]/g, "_").slice(0, 64)}-${hash}`;
  }

  const toPulled = (reference: string, image: ImageView): PulledImage => ({
    reference,
    digest: image.digest,
    id: image.id,
    command: image.hasEntrypoint ? [] : image.command,
  });

  return {
    async fetchImage(reference, onProgress, signal) {
      if ((await docker.getImage(reference)) === undefined) await docker.pullImage(reference, onProgress, signal);
      const image = await docker.getImage(reference);
      if (image === undefined)
        throw new AppError("IMAGE_NOT_FOUND", { message: `The image ${reference} is not there after its pull.` });
      return toPulled(reference, image);
    },

    async find(id, { reference, digest }) {
      const image = await docker.getImage(id);
      return image === undefined ? undefined : { ...toPulled(reference, image), digest };
    },

    async resolve(name, version, signal) {
      await mkdir(workFolder, { recursive: true, mode: 0o700 });
      return await resolvePackage(name, version, workFolder, signal);
    },

    async locate(resolved, onProgress, signal) {
      const base = await baseImage(onProgress, signal);
      const reference = await appReference(resolved, base);
      const image = await docker.getImage(reference);
      return { resolved, base, reference, image: image === undefined ? undefined : toPulled(reference, image) };
    },

    async install(resolved, signal) {
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
    },

    async build({ resolved, base, reference }, folder, onProgress, signal) {
      const command = await findCommand(resolved.name, folder);
      const container = await docker.createBuildContainer(base, kindLabels(scope, "build"), signal);
      try {
        await sendTar(
          (tar) => fillApp(tar, join(folder, "node_modules"), onProgress),
          (tar) => docker.putArchive(container, "/", tar, signal),
        );
        await docker.commitContainer(
          container,
          reference,
          {
            entrypoint: ["node", "--require", secretPreloadPath, join("/app/node_modules", command)],
            workingDir: "/data",
            user: `${serverUser.uid}:${serverUser.gid}`,
            environment: [
              "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
              "HOME=/data",
              "NODE_ENV=production",
            ],
            labels: kindLabels(scope, "app-image"),
          },
          signal,
        );
      } finally {
        await docker.removeContainer(container);
      }
      const image = await docker.getImage(reference);
      if (image === undefined) throw new AppError("INTERNAL", { message: "The image is not there after its build." });
      return toPulled(reference, image);
    },

    async removeInterrupted() {
      for (const id of await docker.listContainers(kindFilter(scope, "build"))) await docker.removeContainer(id);
      await rm(workFolder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    },

    async removeUnused(usedImageIds) {
      for (const image of await docker.listImages(kindFilter(scope, "app-image"))) {
        if (usedImageIds.has(image)) continue;
        // Another container may have come to use it since: then it stays.
        await docker
          .removeImage(image)
          .catch((error: unknown) => log.warn("image.not-removed", { image, error: String(error) }));
      }
    },
  };
}

async function fillApp(tar: Pack, modules: string, onProgress: Progress): Promise<void> {
  let done = 0;
  const add = async (path: string, name: string): Promise<void> => {
    const info = await lstat(path);
    if (info.isDirectory()) {
      tar.entry({ name, type: "directory", mode: 0o755 });
      for (const entry of await readdir(path)) await add(join(path, entry), `${name}/${entry}`);
    } else if (info.isSymbolicLink()) {
      tar.entry({ name, type: "symlink", linkname: await readlink(path) });
    } else if (info.isFile()) {
      const header = { name, size: info.size, mode: (info.mode & 0o111) === 0 ? 0o644 : 0o755 };
      // A package has thousands of small files, for which a stream each costs more than the copy.
      if (info.size <= smallFileBytes) tar.entry(header, await readFile(path));
      else await pipeline(createReadStream(path), tar.entry(header));
      done += info.size;
      onProgress(done, 0);
    }
  };
  tar.entry({ name: "data", type: "directory", mode: 0o755, uid: serverUser.uid, gid: serverUser.gid });
  tar.entry({ name: "app", type: "directory", mode: 0o755 });
  tar.entry({ name: secretPreloadPath.slice(1), mode: 0o644 }, secretPreload);
  await add(modules, "app/node_modules");
  tar.finalize();
}

function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  return Promise.race([promise, aborted.promise]).finally(() => signal.removeEventListener("abort", abort));
}
