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
import { runWithDocker } from "./with-docker.ts";

/*
The MCP endpoint beside its peers, as a plain table and as test/bench/results/gateway.json. `--repetitions=3`,
`--calls=2000`, `--many=200` and `--only=floor,dtma` say how much is measured.

INVARIANTS
- One server in one container, one client, plain HTTP on loopback for all. Ours is dist/dtma.mjs with authentication and an
  allow-list; the floor is the client on `docker exec -i` itself.
- What is compared is measured in turns of a fraction of a second, so that a busy neighbour of the machine meets all alike;
  medians of the repetitions are shown. Only ratios of one run mean something.
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
const setUps = 8;
/** Between sessions: the one before is put away, and a spare is ready again. */
const pauseMs = 700;
const warmUpCalls = 200;
const busySessions = 16;
const callsOfBusy = 200;
/** Calls of one turn, of a session by itself and of each of those that are busy. */
const [turnOfCalls, turnOfBusy] = [50, 20];
/** In front of one container at a time: a DTMA that starts ends what others have open there, so it comes first. */
const groups: BridgeName[][] = [
  ["dtma with a spare", "floor", "supergateway", "mcp-proxy"],
  ["dtma", "floor"],
];

type Figures = {
  setUpMs: number;
  callP50Ms: number;
  callP95Ms: number;
  callsPerSecond: number;
  cpuMsPerCall: number;
  errors: number;
  mibPerSession: number;
};

if (process.env[partVariables.docker] === undefined) await runWithDocker();
else await run();

async function run(): Promise<void> {
  say("Building …");
  await build({ configFile: join(root, "dtma/vite.config.ts"), logLevel: "warn" });
  const bench = createBench();
  const taken = new Map<BridgeName, Partial<Figures>[]>();
  const blows: Blow[] = [];
  const floorSetUps: number[] = [];
  try {
    say("Deploying the server and fetching the peers …");
    const bridges = await createBridges(bench, join(root, "dtma/dist/dtma.mjs"), Math.max(many, busySessions));
    for (let repetition = 1; repetition <= repetitions; repetition++) {
      const note = (name: BridgeName, figures: Partial<Figures>) => {
        taken.set(name, [...(taken.get(name) ?? []), figures]);
        say(`${repetition} of ${repetitions}: ${name} ${JSON.stringify(figures)}`);
      };
      for (const group of groups) {
        const together = await measureTogether(
          bridges,
          group.filter((name) => chosen.includes(name)),
        );
        for (const [name, figures] of together) {
          // Beside the first group it is measured against what is in it, beside the second one only set-ups count.
          if (name === "floor" && group.includes("dtma")) floorSetUps.push(figures.setUpMs ?? Number.NaN);
          else note(name, figures);
        }
      }
      for (const name of chosen) {
        // Two hundred sessions take a minute: the peers hold them once.
        if (name === "floor" || many === 0 || (repetition > 1 && name !== "dtma with a spare")) continue;
        note(name, await withBridge(() => bridges.start(name), holdMany));
      }
      if (!chosen.includes("dtma with a spare")) continue;
      blows.push(await strike(bridges));
      say(`${repetition} of ${repetitions}: blows ${JSON.stringify(blows.at(-1))}`);
    }
    const medians = new Map(chosen.map((name) => [name, mediansOf(taken.get(name) ?? [])]));
    const targets = targetsOf(medians, quantile(floorSetUps, 0.5), blows);
    print(medians, targets);
    if (chosen.length === names.length) await save(medians, blows, targets, bridges.versions);
  } finally {
    await bench.close();
  }
}

