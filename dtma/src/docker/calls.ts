import type { ClientRequest, IncomingMessage } from "node:http";
import * as http from "node:http";
import * as https from "node:https";
import type { Duplex, Readable } from "node:stream";
import { AppError } from "../../../shared/errors.ts";
import { type EngineAddress, engineAddress } from "./address.ts";
import type { RegistryCredentials, TarStream } from "./docker.ts";
import { dockerHub, dockerHubLogin } from "./image-name.ts";

/*
INVARIANTS
- Docker's and Node's errors are translated here and nowhere else.
- A call whose signal ends throws the signal's reason when that is an AppError; a call that only ran into its own
  deadline throws DOCKER_UNAVAILABLE.
- Every call has a connection of its own: one that Docker closed in the meantime is never met.
*/

const answerMs = 30_000;
const maxRefusalBytes = 64 * 1024;

export type Call = {
  method: "GET" | "POST" | "PUT" | "DELETE";
  path: string;
  /** Arrays are repeated members; members that are undefined are left out. */
  query?: Record<string, unknown>;
  body?: unknown;
  file?: TarStream;
  /** Sent as `X-Registry-Auth`. */
  registryLogin?: RegistryCredentials;
  headers?: Record<string, string>;
  /** Ends the call, and the stream it returned. */
  signal?: AbortSignal;
  /** How long it may take without a signal of its own, or in addition to it. `null`: as long as the signal allows. */
  timeoutMs?: number | null;
};

/** HTTP calls to the Engine API. */
export interface DockerCalls {
  json<T>(call: Call): Promise<T>;
  stream(call: Call): Promise<Readable>;
  /** The raw connection of an exec: writing is its stdin, reading its multiplexed output. */
  hijack(call: Call): Promise<Duplex>;
  /** The Engine runs on this machine and speaks over a socket file. */
  readonly isLocal: boolean;
}

type Answer = { response: IncomingMessage } | { socket: Duplex };

/** Connects to `dockerHost` (as DOCKER_HOST), or to the usual sockets. Nothing is dialled yet; a bad address fails calls. */
export function createDockerCalls(dockerHost: string | undefined, env: NodeJS.ProcessEnv): DockerCalls {
  const addressed = (): EngineAddress => engineAddress(dockerHost, env);

  /** Sends the call, gives its answer's head to `take`, and holds to deadline and signal until that has settled. */
  async function perform<T>(call: Call, headers: Record<string, string>, take: (answer: Answer) => Promise<T> | T): Promise<T> {
    const { signal } = call;
    signal?.throwIfAborted();
    const current: { request?: ClientRequest; answer?: Answer } = {};
    const cut = () => {
      const { answer, request } = current;
      const reason = new Error("The call was given up.");
      if (answer === undefined) request?.destroy(reason);
      else if ("response" in answer) answer.response.destroy(reason);
      else answer.socket.destroy(reason);
    };
    let isLate = false;
    const onLate = () => {
      isLate = true;
      cut();
    };
    const timer = call.timeoutMs === null ? undefined : setTimeout(onLate, call.timeoutMs ?? answerMs);
    signal?.addEventListener("abort", cut, { once: true });
    try {
      current.request = open(addressed(), call, headers);
      current.answer = await answerOf(current.request, call);
      if ("response" in current.answer) await refuseFailure(current.answer.response);
      return await take(current.answer);
    } catch (error) {
      cut();
      throw translate(error, call, isLate);
    } finally {
      clearTimeout(timer);
      // A stream that was handed out still ends with the signal.
      const { answer } = current;
      const handedOut = answer === undefined ? undefined : "response" in answer ? answer.response : answer.socket;
      if (handedOut === undefined || handedOut.destroyed) signal?.removeEventListener("abort", cut);
      else handedOut.once("close", () => signal?.removeEventListener("abort", cut));
    }
  }

  return {
    get isLocal() {
      return process.platform === "linux" && (dockerHost === undefined || dockerHost.startsWith("unix://"));
    },
    json<T>(call: Call) {
      return perform(call, {}, async (answer) => parseAnswer(await readAll(responseOf(answer))) as T);
    },
    stream: (call) => perform(call, {}, responseOf),
    hijack: (call) =>
      perform(call, { connection: "Upgrade", upgrade: "tcp" }, (answer) => {
        if ("socket" in answer) return answer.socket;
        throw new Error("The engine did not hand over the connection.");
      }),
  };
}

