import type { ServerProcess } from "../../docker/server-process.ts";
import { errorCodes, type Message } from "../messages/json-rpc.ts";
import { type Upstream, UpstreamError, type UpstreamSink } from "./upstream.ts";

/*
INVARIANTS
- One message is one line; lines go through as they are, but for carriage returns, which would end an SSE event early.
- While the client or the server takes no more, nothing more is read for it: memory is bounded by the message limit.
*/

const endGraceMs = 2_000;
/** What a process printed last may still be on its way when its end is known. */
const drainMs = 500;
const lineFeed = Buffer.from("\n");
const inlineBytes = 16_384;

/** Calls `onLine` for every complete, non-empty line; it throws a RangeError for one that is longer than `maxBytes`. */
export function createLineSplitter(maxBytes: number, onLine: (line: Buffer) => void): (chunk: Buffer) => void {
  let parts: Buffer[] = [];
  let size = 0;
  return (chunk) => {
    let from = 0;
    for (let feed = chunk.indexOf(0x0a); feed !== -1; feed = chunk.indexOf(0x0a, from)) {
      const tail = chunk.subarray(from, feed);
      from = feed + 1;
      if (size + tail.length > maxBytes) throw new RangeError("The line is too long.");
      const line = parts.length === 0 ? tail : Buffer.concat([...parts, tail]);
      parts = [];
      size = 0;
      if (line.length > 0) onLine(line);
    }
    if (from === chunk.length) return;
    parts.push(chunk.subarray(from));
    size += chunk.length - from;
    if (size > maxBytes) throw new RangeError("The line is too long.");
  };
}

/** Connects a session to its own process of a stdio server. The process belongs to the upstream from here on. */
export function createStdioUpstream(process: ServerProcess, sink: UpstreamSink, limits: { messageBytes: number }): Upstream {
  const { stdin, stdout, stderr } = process;
  let isGone = false;
  let saturations = 0;

  const fail = (message: string, status = 200): UpstreamError =>
    new UpstreamError({ status, error: { code: errorCodes.failed, message, data: { code: "SERVER_EXITED" } } });

  const gone = (message: string): void => {
    if (isGone) return;
    isGone = true;
    sink.gone(fail(message).failure);
  };

  const split = createLineSplitter(limits.messageBytes, (line) => {
    const saturated = sink.message(withoutCarriageReturns(line), undefined);
    if (saturated === undefined) return;
    saturations++;
    stdout.pause();
    void saturated.then(() => {
      saturations--;
      if (saturations === 0) stdout.resume();
    });
  });

  stdout.on("data", (chunk: Buffer) => {
    if (isGone) return;
    try {
      split(chunk);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      gone(`The server sent a message larger than ${limits.messageBytes} bytes.`);
    }
  });
  stderr.on("data", () => undefined);
  for (const stream of [stdin, stdout, stderr]) stream.on("error", () => undefined);
  const stdoutEnded = new Promise<void>((resolve) => {
    stdout.once("end", resolve);
    stdout.once("close", resolve);
  });
  void stdoutEnded.then(async () => {
    const code = await Promise.race([process.exited, later(drainMs)]);
    gone(`The server's process ended${typeof code === "number" ? ` with exit code ${code}` : ""}.`);
  });
  void process.exited.then(async (code) => {
    await Promise.race([stdoutEnded, later(drainMs)]);
    gone(`The server's process ended${code === null ? "" : ` with exit code ${code}`}.`);
  });

  /** Of everybody who waits: a session may have many calls open. */
  let taking: Promise<void> | undefined;
  const taken = (): Promise<void> => {
    taking ??= new Promise<void>((resolve) => {
      const settle = () => {
        stdin.off("drain", settle);
        stdin.off("close", settle);
        taking = undefined;
        resolve();
      };
      stdin.once("drain", settle);
      stdin.once("close", settle);
      void process.exited.then(settle);
    });
    return taking;
  };

  return {
    async send(messages: Message[]) {
      if (isGone || !stdin.writable) throw fail("The server's process has ended.", 404);
      for (const { bytes } of messages) {
        if (bytes.length <= inlineBytes) stdin.write(Buffer.concat([bytes, lineFeed]));
        else {
          stdin.write(bytes);
          stdin.write(lineFeed);
        }
      }
      if (stdin.writableNeedDrain) await taken();
    },
    ready: () => (stdin.writableNeedDrain ? taken() : undefined),
    listen() {},
    setProtocolVersion() {},
    end() {
      isGone = true;
      stdout.resume();
      return process.end(endGraceMs);
    },
  };
}

function withoutCarriageReturns(line: Buffer): Buffer {
  if (!line.includes(0x0d)) return line;
  const trimmed = line.at(-1) === 0x0d ? line.subarray(0, -1) : line;
  if (!trimmed.includes(0x0d)) return trimmed;
  const copy = Buffer.from(trimmed);
  for (let at = 0; at < copy.length; at++) if (copy[at] === 0x0d) copy[at] = 0x20;
  return copy;
}

function later(ms: number): Promise<undefined> {
  return new Promise((resolve) => setTimeout(resolve, ms, undefined).unref());
}
