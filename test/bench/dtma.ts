import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, request as plainRequest } from "node:http";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { Agent, type Dispatcher, Pool } from "undici";
import { build } from "vite";
import { createDocker } from "../../dtma/src/docker/engine.ts";
import { containerName, createScope, serverLabels } from "../../dtma/src/labels.ts";
import { bridgeName } from "../../dtma/src/network.ts";
import { type DtmaEvent, dtmaReadyLine, type ServerObservation } from "../../shared/dtma-protocol.ts";
import { serverId } from "../../shared/model/ids.ts";
import { serverSpec } from "../../shared/model/spec.ts";
import { type Bench, createBench, docker } from "../fixtures/dtma.ts";
import { partVariables } from "../setup/parts.ts";
import { runWithDocker } from "./with-docker.ts";

/*
Figures of the built DTMA on this machine, as a plain table and as test/bench/results/dtma.json. `--servers=0,50,200` says
how many servers; `--seconds=20` how long each state is watched.

INVARIANTS
- What is measured is dist/dtma.mjs, started as on a toolbox: HTTPS, and servers that have answered their handshake.
- Everything made carries the bench's label and is removed by it.
*/

const root = join(import.meta.dirname, "../..");
const entry = join(root, "dtma/dist/dtma.mjs");
const results = join(import.meta.dirname, "results/dtma.json");
const option = (name: string, otherwise: string) =>
  process.argv.find((argument) => argument.startsWith(`--${name}=`))?.slice(name.length + 3) ?? otherwise;
const counts = option("servers", "0,50,200").split(",").map(Number);
const watchMs = Number(option("seconds", "20")) * 1_000;
/** With how many servers requests and latencies are measured. */
const busyCount = Math.min(50, Math.max(...counts));
const statusPath = "/tools/status";
const statusConnections = 10;
const deaths = 40;
const ticksPerSecond = 100;

if (process.argv.includes("--stand-in")) await serveStandIn();
else if (process.env[partVariables.docker] === undefined) await runWithDocker();
else await run();

type Row = { what: string; measured: string; asked: string };
type Resources = { rssMiB: number; anonymousMiB: number; cpuPercent: number };

async function run(): Promise<void> {
  say("Building …");
  await build({ configFile: join(root, "dtma/vite.config.ts"), logLevel: "warn" });
  const bench = createBench();
  const figures: Record<string, unknown> = {};
  const rows: Row[] = [];
  const toolbox = await createToolbox(bench);
  try {
    for (const count of counts) {
      await toolbox.grow(count);
      say(`Measuring with ${count} servers …`);
      const idle = await toolbox.measure(false);
      const watched = await toolbox.measure(true);
      figures[`servers${count}`] = { idle, watched };
      rows.push({ what: `${count} servers, idle: memory`, measured: memoryText(idle), asked: count === 50 ? "90 MiB" : "" });
      rows.push({ what: `${count} servers, idle: CPU`, measured: cpuText(idle), asked: "" });
      rows.push({ what: `${count} servers, stats every second: memory`, measured: memoryText(watched), asked: "" });
      rows.push({
        what: `${count} servers, stats every second: CPU`,
        measured: cpuText(watched),
        asked: count === 50 ? "1 % of one core" : "",
      });
      if (count !== busyCount) continue;
      const latency = await toolbox.latency();
      figures.eventLatencyMs = latency;
      rows.push({
        what: "a container dies → its event is received",
        measured: `p50 ${latency.p50.toFixed(1)} ms, p95 ${latency.p95.toFixed(1)} ms`,
        asked: "",
      });
      const status = await toolbox.status();
      figures.statusPerSecond = status;
      rows.push({ what: "GET /tools/status per second, asking Docker each time", measured: `${status.standIn}`, asked: "" });
      rows.push({
        what: "GET /tools/status per second, ours",
        measured: `${status.ours} (${(status.ours / status.standIn).toFixed(1)} times), ${status.oursHttps} over HTTPS`,
        asked: "5 times",
      });
    }
    print(rows);
    await save(figures);
  } finally {
    await toolbox.clear();
    await bench.close();
  }
}