/** All of them are up at the same time, and take turns. */
async function measureTogether({ start }: Bridges, group: BridgeName[]): Promise<Map<BridgeName, Partial<Figures>>> {
  const all = new Map<BridgeName, Bridge>();
  try {
    for (const name of group) {
      const bridge = await start(name);
      all.set(name, bridge);
      await closeAll([await bridge.open()]);
    }
    const setUpMs = await timeSetUps(all);
    const callsMs = await timeCalls(all);
    const busy = await keepBusy(all);
    return new Map(
      group.map((name) => {
        const times = callsMs.get(name) ?? [];
        const calls = { callP50Ms: quantile(times, 0.5), callP95Ms: quantile(times, 0.95) };
        return [name, { setUpMs: quantile(setUpMs.get(name) ?? [], 0.5), ...calls, ...busy.get(name) }];
      }),
    );
  } finally {
    for (const bridge of all.values()) await bridge.end();
  }
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

type Bridging = ReadonlyMap<BridgeName, Bridge>;

async function timeSetUps(all: Bridging): Promise<Map<BridgeName, number[]>> {
  const times = new Map<BridgeName, number[]>();
  for (let round = 0; round < setUps; round++) {
    for (const [name, bridge] of all) {
      await delay(pauseMs);
      const startedAt = performance.now();
      const session = await bridge.open();
      times.set(name, [...(times.get(name) ?? []), performance.now() - startedAt]);
      await session.close();
    }
  }
  return times;
}

async function timeCalls(all: Bridging): Promise<Map<BridgeName, number[]>> {
  const sessions = new Map<BridgeName, BenchSession>();
  const times = new Map<BridgeName, number[]>();
  for (const [name, bridge] of all) {
    const session = await bridge.open();
    sessions.set(name, session);
    times.set(name, []);
    for (let call = 0; call < warmUpCalls; call++) await session.echo(`warm ${call}`);
  }
  await delay(pauseMs);
  for (let done = 0; done < calls; done += turnOfCalls) {
    for (const [name, session] of sessions) {
      for (let call = done; call < done + turnOfCalls; call++) {
        const startedAt = performance.now();
        await session.echo(`call ${call}`);
        times.get(name)?.push(performance.now() - startedAt);
      }
    }
  }
  await closeAll([...sessions.values()]);
  return times;
}

async function keepBusy(all: Bridging): Promise<Map<BridgeName, Pick<Figures, "callsPerSecond" | "cpuMsPerCall">>> {
  const busy = new Map<BridgeName, { sessions: BenchSession[]; seconds: number; cpuMs: number }>();
  for (const [name, bridge] of all) {
    const sessions = await Promise.all(Array.from({ length: busySessions }, () => bridge.open()));
    await Promise.all(sessions.map((session, index) => session.echo(`warm ${index}`)));
    busy.set(name, { sessions, seconds: 0, cpuMs: 0 });
  }
  await delay(pauseMs);
  for (let done = 0; done < callsOfBusy; done += turnOfBusy) {
    for (const [name, one] of busy) {
      const pid = all.get(name)?.pid;
      const cpuMs = () => (pid === undefined ? childrenOfBench() : usageOf(pid).cpuMs);
      const [cpuBefore, startedAt] = [cpuMs(), performance.now()];
      await Promise.all(
        one.sessions.map(async (session, index) => {
          for (let call = done; call < done + turnOfBusy; call++) await session.echo(`session ${index} call ${call}`);
        }),
      );
      one.seconds += (performance.now() - startedAt) / 1_000;
      one.cpuMs += cpuMs() - cpuBefore;
    }
  }
  for (const { sessions } of busy.values()) await closeAll(sessions);
  const count = busySessions * callsOfBusy;
  return new Map(
    [...busy].map(([name, { seconds, cpuMs }]) => [name, { callsPerSecond: count / seconds, cpuMsPerCall: cpuMs / count }]),
  );
}

/** The docker clients of the floor, without the bench itself and the bridges beside it. */
function childrenOfBench(): number {
  return usageOf(process.pid, (command) => command.startsWith("docker\0")).cpuMs;
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

/** Of errors the most there were. */
function mediansOf(all: Partial<Figures>[]): Figures {
  const of = (key: keyof Figures) => all.flatMap((one) => one[key] ?? []);
  const keys = ["setUpMs", "callP50Ms", "callP95Ms", "callsPerSecond", "cpuMsPerCall", "mibPerSession"] as const;
  const medians = Object.fromEntries(keys.map((key) => [key, quantile(of(key), 0.5)]));
  return { ...medians, errors: Math.max(0, ...of("errors")) } as Figures;
}

type Medians = ReadonlyMap<BridgeName, Figures>;
type Target = { what: string; measured: number; limit: number; atLeast?: true };

/** What the endpoint is held to, as ratios of one run. */
function targetsOf(medians: Medians, floorSetUpMs: number, blows: Blow[]): Target[] {
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
    { what: "set-up without a spare / the floor's", measured: plain.setUpMs / floorSetUpMs, limit: 1.1 },
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
