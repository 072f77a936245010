import { randomUUID } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ServerObservation } from "../../shared/dtma-protocol.ts";
import { type Bench, createBench, type DtmaProcess, docker, dockerLines, imageRequest } from "../fixtures/dtma.ts";
import { parts } from "../setup/parts.ts";

const program = fileURLToPath(new URL("../fixtures/dtma-killed.ts", import.meta.url));

/**
 * Every change that an operation makes, to Docker or to the data folder, is a place at which the DTMA may be killed. The
 * first run of an operation tells what these places are; then it is killed after each of them, and started again.
 */
describe.skipIf(!parts.docker)("a DTMA that is killed after any change it makes", () => {
  let images: Bench;
  let one: string;
  let two: string;

  beforeAll(async () => {
    images = createBench();
    one = await images.serverImage("tools-of-args.mjs", { args: ["pid=first"] });
    two = await images.serverImage("tools-of-args.mjs", { args: ["pid=second", "more"] });
  });
  afterAll(() => images.close());

  const path = "/v1/servers/killed";
  const withoutVolume = { secrets: [{ name: "KEY", variable: "SERVICE_KEY", required: true }] };
  const withVolume = { ...withoutVolume, permissions: { volumes: [{ name: "notes", path: "/notes" }] } };
  const serverId = randomUUID();

  type Deed = (dtma: DtmaProcess) => Promise<string>;
  const deploy =
    (image: () => string, spec: object): Deed =>
    (dtma) =>
      dtma.begin("PUT", path, { ...imageRequest("killed", image(), spec), serverId, secretValues: { KEY: "kept" } });
  const rotate: Deed = (dtma) => dtma.begin("PUT", `${path}/secrets/KEY`, { value: "kept" });
  const ask =
    (verb: string): Deed =>
    (dtma) =>
      dtma.begin("POST", `${path}/${verb}`);
  const remove: Deed = (dtma) => dtma.begin("DELETE", path);
  const [first, second] = [() => one, () => two];

  type Case = {
    from: Deed[];
    deed: Deed;
    /** Does the same again after it was done. */
    isRepeatable: boolean;
    /** What every start brings to its end, however early the DTMA was killed. */
    mustEnd?: (server: ServerObservation | undefined) => boolean;
  };

  it.concurrent.each<[string, Case]>([
    ["a first deploy", { from: [], deed: deploy(first, withVolume), isRepeatable: false }],
    [
      "an update beside the old container",
      { from: [deploy(first, withoutVolume)], deed: deploy(second, withoutVolume), isRepeatable: true },
    ],
    [
      "an update in place of the old container, because both use a volume",
      { from: [deploy(first, withVolume)], deed: deploy(second, withVolume), isRepeatable: true },
    ],
    [
      "a rollback",
      { from: [deploy(first, withoutVolume), deploy(second, withoutVolume)], deed: ask("rollback"), isRepeatable: true },
    ],
    ["a changed secret", { from: [deploy(first, withoutVolume)], deed: rotate, isRepeatable: true }],
    [
      "a stop",
      {
        from: [deploy(first, withoutVolume)],
        deed: ask("stop"),
        isRepeatable: false,
        mustEnd: (server) => server?.desired === "stopped" && server.container.state === "exited",
      },
    ],
    [
      "a deletion",
      { from: [deploy(first, withVolume)], deed: remove, isRepeatable: false, mustEnd: (server) => server === undefined },
    ],
  ])(
    "finishes or undoes %s",
    async (_what, { from, deed, isRepeatable, mustEnd }) => {
      const bench = createBench();
      try {
        const data = await bench.folder();
        const armed = (killAfter: number) => bench.start({ data, program, env: { DTMA_KILL_AFTER: String(killAfter) } });
        const counting = await armed(0);
        await prepare(bench, counting, from);
        await run(bench, counting, deed);
        await counting.kill("SIGKILL");
        const places = effectsOf(counting);
        expect(places.length).toBeGreaterThan(2);
        expect(places[0]).toBe("write journal.json");

        let dtma = await armed(1);
        if (isRepeatable) await prepare(bench, dtma, from);
        for (let place = 1; place <= places.length; place += 1) {
          if (!isRepeatable) await prepare(bench, dtma, from);
          const { id } = await run(bench, dtma, deed);
          await dtma.kill("SIGKILL");
          const effects = effectsOf(dtma);
          const made = effects.join(", ");
          dtma = await armed(place + 1);
          const server = await expectWhole(bench, data, dtma).catch((error: unknown) => {
            throw new Error(`after ${made}`, { cause: error });
          });
          if (mustEnd !== undefined) expect(mustEnd(server), `after ${made}`).toBe(true);
          // It is in the journal from the first change on and until its end, so the next DTMA can say how it came out.
          const hasEnded = effects.filter((effect) => effect === "write journal.json").length > 1;
          if (id === undefined || hasEnded) continue;
          const { body } = await dtma.call("GET", `/v1/operations/${id}`);
          expect(body).toMatchObject({ state: expect.stringMatching(/^(succeeded|cancelled)$/), endedAt: expect.any(Number) });
        }
      } finally {
        await bench.close();
      }
    },
    900_000,
  );

  /** Does the deed and what follows it while the DTMA counts; answers its id when it came so far. */
  async function run(bench: Bench, dtma: DtmaProcess, deed: Deed): Promise<{ id?: string }> {
    dtma.child.kill("SIGUSR2");
    await dtma.call("GET", "/v1/info");
    let id: string | undefined;
    try {
      id = await deed(dtma);
      expect((await dtma.ended(id)).error).toBeUndefined();
      await settled(bench, dtma);
    } catch (error) {
      if (dtma.child.signalCode === null && (await dtma.kill("SIGKILL")) !== null) throw error;
    }
    return id === undefined ? {} : { id };
  }

  async function prepare(bench: Bench, dtma: DtmaProcess, deeds: Deed[]): Promise<void> {
    const before = (await dtma.servers()).length === 0 ? [] : [remove];
    for (const deed of [...before, ...deeds]) {
      expect((await dtma.ended(await deed(dtma))).error).toBeUndefined();
      await settled(bench, dtma);
    }
  }

  /** What an update leaves goes after its end; so nothing of one deed is taken for a change of the next one. */
  async function settled(bench: Bench, dtma: DtmaProcess): Promise<void> {
    const isSettled = async () => {
      const names = await containersOf(bench);
      const changes = (word: string) => [...dtma.log().matchAll(new RegExp(`^${word} `, "gm"))].length;
      return names.every((name) => name === ownName(bench)) && changes("begins") === changes("effect") + changes("fails");
    };
    while (dtma.child.signalCode === null && !(await isSettled())) await delay(50);
  }

  const ownName = (bench: Bench) => `${bench.scope}.killed`;
  const containersOf = (bench: Bench) => dockerLines("ps", "-a", "--format", "{{.Names}}", "--filter", `label=${bench.label}`);

  function effectsOf(dtma: DtmaProcess): string[] {
    return [...dtma.log().matchAll(/^effect \d+ (.*)$/gm)].map(([, name]) => name ?? "");
  }

  /** What is true after every start, whatever was under way before it. */
  async function expectWhole(bench: Bench, data: string, dtma: DtmaProcess): Promise<ServerObservation | undefined> {
    // On a slow machine the first look at Docker may take longer than the DTMA's patience with it.
    const condition = async () => ((await dtma.call("GET", "/v1/info")).body as { docker: { state: string } }).docker.state;
    for (let attempt = 0; attempt < 100 && (await condition()) !== "up"; attempt += 1) await delay(200);
    const [server, ...others] = await dtma.servers();
    expect(others).toEqual([]);
    const wanted = server === undefined ? [] : [ownName(bench)];
    // What drains goes a moment later.
    for (let attempt = 0; attempt < 100 && (await containersOf(bench)).join() !== wanted.join(); attempt += 1) await delay(200);
    expect(await containersOf(bench)).toEqual(wanted);
    const { volumes } = await bench.left();
    expect(volumes).toHaveLength(server?.spec.permissions.volumes.length ?? 0);
    for (const folder of ["secrets", "pipes"])
      expect(await readdir(join(data, folder)).catch(() => []), folder).toHaveLength(server === undefined ? 0 : 1);
    expect((await readdir(data)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
    expect(JSON.parse(await readFile(join(data, "journal.json"), "utf8").catch(() => "[]"))).toEqual([]);
    if (server === undefined || server.desired === "stopped") return server;
    const ready = await dtma.seen("killed", ({ health }) => health.state !== "unknown");
    expect(ready).toMatchObject({ health: { state: "ready" }, container: { state: "running" } });
    const read = "require('fs').readFileSync('/run/secrets/KEY','utf8')";
    expect(await docker("exec", ready.container.id, "node", "-p", read)).toBe("kept\n");
    return ready;
  }
});
