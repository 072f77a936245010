import { setTimeout } from "node:timers/promises";
import { AppError } from "../../../../shared/errors.ts";
import type { Tool } from "../../../../shared/model/tool.ts";
import type { ServerEndpoint, ServerProcess, Speech } from "../../docker/server-process.ts";
import { createAsker, RefusedError, UnansweredError } from "./asker.ts";
import { type Askers, type Found, findOut, UnknownSpeechError } from "./era-probe.ts";
import { createHttpUpstream, type HttpClient, openHttpClient } from "./http-upstream.ts";
import { opensOldSse } from "./old-sse-probe.ts";
import { createSseUpstream } from "./sse-upstream.ts";
import { createStatelessHttpUpstream } from "./stateless-http-upstream.ts";
import { createStdioUpstream } from "./stdio-upstream.ts";
import { UpstreamError } from "./upstream.ts";

/*
INVARIANTS
- Every process opened here is ended before the promise settles, whatever happened.
- The word about a server is one of: it answered, it exited, it stayed silent, or nobody wanted to know any more.
- A server that is remembered is not probed; one that died of the probe is started once more and spared.
*/

export type Handshake = { protocolVersion: string; tools: Tool[]; speech: Speech };

const outputBytes = 4_096;
const messageBytes = 67_108_864;
const retryMs = 250;
const goodbyeMs = 2_000;

/**
 * Finds out what the server speaks, unless the endpoint knows it, and lists its tools, all pages; a server without the
 * tools capability has none. Tools that the model cannot hold (a name of more than 256 characters) are left out. Rejects
 * with SERVER_EXITED and its last lines in `output`, SERVER_SILENT after `deadlineMs` (also when an HTTP server never
 * listens) or when the handshake is refused, CANCELLED when the signal fires, and with what `endpoint.open` rejects with.
 */
export async function handshake(
  endpoint: ServerEndpoint,
  options: { deadlineMs: number; signal: AbortSignal },
): Promise<Handshake> {
  const stop = AbortSignal.any([options.signal, AbortSignal.timeout(options.deadlineMs)]);
  const attempt: Attempt = { stop, deadlineMs: options.deadlineMs, stopped: stopping(stop, options) };
  attempt.stopped.catch(() => undefined);
  if (stop.aborted) return attempt.stopped;
  if (endpoint.type === "http") return overHttp(endpoint, attempt);
  const found: Found = { speech: endpoint.speech };
  try {
    return await overStdio(endpoint, attempt, found);
  } catch (error) {
    const isDead = error instanceof AppError && error.code === "SERVER_EXITED";
    if (!isDead || endpoint.speech !== undefined) throw error;
    const speech = found.isStateless ? { sessions: false, stateless: true } : { sessions: true, stateless: false };
    return overStdio(endpoint, attempt, { speech, isFinal: true });
  }
}

type Attempt = {
  stop: AbortSignal;
  deadlineMs: number;
  /** Rejects once the attempt is over. */
  stopped: Promise<never>;
};

function stopping(stop: AbortSignal, options: { deadlineMs: number; signal: AbortSignal }): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  const report = (): void => {
    if (options.signal.aborted) reject(new AppError("CANCELLED"));
    else reject(new AppError("SERVER_SILENT", { message: silentSentence(options.deadlineMs) }));
  };
  if (stop.aborted) report();
  else stop.addEventListener("abort", report, { once: true });
  return promise;
}

function silentSentence(deadlineMs: number): string {
  return `The server runs but did not answer the MCP handshake within ${Math.round(deadlineMs / 1_000)} s.`;
}

async function overStdio(
  endpoint: Extract<ServerEndpoint, { type: "stdio" }>,
  attempt: Attempt,
  found: Found,
): Promise<Handshake> {
  const opening = endpoint.open();
  let process: ServerProcess;
  try {
    process = await Promise.race([opening, attempt.stopped]);
  } catch (error) {
    opening.then((late) => late.end()).catch(() => undefined);
    throw error;
  }
  const output = createTail();
  const onNoise = (line: Buffer) => output.add(Buffer.concat([line, Buffer.from("\n")]));
  const asker = createAsker((sink) => createStdioUpstream(process, sink, { messageBytes }), { waits: false, onNoise });
  try {
    process.stderr.on("data", (chunk: Buffer) => output.add(chunk));
    const exited = process.exited.then(async (code) => {
      await settled(process.stderr);
      const how = code === null ? "" : ` with exit code ${code}`;
      throw new AppError("SERVER_EXITED", { message: `The server ended${how} before it answered.`, output: output.text() });
    });
    const asked = findOut({ sessions: asker, stateless: asker }, found).catch(async (error: unknown) => {
      if (isRefusal(error)) throw refusedHandshake(error.message);
      if (error instanceof AppError) throw error;
      // The end of the process, when that is the reason, says more and is known in a moment.
      await setTimeout(goodbyeMs, undefined, { ref: false });
      throw new AppError("SERVER_EXITED", { message: (error as Error).message, output: output.text() });
    });
    return await Promise.race([asked, exited, attempt.stopped]);
  } catch (error) {
    if (error instanceof AppError && error.code === "SERVER_SILENT" && error.output === undefined && output.text() !== "") {
      throw new AppError("SERVER_SILENT", { message: error.message, output: output.text() });
    }
    throw error;
  } finally {
    await asker.end();
  }
}

