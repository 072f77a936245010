import { describe, expect, it } from "vitest";
import { hostLoad } from "../../../shared/dtma-protocol.ts";
import { hasCounters, ratesOf } from "./host-rates.ts";

const sample = (at: number, networkRxBytes: number) => ({
  ...hostLoad.parse({ cpuPercent: 1, memoryUsedBytes: 1, memoryTotalBytes: 2, diskUsedBytes: 1, diskTotalBytes: 2 }),
  networkRxBytes,
  at,
});

describe("the rate of a counter", () => {
  it("is what moved per second, whatever lies between two readings", () => {
    const history = [sample(0, 0), sample(5_000, 10_000), sample(6_000, 10_500)];
    expect(ratesOf(history, (load) => load.networkRxBytes).map(({ value }) => value)).toEqual([null, 2_000, 500]);
  });

  it("is not known where the counter began anew", () => {
    const history = [sample(0, 5_000), sample(5_000, 10)];
    expect(ratesOf(history, (load) => load.networkRxBytes).at(-1)).toEqual({ atMs: 5_000, value: null });
  });
});

it("tells a reading without counters from one with them", () => {
  expect(hasCounters(sample(0, 0))).toBe(false);
  expect(hasCounters(sample(0, 1))).toBe(true);
});
