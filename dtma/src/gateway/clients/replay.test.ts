import fc from "fast-check";
import { expect, test } from "vitest";
import { ReplayBuffer } from "./replay.ts";

test("gives what one stream sent after a message, in order and without gaps at the end, within its limits", () => {
  const push = fc.record({
    streamId: fc.integer({ min: 1, max: 3 }),
    size: fc.integer({ min: 1, max: 60 }),
    delivered: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(push, { maxLength: 60 }), (pushes) => {
      const replay = new ReplayBuffer({ deliveredBytes: 100, undeliveredBytes: 200 });
      const sequences = new Map<number, number>();
      for (const { streamId, size, delivered } of pushes) {
        const sequence = (sequences.get(streamId) ?? 0) + 1;
        sequences.set(streamId, sequence);
        replay.push(streamId, sequence, Buffer.alloc(size), delivered);
      }
      const kept = [1, 2, 3].flatMap((streamId) => replay.after(streamId, 0));
      expect(kept.reduce((sum, { message }) => sum + message.length, 0)).toBeLessThanOrEqual(300);
      for (const streamId of [1, 2, 3]) {
        const found = replay.after(streamId, 0).map(({ sequence }) => sequence);
        expect(found).toEqual([...found].sort((a, b) => a - b));
        const last = found.at(-1);
        if (last !== undefined) expect(replay.after(streamId, last)).toEqual([]);
      }
    }),
  );
});

test("does not share its bytes with the chunk they came in", () => {
  const chunk = Buffer.from("abcdef");
  const replay = new ReplayBuffer({ deliveredBytes: 100, undeliveredBytes: 100 });
  replay.push(1, 1, chunk.subarray(0, 3), true);
  chunk.fill("x");
  expect(replay.after(1, 0)[0]?.message.toString()).toBe("abc");
});

test("drops what was delivered before it drops what was not", () => {
  const replay = new ReplayBuffer({ deliveredBytes: 10, undeliveredBytes: 1_000 });
  replay.push(1, 1, Buffer.alloc(500), false);
  for (let sequence = 2; sequence < 50; sequence++) replay.push(1, sequence, Buffer.alloc(5), true);
  expect(replay.after(1, 0).map(({ sequence }) => sequence)).toEqual([1, 48, 49]);
});