async function overHttp({ url, speech }: { url: string; speech?: Speech }, attempt: Attempt): Promise<Handshake> {
  const client = await openHttpClient();
  let isOldSse = speech?.isOldSse === true;
  try {
    for (;;) {
      const askers = (isOldSse ? openOldSseAskers : openAskers)(url, client, attempt);
      const found: Found = isOldSse ? { speech: oldSse, isFinal: true } : { speech };
      try {
        return await Promise.race([findOut(askers, found), attempt.stopped]);
      } catch (error) {
        if (error instanceof AppError) throw error;
        const status = statusOf(error);
        const isElsewhere = !isOldSse && (status === 400 || status === 404 || status === 405);
        if (isElsewhere && (await opensOldSse(client, url, attempt.stop))) {
          isOldSse = true;
          continue;
        }
        const isStarting = status === undefined || status === 404 || status >= 500;
        if (!isStarting || (isRefusal(error) && status === undefined)) throw refusedHandshake((error as Error).message);
      } finally {
        const ended = Promise.all([askers.sessions.end(), askers.stateless.end()]);
        await Promise.race([ended, setTimeout(goodbyeMs, undefined, { ref: false })]);
      }
      await Promise.race([setTimeout(retryMs), attempt.stopped]);
    }
  } finally {
    await client.destroy();
  }
}

/** Both ways of asking over HTTP; `keepsSessions` says whether a session was really opened. */
function openAskers(url: string, client: HttpClient, { deadlineMs }: Attempt): Askers {
  let hasSession = false;
  const noting: HttpClient = {
    ...client,
    async request(where, how) {
      const response = await client.request(where, how);
      hasSession ||= response.headers["mcp-session-id"] !== undefined;
      return response;
    },
  };
  const asking = { waits: true, onNoise: () => undefined };
  const options = { messageBytes, initializeMs: deadlineMs, client: noting };
  return {
    sessions: createAsker((sink) => createHttpUpstream(url, sink, options), asking),
    stateless: createAsker((sink) => createStatelessHttpUpstream(url, sink, { messageBytes, client }), asking),
    keepsSessions: () => hasSession,
  };
}

const oldSse: Speech = { sessions: true, stateless: false, isOldSse: true };

/** A server that has nothing newer than the HTTP+SSE pair: it has sessions only. */
function openOldSseAskers(url: string, client: HttpClient, { deadlineMs }: Attempt): Askers {
  const options = { messageBytes, initializeMs: deadlineMs, client };
  const asker = createAsker((sink) => createSseUpstream(url, sink, options), { waits: false, onNoise: () => undefined });
  return { sessions: asker, stateless: asker };
}

function statusOf(error: unknown): number | undefined {
  if (error instanceof UpstreamError) return error.failure.upstreamStatus;
  return error instanceof RefusedError || error instanceof UnansweredError ? error.status : undefined;
}

function isRefusal(error: unknown): error is RefusedError | UnknownSpeechError {
  return error instanceof RefusedError || error instanceof UnknownSpeechError;
}

function refusedHandshake(said: string): AppError {
  return new AppError("SERVER_SILENT", { message: `The server refused the MCP handshake: ${said.slice(0, 300)}` });
}

type Tail = { add(chunk: Buffer): void; text(): string };

/** Keeps the last 4 kB of what it is given, in whole lines. */
function createTail(): Tail {
  let kept: Buffer = Buffer.alloc(0);
  let isCut = false;
  return {
    add(chunk) {
      const all = Buffer.concat([kept, chunk]);
      isCut ||= all.length > outputBytes;
      kept = all.subarray(-outputBytes);
    },
    text() {
      const text = kept.toString("utf8").trimEnd();
      const firstLine = text.indexOf("\n");
      return isCut && firstLine !== -1 ? text.slice(firstLine + 1) : text;
    },
  };
}

/** What a process printed last may still be on its way when its end is known. */
async function settled(stream: NodeJS.ReadableStream): Promise<void> {
  const ended = new Promise<void>((resolve) => {
    stream.once("end", resolve);
    stream.once("close", resolve);
  });
  await Promise.race([ended, setTimeout(250, undefined, { ref: false })]);
}
