import { existsSync, readFileSync } from "node:fs";
import { totalmem } from "node:os";
import { createSmallFiles, numberAfter, readTraffic, type SmallFile } from "../host/small-file.ts";
import type { Reading } from "./reading.ts";

/*
What a container uses, read from the kernel where Docker reads it too. Docker's own stream of statistics costs it a look at
every container each second, and us a parse of kilobytes of JSON.

INVARIANTS
- A container's files are opened only after /proc has shown that the process is in it; from then on they are its files,
  whoever gets its process id.
- The numbers mean what `docker stats` means by them.
*/

/** The files of one container. */
export interface CgroupFiles {
  /** undefined once the container is gone. */
  read(): Reading | undefined;
  close(): void;
}

/** Opens a running container's files; undefined where they cannot be seen (other machine, other user, a virtual machine). */
export type OpenCgroup = (container: { id: string; pid: number | undefined }) => CgroupFiles | undefined;

/** Samples, which come about once a second. */
const looksUntilNext = 10;

type Roots = { cgroup: string; proc: string };

export function createCgroups({ cgroup, proc }: Roots = { cgroup: "/sys/fs/cgroup", proc: "/proc" }): OpenCgroup {
  const open = createSmallFiles();
  const isUnified = existsSync(`${cgroup}/cgroup.controllers`);

  return ({ id, pid }) => {
    if (pid === undefined) return undefined;
    const opened: SmallFile[] = [];
    const add = (path: string) => {
      const file = open(path);
      opened.push(file);
      return file;
    };
    const close = () => {
      for (const file of opened.splice(0)) file.close();
    };
    try {
      const paths = groupPaths(readFileSync(`${proc}/${pid}/cgroup`, "latin1"));
      const net = add(`${proc}/${pid}/net/dev`);
      const sources = isUnified
        ? openUnified(`${cgroup}${paths.get("") ?? ""}`, add)
        : openSplit((controller) => `${cgroup}/${controller}${paths.get(controller) ?? ""}`, add);
      // Read again, with the files open: had the process gone in between, another might have its id.
      if (!readFileSync(`${proc}/${pid}/cgroup`, "latin1").includes(id)) throw new Error("not in the container");
      return {
        read() {
          try {
            const { rx, tx } = readTraffic(net.read());
            return { ...sources(), atMs: performance.now(), networkRxBytes: rx, networkTxBytes: tx };
          } catch {
            return undefined;
          }
        },
        close,
      };
    } catch {
      close();
      return undefined;
    }
  };
}

type Counts = Omit<Reading, "atMs" | "networkRxBytes" | "networkTxBytes">;

/** Controller → path of a `/proc/PID/cgroup` (cgroups(7)); version 2 has the empty name. */
function groupPaths(text: string): Map<string, string> {
  const paths = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) continue;
    for (const controller of controllers.split(",")) paths.set(controller, path === "/" ? "" : path);
  }
  return paths;
}

function openUnified(folder: string, add: (path: string) => SmallFile): () => Counts {
  const cpu = add(`${folder}/cpu.stat`);
  const current = add(`${folder}/memory.current`);
  const stat = add(`${folder}/memory.stat`);
  const io = tryAdd(add, `${folder}/io.stat`);
  const pids = add(`${folder}/pids.current`);
  const memoryLimitBytes = limitOf(readFileSync(`${folder}/memory.max`, "latin1"));
  return () => ({
    cpuSeconds: numberAfter(cpu.read(), "usage_usec") / 1e6,
    memoryBytes: Math.max(0, Number(current.read()) - numberAfter(stat.read(), "inactive_file")),
    memoryLimitBytes,
    ...unifiedBlocks(io?.read() ?? ""),
    pids: Number(pids.read()),
  });
}

function openSplit(folder: (controller: string) => string, add: (path: string) => SmallFile): () => Counts {
  const cpu = add(`${folder("cpuacct")}/cpuacct.usage`);
  const usage = add(`${folder("memory")}/memory.usage_in_bytes`);
  const stat = add(`${folder("memory")}/memory.stat`);
  const pids = add(`${folder("pids")}/pids.current`);
  // The scheduler's own count where it has one, else the throttle's; the one of BFQ is there and empty under another.
  const candidates = ["bfq.io_service_bytes_recursive", "throttle.io_service_bytes_recursive", "throttle.io_service_bytes"]
    .map((name) => tryAdd(add, `${folder("blkio")}/blkio.${name}`))
    .filter((file) => file !== undefined);
  const blocks = createSplitBlocks(candidates);
  const memoryLimitBytes = limitOf(readFileSync(`${folder("memory")}/memory.limit_in_bytes`, "latin1"));
  return () => ({
    cpuSeconds: Number(cpu.read()) / 1e9,
    memoryBytes: Math.max(0, Number(usage.read()) - numberAfter(stat.read(), "total_inactive_file")),
    memoryLimitBytes,
    ...blocks(),
    pids: Number(pids.read()),
  });
}

function tryAdd(add: (path: string) => SmallFile, path: string): SmallFile | undefined {
  return existsSync(path) ? add(path) : undefined;
}

/** What no limit looks like is larger than the machine's memory, which then is the limit. */
function limitOf(text: string): number {
  const limit = Number(text);
  return Number.isNaN(limit) ? totalmem() : Math.min(limit, totalmem());
}

type Blocks = { blockReadBytes: number; blockWriteBytes: number };

/** `8:0 rbytes=1 wbytes=2 …`, a line per device. */
function unifiedBlocks(text: string): Blocks {
  const sum = { blockReadBytes: 0, blockWriteBytes: 0 };
  for (const [, name, value] of text.matchAll(/\b([rw])bytes=(\d+)/g)) {
    if (name === "r") sum.blockReadBytes += Number(value);
    else sum.blockWriteBytes += Number(value);
  }
  return sum;
}

/**
 * `8:0 Read 1`, a line per device and kind, of the first file that counts anything; until one does, all are looked at now and
 * then only, because most servers never touch a disk.
 */
function createSplitBlocks(files: readonly SmallFile[]): () => Blocks {
  let counting: SmallFile | undefined;
  let looks = 0;
  return () => {
    if (counting === undefined && looks++ % looksUntilNext === 0) counting = files.find((file) => file.read().includes("Read"));
    const sum = { blockReadBytes: 0, blockWriteBytes: 0 };
    if (counting === undefined) return sum;
    for (const [, kind, value] of counting.read().matchAll(/ (Read|Write) (\d+)/g)) {
      if (kind === "Read") sum.blockReadBytes += Number(value);
      else sum.blockWriteBytes += Number(value);
    }
    return sum;
  };
}
