import { readdirSync, statfsSync } from "node:fs";
import { cpus, freemem, totalmem } from "node:os";
import type { HostLoad } from "../../../shared/dtma-protocol.ts";
import { createSmallFiles, numberAfter, readTraffic } from "./small-file.ts";

const noTraffic = { networkRxBytes: 0, networkTxBytes: 0, blockReadBytes: 0, blockWriteBytes: 0 };
const sectorBytes = 512;
/** The folder of all processes is by far the dearest to read. */
const countProcessesEveryMs = 10_000;

type Kernel = {
  cpu(): { busy: number; total: number };
  freeBytes(): number;
  traffic(): typeof noTraffic;
  processes(): number;
};

/** Samples the host; CPU is the share of all cores used since the sample before. */
export function createHostLoad(diskPath: string): () => HostLoad {
  const kernel = process.platform === "linux" ? linux() : elsewhere;
  const memoryTotalBytes = totalmem();
  let before = kernel.cpu();
  return () => {
    const now = kernel.cpu();
    const total = now.total - before.total;
    const busy = now.busy - before.busy;
    // Two looks within one tick of the kernel's clock have no difference to tell.
    if (total > 0) before = now;
    const disk = statfsSync(diskPath);
    return {
      cpuPercent: total <= 0 ? 0 : Math.max(0, (busy / total) * 100),
      memoryUsedBytes: Math.max(0, memoryTotalBytes - kernel.freeBytes()),
      memoryTotalBytes,
      diskUsedBytes: (disk.blocks - disk.bfree) * disk.bsize,
      diskTotalBytes: disk.blocks * disk.bsize,
      ...kernel.traffic(),
      processes: kernel.processes(),
    };
  };
}

function linux(): Kernel {
  const open = createSmallFiles();
  const stat = open("/proc/stat");
  const meminfo = open("/proc/meminfo");
  const net = open("/proc/net/dev");
  const disks = open("/proc/diskstats");
  let counted = { at: Number.NEGATIVE_INFINITY, processes: 0 };
  return {
    cpu() {
      // proc_stat(5): user nice system idle iowait irq softirq steal; time of guests is part of user and nice.
      const text = stat.read();
      const times = text.slice(4, text.indexOf("\n")).trim().split(" ", 8).map(Number);
      const total = times.reduce((sum, time) => sum + time, 0);
      return { total, busy: total - (times[3] ?? 0) - (times[4] ?? 0) };
    },
    // Free memory includes what the page cache would give back at once; Node's own figure does not.
    freeBytes: () => numberAfter(meminfo.read(), "MemAvailable:") * 1_024,
    traffic() {
      const { rx, tx } = readTraffic(net.read());
      return { networkRxBytes: rx, networkTxBytes: tx, ...readDisks(disks.read()) };
    },
    processes() {
      const now = performance.now();
      if (now - counted.at > countProcessesEveryMs) {
        counted = { at: now, processes: readdirSync("/proc").filter((name) => name >= "1" && name < ":").length };
      }
      return counted.processes;
    },
  };
}

/** Bytes of every whole disk since the host started (the kernel's iostats). */
export function readDisks(text: string): { blockReadBytes: number; blockWriteBytes: number } {
  const sum = { blockReadBytes: 0, blockWriteBytes: 0 };
  for (const line of text.split("\n")) {
    const [, , name = "", , , read, , , , written] = line.trim().split(/\s+/);
    // Partitions and stacked devices would count the same bytes again.
    if (!/^(?:[shv]d[a-z]+|xvd[a-z]+|nvme\d+n\d+|mmcblk\d+)$/.test(name)) continue;
    sum.blockReadBytes += Number(read) * sectorBytes;
    sum.blockWriteBytes += Number(written) * sectorBytes;
  }
  return sum;
}

const elsewhere: Kernel = {
  cpu() {
    let idle = 0;
    let total = 0;
    for (const { times } of cpus()) {
      idle += times.idle;
      total += times.user + times.nice + times.sys + times.irq + times.idle;
    }
    return { busy: total - idle, total };
  },
  freeBytes: freemem,
  traffic: () => noTraffic,
  processes: () => 0,
};