/**
 * What the Engine sends on to the registry (Engine API, "Authentication"): JSON in the URL-safe base64, padded. Without its
 * padding the Engine takes it for no credentials at all and says nothing.
 */
function registryHeader({ registry, username, password }: RegistryCredentials): string {
  const serveraddress = registry === dockerHub ? dockerHubLogin : registry;
  const text = Buffer.from(JSON.stringify({ username, password, serveraddress })).toString("base64");
  return text.replaceAll("+", "-").replaceAll("/", "_");
}

function open(address: EngineAddress, call: Call, more: Record<string, string>): ClientRequest {
  const { method, query = {}, body, file } = call;
  const search = new URLSearchParams(
    Object.entries(query).flatMap(([name, value]) =>
      value === undefined ? [] : [value].flat().map((each) => [name, String(each)] as [string, string]),
    ),
  );
  const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
  const headers: Record<string, string | number> = { ...call.headers, ...more };
  if (call.registryLogin !== undefined) headers["x-registry-auth"] = registryHeader(call.registryLogin);
  if (file !== undefined) headers["content-type"] = "application/x-tar";
  else if (payload !== undefined) {
    headers["content-type"] = "application/json";
    headers["content-length"] = payload.length;
  } else if (method !== "GET") headers["content-length"] = 0;
  const { request: send } = address.via === "https" ? https : http;
  const path = search.size === 0 ? call.path : `${call.path}?${search}`;
  const request = send({ ...address.options, method, path, headers, agent: false });
  if (file === undefined) request.end(payload);
  else {
    file.on("error", (error) => request.destroy(error));
    file.pipe(request);
  }
  return request;
}

function answerOf(request: ClientRequest, call: Call): Promise<Answer> {
  return new Promise((resolve, reject) => {
    // Stays for errors that come after the answer: those of the connection are told by what was handed out.
    request.on("error", reject);
    request.on("close", () => reject(new Error(`The connection was closed at ${call.path}.`)));
    request.on("response", (response: IncomingMessage) => resolve({ response }));
    request.on("upgrade", (_response: IncomingMessage, socket: Duplex, head: Buffer) => {
      if (head.length > 0) socket.unshift(head);
      resolve({ socket });
    });
  });
}

function responseOf(answer: Answer): IncomingMessage {
  if ("response" in answer) return answer.response;
  throw new Error("The engine handed over the connection without being asked to.");
}

/** What the engine refuses carries its words as JSON; 304 says that what was asked for is so already. */
async function refuseFailure(response: IncomingMessage): Promise<void> {
  const { statusCode = 0 } = response;
  if ((statusCode >= 200 && statusCode < 300) || statusCode === 304) return;
  const text = (await readAll(response, maxRefusalBytes)).trim();
  const json = parseAnswer(text);
  const isWorded = typeof json === "object" && json !== null;
  throw Object.assign(new Error(text === "" ? `HTTP status ${statusCode}` : text), {
    statusCode,
    ...(isWorded ? { json } : {}),
  });
}

async function readAll(response: Readable, maxBytes = Number.POSITIVE_INFINITY): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > maxBytes) break;
  }
  return Buffer.concat(chunks).toString("utf8");
}

function parseAnswer(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
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

/** What the Engine itself said. */
export function dockerMessage(error: unknown): string {
  const { json, message } = error as { json?: { message?: unknown }; message?: string };
  if (typeof json?.message === "string") return json.message.slice(0, 2_000);
  return (message ?? String(error)).trim().slice(0, 2_000);
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
