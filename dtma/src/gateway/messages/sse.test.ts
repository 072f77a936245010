import fc from "fast-check";
import { expect, test } from "vitest";
import { createSseDecoder, eventPieces } from "./sse.ts";

/** Cuts a text into chunks at arbitrary bytes. */
function chunks(text: string, cuts: number[]): Buffer[] {
  const all = Buffer.from(text);
  const positions = [...new Set([0, ...cuts.map((cut) => cut % (all.length + 1)), all.length])].sort((a, b) => a - b);
  return positions.slice(1).map((end, index) => all.subarray(positions[index], end));
}

test("events are read the same, however the bytes arrive and whatever ends the lines", () => {
  const line = fc.string({ unit: fc.constantFrom("a", "ü", " ", ":", '"') });
  const event = fc.record({ id: fc.stringMatching(/^[a-z0-9]{1,4}$/), lines: fc.array(line, { minLength: 1, maxLength: 3 }) });
  fc.assert(
    fc.property(fc.array(event), fc.constantFrom("\n", "\r\n", "\r"), fc.array(fc.nat(5_000)), (events, end, cuts) => {
      const text = events
        .map(({ id, lines }) => [": comment", `id: ${id}`, ...lines.map((one) => `data: ${one}`), "", ""].join(end))
        .join("");
      const decoder = createSseDecoder(100_000);
      const found = chunks(text, cuts).flatMap((chunk) => decoder.push(Buffer.from(chunk)));
      expect(found.map(({ id, data }) => ({ id, data: data.toString() }))).toEqual(
        events.map(({ id, lines }) => ({ id, data: lines.join("\n") })),
      );
    }),
  );
});

test("what is written is read again, small and large", () => {
  for (const size of [0, 10, 100_000]) {
    const data = Buffer.alloc(size, "x");
    const decoder = createSseDecoder(1_000_000);
    const found = eventPieces("1.2", data).flatMap((piece) => decoder.push(piece));
    expect(found).toEqual([{ id: "1.2", retryMs: undefined, event: "message", data }]);
  }
});

test("an event that grows beyond the limit is an error, not memory", () => {
  const line = createSseDecoder(1_000);
  expect(() => {
    for (let i = 0; i < 20; i++) line.push(Buffer.alloc(100, "x"));
  }).toThrow(RangeError);
  const lines = createSseDecoder(1_000);
  expect(() => {
    for (let i = 0; i < 20; i++) lines.push(Buffer.from(`data: ${"x".repeat(100)}\n`));
  }).toThrow(RangeError);
});

test("reads retry and the kind of an event", () => {
  const found = createSseDecoder(1_000).push(Buffer.from("retry: 250\nevent: endpoint\ndata:/x\n\n: nothing\n\n"));
  expect(found).toEqual([{ id: undefined, retryMs: 250, event: "endpoint", data: Buffer.from("/x") }]);
});
