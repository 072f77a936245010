import { describe, expect, it } from "vitest";
import { nextMemoryStep } from "./memory.ts";

const mib = 2 ** 20;

describe("the memory of an idle DTMA", () => {
  it.each([
    ["idle after its start", { isCompiling: false, heapBytesAtRest: 0 }, { cpuShare: 0.01, heapBytes: 20 * mib }, "collect"],
    [
      "idle with nothing to give back",
      { isCompiling: false, heapBytesAtRest: 15 * mib },
      { cpuShare: 0, heapBytes: 16 * mib },
      null,
    ],
    ["idle after work", { isCompiling: true, heapBytesAtRest: 15 * mib }, { cpuShare: 0, heapBytes: 40 * mib }, "collect"],
    ["a little to do", { isCompiling: false, heapBytesAtRest: 0 }, { cpuShare: 0.2, heapBytes: 90 * mib }, null],
    ["busy", { isCompiling: false, heapBytesAtRest: 0 }, { cpuShare: 0.7, heapBytes: 20 * mib }, "compile"],
    ["busy for long", { isCompiling: true, heapBytesAtRest: 0 }, { cpuShare: 1.1, heapBytes: 90 * mib }, null],
  ] as const)("%s", (_what, state, now, step) => {
    expect(nextMemoryStep(state, now)).toBe(step);
  });
});
