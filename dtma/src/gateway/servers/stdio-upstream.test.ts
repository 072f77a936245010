import { PassThrough } from "node:stream";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createLineSplitter, createStdioUpstream } from "./stdio-upstream.ts";

test("lines come out whole, however the bytes arrive", () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: fc.constantFrom("a", "ü", "🙂", "\r") })),
      fc.array(fc.nat(2_000)),
      (lines, cuts) => {
        const all = Buffer.from(lines.map((line) => `${line}\n`).join(""));
        const positions = [...new Set([0, ...cuts.map((cut) => cut % (all.length + 1)), all.length])].sort((a, b) => a - b);
        const found: string[] = [];
        const push = createLineSplitter(10_000, (line) => found.push(line.toString()));
        for (const [index, end] of positions.slice(1).entries()) push(all.subarray(positions[index], end));
        expect(found).toEqual(lines.filter((line) => line !== ""));
      },
    ),
  );
});

test("a line beyond the limit is an error, not memory", () => {
  const push = createLineSplitter(100, () => undefined);
  expect(() => push(Buffer.alloc(101, "x"))).toThrow(RangeError);
  const pushInPieces = createLineSplitter(100, () => undefined);
  expect(() => {
    for (let i = 0; i < 20; i++) pushInPieces(Buffer.alloc(10, "x"));
  }).toThrow(RangeError);
});

test("many who wait for a server that reads nothing wait for the same thing", async () => {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  const exited = new Promise<number | null>(() => {});
  const sink = { message: () => undefined, unanswered: () => undefined, gone: () => undefined };
  const upstream = createStdioUpstream({ stdin, stdout, stderr, exited, end: async () => {} }, sink, { messageBytes: 1_000 });
  stdin.write(Buffer.alloc(100_000));
  const before = stdin.listenerCount("drain");
  const waiting = Array.from({ length: 50 }, () => upstream.ready());
  const sending = upstream.send([], undefined);
  expect(stdin.listenerCount("drain")).toBe(before + 1);
  stdin.resume();
  await Promise.all([...waiting, sending]);
  expect(stdin.listenerCount("drain")).toBe(before);
  expect(upstream.ready()).toBeUndefined();
});
