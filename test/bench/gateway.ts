import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { build } from "vite";
import { createBench, docker, everything } from "../fixtures/dtma.ts";
import { partVariables } from "../setup/parts.ts";
import { type AfterBlow, killContainer, killProcesses } from "./gateway/blows.ts";
import { type Bridge, type BridgeName, type Bridges, createBridges } from "./gateway/bridges.ts";
import type { BenchSession } from "./gateway/client.ts";
import { usageOf } from "./gateway/processes.ts";

/*
The MCP endpoint beside its peers, as a plain table and as test/bench/results/gateway.json. `--repetitions=3`,
`--calls=2000`, `--many=200` and `--only=floor,dtma` say how much is measured.

INVARIANTS
- One server in one container, one client, plain HTTP on loopback for all. Ours is dist/dtma.mjs with authentication and an
  allow-list; the floor is the client on `docker exec -i` itself.
- Repetitions are interleaved and medians are shown: only ratios of one run mean something.
- Everything made carries the bench's label and is removed by it.
*/

const root = join(import.meta.dirname, "../..");
const results = join(import.meta.dirname, "results/gateway.json");
const option = (name: string, otherwise: string) =>
  process.argv.find((argument) => argument.startsWith(`--${name}=`))?.slice(name.length + 3) ?? otherwise;
const repetitions = Number(option("repetitions", "3"));
const calls = Number(option("calls", "2000"));
const many = Number(option("many", "200"));
const names: BridgeName[] = ["floor", "dtma", "dtma with a spare", "supergateway", "mcp-proxy"];
const chosen = option("only", names.join(","))
  .split(",")
  .map((name) => name as BridgeName);
const setUps = 12;
/** Between sessions: the one before is put away, and a spare is ready again. */
const pauseMs = 700;
const warmUpCalls = 200;
const busySessions = 16;
const callsOfBusy = 200;

type Figures = {
  setUpMs: number;
  callP50Ms: number;
  callP95Ms: number;
  callsPerSecond: number;
  cpuMsPerCall: number;
  errors: number;
  mibPerSession: number;
};

/** What a machine has is read from the environment once, at the start of a program. */
if (process.env[partVariables.docker] === undefined) {
  const env = { ...process.env, [partVariables.docker]: "1", [partVariables.containerLabel]: `dtma-test=${randomUUID()}` };
  const child = spawn(process.execPath, process.argv.slice(1), { env, stdio: "inherit" });
  process.exitCode = await new Promise<number>((resolve) => child.on("close", (code) => resolve(code ?? 1)));
} else await run();

async function run(): Promise<void> {
  say("Building …");
  await build({ configFile: join(root, "dtma/vite.config.ts"), logLevel: "warn" });
  const bench = createBench();
  const taken = new Map<BridgeName, Figures[]>();
  const blows: Blow[] = [];
  try {
    say("Deploying the server and fetching the peers …");
    const bridges = await createBridges(bench, join(root, "dtma/dist/dtma.mjs"), Math.max(many, busySessions));
    for (let repetition = 1; repetition <= repetitions; repetition++) {
      for (const name of chosen) {
        say(`${repetition} of ${repetitions}: ${name} …`);
        const figures = await measure(() => bridges.start(name));
        taken.set(name, [...(taken.get(name) ?? []), figures]);
        say(`  ${JSON.stringify(figures)}`);
      }
      if (!chosen.includes("dtma with a spare")) continue;
      say(`${repetition} of ${repetitions}: blows …`);
      blows.push(await strike(bridges));
      say(`  ${JSON.stringify(blows.at(-1))}`);
    }
    const medians = new Map([...taken].map(([name, all]) => [name, mediansOf(all)]));
    const targets = targetsOf(medians, blows);
    print(medians, targets);
    if (chosen.length === names.length) await save(medians, blows, targets, bridges.versions);
  } finally {
    await bench.close();
  }
}

async function measure(start: () => Promise<Bridge>): Promise<Figures> {
  const times = await withBridge(start, async (bridge) => {
    const setUpMs = await timeSetUps(bridge);
    const [callP50Ms, callP95Ms] = await timeCalls(bridge);
    return { setUpMs, callP50Ms, callP95Ms, ...(await keepBusy(bridge)) };
  });
  // In a process that has not worked yet: what work leaves behind would hide what a session takes.
  return { ...times, ...(await withBridge(start, holdMany)) };
}

