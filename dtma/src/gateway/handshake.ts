import { setTimeout } from "node:timers/promises";
import { AppError } from "../../../shared/errors.ts";
import { type Tool, tool } from "../../../shared/model/tool.ts";
import type { ServerEndpoint, ServerProcess } from "../docker/server-process.ts";
import { type Asker, createAsker, RefusedError, UnansweredError } from "./asker.ts";
import { sessionRevisions } from "./http-edge.ts";
import { createHttpUpstream, openHttpClient } from "./http-upstream.ts";
import { createStdioUpstream } from "./stdio-upstream.ts";
import { UpstreamError } from "./upstream.ts";

/*
INVARIANTS
- The process opened here is ended before the promise settles, whatever happened.
- The word about a server is one of: it answered, it exited, it stayed silent, or nobody wanted to know any more.
*/

export type Handshake = { protocolVersion: string; tools: Tool[] };

const outputBytes = 4_096;
const messageBytes = 67_108_864;
const retryMs = 250;
const goodbyeMs = 2_000;
const newestRevision = "2025-11-25";
const maxPages = 1_000;

/**
 * Initializes the server and lists its tools, all pages; a server without the tools capability has none. Tools that the
 * model cannot hold (a name of more than 256 characters) are left out. Rejects with SERVER_EXITED and its last lines in
 * `output`, SERVER_SILENT after `deadlineMs` (also when an HTTP server never listens) or when the handshake is refused,
 * CANCELLED when the signal fires, and with what `endpoint.open` rejects with.
 */
export async function handshake(
  endpoint: ServerEndpoint,
  options: { deadlineMs: number; signal: AbortSignal },
): Promise<Handshake> {
  const stop = AbortSignal.any([options.signal, AbortSignal.timeout(options.deadlineMs)]);
  const attempt: Attempt = { stop, deadlineMs: options.deadlineMs, stopped: stopping(stop, options) };
  attempt.stopped.catch(() => undefined);
  if (stop.aborted) return attempt.stopped;
  return endpoint.type === "stdio" ? overStdio(endpoint, attempt) : overHttp(endpoint.url, attempt);
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

async function overStdio(endpoint: Extract<ServerEndpoint, { type: "stdio" }>, attempt: Attempt): Promise<Handshake> {
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
    const asked = ask(asker).catch(async (error: unknown) => {
      if (error instanceof RefusedError) throw refusedHandshake(error.message);
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

async function overHttp(url: string, attempt: Attempt): Promise<Handshake> {
  const client = await openHttpClient();
  try {
    for (;;) {
      const options = { messageBytes, initializeMs: attempt.deadlineMs, client };
      const asker = createAsker((sink) => createHttpUpstream(url, sink, options), { waits: true, onNoise: () => undefined });
      try {
        return await Promise.race([ask(asker), attempt.stopped]);
      } catch (error) {
        if (error instanceof AppError) throw error;
        const status = statusOf(error);
        const isStarting = status === undefined || status === 404 || status >= 500;
        if (!isStarting || (error instanceof RefusedError && status === undefined)) {
          throw refusedHandshake((error as Error).message);
        }
      } finally {
        await Promise.race([asker.end(), setTimeout(goodbyeMs, undefined, { ref: false })]);
      }
      await Promise.race([setTimeout(retryMs), attempt.stopped]);
    }
  } finally {
    await client.destroy();
  }
}

function statusOf(error: unknown): number | undefined {
  if (error instanceof UpstreamError) return error.failure.upstreamStatus;
  return error instanceof RefusedError || error instanceof UnansweredError ? error.status : undefined;
}

/** The handshake itself. SERVER_SILENT for answers that are no handshake; errors of the asker stay as they are. */
async function ask(asker: Asker): Promise<Handshake> {
  const clientInfo = { name: "dtma", version: "1" };
  const { protocolVersion, capabilities } = ((await asker.request("initialize", {
    protocolVersion: newestRevision,
    capabilities: {},
    clientInfo,
  })) ?? {}) as { protocolVersion?: unknown; capabilities?: { tools?: unknown } | null };
  if (typeof protocolVersion !== "string" || !sessionRevisions.has(protocolVersion)) {
    throw refusedHandshake(`it speaks the revision ${JSON.stringify(protocolVersion)?.slice(0, 40)}.`);
  }
  asker.setProtocolVersion(protocolVersion);
  await asker.notify("notifications/initialized");
  return { protocolVersion, tools: isSet(capabilities?.tools) ? await listTools(asker) : [] };
}

async function listTools(asker: Asker): Promise<Tool[]> {
  const found: Tool[] = [];
  let cursor: string | undefined;
  for (let page = 0; page < maxPages; page += 1) {
    const answer = await asker.request("tools/list", cursor === undefined ? {} : { cursor });
    const { tools, nextCursor } = (answer ?? {}) as { tools?: unknown; nextCursor?: unknown };
    if (!Array.isArray(tools)) throw refusedHandshake("its list of tools is none.");
    for (const one of tools) {
      const parsed = tool.safeParse(one);
      if (parsed.success) found.push(parsed.data);
    }
    if (typeof nextCursor !== "string" || nextCursor === "") return found;
    cursor = nextCursor;
  }
  throw refusedHandshake("its list of tools does not end.");
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null;
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
