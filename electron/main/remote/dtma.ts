import { EventSourceParserStream } from "eventsource-parser/stream";
import type { Response } from "undici";
import { z } from "zod";
import { type Exposure, exposure } from "../../../shared/contract/toolboxes.ts";
import {
  type AccessEntry,
  type AuditEntry,
  accessEntry,
  auditEntry,
  type DeployRequestInput,
  type DtmaEvent,
  type DtmaInfo,
  dtmaEvent,
  dtmaInfo,
  dtmaProtocolVersion,
  heartbeatIntervalMs,
  type LogLine,
  logLine,
  mcpEndpointPath,
  newToken,
  operationAccepted,
  type RegistryLogin,
  type Release,
  type ReportingState,
  type ReportingTargetInput,
  registryLogin,
  release,
  reportingState,
  type SecretState,
  type ShutdownRequest,
  secretState,
} from "../../../shared/dtma-protocol.ts";
import { AppError, errorShape } from "../../../shared/errors.ts";
import type { OperationId } from "../../../shared/model/ids.ts";
import { createPinnedHttp, fromFetchError, type PinnedHttp } from "./http.ts";

/** The DTMA of one toolbox, as dtma-protocol.ts describes it. Every call fails with an AppError. */
export interface DtmaClient {
  info(): Promise<DtmaInfo>;
  deploy(name: string, request: DeployRequestInput): Promise<OperationId>;
  operate(name: string, verb: "start" | "stop" | "restart"): Promise<OperationId>;
  remove(name: string): Promise<OperationId>;
  rollback(name: string): Promise<OperationId>;
  /** Newest first. */
  releases(name: string): Promise<Release[]>;
  secrets(name: string): Promise<SecretState[]>;
  putSecret(name: string, secret: string, value: string): Promise<OperationId>;
  deleteSecret(name: string, secret: string): Promise<OperationId>;
  cancel(operation: OperationId): Promise<void>;
  /** Lines as they come; ends when the signal aborts, the server goes or, without `follow`, after the last line. */
  logs(name: string, options: { tail: number; follow: boolean; signal: AbortSignal }): AsyncIterable<LogLine>;
  /** Events from the snapshot on. Throws when the stream ends or stays silent for longer than three heartbeats. */
  events(options: { stats: boolean; signal: AbortSignal }): AsyncIterable<DtmaEvent>;
  access(): Promise<AccessEntry[]>;
  putAccess(entry: AccessEntry): Promise<void>;
  deleteAccess(connectionId: string): Promise<void>;
  reporting(): Promise<ReportingState>;
  /** From now on the toolbox reports there; null ends its reports. The DTMA keeps token and password and never shows them. */
  setReporting(target: ReportingTargetInput | null): Promise<void>;
  registries(): Promise<RegistryLogin[]>;
  putRegistry(registry: string, credentials: { username: string; password: string }): Promise<void>;
  deleteRegistry(registry: string): Promise<void>;
  /** A new token; the one this client uses stays good for the overlap. */
  rotateToken(overlapSeconds: number): Promise<string>;
  /** Changing calls, newest first. */
  audit(limit: number): Promise<AuditEntry[]>;
  /** undefined where the DTMA does not say what can be reached from outside. */
  exposure(): Promise<Exposure | undefined>;
  /** Asks the DTMA to end itself. */
  shutdown(request: ShutdownRequest): Promise<void>;
  /** Address of a server's MCP endpoint, and a fetch that reaches it under the pinned certificate. */
  mcpEndpoint(name: string): { url: URL; fetch: PinnedHttp["fetch"] };
  close(): Promise<void>;
}

export type DtmaClientOptions = {
  url: string;
  fingerprint: string | null;
  /** Asked at every call, so that a changed token works at once. */
  getToken(): Promise<string | undefined>;
};

const answerTimeoutMs = 15_000;
const silenceMs = 3 * heartbeatIntervalMs;

