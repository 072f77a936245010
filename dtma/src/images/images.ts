import { createHash } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { ImageRun } from "../../../shared/dtma-protocol.ts";
import { AppError } from "../../../shared/errors.ts";
import type { OperationStep } from "../../../shared/model/operation.ts";
import type { ServerSource } from "../../../shared/model/spec.ts";
import type { DataFolder } from "../data-folder.ts";
import type { Docker, EngineInfo, ImageView, PullOptions } from "../docker/docker.ts";
import { kindFilter, type Scope } from "../labels.ts";
import type { Log } from "../log.ts";
import type { PackageSource } from "../plan.ts";
import { createBaseImages, type Progress } from "./base-images.ts";
import { createBuilder, type OpenNetwork } from "./builder.ts";
import { createLedger, type PulledEntry } from "./ledger.ts";
import { createNpmImages } from "./npm-image.ts";
import { createPypiImages } from "./pypi-image.ts";
import type { Registries } from "./registries.ts";

/*
INVARIANTS
- A package's image is found by a hash of package, exact version, integrity, base and layout: same input, same image.
- Nothing is built with `docker build`: the Engine may have no builder.
- What an interrupted build leaves (a container, a temporary folder) carries its mark and is removed at the next start.
- Only what was made or pulled here is ever removed; of a pulled image only the reference it was pulled by.
*/

const pullStallMs = 60_000;

export type PulledImage = {
  reference: string;
  digest: string;
  /** The id that containers are created from: a tag may move meanwhile. */
  id: string;
  /** The image's own command, where arguments are to follow it because there is no entrypoint. */
  command: string[];
  /** What it was made from; absent for an image that came as one. */
  package?: NonNullable<ImageRun["package"]>;
};

export type Report = (update: Pick<OperationStep, "doneBytes" | "totalBytes" | "detail">) => void;
export type PullImage = (
  reference: string,
  options: Pick<PullOptions, "onProgress" | "signal" | "stallMs">,
) => Promise<{ image: ImageView; digest: string }>;

/** How a kind of package becomes an image. */
export type PackageImage = {
  package: NonNullable<ImageRun["package"]>;
  base: string;
  repository: string;
  /** What else the image depends on. */
  key: unknown[];
  make(reference: string, onProgress: Progress, signal: AbortSignal): Promise<void>;
};

/** Where the image of a package is or will be. */
export type BuildTarget = {
  reference: string;
  /** If an earlier deploy has left it. */
  image: PulledImage | undefined;
  /** PACKAGE_INSTALL_FAILED, DISK_FULL. */
  make(onProgress: Progress, signal: AbortSignal): Promise<PulledImage>;
};

export interface Images {
  /**
   * Pulls what is not there, always or never, as the source says. IMAGE_NOT_FOUND, IMAGE_PULL_FAILED (also for a registry
   * that stalls or refuses the credentials kept for it), DISK_FULL.
   */
  fetchImage(source: OciSource, onProgress: Progress, signal: AbortSignal): Promise<PulledImage>;
  /** An image that was used before, by its id on this machine; undefined when it is not there any more. */
  find(id: string, known: ImageRun): Promise<PulledImage | undefined>;
  /** What the registry means by name and version now. PACKAGE_NOT_FOUND, PACKAGE_INSTALL_FAILED, IMAGE_PULL_FAILED. */
  locate(source: PackageSource, report: Report, signal: AbortSignal): Promise<BuildTarget>;
  /** Removes images made or pulled here that none of `usedImageIds` is. */
  removeUnused(usedImageIds: ReadonlySet<string>): Promise<void>;
  /** Removes what the builds of a DTMA that was killed have left. Only while nothing is built. */
  removeInterrupted(): Promise<void>;
}

type OciSource = Pick<Extract<ServerSource, { type: "oci" }>, "image"> & {
  pull: Extract<ServerSource, { type: "oci" }>["pull"] | undefined;
};

type ImagesDeps = {
  docker: Docker;
  scope: Scope;
  log: Log;
  data: DataFolder;
  registries: Registries;
  nodeRuntime: string;
  /** null: never pull a base, always use the runtime image. */
  nodeImage: string | null;
  /** null: no servers from PyPI. */
  uvImage: string | null;
  engine(): EngineInfo;
  openNetwork: OpenNetwork;
  env: NodeJS.ProcessEnv;
  stallMs?: number;
};