/** A toolbox whose servers were deployed before the DTMA started, as after a boot. */
async function createToolbox(bench: Bench) {
  const engine = createDocker(undefined, process.env);
  const scope = createScope(bench.scope, labelOf(bench.label));
  // Not under the scope: the DTMA takes away a network of its own that no server uses.
  const network = `bench.${bench.scope}`;
  await engine.createNetwork(network, bridgeName(scope), labelOf(bench.label));
  say("Making an image …");
  const image = await bench.serverImage("probe.mjs");
  const digest = (await engine.getImage(image))?.digest ?? "";
  const data = await bench.folder();
  let made = 0;

  const nameOf = (index: number) => `server-${index}`;

  async function add(index: number): Promise<void> {
    const spec = serverSpec.parse({
      name: nameOf(index),
      source: { type: "oci", image },
      transport: { type: "stdio" },
      permissions: {},
    });
    const labels = serverLabels(scope, { serverId: serverId.parse(randomUUID()), spec, image: { reference: image, digest } });
    const { memoryBytes, cpus: cores, pids, readOnlyRoot } = spec.permissions;
    const id = await engine.createContainer(containerName(scope, spec.name), {
      image,
      labels,
      command: undefined,
      environment: [],
      openStdin: true,
      network,
      resolver: undefined,
      ports: [],
      capabilities: [],
      writablePaths: [],
      memoryBytes,
      cpus: cores,
      pids,
      readOnlyRoot,
      volumes: [],
      secretsFolder: undefined,
    });
    await engine.startContainer(id);
  }

  async function withDtma<T>(flags: string[], work: (dtma: Dtma) => Promise<T>): Promise<T> {
    const dtma = await startBuilt(["--scope", bench.scope, "--data", data, ...flags]);
    try {
      return await work(dtma);
    } finally {
      await dtma.end();
    }
  }

  return {
    async grow(count: number): Promise<void> {
      if (count > made) say(`Starting ${count - made} containers …`);
      const indexes = Array.from({ length: Math.max(0, count - made) }, (_, at) => made + at);
      await fourAtATime(indexes, add);
      made = Math.max(made, count);
    },

    /** A few at a time, too: of many that go at once, Engine 20.10 leaves ends in the network. */
    async clear(): Promise<void> {
      await fourAtATime(await engine.listContainers(labelOf(bench.label)), (id) => engine.removeContainer(id));
    },

    /** Memory at the end of the time that is watched, and the CPU used in it. */
    measure: (withStats: boolean): Promise<Resources> =>
      withDtma([], async (dtma) => {
        await dtma.allReady(made);
        const stop = new AbortController();
        const watching = withStats ? dtma.events(stop.signal, true, () => {}) : Promise.resolve();
        await delay(5_000);
        const before = dtma.cpuTicks();
        const startedAt = performance.now();
        await delay(watchMs);
        const seconds = (dtma.cpuTicks() - before) / ticksPerSecond;
        const cpuPercent = (seconds / ((performance.now() - startedAt) / 1_000)) * 100;
        const memory = dtma.memory();
        stop.abort();
        await watching;
        return { ...memory, cpuPercent };
      }),

    /** From the moment Docker says the container ended to the moment the event is read. */
    latency: (): Promise<{ p50: number; p95: number }> =>
      withDtma([], async (dtma) => {
        await dtma.allReady(made);
        const times: number[] = [];
        const arrivals = new Map<string, (at: number) => void>();
        const stop = new AbortController();
        const watching = dtma.events(stop.signal, false, (event) => {
          if (event.type !== "server" || event.server.container.state === "running") return;
          arrivals.get(event.server.spec.name)?.(performance.timeOrigin + performance.now());
        });
        for (let index = 0; index < deaths; index += 1) {
          const name = nameOf(index % made);
          const container = containerName(scope, name);
          const arrived = new Promise<number>((resolve) => arrivals.set(name, resolve));
          await docker("kill", container);
          const at = await arrived;
          const finished = (await docker("inspect", "-f", "{{.State.FinishedAt}}", container)).trim();
          times.push(at - preciseMs(finished));
          arrivals.delete(name);
          await docker("start", container);
          await delay(200);
        }
        stop.abort();
        await watching;
        times.sort((left, right) => left - right);
        return { p50: quantile(times, 0.5), p95: quantile(times, 0.95) };
      }),

    async status() {
      const standIn = await startStandIn();
      const asked = await perSecond(standIn.url, "", statusPath).finally(() => standIn.close());
      const ours = await withDtma(["--http"], async (dtma) => {
        await dtma.allReady(made);
        return perSecond(dtma.url, dtma.token, statusPath);
      });
      const oursHttps = await withDtma([], async (dtma) => {
        await dtma.allReady(made);
        return perSecond(dtma.url, dtma.token, statusPath);
      });
      return { standIn: asked, ours, oursHttps };
    },
  };
}

