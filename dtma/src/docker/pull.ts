import { AppError } from "../../../shared/errors.ts";
import type { DockerCalls } from "./calls.ts";
import { dockerMessage, translate } from "./calls.ts";
import { readJsonLines } from "./streams.ts";

type Progress = {
  id?: string;
  status?: string;
  progressDetail?: { current?: number; total?: number };
  error?: string;
  errorDetail?: { message?: string };
};

/**
 * Pulls by tag or digest; a reference with neither means `latest`. Progress is the sum over layers, so the total grows
 * while layers become known. IMAGE_NOT_FOUND, IMAGE_PULL_FAILED (with the registry's words in `output`), DISK_FULL.
 */
export async function pullImage(
  calls: DockerCalls,
  reference: string,
  onProgress: (doneBytes: number, totalBytes: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const hasTag = /[:@][^/]*$/.test(reference);
  const fromImage = hasTag ? reference : `${reference}:latest`;
  const layers = new Map<string, { done: number; total: number }>();
  try {
    const stream = await calls.stream({
      method: "POST",
      path: "/images/create",
      query: { fromImage },
      signal,
      timeoutMs: null,
    });
    for await (const line of readJsonLines(stream)) {
      const progress = line as Progress;
      if (progress.error !== undefined) throw pullProblem(reference, progress.errorDetail?.message ?? progress.error);
      noteLayer(layers, progress);
      let done = 0;
      let total = 0;
      for (const layer of layers.values()) {
        done += layer.done;
        total += layer.total;
      }
      onProgress(done, total);
    }
  } catch (error) {
    const translated = translate(error, { path: "/images/create", signal });
    if (translated.code === "NOT_FOUND" || translated.code === "INTERNAL") {
      throw pullProblem(reference, dockerMessage((translated.cause as Error | undefined) ?? error));
    }
    throw translated;
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

function pullProblem(reference: string, message: string): AppError {
  if (/no space left on device/i.test(message))
    return new AppError("DISK_FULL", { message: "Docker's disk is full.", output: message });
  if (/manifest unknown|not found|does not exist|access denied|unauthorized|no matching manifest/i.test(message)) {
    return new AppError("IMAGE_NOT_FOUND", {
      message: `The image ${reference} does not exist, or its registry does not let this toolbox see it.`,
      field: "spec.source.image",
      output: message,
    });
  }
  return new AppError("IMAGE_PULL_FAILED", { message: `The image ${reference} could not be pulled.`, output: message });
}