export function createDtmaClient(options: DtmaClientOptions): DtmaClient {
  const http = createPinnedHttp(options.fingerprint);
  const base = new URL(options.url);

  async function send(method: string, path: string, init: { body?: unknown; signal?: AbortSignal } = {}): Promise<Response> {
    const token = await options.getToken();
    if (token === undefined) {
      throw new AppError("TOOLBOX_REFUSED", { message: "The token of this toolbox is not in the keychain any more." });
    }
    const response = await http.fetch(new URL(path, base), {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(init.body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(init.body === undefined ? {} : { body: JSON.stringify(init.body) }),
      signal: init.signal ?? AbortSignal.timeout(answerTimeoutMs),
    });
    if (!response.ok) throw await fromErrorResponse(response);
    return response;
  }

  async function ask<T>(schema: z.ZodType<T>, method: string, path: string, body?: unknown): Promise<T> {
    const response = await send(method, path, body === undefined ? {} : { body });
    // The answer's body can fail by itself: its deadline, its connection, or a proxy's page in its place.
    const text = await response.text().catch((error: unknown) => {
      throw fromFetchError(error, base);
    });
    return parsed(schema, parseJson(text));
  }

  const accepted = async (method: string, path: string, body?: unknown) =>
    (await ask(operationAccepted, method, path, body)).operationId;

  /** Opens a stream: the deadline covers the answer's head, the signal the rest. */
  async function stream(path: string, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    const opening = new AbortController();
    const timer = setTimeout(() => opening.abort(new DOMException("no answer", "TimeoutError")), answerTimeoutMs);
    try {
      const response = await send("GET", path, { signal: AbortSignal.any([signal, opening.signal]) });
      return response.body as ReadableStream<Uint8Array>;
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    async info() {
      const info = await ask(dtmaInfo, "GET", "/v1/info");
      assertCompatible(info);
      return info;
    },
    deploy: (name, request) => accepted("PUT", `/v1/servers/${name}`, request),
    operate: (name, verb) => accepted("POST", `/v1/servers/${name}/${verb}`),
    remove: (name) => accepted("DELETE", `/v1/servers/${name}`),
    rollback: (name) => accepted("POST", `/v1/servers/${name}/rollback`),
    releases: (name) => ask(z.array(release), "GET", `/v1/servers/${name}/releases`),
    secrets: (name) => ask(z.array(secretState), "GET", `/v1/servers/${name}/secrets`),
    putSecret: (name, secret, value) => accepted("PUT", `/v1/servers/${name}/secrets/${secret}`, { value }),
    deleteSecret: (name, secret) => accepted("DELETE", `/v1/servers/${name}/secrets/${secret}`),
    cancel: async (operation) => void (await send("DELETE", `/v1/operations/${operation}`)),
    async *logs(name, { tail, follow, signal }) {
      const body = await stream(`/v1/servers/${name}/logs?tail=${tail}&follow=${follow ? 1 : 0}`, signal);
      try {
        for await (const line of linesOf(body)) if (line !== "") yield parsed(logLine, JSON.parse(line));
      } catch (error) {
        if (!signal.aborted) throw fromFetchError(error, base);
      }
    },
    async *events({ stats, signal }) {
      const silence = new AbortController();
      const body = await stream(`/events${stats ? "?stats=1" : ""}`, AbortSignal.any([signal, silence.signal]));
      const onSilence = () =>
        silence.abort(
          new AppError("TOOLBOX_UNREACHABLE", { message: `${base.host} has sent nothing for ${silenceMs / 1000} seconds.` }),
        );
      let timer = setTimeout(onSilence, silenceMs);
      try {
        const messages = body.pipeThrough(new TextDecoderStream() as never).pipeThrough(new EventSourceParserStream());
        for await (const message of messages as unknown as AsyncIterable<{ data: string }>) {
          clearTimeout(timer);
          timer = setTimeout(onSilence, silenceMs);
          const event = parsed(dtmaEvent, JSON.parse(message.data));
          if (event.type === "snapshot") assertCompatible(event.info);
          yield event;
        }
      } catch (error) {
        throw silence.signal.aborted ? silence.signal.reason : fromFetchError(error, base);
      } finally {
        clearTimeout(timer);
      }
      throw new AppError("TOOLBOX_UNREACHABLE", { message: `${base.host} ended the stream of events.` });
    },
    access: () => ask(z.array(accessEntry), "GET", "/v1/access"),
    putAccess: async (entry) => void (await send("PUT", `/v1/access/${entry.connectionId}`, { body: entry })),
    deleteAccess: async (connectionId) => void (await send("DELETE", `/v1/access/${connectionId}`)),
    reporting: () => ask(reportingState, "GET", "/v1/reporting"),
    setReporting: async (target) => void (await send("PUT", "/v1/reporting", { body: target })),
    registries: () => ask(z.array(registryLogin), "GET", "/v1/registries"),
    putRegistry: async (registry, credentials) =>
      void (await send("PUT", `/v1/registries/${encodeURIComponent(registry)}`, { body: credentials })),
    deleteRegistry: async (registry) => void (await send("DELETE", `/v1/registries/${encodeURIComponent(registry)}`)),
    rotateToken: async (overlapSeconds) => (await ask(newToken, "POST", "/v1/token", { overlapSeconds })).token,
    audit: (limit) => ask(z.array(auditEntry), "GET", `/v1/audit?newest=1&limit=${limit}`),
    async exposure() {
      try {
        return (await ask(z.object({ exposure: exposure.optional() }), "GET", "/system")).exposure;
      } catch (error) {
        if (error instanceof AppError && error.code === "NOT_FOUND") return undefined;
        throw error;
      }
    },
    shutdown: async (request) => void (await send("POST", "/v1/shutdown", { body: request })),
    mcpEndpoint: (name) => ({ url: new URL(mcpEndpointPath(name), base), fetch: http.fetch }),
    close: () => http.close(),
  };
}

/**
 * Proves the single-use key of a host that was just installed and answers the token it gives for it. TOOLBOX_REFUSED
 * when the DTMA does not take the key.
 */
export async function enrolHost(host: { url: string; fingerprint: string | null; key: string }): Promise<string> {
  const http = createPinnedHttp(host.fingerprint);
  try {
    const response = await http.fetch(new URL("/v1/enrol", host.url), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ key: host.key }),
      signal: AbortSignal.timeout(answerTimeoutMs),
    });
    if (response.status >= 400 && response.status < 500 && response.status !== 429)
      throw new AppError("TOOLBOX_REFUSED", {
        message: "The machine does not accept the key of this command: it was used, it has expired, or it is another one's.",
      });
    if (!response.ok) throw await fromErrorResponse(response);
    return parsed(newToken, await response.json().catch(() => undefined)).token;
  } finally {
    await http.close();
  }
}

