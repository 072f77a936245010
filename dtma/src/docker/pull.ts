import { AppError } from "../../../shared/errors.ts";
import type { DockerCalls } from "./calls.ts";
import { dockerMessage, translate } from "./calls.ts";
import type { PullOptions } from "./docker.ts";
import { registryOf } from "./image-name.ts";
import { readJsonLines } from "./streams.ts";

/*
INVARIANTS
- A pull ends: with its signal, or when Docker has had nothing to tell for `stallMs`. Docker itself waits for a registry
  that stops in the middle of a layer for as long as the connection stands.
- Credentials go to Docker in a header of this one call and appear in nothing that is thrown.
*/

type Progress = {
  id?: string;
  status?: string;
  progressDetail?: { current?: number; total?: number };
  error?: string;
  errorDetail?: { message?: string };
};

/**
 * Pulls by tag or digest; a reference with neither means `latest`. Progress is the sum over layers, so the total grows
 * while layers become known. Resolves with the digest the registry named. IMAGE_NOT_FOUND, IMAGE_PULL_FAILED (with the
 * registry's words in `output`), DISK_FULL.
 */
export async function pullImage(
  calls: DockerCalls,
  reference: string,
  { onProgress, signal, login, stallMs }: PullOptions,
): Promise<string | undefined> {
  const hasTag = /[:@][^/]*$/.test(reference);
  const fromImage = hasTag ? reference : `${reference}:latest`;
  const layers = new Map<string, { done: number; total: number }>();
  const stall = new AbortController();
  const giveUp = () => stall.abort(stalled(reference, stallMs));
  let timer = setTimeout(giveUp, stallMs);
  const either = AbortSignal.any([signal, stall.signal]);
  let digest: string | undefined;
  try {
    const stream = await calls.stream({
      method: "POST",
      path: "/images/create",
      query: { fromImage },
      signal: either,
      timeoutMs: null,
      ...(login === undefined ? {} : { registryLogin: login }),
    });
    for await (const line of readJsonLines(stream)) {
      const progress = line as Progress;
      if (progress.error !== undefined) throw pullProblem(reference, progress.errorDetail?.message ?? progress.error, login);
      clearTimeout(timer);
      timer = setTimeout(giveUp, stallMs);
      digest = /^Digest: (sha256:[a-f0-9]{64})$/.exec(progress.status ?? "")?.[1] ?? digest;
      noteLayer(layers, progress);
      let done = 0;
      let total = 0;
      for (const layer of layers.values()) {
        done += layer.done;
        total += layer.total;
      }
      onProgress(done, total);
    }
    // A stream that was cut off by the signal may look like one that has ended.
    either.throwIfAborted();
    return digest;
  } catch (error) {
    const translated = translate(error, { path: "/images/create", signal: either });
    if (translated.code === "NOT_FOUND" || translated.code === "INTERNAL") {
      throw pullProblem(reference, dockerMessage((translated.cause as Error | undefined) ?? error), login);
    }
    throw translated;
  } finally {
    clearTimeout(timer);
  }
}

function noteLayer(layers: Map<string, { done: number; total: number }>, { id, status, progressDetail }: Progress): void {
  if (id === undefined) return;
  const layer = layers.get(id);
  if (status === "Downloading" && progressDetail?.current !== undefined) {
    layers.set(id, { done: progressDetail.current, total: Math.max(progressDetail.total ?? 0, progressDetail.current) });
  } else if (layer !== undefined && (status === "Download complete" || status === "Pull complete")) {
    layer.done = layer.total;
  }
}

function stalled(reference: string, stallMs: number): AppError {
  const seconds = Math.max(1, Math.round(stallMs / 1_000));
  return new AppError("IMAGE_PULL_FAILED", {
    message: `The image ${reference} could not be pulled: its registry ${registryOf(reference)} has sent nothing for ${seconds} seconds.`,
    field: "spec.source.image",
  });
}

/** What Docker said about a pull that failed, as an error that names the registry. */
export function pullProblem(reference: string, message: string, login: PullOptions["login"]): AppError {
  const registry = registryOf(reference);
  const about = { field: "spec.source.image", output: message };
  if (/no space left on device/i.test(message))
    return new AppError("DISK_FULL", { message: "Docker's disk is full.", output: message });
  if (login !== undefined && /unauthorized|authentication required|incorrect username|access denied|denied:/i.test(message)) {
    return new AppError("IMAGE_PULL_FAILED", {
      ...about,
      message: `The registry ${registry} does not accept the credentials that this toolbox keeps for it, or does not let them see ${reference}.`,
    });
  }
  if (/no basic auth credentials|authentication required/i.test(message)) {
    return new AppError("IMAGE_NOT_FOUND", {
      ...about,
      message: `The registry ${registry} asks for credentials to show ${reference}, and this toolbox keeps none for it.`,
    });
  }
  if (/manifest unknown|not found|does not exist|access denied|unauthorized|no matching manifest/i.test(message)) {
    return new AppError("IMAGE_NOT_FOUND", {
      ...about,
      message: `The image ${reference} does not exist, or its registry does not let this toolbox see it.`,
    });
  }
  if (/Client\.Timeout|timeout|deadline exceeded|connection refused|no such host|no route to host/i.test(message)) {
    return new AppError("IMAGE_PULL_FAILED", {
      ...about,
      message: `The image ${reference} could not be pulled: its registry ${registry} does not answer.`,
    });
  }
  return new AppError("IMAGE_PULL_FAILED", { ...about, message: `The image ${reference} could not be pulled.` });
}
