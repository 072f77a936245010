import type { ServerLoad } from "../../../shared/dtma-protocol.ts";

/** What a container has used so far, and what it holds now. */
export type Reading = Omit<ServerLoad, "cpuPercent"> & { atMs: number; cpuSeconds: number };

/** What is told of a reading: CPU in percent of one core since the one before, without which there is nothing to tell. */
export function toLoad(before: Reading | undefined, now: Reading): ServerLoad | undefined {
  if (before === undefined || now.atMs <= before.atMs) return undefined;
  const { atMs, cpuSeconds, ...rest } = now;
  const share = (cpuSeconds - before.cpuSeconds) / ((atMs - before.atMs) / 1_000);
  return { cpuPercent: Math.max(0, share * 100), ...rest };
}
