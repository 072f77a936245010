import { readdir, readFile, statfs } from "node:fs/promises";
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
      ...(await traffic()),
      processes: await processCount(),
    };
  };
}

const noTraffic = { networkRxBytes: 0, networkTxBytes: 0, blockReadBytes: 0, blockWriteBytes: 0 };
const sectorBytes = 512;

/** Since the host started: every interface but loopback (proc_net(5)), every whole disk (the kernel's iostats). */
async function traffic(): Promise<typeof noTraffic> {
  if (process.platform !== "linux") return noTraffic;
  const sum = { ...noTraffic };
  for (const line of (await readFile("/proc/net/dev", "utf8")).split("\n").slice(2)) {
    const [name, ...numbers] = line.trim().split(/[:\s]+/);
    if (name === undefined || name === "" || name === "lo") continue;
    sum.networkRxBytes += Number(numbers[0]);
    sum.networkTxBytes += Number(numbers[8]);
  }
  for (const line of (await readFile("/proc/diskstats", "utf8")).split("\n")) {
    const [, , name = "", , , read, , , , written] = line.trim().split(/\s+/);
    // Partitions and stacked devices would count the same bytes again.
    if (!/^(?:[shv]d[a-z]+|xvd[a-z]+|nvme\d+n\d+|mmcblk\d+)$/.test(name)) continue;
    sum.blockReadBytes += Number(read) * sectorBytes;
    sum.blockWriteBytes += Number(written) * sectorBytes;
  }
  return sum;
}

async function processCount(): Promise<number> {
  if (process.platform !== "linux") return 0;
  return (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).length;
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