/** What happens to open sessions when their processes are killed, and when their container is. */
type Blow = { processes: AfterBlow; container: AfterBlow };

function strike({ startOurs, container }: Bridges): Promise<Blow> {
  return withBridge(startOurs, async (bridge) => ({
    processes: await killProcesses(bridge, container),
    container: await killContainer(bridge, container),
  }));
}

async function withBridge<B extends Bridge, T>(start: () => Promise<B>, work: (bridge: B) => Promise<T>): Promise<T> {
  const bridge = await start();
  try {
    await closeAll([await bridge.open()]);
    return await work(bridge);
  } finally {
    await bridge.end();
  }
}

async function timeSetUps(bridge: Bridge): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < setUps; round++) {
    await delay(pauseMs);
    const startedAt = performance.now();
    const session = await bridge.open();
    times.push(performance.now() - startedAt);
    await session.close();
  }
  return quantile(times, 0.5);
}

async function timeCalls(bridge: Bridge): Promise<[number, number]> {
  const session = await bridge.open();
  for (let call = 0; call < warmUpCalls; call++) await session.echo(`warm ${call}`);
  await delay(pauseMs);
  const times: number[] = [];
  for (let call = 0; call < calls; call++) {
    const startedAt = performance.now();
    await session.echo(`call ${call}`);
    times.push(performance.now() - startedAt);
  }
  await session.close();
  return [quantile(times, 0.5), quantile(times, 0.95)];
}

async function keepBusy(bridge: Bridge): Promise<Pick<Figures, "callsPerSecond" | "cpuMsPerCall">> {
  const sessions = await Promise.all(Array.from({ length: busySessions }, () => bridge.open()));
  await Promise.all(sessions.map((session, index) => session.echo(`warm ${index}`)));
  await delay(pauseMs);
  const cpuMs = () => (bridge.pid === undefined ? childrenOfBench() : usageOf(bridge.pid).cpuMs);
  const [cpuBefore, startedAt] = [cpuMs(), performance.now()];
  await Promise.all(
    sessions.map(async (session, index) => {
      for (let call = 0; call < callsOfBusy; call++) await session.echo(`session ${index} call ${call}`);
    }),
  );
  const seconds = (performance.now() - startedAt) / 1_000;
  const cpu = cpuMs() - cpuBefore;
  await closeAll(sessions);
  const all = busySessions * callsOfBusy;
  return { callsPerSecond: all / seconds, cpuMsPerCall: cpu / all };
}

/** The docker clients of the floor, without the bench itself. */
function childrenOfBench(): number {
  const { user, system } = process.cpuUsage();
  return usageOf(process.pid).cpuMs - (user + system) / 1_000;
}

/** Opens many sessions at once and calls in each of them; what fails is counted. The floor has no memory of its own. */
async function holdMany(bridge: Bridge): Promise<Pick<Figures, "errors" | "mibPerSession">> {
  if (bridge.pid === undefined || many === 0) return { errors: 0, mibPerSession: 0 };
  await delay(5_000);
  const before = usageOf(bridge.pid).anonymousMiB;
  let errors = 0;
  const opened = await Promise.all(
    Array.from({ length: many }, async (_, index) => {
      try {
        const session = await bridge.open();
        await session.echo(`one of many ${index}`);
        return session;
      } catch (error) {
        if (errors === 0) say(`  first error: ${(error as Error).message}`);
        errors++;
        return undefined;
      }
    }),
  );
  await delay(5_000);
  const mibPerSession = (usageOf(bridge.pid).anonymousMiB - before) / many;
  await closeAll(opened.filter((session) => session !== undefined));
  return { errors, mibPerSession };
}

async function closeAll(sessions: BenchSession[]): Promise<void> {
  await Promise.all(sessions.map((session) => session.close().catch(() => undefined)));
}

