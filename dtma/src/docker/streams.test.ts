import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { createFrameReader } from "./frames.ts";
import { createLogReader, readJsonLines } from "./streams.ts";

function frame(stream: 1 | 2, text: string): Buffer {
  const payload = Buffer.from(text);
  const header = Buffer.alloc(8);
  header[0] = stream;
  header.writeUInt32BE(payload.length, 4);
  return Buffer.concat([header, payload]);
}

const wire = Buffer.concat([frame(1, "first"), frame(2, ""), frame(2, "sécond"), frame(1, "x".repeat(1_000))]);

describe("frames", () => {
  it.each([1, 2, 3, 7, 8, 9, 64, wire.length])("come out the same when the stream is cut every %i bytes", (size) => {
    const read = createFrameReader();
    const joined = { stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) };
    for (let at = 0; at < wire.length; at += size) {
      for (const { stream, payload } of read(wire.subarray(at, at + size)))
        joined[stream] = Buffer.concat([joined[stream], payload]);
    }
    expect(joined.stdout.toString()).toBe(`first${"x".repeat(1_000)}`);
    expect(joined.stderr.toString()).toBe("sécond");
  });
});

describe("log lines", () => {
  it("have their time and stream, also when they come in pieces", () => {
    const read = createLogReader();
    const at = "2026-01-02T03:04:05.678901234Z";
    const bytes = Buffer.concat([
      frame(1, `${at} héllo wor`),
      frame(2, `${at} warn\r\n`),
      frame(1, "ld\n"),
      frame(1, `${at} \n`),
    ]);
    const lines = [...bytes].flatMap((byte) => read(Buffer.from([byte])));
    const time = Date.parse("2026-01-02T03:04:05.678Z");
    expect(lines).toEqual([
      { at: time, stream: "stderr", text: "warn" },
      { at: time, stream: "stdout", text: "héllo world" },
      { at: time, stream: "stdout", text: "" },
    ]);
  });
});

describe("JSON lines", () => {
  it("are read across chunks and characters cut in two", async () => {
    const bytes = Buffer.from('{"a":"é"}\n\n{"b":2}');
    const values: unknown[] = [];
    for await (const value of readJsonLines(Readable.from([...bytes].map((byte) => Buffer.from([byte]))))) values.push(value);
    expect(values).toEqual([{ a: "é" }, { b: 2 }]);
  });
});
