import { setTimeout } from "node:timers/promises";
import type { Client, Transport } from "@modelcontextprotocol/client";
import { AppError } from "../../../shared/errors.ts";
import { type Tool, tool } from "../../../shared/model/tool.ts";
import type { ServerEndpoint, ServerProcess } from "../docker/server-process.ts";
import { createLineSplitter } from "./stdio-upstream.ts";

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
  try {
    process.stderr.on("data", (chunk: Buffer) => output.add(chunk));
    const exited = process.exited.then(async (code) => {
      await settled(process.stderr);
      const how = code === null ? "" : ` with exit code ${code}`;
      throw new AppError("SERVER_EXITED", { message: `The server ended${how} before it answered.`, output: output.text() });
    });
    return await Promise.race([ask(await stdioTransport(process, output), attempt), exited, attempt.stopped]);
  } catch (error) {
    if (error instanceof AppError && error.code === "SERVER_SILENT" && error.output === undefined && output.text() !== "") {
      throw new AppError("SERVER_SILENT", { message: error.message, output: output.text() });
    }
    throw error;
  } finally {
    await process.end();
  }
}

async function overHttp(url: string, attempt: Attempt): Promise<Handshake> {
  const { SdkHttpError, StreamableHTTPClientTransport } = await import("@modelcontextprotocol/client");
  for (;;) {
    const transport = new StreamableHTTPClientTransport(new URL(url));
    try {
      return await Promise.race([ask(transport, attempt), attempt.stopped]);
    } catch (error) {
      if (error instanceof AppError) throw error;
      const status = error instanceof SdkHttpError ? error.status : undefined;
      const isStarting = status === undefined || status === 404 || status >= 500;
      if (!isStarting) throw refusedHandshake(error);
    } finally {
      await Promise.race([
        transport.terminateSession().catch(() => undefined),
        setTimeout(goodbyeMs, undefined, { ref: false }),
      ]);
      await transport.close().catch(() => undefined);
    }
    await Promise.race([setTimeout(retryMs), attempt.stopped]);
  }
}

/** The handshake itself; an error that the server answered becomes an AppError, any other stays as it is. */
async function ask(transport: Transport, attempt: Attempt): Promise<Handshake> {
  const { Client, ProtocolError } = await import("@modelcontextprotocol/client");
  const client: Client = new Client({ name: "dtma", version: "1" });
  const options = { timeout: attempt.deadlineMs, signal: attempt.stop };
  try {
    await client.connect(transport, options);
    const listed = client.getServerCapabilities()?.tools === undefined ? [] : (await client.listTools({}, options)).tools;
    return {
      protocolVersion: client.getNegotiatedProtocolVersion() ?? "",
      tools: listed.map((one) => tool.safeParse(one)).flatMap((parsed) => (parsed.success ? [parsed.data] : [])),
    };
  } catch (error) {
    throw error instanceof ProtocolError ? refusedHandshake(error) : error;
  }
}

function refusedHandshake(error: unknown): AppError {
  const said = error instanceof Error ? error.message.slice(0, 300) : "";
  return new AppError("SERVER_SILENT", { message: `The server refused the MCP handshake: ${said}`, cause: error });
}

async function stdioTransport(process: ServerProcess, output: Tail): Promise<Transport> {
  const { deserializeMessage, serializeMessage } = await import("@modelcontextprotocol/client");
  for (const stream of [process.stdin, process.stdout, process.stderr]) stream.on("error", () => undefined);
  const transport: Transport = {
    async start() {
      const split = createLineSplitter(messageBytes, (line) => {
        try {
          transport.onmessage?.(deserializeMessage(line.toString("utf8")));
        } catch {
          output.add(Buffer.concat([line, Buffer.from("\n")]));
        }
      });
      process.stdout.on("data", (chunk: Buffer) => {
        try {
          split(chunk);
        } catch (error) {
          transport.onerror?.(error instanceof Error ? error : new Error(String(error)));
          transport.onclose?.();
        }
      });
    },
    async send(message) {
      if (process.stdin.writable) process.stdin.write(serializeMessage(message));
    },
    async close() {
      transport.onclose?.();
    },
  };
  return transport;
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
