import { describe, expect, it } from "vitest";
import { formatAge, formatAgo, formatBytes, formatDuration, formatPercent } from "./format.ts";

describe("formats", () => {
  it("keeps bytes short in binary units", () => {
    expect([0, 999, 1_000, 1_536, 512 * 2 ** 20, 2 ** 40].map(formatBytes)).toEqual([
      "0 B",
      "999 B",
      "1 KiB",
      "1.5 KiB",
      "512 MiB",
      "1 TiB",
    ]);
  });

  it("rounds ages down to their largest unit and never below zero", () => {
    expect([-5, 59_999, 60_000, 3_600_000, 86_400_000, 200_000_000].map(formatAge)).toEqual([
      "0 s",
      "59 s",
      "1 min",
      "1 h",
      "1 day",
      "2 days",
    ]);
    expect(formatAgo(1_500)).toBe("now");
    expect(formatAgo(61_000)).toBe("1 min ago");
  });

  it("says how long work took at the precision that matters", () => {
    expect([350, 4_230, 42_400, 72_000, 119_900].map(formatDuration)).toEqual([
      "350 ms",
      "4.2 s",
      "42 s",
      "1 min 12 s",
      "2 min 0 s",
    ]);
  });

  it("gives small percentages one digit", () => {
    expect([0, 3.44, 10, 140].map(formatPercent)).toEqual(["0 %", "3.4 %", "10 %", "140 %"]);
  });
});
