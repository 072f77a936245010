import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/*
The DTMA idles for years on small machines, so it holds little while it has little to do. Measured with fifty idle servers,
resident in all: 106 MB without anything of this file, 83 MB with it (docs/decisions/0019-a-small-agent.md).

INVARIANTS
- What is done here affects the whole process and changes nothing but its memory and its speed.
- Nothing is collected by force while there is work.
*/

const checkMs = 5_000;
const shares = { busy: 0.4, idle: 0.1 };
/** Collecting takes some twenty milliseconds: it must be worth it, and not come so often that it is work by itself. */
const worthBytes = 2 * 2 ** 20;
const collectEveryMs = 30_000;

/**
 * Keeps V8's young generation at its first size, and its optimizing compilers asleep: the first function they compile
 * brings eight megabytes of their own code into memory. Call it before anything else is loaded.
 */
export function startSmall(): void {
  for (const flag of ["--semi-space-growth-factor=1", "--no-opt", "--no-maglev"]) setFlagsFromString(flag);
}

export type MemoryState = { isCompiling: boolean; residentAtRest: number; collectedAtMs: number };

/** What to do after a while in which this share of a core was used. */
export function nextMemoryStep(
  state: MemoryState,
  now: { atMs: number; cpuShare: number; residentBytes: number },
): "compile" | "collect" | null {
  if (now.cpuShare >= shares.busy) return state.isCompiling ? null : "compile";
  if (now.cpuShare >= shares.idle || now.atMs - state.collectedAtMs < collectEveryMs) return null;
  return now.residentBytes > state.residentAtRest + worthBytes ? "collect" : null;
}

/** Wakes the compilers once there is work for them, and gives memory back when the work is done. Holds no process open. */
export function keepSmall(): void {
  const state: MemoryState = { isCompiling: false, residentAtRest: 0, collectedAtMs: Number.NEGATIVE_INFINITY };
  let before = process.cpuUsage();
  let checkedAt = performance.now();

  setInterval(() => {
    const { user, system } = process.cpuUsage(before);
    const at = performance.now();
    const cpuShare = (user + system) / 1_000 / (at - checkedAt);
    const step = nextMemoryStep(state, { atMs: at, cpuShare, residentBytes: process.memoryUsage.rss() });
    if (step === "compile") {
      state.isCompiling = true;
      for (const flag of ["--opt", "--maglev"]) setFlagsFromString(flag);
    }
    if (step === "collect") {
      collect();
      state.residentAtRest = process.memoryUsage.rss();
      state.collectedAtMs = at;
    }
    // Collecting is no work that should count.
    before = process.cpuUsage();
    checkedAt = performance.now();
  }, checkMs).unref();
}

/** V8 itself would wait for pressure that a quiet process never makes; it also lets go of what is not on its heap. */
function collect(): void {
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc") as (options: { type: string; execution: string; flavor: string }) => void;
  gc({ type: "major", execution: "sync", flavor: "last-resort" });
}
