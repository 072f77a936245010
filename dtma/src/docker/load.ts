import type { ServerLoad } from "../../../shared/dtma-protocol.ts";

type Cpu = {
  cpu_usage: { total_usage: number; percpu_usage?: number[] | null };
  system_cpu_usage?: number;
  online_cpus?: number;
};
export type EngineStats = {
  cpu_stats: Cpu;
  precpu_stats: Cpu;
  memory_stats: { usage?: number; limit?: number; stats?: Record<string, number> };
  networks?: Record<string, { rx_bytes: number; tx_bytes: number }>;
  blkio_stats?: { io_service_bytes_recursive?: { op: string; value: number }[] | null };
  pids_stats: { current?: number };
};

/**
 * A sample as `docker stats` counts it: CPU in percent of one core, memory without the page cache that can be dropped.
 * undefined for a stream's first sample, which has nothing to compare with.
 */
export function toLoad(stats: EngineStats): ServerLoad | undefined {
  const systemDelta = (stats.cpu_stats.system_cpu_usage ?? 0) - (stats.precpu_stats.system_cpu_usage ?? 0);
  const cpuDelta = stats.cpu_stats.cpu_usage.total_usage - stats.precpu_stats.cpu_usage.total_usage;
  if (stats.precpu_stats.system_cpu_usage === undefined || systemDelta <= 0) return undefined;
  const cores = stats.cpu_stats.online_cpus ?? stats.cpu_stats.cpu_usage.percpu_usage?.length ?? 1;
  const memory = stats.memory_stats;
  // cgroup v1 says total_inactive_file, v2 inactive_file.
  const cache = memory.stats?.total_inactive_file ?? memory.stats?.inactive_file ?? 0;
  const networks = Object.values(stats.networks ?? {});
  const blocks = stats.blkio_stats?.io_service_bytes_recursive ?? [];
  return {
    cpuPercent: Math.max(0, (cpuDelta / systemDelta) * cores * 100),
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
