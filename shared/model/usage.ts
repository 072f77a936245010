import { z } from "zod";
import { timestampMs } from "./ids.ts";

/*
What was done through a connection, tool by tool: counts, times and sizes, never an argument or a result.
*/

/**
 * Why a call was no success. `tool`: the server's result says so (`isError`). `protocol`: the server answered with a
 * JSON-RPC error. `refused`: the allow-list has not got the tool. `limited`: too many calls at once. `died`: the server went
 * before it answered. `ended`: cancelled, or its session ended first.
 */
export const callErrorKinds = ["tool", "protocol", "refused", "limited", "died", "ended"] as const;
export type CallErrorKind = (typeof callErrorKinds)[number];

const count = z.int().nonnegative();

/** Upper bounds of the buckets in which latencies are counted: each twice the one before. Slower ones are in one more. */
export const latencyBoundsMs = [
  0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768, 65_536,
] as const;

/** Calls in each bucket; zeros at the end are left out. */
export const latencyCounts = z.array(count).max(latencyBoundsMs.length + 1);

export const toolUsage = z.object({
  /** Empty for all that has no entry of its own: names the server does not offer, and tools beyond the first hundred. */
  tool: z.string().max(256),
  calls: count,
  /** A kind without an error is left out. */
  errors: z.object({ tool: count, protocol: count, refused: count, limited: count, died: count, ended: count }).partial(),
  /** Of the calls the server answered, in whatever way. */
  latency: latencyCounts,
  latencySumMs: count,
  /** Of the messages of calls and of their answers. */
  bytesIn: count,
  bytesOut: count,
  lastUsedAt: timestampMs,
});
export type ToolUsage = z.infer<typeof toolUsage>;

/** The bucket of a latency. */
export function latencyBucket(ms: number): number {
  if (!(ms > 0.5)) return 0;
  if (ms > 65_536) return latencyBoundsMs.length;
  return 32 - Math.clz32(Math.ceil(ms * 2) - 1);
}

/** All calls of several tools together. */
export function sumLatency(tools: readonly Pick<ToolUsage, "latency">[]): number[] {
  const buckets = Math.max(0, ...tools.map(({ latency }) => latency.length));
  return Array.from({ length: buckets }, (_, bucket) => tools.reduce((sum, { latency }) => sum + (latency[bucket] ?? 0), 0));
}

/**
 * The latency that a share of the calls stayed below (0.5 is the median), as well as the buckets can tell: within one, calls
 * count as evenly spread. undefined without calls; the slowest bucket is told by its lower bound.
 */
export function latencyAt(share: number, latency: readonly number[]): number | undefined {
  const rank = share * latency.reduce((sum, calls) => sum + calls, 0);
  if (rank === 0) return undefined;
  let below = 0;
  for (const [bucket, calls] of latency.entries()) {
    const from = latencyBoundsMs[bucket - 1] ?? 0;
    if (below + calls >= rank) return from + ((latencyBoundsMs[bucket] ?? from) - from) * ((rank - below) / calls);
    below += calls;
  }
  return latencyBoundsMs.at(-1);
}

/** Calls that were cancelled, or whose session ended first, of several tools. */
export function cancelledCalls(tools: readonly Pick<ToolUsage, "errors">[]): number {
  return tools.reduce((sum, { errors }) => sum + (errors.ended ?? 0), 0);
}

/** Newer entries in the place of older ones of the same tool. */
export function mergeToolUsage(known: readonly ToolUsage[], newer: readonly ToolUsage[]): ToolUsage[] {
  const merged = new Map(known.map((entry) => [entry.tool, entry]));
  for (const entry of newer) merged.set(entry.tool, entry);
  return [...merged.values()];
}