function assertCompatible(info: DtmaInfo): void {
  if (info.protocol === dtmaProtocolVersion) return;
  throw new AppError("TOOLBOX_INCOMPATIBLE", {
    message: `The DTMA ${info.version} speaks protocol ${info.protocol}; this control centre speaks ${dtmaProtocolVersion}.`,
  });
}

function parsed<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const path = result.error.issues[0]?.path.join(".") ?? "";
  throw new AppError("TOOLBOX_INCOMPATIBLE", {
    message: `The toolbox answered in a form that is not known (at ${path || "the top"}).`,
    cause: result.error,
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function fromErrorResponse(response: Response): Promise<AppError> {
  const body = await response.json().catch(() => undefined);
  const known = z.object({ error: errorShape }).safeParse(body);
  if (response.status === 401) return new AppError("TOOLBOX_REFUSED");
  // Not the token but the place: the DTMA says by which names it may be called.
  if (response.status === 403)
    return new AppError("TOOLBOX_REFUSED", known.success ? { message: known.data.error.message } : {});
  if (known.success) return AppError.fromShape(known.data.error);
  return new AppError("TOOLBOX_INCOMPATIBLE", { message: `The toolbox answered with status ${response.status}.` });
}

async function* linesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
  }
  if (rest !== "") yield rest;
}
