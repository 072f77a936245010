import { describe, expect, it } from "vitest";
import { nextMemoryStep } from "./memory.ts";

const mib = 2 ** 20;
const started = { isCompiling: false, residentAtRest: 0, collectedAtMs: Number.NEGATIVE_INFINITY };
const rested = { isCompiling: false, residentAtRest: 15 * mib, collectedAtMs: 0 };

describe("the memory of an idle DTMA", () => {
  it.each([
    ["idle after its start", started, { atMs: 5_000, cpuShare: 0.01, residentBytes: 20 * mib }, "collect"],
    ["idle with nothing to give back", rested, { atMs: 90_000, cpuShare: 0, residentBytes: 16 * mib }, null],
    ["idle after work", rested, { atMs: 90_000, cpuShare: 0, residentBytes: 40 * mib }, "collect"],
    ["idle, but collected a moment ago", rested, { atMs: 40_000, cpuShare: 0, residentBytes: 40 * mib }, null],
    ["a little to do", started, { atMs: 5_000, cpuShare: 0.2, residentBytes: 90 * mib }, null],
    ["busy", started, { atMs: 5_000, cpuShare: 0.7, residentBytes: 20 * mib }, "compile"],
    ["busy for long", { ...started, isCompiling: true }, { atMs: 5_000, cpuShare: 1.1, residentBytes: 90 * mib }, null],
  ] as const)("%s", (_what, state, now, step) => {
    expect(nextMemoryStep(state, now)).toBe(step);
  });
});
