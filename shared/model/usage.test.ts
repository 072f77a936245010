import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  cancelledCalls,
  latencyAt,
  latencyBoundsMs,
  latencyBucket,
  mergeToolUsage,
  sumLatency,
  type ToolUsage,
} from "./usage.ts";

const usage = (tool: string, more: Partial<ToolUsage> = {}): ToolUsage => ({
  tool,
  calls: 1,
  errors: {},
  latency: [],
  latencySumMs: 0,
  bytesIn: 0,
  bytesOut: 0,
  lastUsedAt: 0,
  ...more,
});

describe("a latency", () => {
  it("is counted in the first bucket whose bound it does not pass", () => {
    fc.assert(
      fc.property(fc.oneof(fc.double({ min: 0, max: 200_000, noNaN: true }), fc.constantFrom(...latencyBoundsMs)), (ms) => {
        const first = latencyBoundsMs.findIndex((bound) => ms <= bound);
        expect(latencyBucket(ms)).toBe(first === -1 ? latencyBoundsMs.length : first);
      }),
    );
    expect(latencyBucket(Number.NaN)).toBe(0);
  });

  it("is told back within its bucket, and grows with the share", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0.01, max: 60_000, noNaN: true }), { minLength: 1, maxLength: 60 }), (all) => {
        const latency: number[] = [];
        for (const ms of all) latency[latencyBucket(ms)] = (latency[latencyBucket(ms)] ?? 0) + 1;
        const counts = sumLatency([{ latency: Array.from(latency, (calls) => calls ?? 0) }]);
        const sorted = [...all].sort((a, b) => a - b);
        let last = 0;
        for (const share of [0.5, 0.95]) {
          const exact = sorted[Math.ceil(share * all.length) - 1] ?? 0;
          const told = latencyAt(share, counts) ?? Number.NaN;
          expect(Math.abs(latencyBucket(told) - latencyBucket(exact))).toBeLessThanOrEqual(0);
          expect(told).toBeGreaterThanOrEqual(last);
          last = told;
        }
      }),
    );
  });

  it("is not known without a call, and the slowest are told by a bound", () => {
    expect(latencyAt(0.5, [])).toBeUndefined();
    expect(latencyAt(0.5, [0, 0])).toBeUndefined();
    expect(latencyAt(0.5, [...latencyBoundsMs.map(() => 0), 3])).toBe(65_536);
  });

  it("adds up over tools of different speed", () => {
    expect(sumLatency([{ latency: [1, 2] }, { latency: [0, 0, 0, 4] }, { latency: [] }])).toEqual([1, 2, 0, 4]);
  });
});

it("cancelled calls add up over tools", () => {
  const tools = [usage("a", { errors: { ended: 2, died: 1 } }), usage("b", { errors: { ended: 1 } }), usage("c")];
  expect(cancelledCalls(tools)).toBe(3);
});

it("newer counts of a tool take the place of older ones, and the others stay", () => {
  const merged = mergeToolUsage([usage("a"), usage("b")], [usage("b", { calls: 2 }), usage("c")]);
  expect(merged.map(({ tool, calls }) => [tool, calls])).toEqual([
    ["a", 1],
    ["b", 2],
    ["c", 1],
  ]);
});
