import { readFile } from "node:fs/promises";
import { request } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCgroups } from "../../dtma/src/docker/cgroups.ts";
import { createDocker } from "../../dtma/src/docker/engine.ts";
import type { Reading } from "../../dtma/src/docker/reading.ts";
import { createStats } from "../../dtma/src/stats.ts";
import type { LogLine, ServerLoad } from "../../shared/dtma-protocol.ts";
import { type Bench, createBench, type DtmaProcess, docker, imageRequest } from "../fixtures/dtma.ts";
import { parsePrometheus } from "../fixtures/prometheus.ts";
import { parts } from "../setup/parts.ts";

const isLinux = process.platform === "linux";

/** Burns CPU and holds memory for some seconds. */
const burn = `const held = Buffer.alloc(60e6, 1); const until = Date.now() + 12000;
  while (Date.now() < until) held.fill(Date.now() & 255);`;

describe.skipIf(!parts.docker)("a toolbox that is watched", () => {
  let bench: Bench;
  let dtma: DtmaProcess;
  let id: string;

  beforeAll(async () => {
    bench = createBench();
    const image = await bench.serverImage("probe.mjs");
    dtma = await bench.start();
    expect(await dtma.perform("PUT", "/v1/servers/one", imageRequest("one", image))).toMatchObject({ state: "succeeded" });
    id = (await dtma.servers())[0]?.container.id ?? "";
  }, 120_000);
  afterAll(() => bench.close(), 60_000);

  it.runIf(isLinux)("has the same numbers from the kernel's files as from docker stats, under load", async () => {
    const engine = createDocker(undefined, process.env);
    const container = await engine.getContainer(id);
    const files = createCgroups()({ id, pid: container?.pid });
    expect(files).toBeDefined();
    const burning = docker("exec", id, "node", "-e", burn);
    await delay(2_000);
    const stop = new AbortController();
    const pairs: { ours: Reading; dockers: Reading }[] = [];
    for await (const dockers of engine.stats(id, stop.signal)) {
      const ours = files?.read();
      if (ours !== undefined) pairs.push({ ours, dockers });
      if (pairs.length === 5) break;
    }
    stop.abort();
    files?.close();
    await burning;
    const [first, last] = [pairs[0], pairs[4]];
    if (first === undefined || last === undefined) throw new Error("there were no samples");
    const share = (from: Reading, to: Reading) => (to.cpuSeconds - from.cpuSeconds) / ((to.atMs - from.atMs) / 1_000);
    expect(share(first.dockers, last.dockers)).toBeGreaterThan(0.02);
    expect(share(first.ours, last.ours) / share(first.dockers, last.dockers)).toBeCloseTo(1, 0);
    expect(Math.abs(last.ours.cpuSeconds - last.dockers.cpuSeconds)).toBeLessThan(2);
    expect(last.dockers.memoryBytes).toBeGreaterThan(60e6);
    expect(Math.abs(last.ours.memoryBytes - last.dockers.memoryBytes) / last.dockers.memoryBytes).toBeLessThan(0.1);
    for (const { ours, dockers } of [first, last]) {
      const { memoryLimitBytes, networkRxBytes, networkTxBytes, blockReadBytes, blockWriteBytes, pids } = dockers;
      expect(ours).toMatchObject({ memoryLimitBytes, networkTxBytes, blockReadBytes, blockWriteBytes, pids });
      expect(Math.abs(ours.networkRxBytes - networkRxBytes)).toBeLessThan(5_000);
    }
  });

  it("is told of every second, from the kernel's files or, where they cannot be seen, by Docker", async () => {
    const stop = new AbortController();
    let load: ServerLoad | undefined;
    const seconds: number[] = [];
    for await (const event of dtma.events({ stats: true, signal: stop.signal })) {
      if (event.type !== "stats") continue;
      seconds.push(event.at);
      load = event.servers.one;
      if (load !== undefined && seconds.length >= 3) break;
    }
    stop.abort();
    expect(load).toMatchObject({ memoryLimitBytes: 512 * 2 ** 20 });

    const engine = createDocker(undefined, process.env);
    const container = await engine.getContainer(id);
    const stats = createStats({
      docker: engine,
      openCgroup: () => undefined,
      servers: () => [{ container, spec: { name: "one" } }] as never,
      hostLoad: () => ({}) as never,
      log: { info() {}, warn() {}, error() {} },
    });
    const fromDocker = await new Promise<ServerLoad>((resolve) => {
      const end = stats.listen(({ servers: { one } }) => {
        if (one === undefined) return;
        end();
        resolve(one);
      });
    });
    const looked = (await stats.look()).servers.get("one");
    stats.close();
    expect(fromDocker).toMatchObject({ memoryLimitBytes: 512 * 2 ** 20, pids: load?.pids });
    expect(Math.abs(fromDocker.memoryBytes - (load?.memoryBytes ?? 0))).toBeLessThan(10e6);
    expect(looked).toMatchObject({ pids: load?.pids });
    expect(looked?.cpuSeconds).toBeGreaterThan(0);
  });

  it("goes on with its events after the last one that was had, and starts anew for one it does not know", async () => {
    const first = await readEvents(dtma, undefined, (text) => text.includes("\n\n"));
    expect(first).toMatch(/^id: [0-9a-f]+-\d+\nevent: snapshot\n/);
    const lastId = /^id: (\S+)/.exec(first)?.[1] ?? "";
    await dtma.perform("POST", "/v1/servers/one/restart");
    const missed = await readEvents(dtma, lastId, (text) => text.includes("event: heartbeat"));
    expect(missed).not.toContain("event: snapshot");
    expect(missed).toContain('"state":"succeeded"');
    const numbers = [...missed.matchAll(/^id: [0-9a-f]+-(\d+)$/gm)].map(([, digits]) => Number(digits));
    const next = Number(lastId.split("-")[1]) + 1;
    expect(numbers).toEqual(numbers.map((_, at) => next + at));
    expect(await readEvents(dtma, "0123456789ab-1", (text) => text.includes("\n\n"))).toContain("event: snapshot");
    id = (await dtma.servers())[0]?.container.id ?? "";
  });

  it("has its measures in the Prometheus format, for who has the token", async () => {
    expect((await fetch(new URL("/metrics", dtma.ready.url))).status).toBe(401);
    const { status, body } = await dtma.call("GET", "/metrics");
    expect(status).toBe(200);
    const scraped = parsePrometheus(body as string);
    const one = (name: string) => scraped.get(name)?.samples.find(({ labels }) => labels.server === "one")?.value;
    expect(scraped.get("dtma_servers")?.samples).toMatchObject([{ labels: { state: "running", health: "ready" }, value: 1 }]);
    expect(one("dtma_server_ready")).toBe(1);
    expect(one("dtma_server_cpu_seconds_total")).toBeGreaterThan(0);
    expect(one("dtma_server_memory_limit_bytes")).toBe(512 * 2 ** 20);
    expect(one("dtma_server_processes")).toBeGreaterThan(1);
    const operations = scraped.get("dtma_operation_duration_seconds")?.samples ?? [];
    expect(operations.find(({ name, labels }) => name.endsWith("_count") && labels.kind === "deploy")?.value).toBe(1);
    expect(body).not.toContain(dtma.token);
  });

  it("finds what is searched for in a server's log", async () => {
    await writeLog(
      id,
      'for (let at = 0; at < 3000; at += 1) write("line " + at + (at % 1000 === 7 ? " Needle (1)" : " hay") + "\\n")',
    );
    const found = await logLines(dtma, "search=needle%20(1)&tail=2");
    expect(found.map(({ text }) => text)).toEqual(["line 1007 Needle (1)", "line 2007 Needle (1)"]);
    const { status, body } = await dtma.call("GET", "/v1/servers/one/logs?search=");
    expect([status, body]).toMatchObject([400, { error: { code: "INVALID_INPUT", field: "search" } }]);
  });

  it.runIf(isLinux)(
    "does not collect a log for a reader that stopped reading",
    async () => {
      const lines: string[] = [];
      const response = await openLog(dtma, "follow=1&tail=0");
      let rest = "";
      response.setEncoding("utf8").on("data", (text: string) => {
        const pieces = (rest + text).split("\n");
        rest = pieces.pop() ?? "";
        lines.push(...pieces);
      });
      await writeLog(id, 'for (let at = 0; at < 10; at += 1) write("at first\\n")');
      await expect.poll(() => lines.length, { timeout: 20_000 }).toBe(10);
      response.pause();
      const before = await ownMemory(dtma);
      await writeLog(id, 'const text = "x".repeat(200) + "\\n"; for (let at = 0; at < 400000; at += 1) write(text)');
      await delay(1_000);
      expect((await ownMemory(dtma)) - before).toBeLessThan(40e6);
      expect(lines.length).toBe(10);
      response.resume();
      await expect.poll(() => lines.length, { timeout: 20_000 }).toBeGreaterThan(5_000);
      response.destroy();
    },
    60_000,
  );
});

