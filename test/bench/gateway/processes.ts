import { readdirSync, readFileSync } from "node:fs";

const ticksPerSecond = 100;

/**
 * What /proc says of a process and everything it has started: for a bridge, its docker clients too. With `counts`, only of
 * the direct children whose command line (with a NUL after each argument) it takes, and what they have started.
 */
export function usageOf(
  root: number,
  counts?: (command: string) => boolean,
): { cpuMs: number; anonymousMiB: number; rssMiB: number } {
  const children = new Map<number, number[]>();
  const stats = new Map<number, string[]>();
  for (const entry of readdirSync("/proc")) {
    const pid = Number(entry);
    const stat = Number.isInteger(pid) ? readOrEmpty(`/proc/${pid}/stat`) : "";
    if (stat === "") continue;
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const parent = Number(fields[1]);
    stats.set(pid, fields);
    children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  const usage = { cpuMs: 0, anonymousMiB: 0, rssMiB: 0 };
  const isCounted = (pid: number) => counts?.(readOrEmpty(`/proc/${pid}/cmdline`)) === true;
  const waiting = counts === undefined ? [root] : (children.get(root) ?? []).filter(isCounted);
  for (let pid = waiting.pop(); pid !== undefined; pid = waiting.pop()) {
    const fields = stats.get(pid);
    if (fields === undefined) continue;
    usage.cpuMs += ((Number(fields[11]) + Number(fields[12])) * 1_000) / ticksPerSecond;
    const status = readOrEmpty(`/proc/${pid}/status`);
    usage.anonymousMiB += mebibytes(status, "RssAnon");
    usage.rssMiB += mebibytes(status, "VmRSS");
    waiting.push(...(children.get(pid) ?? []));
  }
  return usage;
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // The process has just gone.
    return "";
  }
}

function mebibytes(status: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0) / 1_024;
}
