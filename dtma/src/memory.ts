import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/*
The DTMA idles for years on small machines, so it holds little while it has little to do. Measured with fifty idle servers,
resident in all: 106 MB without anything of this file, 78 MB with it (docs/decisions/0019-a-small-agent.md).

INVARIANTS
- What is done here affects the whole process and changes nothing but its memory and its speed.
- Nothing is collected by force while there is work.
*/

const checkMs = 5_000;
const shares = { busy: 0.4, idle: 0.1 };
/** Collecting takes 50 ms, on a slow machine 200: it must be worth it, and not come so often that it is work by itself. */
const worthBytes = 3 * 2 ** 20;
const collectEveryMs = 60_000;

/** Keeps V8's young generation at its first size. A flag that a later Node does not know would stop its start. */
const youngGeneration = "--max-semi-space-size";
/** The same as far as a process that runs can still have it, and the compilers asleep. One it does not know is passed over. */
const lateFlags = ["--semi-space-growth-factor=1", "--no-opt", "--no-maglev"];
/** glibc (mallopt(3)): without them it moves its bounds up with what V8's compilers take and give back, and keeps it all. */
const allocator = { MALLOC_MMAP_THRESHOLD_: "65536", MALLOC_TRIM_THRESHOLD_: "65536" };

/**
 * Holds the process small from its beginning, however it was started: on Linux by starting it anew in its own place, with
 * the same process id, files and arguments. Call it before anything else is loaded.
 */
export function startSmall(): void {
  const isStartedAnew = process.env.MALLOC_MMAP_THRESHOLD_ !== undefined;
  // A channel to a parent would not outlive it, and Electron takes no flags of Node.
  const isPlain = process.platform === "linux" && process.channel === undefined && process.versions.electron === undefined;
  if (isPlain && !isStartedAnew && process.execve !== undefined) {
    const isKnown = process.allowedNodeEnvironmentFlags.has(youngGeneration);
    const args = [
      process.execPath,
      ...(isKnown ? [`${youngGeneration}=1`] : []),
      ...process.execArgv,
      ...process.argv.slice(1),
    ];
    process.execve(process.execPath, args, { ...process.env, ...allocator });
  }
  for (const name of Object.keys(allocator)) delete process.env[name];
  for (const flag of lateFlags) setFlagsFromString(flag);
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

/** What it answers is called for every piece of work that somebody waits for; the compilers wake after so many. */
export function wakeAfter(count: number): () => void {
  let left = count;
  return () => {
    left -= 1;
    if (left === 0) wakeCompilers();
  };
}

/** For good: what they have compiled stays. */
function wakeCompilers(): void {
  for (const flag of ["--opt", "--maglev"]) setFlagsFromString(flag);
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
      wakeCompilers();
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