async function fourAtATime<T>(all: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
  const waiting = [...all];
  const worker = async () => {
    for (let one = waiting.shift(); one !== undefined; one = waiting.shift()) await work(one);
  };
  await Promise.all(Array.from({ length: 4 }, worker));
}

function labelOf(text: string): Record<string, string> {
  const [name = "", value = ""] = text.split("=");
  return { [name]: value };
}

type Dtma = {
  url: string;
  token: string;
  allReady(count: number): Promise<void>;
  /** Settles when the signal ends. */
  events(signal: AbortSignal, withStats: boolean, onEvent: (event: DtmaEvent) => void): Promise<void>;
  memory(): { rssMiB: number; anonymousMiB: number };
  cpuTicks(): number;
  end(): Promise<void>;
};

async function startBuilt(flags: string[]): Promise<Dtma> {
  const token = randomUUID();
  const child = spawn(process.execPath, [entry, "--port=0", "--config=none", "--node-image=none", ...flags], {
    env: { ...process.env, DTMA_AUTH_TOKEN: token },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let log = "";
  child.stderr.on("data", (chunk) => {
    log = `${log}${chunk}`.slice(-4_000);
  });
  const line = await Promise.race([
    new Promise<string>((resolve) => createInterface({ input: child.stdout }).once("line", resolve)),
    ended(child).then(() => {
      throw new Error(`The DTMA did not start: ${log}`);
    }),
  ]);
  const { url } = dtmaReadyLine.parse(JSON.parse(line));
  const agent = new Agent({ connect: { rejectUnauthorized: false } });
  const headers = { authorization: `Bearer ${token}` };
  const file = (name: string) => readFileSync(`/proc/${child.pid}/${name}`, "utf8");

  return {
    url,
    token,
    async allReady(count) {
      for (;;) {
        const answer = await agent.request({ origin: url, path: "/v1/servers", method: "GET", headers });
        const servers = (await answer.body.json()) as ServerObservation[];
        if (servers.filter(({ health }) => health.state === "ready").length >= count) return;
        await delay(500);
      }
    },
    async events(signal, withStats, onEvent) {
      try {
        const path = withStats ? "/events?stats=1" : "/events";
        const answer = await agent.request({ origin: url, path, method: "GET", headers, signal, bodyTimeout: 0 });
        let rest = "";
        for await (const chunk of answer.body) {
          const blocks = (rest + String(chunk)).split("\n\n");
          rest = blocks.pop() ?? "";
          for (const block of blocks) onEvent(JSON.parse(block.slice(block.indexOf("data: ") + 6)) as DtmaEvent);
        }
      } catch (error) {
        if (!signal.aborted) throw error;
      }
    },
    memory() {
      const kibibytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(file("status"))?.[1]);
      return { rssMiB: kibibytes("VmRSS") / 1_024, anonymousMiB: kibibytes("RssAnon") / 1_024 };
    },
    cpuTicks() {
      const stat = file("stat");
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      return Number(fields[11]) + Number(fields[12]);
    },
    async end() {
      await agent.destroy();
      child.kill("SIGTERM");
      await ended(child);
    },
  };
}

function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => child.once("exit", () => resolve()));
}

/**
 * Answers as the old agent did, by asking Docker at every call, in a process of its own. It is leaner than that one was,
 * which speaks for it in the comparison: no framework, no authentication.
 */
async function startStandIn(): Promise<{ url: string; close(): Promise<void> }> {
  const child = spawn(process.execPath, [import.meta.filename, "--stand-in"], { stdio: ["ignore", "pipe", "inherit"] });
  const url = await new Promise<string>((resolve) => createInterface({ input: child.stdout }).once("line", resolve));
  return {
    url,
    async close() {
      child.kill("SIGTERM");
      await ended(child);
    },
  };
}