/** What the stream of events gives until it is enough. */
async function readEvents(dtma: DtmaProcess, lastEventId: string | undefined, isEnough: (text: string) => boolean) {
  const stop = new AbortController();
  const headers = {
    authorization: `Bearer ${dtma.token}`,
    ...(lastEventId === undefined ? {} : { "last-event-id": lastEventId }),
  };
  const response = await fetch(new URL("/events", dtma.ready.url), { headers, signal: stop.signal });
  let text = "";
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    text += Buffer.from(chunk).toString("utf8");
    if (isEnough(text)) break;
  }
  stop.abort();
  return text;
}

/** Lets the container's first process seem to write: `write` is given. */
async function writeLog(container: string, script: string): Promise<void> {
  const program = `const fs = require("fs"); const to = fs.openSync("/proc/1/fd/2", "w");
    let held = ""; const flush = () => { fs.writeSync(to, held); held = ""; };
    const write = (text) => { held += text; if (held.length > 16000) flush(); };
    ${script}; if (held !== "") flush();`;
  await docker("exec", container, "node", "-e", program);
}

async function logLines(dtma: DtmaProcess, query: string): Promise<LogLine[]> {
  const { body } = await dtma.call("GET", `/v1/servers/one/logs?${query}`);
  return (body as string)
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as LogLine);
}

function openLog(dtma: DtmaProcess, query: string): Promise<import("node:http").IncomingMessage> {
  return new Promise((resolve, reject) => {
    const url = new URL(`/v1/servers/one/logs?${query}`, dtma.ready.url);
    request(url, { headers: { authorization: `Bearer ${dtma.token}` } }, resolve)
      .on("error", reject)
      .end();
  });
}

async function ownMemory(dtma: DtmaProcess): Promise<number> {
  const status = await readFile(`/proc/${dtma.child.pid}/status`, "utf8");
  return Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1]) * 1_024;
}
