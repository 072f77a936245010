import { setTimeout as sleep } from "node:timers/promises";
import { AppError, toAppError } from "../../shared/errors.ts";
import type { Tool } from "../../shared/model/tool.ts";
import type { Docker } from "./docker/docker.ts";
import { readServerLabels } from "./labels.ts";
import type { Log } from "./log.ts";
import type { Secrets } from "./secrets.ts";
import { secretsFolderOf } from "./server-container.ts";
import type { Handshake, Servers } from "./servers.ts";

/** How long a container without a required handshake must have run to count as started. */
const stayUpMs = 1_500;
const lastLines = 40;

type AnswerDeps = {
  docker: Docker;
  secrets: Secrets;
  servers(): Servers;
  handshake: Handshake;
  answerMs: number;
  log: Log;
};

export type Answer = { protocolVersion: string; tools: Tool[] };

/** Waits until the server in a container answers or, where that is not asked, has stayed up. */
export function createAnswering({ docker, secrets, servers, handshake, answerMs, log }: AnswerDeps) {
  async function explain(failure: AppError, containerId: string): Promise<AppError> {
    const view = await docker.getContainer(containerId).catch(() => undefined);
    const hasEnded = view !== undefined && view.state !== "running";
    const printed = failure.output ?? (await outputOf(containerId));
    const output = await secrets.scrub(view && secretsFolderOf(view), printed);
    const code = hasEnded || failure.code === "SERVER_NOT_RUNNING" ? "SERVER_EXITED" : failure.code;
    return new AppError(code, {
      ...(code === failure.code ? { message: failure.message } : {}),
      ...(output === "" ? {} : { output }),
      cause: failure,
    });
  }

  async function outputOf(id: string): Promise<string> {
    const lines: string[] = [];
    try {
      const options = { tail: lastLines, sinceMs: 0, follow: false, signal: AbortSignal.timeout(5_000) };
      for await (const { text } of docker.logs(id, options)) lines.push(text);
    } catch (error) {
      log.error("server.logs-not-read", error);
    }
    return lines.join("\n").slice(-8_000);
  }

  /** SERVER_EXITED as soon as the container ends, SERVER_SILENT when nothing answers; both with the last lines. */
  async function answer(id: string, runSignal: AbortSignal): Promise<Answer> {
    const view = await docker.getContainer(id);
    const labels = view === undefined ? undefined : readServerLabels(view.labels);
    if (view === undefined || labels === undefined) throw new AppError("NOT_FOUND");
    const ended = new AbortController();
    const signal = AbortSignal.any([runSignal, ended.signal]);
    const died = docker.waitContainer(id, signal).then((exitCode) => {
      throw exited(exitCode);
    });
    const answered = (async () => {
      if (view.state !== "running") return await died;
      const found = await handshake(servers().endpoint(view, labels), { deadlineMs: answerMs, signal });
      servers().noteSpeech(view, labels, found.speech);
      return found;
    })();
    try {
      return await Promise.race([answered, died]);
    } catch (error) {
      ended.abort(new AppError("CANCELLED"));
      await answered.catch(() => {});
      runSignal.throwIfAborted();
      throw await explain(toAppError(error), id);
    } finally {
      ended.abort(new AppError("CANCELLED"));
      died.catch(() => {});
    }
  }

  /** SERVER_EXITED, with the last lines, when the container ends within a moment. */
  async function stayUp(id: string, runSignal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const signal = AbortSignal.any([runSignal, over.signal]);
    const died = docker.waitContainer(id, signal);
    try {
      const exitCode = await Promise.race([died, sleep(stayUpMs, undefined, { signal })]);
      if (exitCode !== undefined) throw await explain(exited(exitCode), id);
    } finally {
      over.abort(new AppError("CANCELLED"));
      died.catch(() => {});
    }
  }

  return { answer, stayUp };
}

function exited(exitCode: number): AppError {
  return new AppError("SERVER_EXITED", {
    message: `The server ended right after it was started, with exit code ${exitCode}.`,
  });
}