type Listed = { Id: string; Names: string[]; Image: string; State: string; Created: number; Ports: unknown[] };

function askDocker(): Promise<Listed[]> {
  return new Promise((resolve, reject) => {
    plainRequest({ socketPath: "/var/run/docker.sock", path: "/containers/json?all=1" }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (chunk) => {
        text += chunk;
      });
      answer.on("end", () => resolve(JSON.parse(text)));
    })
      .on("error", reject)
      .end();
  });
}

async function serveStandIn(): Promise<void> {
  const server = createServer(async (_request, response) => {
    const instances = (await askDocker()).map(({ Id, Names, Image, State, Created, Ports }) => ({
      account_tool_instance_id: null,
      instance_name_on_toolbox: Names[0]?.slice(1),
      container_id: Id,
      status: State,
      image: Image,
      ports: Ports,
      created: Created,
    }));
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ status: "healthy", timestamp: new Date().toISOString(), tool_instances: instances }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  process.stdout.write(`http://127.0.0.1:${(server.address() as { port: number }).port}\n`);
}

/** Answers a second over ten connections, after what the DTMA needs to notice that there is work. */
async function perSecond(url: string, token: string, path: string): Promise<number> {
  const pool = new Pool(url, { connections: statusConnections, pipelining: 1, connect: { rejectUnauthorized: false } });
  const options: Dispatcher.RequestOptions = { path, method: "GET", headers: { authorization: `Bearer ${token}` } };
  let answers = 0;
  let isOver = false;
  const one = async () => {
    while (!isOver) {
      const { statusCode, body } = await pool.request(options);
      const text = await body.text();
      if (statusCode !== 200) throw new Error(`${path} answered with ${statusCode}: ${text.slice(0, 200)}`);
      answers += 1;
    }
  };
  const all = Promise.all(Array.from({ length: statusConnections }, one));
  all.catch(() => {});
  await Promise.race([delay(8_000), all]);
  const before = answers;
  const startedAt = performance.now();
  await Promise.race([delay(5_000), all]);
  const rate = (answers - before) / ((performance.now() - startedAt) / 1_000);
  isOver = true;
  await all;
  await pool.close();
  return Math.round(rate);
}

/** Docker's time in milliseconds, with its fractions. */
function preciseMs(text: string): number {
  const fraction = /\.(\d+)Z$/.exec(text)?.[1] ?? "0";
  return Date.parse(text.replace(/\.\d+Z$/, "Z")) + Number(`0.${fraction}`) * 1_000;
}

function quantile(sorted: number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

function memoryText({ rssMiB, anonymousMiB }: Resources): string {
  return `${rssMiB.toFixed(1)} MiB resident, ${anonymousMiB.toFixed(1)} of them its own`;
}

function cpuText({ cpuPercent }: Resources): string {
  return `${cpuPercent.toFixed(2)} % of one core`;
}

function print(rows: Row[]): void {
  const all: Row[] = [{ what: "what", measured: "measured", asked: "asked for" }, ...rows];
  const width = (key: keyof Row) => Math.max(...all.map((row) => row[key].length));
  const [first, second] = [width("what"), width("measured")];
  for (const { what, measured, asked } of all) {
    process.stdout.write(`${`${what.padEnd(first)}  ${measured.padEnd(second)}  ${asked}`.trimEnd()}\n`);
  }
}

async function save(figures: Record<string, unknown>): Promise<void> {
  const { version } = JSON.parse(readFileSync(join(root, "dtma/package.json"), "utf8")) as { version: string };
  const engine = (await docker("version", "-f", "{{.Server.Version}}")).trim();
  const machine = { cpu: cpus()[0]?.model ?? "", cores: cpus().length, memoryGiB: Math.round(totalmem() / 2 ** 30) };
  mkdirSync(join(import.meta.dirname, "results"), { recursive: true });
  const content = { versions: { dtma: version, node: process.versions.node, docker: engine }, machine, ...figures };
  const rounded = (_key: string, value: unknown) => (typeof value === "number" ? Math.round(value * 100) / 100 : value);
  writeFileSync(results, `${JSON.stringify(content, rounded, 2)}\n`);
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
