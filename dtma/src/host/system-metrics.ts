import { readFile } from "node:fs/promises";
import { freemem } from "node:os";
import type { HostLoad } from "../../../shared/dtma-protocol.ts";

/** The host's load in the words of the agent that ran on toolboxes before. */
export type SystemMetrics = {
  cpu_load_percent: number;
  /** `active`: what programs hold; `used` counts the page cache in, which they would get back. */
  memory: { total_bytes: number; active_bytes: number; free_bytes: number; used_bytes: number };
  disk: { mount: string; total_bytes: number; used_bytes: number; free_bytes: number };
};

const freshMs = 1_000;

/** Samples when asked, at most once a second, however many ask. */
export function createSystemMetrics(
  hostLoad: () => HostLoad,
  diskPath: string,
  now: () => number = Date.now,
): () => Promise<SystemMetrics> {
  let latest: { at: number; metrics: Promise<SystemMetrics> } | undefined;

  async function sample(): Promise<SystemMetrics> {
    const [load, freeBytes, mount] = await Promise.all([hostLoad(), freeMemory(), mountOf(diskPath)]);
    return {
      cpu_load_percent: Math.round(load.cpuPercent * 100) / 100,
      memory: {
        total_bytes: load.memoryTotalBytes,
        active_bytes: load.memoryUsedBytes,
        free_bytes: freeBytes,
        used_bytes: load.memoryTotalBytes - freeBytes,
      },
      disk: {
        mount,
        total_bytes: load.diskTotalBytes,
        used_bytes: load.diskUsedBytes,
        free_bytes: load.diskTotalBytes - load.diskUsedBytes,
      },
    };
  }

  return () => {
    if (latest === undefined || now() - latest.at >= freshMs) {
      const metrics = sample();
      latest = { at: now(), metrics };
      metrics.catch(() => {
        latest = undefined;
      });
    }
    return latest.metrics;
  };
}

/** Without the page cache. Node's own figure counts as free what the cache would give back. */
async function freeMemory(): Promise<number> {
  if (process.platform !== "linux") return freemem();
  const [, kibibytes] = /^MemFree:\s+(\d+) kB/m.exec(await readFile("/proc/meminfo", "utf8")) ?? [];
  return kibibytes === undefined ? freemem() : Number(kibibytes) * 1024;
}

/** Where the file system that holds the path is mounted. */
async function mountOf(path: string): Promise<string> {
  if (process.platform !== "linux") return path;
  return (await readFile("/proc/self/mounts", "utf8"))
    .split("\n")
    .map((line) => (line.split(" ")[1] ?? "").replaceAll("\\040", " "))
    .filter((mount) => mount.startsWith("/") && (mount === "/" || path === mount || path.startsWith(`${mount}/`)))
    .reduce((longest, mount) => (mount.length > longest.length ? mount : longest), "/");
}