export function createImages(deps: ImagesDeps): Images {
  const { docker, scope, log, data, registries, engine, stallMs = pullStallMs } = deps;
  const workFolder = join(data.path, "work");
  const ledger = createLedger(data, log);

  const pull: PullImage = async (reference, options) => {
    const before = await docker.getImage(reference);
    const named = await docker.pullImage(reference, { ...options, login: registries.loginFor(reference) });
    const image = await docker.getImage(reference);
    if (image === undefined) {
      throw new AppError("IMAGE_NOT_FOUND", { message: `The image ${reference} is not there after its pull.` });
    }
    const digest = named ?? image.digest;
    await ledger.notePulled({ reference, id: image.id, digest, isOurs: before?.id !== image.id });
    return { image, digest };
  };
  const bases = createBaseImages({ ...deps, ledger, pull });
  const builder = createBuilder(deps);
  const npm = createNpmImages({ docker, bases, builder, workFolder, engine });
  const pypi = createPypiImages({ docker, bases, builder, env: deps.env });

  const toPulled = (reference: string, image: ImageView, madeOf: ImageRun["package"]): PulledImage => ({
    reference,
    digest: image.digest,
    id: image.id,
    command: image.hasEntrypoint ? [] : image.command,
    ...(madeOf === undefined ? {} : { package: madeOf }),
  });

  async function appReference({ package: madeOf, base, repository, key }: PackageImage): Promise<string> {
    const baseId = (await docker.getImage(base))?.id ?? base;
    const parts = [madeOf.name, madeOf.version, madeOf.integrity, baseId, scope.name, key];
    const hash = createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 16);
    return `${toRepository(repository)}:${madeOf.version.replace(/[^\w.-]/g, "_").slice(0, 64)}-${hash}`;
  }

  /** Another container may have come to use it since, or another image to be made on it: then it stays. */
  async function removeImage(idOrTag: string): Promise<boolean> {
    try {
      await docker.removeImage(idOrTag);
      return true;
    } catch (error) {
      if (!(error instanceof AppError && error.code === "CONFLICT")) {
        log.warn("image.not-removed", { image: idOrTag, error: String(error) });
      }
      return false;
    }
  }

  /** Whether the entry has come to its end. */
  async function removePulled({ reference, id, isOurs }: PulledEntry): Promise<boolean> {
    if ((await docker.getImage(reference))?.id === id) {
      if (!isOurs || bases.isBase(reference)) return false;
      // While other images are made on it, it only loses its name.
      return (await removeImage(reference)) && (await docker.getImage(id)) === undefined;
    }
    if (!isOurs) return true;
    const image = await docker.getImage(id);
    if (image === undefined || image.tags.length > 0) return true;
    // The tag has moved on and left this one behind.
    return await removeImage(id);
  }

  async function outdatedRuntimes(): Promise<string[]> {
    try {
      return await bases.listOutdated();
    } catch (error) {
      // Not before Docker has been asked what it is, and not where this Node makes no images.
      if (error instanceof AppError && (error.code === "DOCKER_UNAVAILABLE" || error.code === "IMAGE_PULL_FAILED")) return [];
      throw error;
    }
  }

  return {
    async fetchImage({ image: reference, pull: policy = "missing" }, onProgress, signal) {
      const there = policy === "always" ? undefined : await docker.getImage(reference);
      if (there !== undefined) {
        const digest = (await ledger.digestOf(reference, there.id)) ?? there.digest;
        return { ...toPulled(reference, there, undefined), digest };
      }
      if (policy === "never") {
        throw new AppError("IMAGE_NOT_FOUND", {
          message: `The image ${reference} is not on this toolbox, and the server is set to never pull it.`,
          field: "spec.source.image",
        });
      }
      const { image, digest } = await pull(reference, { onProgress, signal, stallMs });
      return { ...toPulled(reference, image, undefined), digest };
    },

    async find(id, { reference, digest, package: madeOf }) {
      const image = await docker.getImage(id);
      return image === undefined ? undefined : { ...toPulled(reference, image, madeOf), digest };
    },

    async locate(source, report, signal) {
      const found = await (source.type === "npm" ? npm.locate(source, report, signal) : pypi.locate(source, report, signal));
      const reference = await appReference(found);
      const image = await docker.getImage(reference);
      return {
        reference,
        image: image === undefined ? undefined : toPulled(reference, image, found.package),
        async make(onProgress, target) {
          await found.make(reference, onProgress, target);
          const made = await docker.getImage(reference);
          if (made === undefined) throw new AppError("INTERNAL", { message: "The image is not there after its build." });
          return toPulled(reference, made, found.package);
        },
      };
    },

    async removeInterrupted() {
      for (const id of await docker.listContainers(kindFilter(scope, "build"))) await docker.removeContainer(id);
      await rm(workFolder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    },

    async removeUnused(usedImageIds) {
      const isUnused = (id: string) => !usedImageIds.has(id);
      for (const id of (await docker.listImages(kindFilter(scope, "app-image"))).filter(isUnused)) await removeImage(id);
      const gone: PulledEntry[] = [];
      for (const entry of await ledger.pulled()) if (isUnused(entry.id) && (await removePulled(entry))) gone.push(entry);
      await ledger.strikeOut(gone);
      for (const reference of await outdatedRuntimes()) await removeImage(reference);
    },
  };
}

/** A package's name in the letters that Docker allows in a repository. */
export function toRepository(name: string): string {
  return name
    .toLowerCase()
    .replace(/@/g, "")
    .replace(/[^a-z0-9/]+/g, "-")
    .replace(/(^|\/)-+|-+(\/|$)/g, "$1$2");
}