function quantile(times: number[], share: number): number {
  const sorted = times.toSorted((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

function mediansOf(all: Figures[]): Figures {
  const keys = Object.keys(all[0] ?? {}) as (keyof Figures)[];
  return Object.fromEntries(
    keys.map((key) => [
      key,
      key === "errors"
        ? Math.max(...all.map((one) => one[key]))
        : quantile(
            all.map((one) => one[key]),
            0.5,
          ),
    ]),
  ) as Figures;
}

type Medians = ReadonlyMap<BridgeName, Figures>;
type Target = { what: string; measured: number; limit: number; atLeast?: true };

/** What the endpoint is held to, as ratios of one run. */
function targetsOf(medians: Medians, blows: Blow[]): Target[] {
  const [floor, plain, warm, supergateway] = names.map((name) => medians.get(name));
  if (!floor || !plain || !warm || !supergateway) return [];
  return [
    { what: "call p50 / supergateway's", measured: warm.callP50Ms / supergateway.callP50Ms, limit: 0.7 },
    {
      what: "calls per second / supergateway's",
      measured: warm.callsPerSecond / supergateway.callsPerSecond,
      limit: 2,
      atLeast: true,
    },
    { what: "calls per second / the floor's", measured: warm.callsPerSecond / floor.callsPerSecond, limit: 1, atLeast: true },
    { what: "set-up without a spare / the floor's", measured: plain.setUpMs / floor.setUpMs, limit: 1.1 },
    { what: "set-up with a spare / the floor's", measured: warm.setUpMs / floor.setUpMs, limit: 0.15 },
    { what: "MiB of memory per open session", measured: warm.mibPerSession, limit: 0.6 },
    { what: `errors with ${many} sessions at once`, measured: Math.max(warm.errors, plain.errors), limit: 0 },
    ...(["processes", "container"] as const).map((what) => ({
      what: `slowest answer after its ${what === "container" ? "container" : "process"} was killed, ms`,
      measured: Math.max(...blows.map((blow) => blow[what].answeredMs)),
      limit: 1_000,
    })),
  ];
}

function isMet({ measured, limit, atLeast }: Target): boolean {
  return atLeast ? measured >= limit : measured <= limit;
}

function print(medians: Medians, all: Target[]): void {
  const head = [
    "",
    "set-up p50",
    "call p50 / p95",
    `calls/s, ${busySessions} sessions`,
    "CPU per call",
    "MiB per session",
    "errors",
  ];
  const rows = [...medians].map(([name, one]) => [
    name,
    `${one.setUpMs.toFixed(1)} ms`,
    `${one.callP50Ms.toFixed(2)} / ${one.callP95Ms.toFixed(2)} ms`,
    one.callsPerSecond.toFixed(0),
    `${one.cpuMsPerCall.toFixed(2)} ms`,
    name === "floor" ? "" : one.mibPerSession.toFixed(2),
    name === "floor" ? "" : `${one.errors}`,
  ]);
  printTable([head, ...rows]);
  const targets = all.map((target) => [
    target.what,
    target.measured.toFixed(2),
    `${target.atLeast ? "at least" : "at most"} ${target.limit}`,
    isMet(target) ? "" : "missed",
  ]);
  if (targets.length > 0) printTable([["plain HTTP on loopback", "measured", "asked for", ""], ...targets]);
}

function printTable(rows: string[][]): void {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  process.stdout.write(`${lines.join("\n")}\n\n`);
}

async function save(medians: Medians, blows: Blow[], targets: Target[], peers: Record<string, string>): Promise<void> {
  const { version } = JSON.parse(readFileSync(join(root, "dtma/package.json"), "utf8")) as { version: string };
  const engine = (await docker("version", "-f", "{{.Server.Version}}")).trim();
  const machine = { cpu: cpus()[0]?.model ?? "", cores: cpus().length, memoryGiB: Math.round(totalmem() / 2 ** 30) };
  const content = {
    versions: { dtma: version, node: process.versions.node, docker: engine, ...peers },
    machine,
    measured: { server: everything, transport: "plain HTTP on loopback", repetitions, calls, busySessions, many },
    bridges: Object.fromEntries(medians),
    blows,
    targets: targets.map((target) => ({ ...target, isMet: isMet(target) })),
  };
  const rounded = (_key: string, value: unknown) => (typeof value === "number" ? Math.round(value * 1_000) / 1_000 : value);
  mkdirSync(join(import.meta.dirname, "results"), { recursive: true });
  writeFileSync(results, `${JSON.stringify(content, rounded, 2)}\n`);
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
