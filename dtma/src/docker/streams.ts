import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import type { LogLine } from "../../../shared/dtma-protocol.ts";
import { createFrameReader } from "./frames.ts";

const maxLogLineChars = 64 * 1024;

/** The JSON values of a stream with one on each line. */
export async function* readJsonLines(stream: Readable): AsyncGenerator<unknown> {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    rest += decoder.write(chunk);
    const lines = rest.split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.trim() !== "") yield JSON.parse(line);
  }
  if (rest.trim() !== "") yield JSON.parse(rest);
}

/** Lines of a multiplexed log stream that was asked for with timestamps. A last line without its end is kept back. */
export function createLogReader(): (chunk: Buffer) => LogLine[] {
  const readFrames = createFrameReader();
  const open = {
    stdout: { decoder: new StringDecoder("utf8"), text: "" },
    stderr: { decoder: new StringDecoder("utf8"), text: "" },
  };
  return (chunk) => {
    const lines: LogLine[] = [];
    for (const { stream, payload } of readFrames(chunk)) {
      const half = open[stream];
      half.text += half.decoder.write(payload);
      const parts = half.text.split("\n");
      half.text = (parts.pop() ?? "").slice(0, 2 * maxLogLineChars);
      for (const part of parts) lines.push(toLogLine(stream, part));
    }
    return lines;
  };
}

function toLogLine(stream: LogLine["stream"], line: string): LogLine {
  const space = line.indexOf(" ");
  const at = Date.parse(line.slice(0, space));
  const text = Number.isNaN(at) ? line : line.slice(space + 1);
  return { at: Number.isNaN(at) ? 0 : at, stream, text: text.replace(/\r$/, "").slice(0, maxLogLineChars) };
}
