import { AppError } from "../../../shared/errors.ts";
import type { Docker, EngineInfo } from "../docker/docker.ts";
import { pinnedDigest } from "../docker/image-name.ts";
import type { Log } from "../log.ts";
import type { PullImage } from "./images.ts";
import type { Ledger } from "./ledger.ts";
import { describeRuntime, ensureRuntimeImage, runtimeRepository } from "./runtime.ts";

/*
What the images of packages are made on.

INVARIANTS
- A deploy waits for a base only while there is none; one that is there is renewed beside the deploy, at most once a week.
- Only a base that came from a registry is renewed: a name that somebody gave to an image of their own may be somebody
  else's at a registry.
*/

const stallMs = 10_000;
const retryMs = 10 * 60_000;
const renewMs = 7 * 24 * 60 * 60_000;
const renewDeadlineMs = 15 * 60_000;

export type Progress = (doneBytes: number, totalBytes: number) => void;

export interface BaseImages {
  /**
   * The Node image if it is there or can be pulled, else one made of the DTMA's own Node, which has no shell: undefined in
   * its place when one is needed.
   */
  node(needsShell: boolean, onProgress: Progress, signal: AbortSignal): Promise<string | undefined>;
  /** An image with `uv` and Python. IMAGE_PULL_FAILED when there is none and none can be pulled. */
  uv(onProgress: Progress, signal: AbortSignal): Promise<string>;
  /** Makes a runtime image again that was collected since `node` named it. */
  restore(reference: string, signal: AbortSignal): Promise<void>;
  isBase(reference: string): boolean;
  /** References of runtime images of another Node than this one. */
  listOutdated(): Promise<string[]>;
}

type BaseImagesDeps = {
  docker: Docker;
  log: Log;
  ledger: Ledger;
  pull: PullImage;
  nodeRuntime: string;
  nodeImage: string | null;
  uvImage: string | null;
  engine(): EngineInfo;
};

export function createBaseImages(deps: BaseImagesDeps): BaseImages {
  const { docker, log, ledger, pull, nodeImage, uvImage } = deps;
  const failedAt = new Map<string, number>();
  const renewing = new Set<string>();
  let runtime: Promise<string> | undefined;

  function makeRuntime(signal: AbortSignal): Promise<string> {
    // One import serves everybody who waits for it, so it must not end with the first one's patience.
    runtime ??= ensureRuntimeImage(docker, deps.engine(), deps.nodeRuntime, AbortSignal.timeout(300_000)).finally(() => {
      runtime = undefined;
    });
    return untilAborted(runtime, signal);
  }

  /**
   * Why the image is not there in the end. One that could not be pulled is not tried again for a while by whoever can do
   * without it.
   */
  async function obstacle(
    reference: string,
    isNeeded: boolean,
    onProgress: Progress,
    signal: AbortSignal,
  ): Promise<AppError | undefined> {
    const there = await docker.getImage(reference);
    if (there !== undefined) {
      const isOwn = there.digest === there.id;
      if (!isOwn && pinnedDigest(reference) === undefined) void renew(reference);
      return undefined;
    }
    const hasJustFailed = Date.now() - (failedAt.get(reference) ?? Number.NEGATIVE_INFINITY) < retryMs;
    if (hasJustFailed && !isNeeded) return new AppError("IMAGE_PULL_FAILED");
    try {
      await pull(reference, { onProgress, signal, stallMs });
      await ledger.noteBaseAsked(reference, Date.now());
      return undefined;
    } catch (error) {
      signal.throwIfAborted();
      return notPulled(reference, error);
    }
  }

  async function renew(reference: string): Promise<void> {
    if (renewing.has(reference)) return;
    renewing.add(reference);
    try {
      const last = Math.max((await ledger.baseAskedAt(reference)) ?? 0, (failedAt.get(reference) ?? 0) + retryMs - renewMs);
      if (Date.now() - last < renewMs) return;
      await pull(reference, { onProgress: () => {}, signal: AbortSignal.timeout(renewDeadlineMs), stallMs });
      await ledger.noteBaseAsked(reference, Date.now());
      log.info("base-image.renewed", { reference });
    } catch (error) {
      notPulled(reference, error);
    } finally {
      renewing.delete(reference);
    }
  }

  function notPulled(reference: string, error: unknown): AppError {
    failedAt.set(reference, Date.now());
    const problem = error instanceof AppError ? error : new AppError("IMAGE_PULL_FAILED", { cause: error });
    log.warn("base-image.not-pulled", { reference, code: problem.code, reason: problem.message });
    return problem;
  }

  return {
    async node(needsShell, onProgress, signal) {
      if (nodeImage !== null && (await obstacle(nodeImage, needsShell, onProgress, signal)) === undefined) return nodeImage;
      return needsShell ? undefined : await makeRuntime(signal);
    },

    async uv(onProgress, signal) {
      if (uvImage === null) {
        throw new AppError("IMAGE_PULL_FAILED", {
          message: "Servers from PyPI need a base image with uv, and this toolbox is set to have none.",
        });
      }
      const problem = await obstacle(uvImage, true, onProgress, signal);
      if (problem === undefined) return uvImage;
      throw new AppError("IMAGE_PULL_FAILED", {
        message: `Servers from PyPI need a base image with uv, and ${uvImage} could not be pulled.`,
        output: problem.output ?? problem.message,
        cause: problem,
      });
    },

    async restore(reference, signal) {
      if (reference !== nodeImage && (await docker.getImage(reference)) === undefined) await makeRuntime(signal);
    },

    isBase: (reference) => reference === nodeImage || reference === uvImage,

    async listOutdated() {
      // By their name: labels come along into every image that is made on one.
      const all = await docker.listTags(runtimeRepository);
      // One alone is this Node's, or is replaced by it at the next deploy: not worth reading the whole Node for.
      if (all.length < 2) return [];
      const { reference } = await describeRuntime(deps.engine(), deps.nodeRuntime);
      return all.filter((tag) => tag !== reference);
    },
  };
}

function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  return Promise.race([promise, aborted.promise]).finally(() => signal.removeEventListener("abort", abort));
}
