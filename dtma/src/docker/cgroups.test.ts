import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { createCgroups } from "./cgroups.ts";
import { toLoad } from "./reading.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

/** Files as the kernel shows them. */
function files(content: Record<string, string>) {
  const folder = mkdtempSync(join(tmpdir(), "cgroups-"));
  folders.push(folder);
  const write = (path: string, text: string) => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  };
  for (const [path, text] of Object.entries(content)) write(path, text);
  return { roots: { cgroup: join(folder, "cgroup"), proc: join(folder, "proc") }, write };
}

const netDev = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     999       0    0    0    0     0          0         0      999       0    0    0    0     0       0          0
  eth0:     266       3    0    0    0     0          0         0       70       0    0    0    0     0       0          0
  eth1:1000000000       3    0    0    0     0          0         0       1       0    0    0    0     0       0          0
`;
const used = {
  cpuSeconds: 2.5,
  memoryBytes: 900,
  memoryLimitBytes: 5_000,
  networkRxBytes: 1_000_000_266,
  networkTxBytes: 71,
  blockReadBytes: 30,
  blockWriteBytes: 7,
  pids: 4,
};

const second = {
  "cgroup/cgroup.controllers": "cpu memory\n",
  "cgroup/system.slice/docker-abc.scope/cpu.stat": "usage_usec 2500000\nuser_usec 1\nsystem_usec 2\n",
  "cgroup/system.slice/docker-abc.scope/memory.current": "1000\n",
  "cgroup/system.slice/docker-abc.scope/memory.stat": "anon 3\nactive_file 7\ninactive_file 100\nfile 1\n",
  "cgroup/system.slice/docker-abc.scope/memory.max": "5000\n",
  "cgroup/system.slice/docker-abc.scope/io.stat":
    "8:0 rbytes=10 wbytes=3 rios=1 wios=1\n8:16 rbytes=20 wbytes=4 rios=1 wios=1\n",
  "cgroup/system.slice/docker-abc.scope/pids.current": "4\n",
  "proc/7/cgroup": "0::/system.slice/docker-abc.scope\n",
  "proc/7/net/dev": netDev,
};
const first = {
  "cgroup/cpuacct/docker/abc/cpuacct.usage": "2500000000\n",
  "cgroup/memory/docker/abc/memory.usage_in_bytes": "1000\n",
  "cgroup/memory/docker/abc/memory.stat": "cache 5\ninactive_file 1\ntotal_inactive_file 100\n",
  "cgroup/memory/docker/abc/memory.limit_in_bytes": "5000\n",
  "cgroup/pids/docker/abc/pids.current": "4\n",
  "cgroup/blkio/docker/abc/blkio.bfq.io_service_bytes_recursive": "Total 0\n",
  "cgroup/blkio/docker/abc/blkio.throttle.io_service_bytes": "8:0 Read 30\n8:0 Write 7\n8:0 Sync 9\n8:0 Total 37\nTotal 37\n",
  "proc/7/cgroup":
    "9:name=systemd:/docker/abc\n5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n3:pids:/docker/abc\n2:blkio:/docker/abc\n",
  "proc/7/net/dev": netDev,
};

describe("what a container uses", () => {
  it.each([
    ["version 2", second],
    ["version 1", first],
  ])("is read from the kernel's groups, %s", (_version, content) => {
    const opened = createCgroups(files(content).roots)({ id: "abc", pid: 7 });
    expect(opened?.read()).toMatchObject(used);
    opened?.close();
  });

  it("is read again from the same files", () => {
    const { roots, write } = files(second);
    const opened = createCgroups(roots)({ id: "abc", pid: 7 });
    const before = opened?.read();
    write("cgroup/system.slice/docker-abc.scope/cpu.stat", "usage_usec 3500000\n");
    expect(opened?.read()?.cpuSeconds).toBe(3.5);
    expect(before?.cpuSeconds).toBe(2.5);
    opened?.close();
  });

  it("has the machine's memory as its limit when it has none of its own", () => {
    const unlimited = { ...second, "cgroup/system.slice/docker-abc.scope/memory.max": "max\n" };
    const huge = { ...first, "cgroup/memory/docker/abc/memory.limit_in_bytes": "9223372036854771712\n" };
    for (const content of [unlimited, huge]) {
      const opened = createCgroups(files(content).roots)({ id: "abc", pid: 7 });
      expect(opened?.read()?.memoryLimitBytes).toBe(totalmem());
      opened?.close();
    }
  });

  it("is not read where it cannot be seen, nor of a process that is not in the container", () => {
    const { "proc/7/net/dev": _net, ...without } = second;
    expect(createCgroups(files(without).roots)({ id: "abc", pid: 7 })).toBeUndefined();
    expect(createCgroups(files(second).roots)({ id: "other", pid: 7 })).toBeUndefined();
    expect(createCgroups(files(second).roots)({ id: "abc", pid: undefined })).toBeUndefined();
    expect(createCgroups({ cgroup: "/nowhere", proc: "/nowhere" })({ id: "abc", pid: 7 })).toBeUndefined();
  });

  it("is told with the share of a core used since the reading before", () => {
    const reading = (atMs: number, cpuSeconds: number) => ({ ...used, atMs, cpuSeconds });
    expect(toLoad(undefined, reading(0, 1))).toBeUndefined();
    expect(toLoad(reading(1_000, 1), reading(1_000, 1))).toBeUndefined();
    const { cpuSeconds: _seconds, ...rest } = used;
    expect(toLoad(reading(1_000, 1), reading(3_000, 2))).toEqual({ cpuPercent: 50, ...rest });
    expect(toLoad(reading(1_000, 9), reading(3_000, 2))?.cpuPercent).toBe(0);
  });
});
