import { readdir, readFile } from "node:fs/promises";

/*
INVARIANTS
- A process is signalled only after /proc has shown that it belongs to the container: pids are reused.
- Processes are found by the variable they were started with, so children that left their parent are found too.
*/

/** Every process that the DTMA opens inside a container carries this variable. */
export const sessionVariable = "DTMA_SESSION";

const groupRoot = "/sys/fs/cgroup";

/** A container, and the host pid of its first process, which leads to the group of all of them. */
export type ContainerPlace = { id: string; pid: number | undefined };

/** Whether /proc says that this host process runs in this container. */
export async function isInContainer(pid: number, containerId: string): Promise<boolean> {
  try {
    return (await readFile(`/proc/${pid}/cgroup`, "utf8")).includes(containerId);
  } catch {
    return false;
  }
}

/**
 * Host pids of the processes in the container whose environment holds `marker` (`NAME=value`, or `NAME=` for any value),
 * and of their descendants. Empty where /proc does not show them (other user, other machine, not Linux).
 */
export async function findProcesses(container: ContainerPlace, marker: string): Promise<number[]> {
  const pids = await pidsIn(container);
  const found = new Set<number>();
  const parents = new Map<number, number>();
  await Promise.all(
    pids.map(async (pid) => {
      const [parent, isMarked] = await Promise.all([parentOf(pid), hasVariable(pid, marker)]);
      if (parent !== undefined) parents.set(pid, parent);
      if (isMarked) found.add(pid);
    }),
  );
  let grew = found.size > 0;
  while (grew) {
    grew = false;
    for (const [pid, parent] of parents) {
      if (!found.has(pid) && found.has(parent)) {
        found.add(pid);
        grew = true;
      }
    }
  }
  return [...found];
}

/** The members of the container's control group, where the kernel lists them; else whatever /proc says is in it. */
async function pidsIn({ id, pid: first }: ContainerPlace): Promise<number[]> {
  const listed = first === undefined ? undefined : await groupMembers(id, first);
  if (listed !== undefined) return listed;
  const found: number[] = [];
  for (const entry of await readdir("/proc").catch(() => [])) {
    const pid = Number(entry);
    if (Number.isInteger(pid) && (await isInContainer(pid, id))) found.push(pid);
  }
  return found;
}

/**
 * undefined where that cannot be known: the container's first process is gone, its group is named otherwise than its
 * container, or has groups below it (cgroups(7)).
 */
async function groupMembers(containerId: string, pid: number): Promise<number[] | undefined> {
  try {
    const lines = (await readFile(`/proc/${pid}/cgroup`, "latin1")).split("\n");
    const [, unified] = lines.map((line) => /^0::(.*)$/.exec(line)).find((match) => match !== null) ?? [];
    const [, split] = lines.map((line) => /^\d+:pids:(.*)$/.exec(line)).find((match) => match !== null) ?? [];
    const folder = split === undefined ? `${groupRoot}${unified}` : `${groupRoot}/pids${split}`;
    if (!folder.includes(containerId)) return undefined;
    const entries = await readdir(folder, { withFileTypes: true });
    if (entries.some((entry) => entry.isDirectory())) return undefined;
    return (await readFile(`${folder}/cgroup.procs`, "latin1")).split("\n").filter(Boolean).map(Number);
  } catch {
    return undefined;
  }
}

/** Signals those that are still in the container. */
export async function signalProcesses(pids: number[], containerId: string, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
  for (const pid of pids) {
    if (!(await isInContainer(pid, containerId))) continue;
    try {
      process.kill(pid, signal);
    } catch {
      // ESRCH: it has just gone. EPERM: not ours to signal; the caller sees that it lives on and takes another way.
    }
  }
}

async function hasVariable(pid: number, marker: string): Promise<boolean> {
  try {
    const environment = await readFile(`/proc/${pid}/environ`, "latin1");
    return marker.endsWith("=")
      ? environment.split("\0").some((entry) => entry.startsWith(marker))
      : environment.split("\0").includes(marker);
  } catch {
    return false;
  }
}

async function parentOf(pid: number): Promise<number | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    // The command in parentheses may hold spaces and parentheses itself (proc_pid_stat(5)).
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
  } catch {
    return undefined;
  }
}

/** Commands to try inside a container, when the host cannot signal: kills all whose environment holds the marker. */
export function killCommandsInside(marker: string): string[][] {
  const script = [
    'const fs=require("fs"),m=process.argv[1];',
    'for(const p of fs.readdirSync("/proc"))if(+p>1&&+p!==process.pid)try{',
    'const e=fs.readFileSync("/proc/"+p+"/environ","latin1").split("\\0");',
    'if(e.some(v=>m.endsWith("=")?v.startsWith(m):v===m))process.kill(+p,"SIGKILL")}catch{}',
  ].join("");
  const shell =
    'cd /proc && for i in [0-9]*; do if [ "$i" != 1 ] && [ "$i" != "$$" ] && ' +
    'tr "\\0" "\\n" < "$i/environ" 2>/dev/null | grep -q "^$1"; then kill -9 "$i"; fi; done';
  return [
    ["node", "-e", script, marker],
    ["sh", "-c", shell, "sh", marker],
  ];
}
