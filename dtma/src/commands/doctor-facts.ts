import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile, stat, statfs } from "node:fs/promises";
import { promisify } from "node:util";
import { isFolderInUse } from "../data-folder.ts";
import { createDockerCalls } from "../docker/calls.ts";
import { readCertificate } from "../fingerprint.ts";
import { managedFilter } from "../labels.ts";
import type { Settings } from "../settings.ts";
import type { DockerFacts, Found, HostFacts } from "./doctor-findings.ts";
import { isOurKey } from "./health.ts";
import { probeHealth } from "./probe.ts";

/*
INVARIANTS
- Nothing is changed, and no secret is printed: of the configuration file only names and times go on.
*/

const run = promisify(execFile);
const timeoutMs = 10_000;

/** Finds out what the doctor looks at. Never rejects for one that cannot be found out. */
export async function gatherFacts(settings: Settings, env: NodeJS.ProcessEnv): Promise<HostFacts> {
  const listener = await findListener(settings);
  return {
    platform: process.platform,
    isRoot: process.getuid?.() === 0,
    nodeVersion: process.version,
    nowMs: Date.now(),
    port: settings.port,
    host: settings.host,
    configuration: await find(() => readConfiguration(settings.configurationFile)),
    docker: await find(() => readDocker(settings.dockerHost, env)),
    rawTable: await find(async () => {
      await command("iptables", ["-w", "5", "-t", "raw", "-S", "PREROUTING"]);
      return true as const;
    }),
    dataFolder: await find(() => readDataFolder(settings.dataFolder)),
    listener,
    isLocked: listener !== "ours" && isFolderInUse(settings.dataFolder),
    certificate: await find(() => readValidity(settings)),
    unit: await find(readUnit),
    clockIsSynchronised: await find(async (): Promise<boolean | null> => {
      // The clock of a container is the host's.
      if (!hasSystemd() || existsSync("/run/systemd/container")) return null;
      return (await command("timedatectl", ["show", "-p", "NTPSynchronized", "--value"])).trim() === "yes";
    }),
    firewallPorts: await find(readFirewallPorts),
  };
}

async function find<T>(look: () => Promise<T>): Promise<Found<T>> {
  try {
    return { value: await look() };
  } catch (error) {
    const lastLine = (error as Error).message.trim().split("\n").at(-1) ?? "";
    return { unknown: lastLine.replace(/\.$/, "") };
  }
}

async function command(program: string, args: string[]): Promise<string> {
  const path = `${process.env.PATH ?? ""}:/usr/sbin:/sbin`;
  return (await run(program, args, { timeout: timeoutMs, env: { ...process.env, PATH: path, LC_ALL: "C" } })).stdout;
}

async function readConfiguration(path: string | null) {
  if (path === null || !existsSync(path)) return null;
  const { mode, uid } = await stat(path);
  const text = await readFile(path, "utf8");
  const seconds = /^\s*DTMA_ENROLMENT\s*=\s*"?[a-f0-9]{64}:(\d+)/m.exec(text)?.[1];
  return {
    path,
    mode,
    ownerId: uid,
    hasClearToken: /^\s*(?:export\s+)?DTMA_AUTH_TOKEN\s*=\s*\S/m.test(text),
    ...(seconds === undefined ? {} : { enrolmentUntilMs: Number(seconds) * 1_000 }),
  };
}

type EngineInfo = {
  ServerVersion: string;
  SecurityOptions: string[] | null;
  CgroupVersion?: string;
  Driver: string;
  DockerRootDir: string;
  MemoryLimit: boolean;
  PidsLimit: boolean;
  CpuCfsQuota: boolean;
};
type ListedContainer = { Names: string[]; Ports: { IP?: string; PublicPort?: number }[] };

async function readDocker(dockerHost: string | undefined, env: NodeJS.ProcessEnv): Promise<DockerFacts> {
  const calls = createDockerCalls(dockerHost, env);
  const info = await calls.json<EngineInfo>({ method: "GET", path: "/info", timeoutMs });
  const filters = JSON.stringify({ label: managedFilter });
  const containers = await calls.json<ListedContainer[]>({
    method: "GET",
    path: "/containers/json",
    query: { filters },
    timeoutMs,
  });
  const limits = { memory: info.MemoryLimit, processes: info.PidsLimit, CPU: info.CpuCfsQuota };
  return {
    version: info.ServerVersion,
    hasSeccomp: info.SecurityOptions?.some((option) => option.startsWith("name=seccomp")) === true,
    cgroupVersion: info.CgroupVersion ?? "1",
    storageDriver: info.Driver,
    missingLimits: Object.entries(limits).flatMap(([name, holds]) => (holds ? [] : [name])),
    freeBytes: calls.isLocal ? await freeBytes(info.DockerRootDir).catch(() => undefined) : undefined,
    published: containers.flatMap(({ Names, Ports }) =>
      Ports.filter(({ IP = "", PublicPort }) => PublicPort !== undefined && !/^(127\.|::1$)/.test(IP)).map(
        ({ IP, PublicPort }) => `${Names[0]?.slice(1)} at ${IP}:${PublicPort}`,
      ),
    ),
  };
}

async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}

async function readDataFolder(path: string) {
  if (!existsSync(path)) return null;
  const { mode, uid } = await stat(path);
  return { path, mode, isOwn: process.getuid === undefined || uid === process.getuid(), freeBytes: await freeBytes(path) };
}

async function findListener(settings: Settings): Promise<HostFacts["listener"]> {
  const probe = await probeHealth(settings);
  if (probe.state === "nobody") return "free";
  if (probe.state === "strange") return { other: probe.reason };
  if (probe.status !== 200) return { other: `status ${probe.status}` };
  if (settings.http) return probe.text === "OK" ? "ours" : { other: "not what a DTMA says" };
  const isOurs = await isOurKey(settings.dataFolder, probe.publicKey).catch(() => false);
  return isOurs ? "ours" : { other: `it has not the key of ${settings.dataFolder}` };
}

async function readValidity({ dataFolder, http }: Settings) {
  const kept = http ? undefined : await readCertificate(dataFolder);
  if (kept === undefined) return null;
  return { notBeforeMs: kept.validFromDate.getTime(), notAfterMs: kept.validToDate.getTime() };
}

/** As sd_booted(3). */
function hasSystemd(): boolean {
  return existsSync("/run/systemd/system");
}

async function readUnit() {
  if (!hasSystemd()) return null;
  const properties = ["LoadState", "ActiveState", "UnitFileState", "NRestarts"];
  const text = await command("systemctl", ["show", "dtma.service", ...properties.map((name) => `--property=${name}`)]);
  const value = (name: string) => new RegExp(`^${name}=(.*)$`, "m").exec(text)?.[1] ?? "";
  return {
    load: value("LoadState"),
    active: value("ActiveState"),
    enabled: value("UnitFileState"),
    restarts: Number(value("NRestarts")),
  };
}

type Ruleset = { nftables: { set?: { name: string; elem?: number[] } }[] };

async function readFirewallPorts(): Promise<number[] | null> {
  const tables = await command("nft", ["-j", "list", "tables", "inet"]);
  if (!tables.includes('"name": "dtma"')) return null;
  const { nftables } = JSON.parse(await command("nft", ["-j", "list", "set", "inet", "dtma", "open_ports"])) as Ruleset;
  return nftables.flatMap(({ set }) => set?.elem ?? []).sort((a, b) => a - b);
}
