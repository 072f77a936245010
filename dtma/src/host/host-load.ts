import { readFile, statfs } from "node:fs/promises";
import { cpus, freemem, totalmem } from "node:os";
import type { HostLoad } from "../../../shared/dtma-protocol.ts";

/** Samples the host; CPU is the share of all cores used since the sample before. */
export function createHostLoad(diskPath: string): () => Promise<HostLoad> {
  let before = cpuTimes();
  return async () => {
    const now = cpuTimes();
    const total = now.total - before.total;
    const busy = now.busy - before.busy;
    before = now;
    const disk = await statfs(diskPath);
    const memoryTotalBytes = totalmem();
    return {
      cpuPercent: total <= 0 ? 0 : Math.max(0, (busy / total) * 100),
      memoryUsedBytes: Math.max(0, memoryTotalBytes - (await availableMemory())),
      memoryTotalBytes,
      diskUsedBytes: (disk.blocks - disk.bfree) * disk.bsize,
      diskTotalBytes: disk.blocks * disk.bsize,
    };
  };
}

function cpuTimes(): { busy: number; total: number } {
  let idle = 0;
  let total = 0;
  for (const { times } of cpus()) {
    idle += times.idle;
    total += times.user + times.nice + times.sys + times.irq + times.idle;
  }
  return { busy: total - idle, total };
}

/** Free memory on Linux includes what the page cache would give back at once; Node's figure does not. */
async function availableMemory(): Promise<number> {
  if (process.platform !== "linux") return freemem();
  const [, kibibytes] = /^MemAvailable:\s+(\d+) kB/m.exec(await readFile("/proc/meminfo", "utf8")) ?? [];
  return kibibytes === undefined ? freemem() : Number(kibibytes) * 1024;
}
