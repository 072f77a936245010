import type { Reading } from "./reading.ts";

export type EngineStats = {
  /** When it was read, RFC 3339. */
  read: string;
  cpu_stats: { cpu_usage: { total_usage: number } };
  memory_stats: { usage?: number; limit?: number; stats?: Record<string, number> };
  networks?: Record<string, { rx_bytes: number; tx_bytes: number }>;
  blkio_stats?: { io_service_bytes_recursive?: { op: string; value: number }[] | null };
  pids_stats: { current?: number };
};

/** A sample as `docker stats` counts it: memory is without the page cache that can be dropped. */
export function toReading(stats: EngineStats): Reading {
  const memory = stats.memory_stats;
  // cgroup v1 says total_inactive_file, v2 inactive_file.
  const cache = memory.stats?.total_inactive_file ?? memory.stats?.inactive_file ?? 0;
  const networks = Object.values(stats.networks ?? {});
  const blocks = stats.blkio_stats?.io_service_bytes_recursive ?? [];
  return {
    atMs: Date.parse(stats.read),
    cpuSeconds: stats.cpu_stats.cpu_usage.total_usage / 1e9,
    memoryBytes: Math.max(0, (memory.usage ?? 0) - cache),
    memoryLimitBytes: memory.limit ?? 0,
    networkRxBytes: networks.reduce((sum, { rx_bytes }) => sum + rx_bytes, 0),
    networkTxBytes: networks.reduce((sum, { tx_bytes }) => sum + tx_bytes, 0),
    blockReadBytes: sumOf(blocks, "read"),
    blockWriteBytes: sumOf(blocks, "write"),
    pids: stats.pids_stats.current ?? 0,
  };
}

/** cgroup v1 says `Read`, v2 `read`. */
function sumOf(entries: { op: string; value: number }[], op: string): number {
  return entries.reduce((sum, entry) => sum + (entry.op.toLowerCase() === op ? entry.value : 0), 0);
}
