import { existsSync } from "node:fs";
import { Agent } from "node:http";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Duplex, Readable } from "node:stream";
import Dockerode from "dockerode";
import { AppError } from "../../../shared/errors.ts";
import type { RegistryCredentials, TarStream } from "./docker.ts";
import { dockerHub, dockerHubLogin } from "./image-name.ts";

/*
INVARIANTS
- Docker's and Node's errors are translated here and nowhere else.
- A call whose signal ends throws the signal's reason when that is an AppError; a call that only ran into its own
  deadline throws DOCKER_UNAVAILABLE.
*/

const answerMs = 30_000;

export type Call = {
  method: "GET" | "POST" | "PUT" | "DELETE";
  path: string;
  query?: Record<string, unknown>;
  body?: unknown;
  file?: TarStream;
  /** Sent as `X-Registry-Auth`. */
  registryLogin?: RegistryCredentials;
  /** Ends the call, and the stream it returned. */
  signal?: AbortSignal;
  /** How long it may take without a signal of its own, or in addition to it. `null`: as long as the signal allows. */
  timeoutMs?: number | null;
};

/** HTTP calls to the Engine API, over dockerode's connection. */
export interface DockerCalls {
  json<T>(call: Call): Promise<T>;
  stream(call: Call): Promise<Readable>;
  /** The raw connection of an exec: writing is its stdin, reading its multiplexed output. */
  hijack(call: Call): Promise<Duplex>;
  /** The Engine runs on this machine and speaks over a socket file. */
  readonly isLocal: boolean;
}

type DialOptions = {
  path: string;
  method: string;
  options: Record<string, unknown>;
  file?: TarStream;
  authconfig?: { username: string; password: string; serveraddress: string };
  abortSignal?: AbortSignal;
  isStream?: boolean;
  hijack?: boolean;
  openStdin?: boolean;
  allowEmpty?: boolean;
  statusCodes: Record<number, true>;
};
type Dial = (options: DialOptions, callback: (error: unknown, data: unknown) => void) => void;

const statusCodes: Record<number, true> = { 200: true, 201: true, 204: true, 304: true };

/** Connects to `dockerHost` (as DOCKER_HOST), or to the usual sockets of Docker, rootless Docker and Docker Desktop. */
export function createDockerCalls(dockerHost: string | undefined, env: NodeJS.ProcessEnv): DockerCalls {
  const socketPath = dockerHost === undefined ? usualSocket(env) : socketOf(dockerHost);
  const dockerode =
    socketPath === undefined
      ? new Dockerode()
      : new Dockerode({ socketPath, agent: new Agent({ keepAlive: false }) } as Dockerode.DockerOptions);
  const modem = dockerode.modem as unknown as { dial: Dial };

  async function dial(call: Call, more: Partial<DialOptions>): Promise<unknown> {
    call.signal?.throwIfAborted();
    const deadline = new AbortController();
    const timer = call.timeoutMs === null ? undefined : setTimeout(() => deadline.abort(), call.timeoutMs ?? answerMs);
    try {
      return await new Promise((resolve, reject) => {
        modem.dial(
          {
            path: `${call.path}?`,
            method: call.method,
            options: { _query: call.query ?? {}, _body: call.body ?? {} },
            ...(call.file === undefined ? {} : { file: call.file }),
            ...(call.registryLogin === undefined ? {} : { authconfig: toAuthConfig(call.registryLogin) }),
            abortSignal: call.signal === undefined ? deadline.signal : AbortSignal.any([call.signal, deadline.signal]),
            allowEmpty: call.body !== undefined,
            statusCodes,
            ...more,
          },
          (error, data) => (error === null || error === undefined ? resolve(data) : reject(error)),
        );
      });
    } catch (error) {
      throw translate(error, call, deadline.signal.aborted);
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    isLocal: socketPath !== undefined && process.platform === "linux",
    async json<T>(call: Call) {
      return (await dial(call, {})) as T;
    },
    async stream(call) {
      return (await dial(call, { isStream: true })) as Readable;
    },
    async hijack(call) {
      return (await dial(call, {
        isStream: true,
        hijack: true,
        openStdin: true,
        allowEmpty: true,
        statusCodes: { ...statusCodes, 101: true },
      })) as Duplex;
    },
  };
}

function toAuthConfig({ registry, username, password }: RegistryCredentials): NonNullable<DialOptions["authconfig"]> {
  return { username, password, serveraddress: registry === dockerHub ? dockerHubLogin : registry };
}

function socketOf(dockerHost: string): string | undefined {
  return dockerHost.startsWith("unix://") ? dockerHost.slice("unix://".length) : undefined;
}

function usualSocket(env: NodeJS.ProcessEnv): string {
  const rootless = env.XDG_RUNTIME_DIR === undefined ? [] : [join(env.XDG_RUNTIME_DIR, "docker.sock")];
  if (process.platform === "win32") return "//./pipe/docker_engine";
  const candidates = ["/var/run/docker.sock", ...rootless, join(homedir(), ".docker", "run", "docker.sock")];
  return candidates.find((path) => existsSync(path)) ?? "/var/run/docker.sock";
}

/** Docker's or Node's error as an AppError. */
export function translate(error: unknown, call: Pick<Call, "path" | "signal">, timedOut = false): AppError {
  if (error instanceof AppError) return error;
  const reason: unknown = call.signal?.aborted === true ? call.signal.reason : undefined;
  if (reason instanceof AppError) return reason;
  if (reason !== undefined) return new AppError("CANCELLED", { cause: error });
  if (timedOut) return new AppError("DOCKER_UNAVAILABLE", { message: "Docker did not answer in time.", cause: error });
  const { statusCode, code } = error as { statusCode?: number; code?: string };
  const message = dockerMessage(error);
  if (statusCode === undefined) {
    const why = connectionProblem(code);
    return new AppError("DOCKER_UNAVAILABLE", { message: `Docker does not answer: ${why}.`, cause: error });
  }
  if (/no space left on device/i.test(message))
    return new AppError("DISK_FULL", { message: "Docker's disk is full.", cause: error });
  if (/port is already allocated|address already in use/i.test(message)) {
    return new AppError("INVALID_INPUT", {
      message: "A port that it asks for is taken on the toolbox.",
      field: "spec.permissions.ports",
      cause: error,
    });
  }
  if (/is not running|stopped container/i.test(message)) return new AppError("SERVER_NOT_RUNNING", { cause: error });
  // Two removals of one image at once: the second one gets this with status 500.
  const isGone = statusCode === 404 || /unrecognized image ID/i.test(message);
  if (isGone) return new AppError("NOT_FOUND", { message: sentence(message), cause: error });
  if (statusCode === 409) return new AppError("CONFLICT", { message: sentence(message), cause: error });
  return new AppError("INTERNAL", { message: `Docker refused: ${message}`, cause: error });
}

/** What the Engine itself said, without dockerode's prefix. */
export function dockerMessage(error: unknown): string {
  const { json, message } = error as { json?: { message?: unknown }; message?: string };
  if (typeof json?.message === "string") return json.message.slice(0, 2_000);
  return (message ?? String(error))
    .replace(/^\(HTTP code \d+\) .*? - /, "")
    .trim()
    .slice(0, 2_000);
}

function connectionProblem(code: string | undefined): string {
  if (code === "ENOENT") return "its socket does not exist";
  if (code === "ECONNREFUSED") return "nothing listens on its socket";
  if (code === "EACCES" || code === "EPERM") return "this user may not use its socket";
  return code ?? "the connection was lost";
}

function sentence(message: string): string {
  return `Docker says: ${message.replace(/\.?$/, ".")}`;
}
