import { readdirSync, readFileSync, realpathSync } from "node:fs";
import { rm } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { runProgram } from "./program.ts";

/*
Removes a folder of a run with all that still works in it: a Docker engine that was killed leaves its containers, their
mounts, and a mount of the host's network for every container that used it.

INVARIANTS
- Only processes are ended whose command line names the folder, or that were started by such a one.
- Nothing is deleted through a mount: what is mounted below the folder is unmounted first, or the folder stays.
*/

const patienceMs = 10_000;

/** Rejects with what could not be removed and why. */
export async function removeWithMounts(folder: string): Promise<void> {
  const real = realpathSync(folder);
  if (process.platform === "linux") {
    await endProcessesOf(real);
    for (const mount of mountsBelow(readMounts(), real)) await runProgram("umount", ["-l", mount]);
    const left = mountsBelow(readMounts(), real);
    if (left.length > 0) throw new Error(`Still mounted: ${left.join(" ")}`);
  }
  await rm(real, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
}

/** Where something is mounted in or on the folder, in the order in which it can be unmounted. */
export function mountsBelow(mountinfo: string, folder: string): string[] {
  const points = mountinfo
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .map((field) => field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))))
    .filter((point) => point === folder || point.startsWith(`${folder}/`));
  // What was mounted last on the same place lies on top.
  return points.reverse().sort((one, other) => other.split("/").length - one.split("/").length);
}

const readMounts = () => readFileSync("/proc/self/mountinfo", "utf8");

async function endProcessesOf(folder: string): Promise<void> {
  const deadline = Date.now() + patienceMs;
  for (;;) {
    const found = processesOf(folder);
    if (found.length === 0 || Date.now() > deadline) return;
    for (const pid of found) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has just ended by itself.
      }
    }
    await delay(100);
  }
}

function processesOf(folder: string): number[] {
  const all = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const read = (pid: string, file: string) => {
    try {
      return readFileSync(`/proc/${pid}/${file}`, "utf8");
    } catch {
      return "";
    }
  };
  const parents = new Map(all.map((pid) => [Number(pid), Number(/\) \S+ (\d+)/.exec(read(pid, "stat"))?.[1])]));
  const found = new Set(all.filter((pid) => read(pid, "cmdline").includes(`${folder}/`)).map(Number));
  found.delete(process.pid);
  for (let size = -1; size !== found.size; ) {
    size = found.size;
    for (const [pid, parent] of parents) if (found.has(parent) && pid !== process.pid) found.add(pid);
  }
  return [...found];
}
