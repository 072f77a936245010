import { randomUUID } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { DeployRequestInput, ServerObservation } from "../../shared/dtma-protocol.ts";
import { type Bench, createBench, type DtmaProcess, docker, dockerLines, imageRequest } from "../fixtures/dtma.ts";
import { parts } from "../setup/parts.ts";

const program = fileURLToPath(new URL("../fixtures/dtma-killed.ts", import.meta.url));

/**
 * Every change that an operation makes, to Docker or to the data folder, is a place at which the DTMA may be killed. The
 * first run of an operation tells what these places are; then it is killed after each of them, and started again.
 */
describe.skipIf(!parts.docker)("a DTMA that is killed after any change it makes", () => {
  let bench: Bench;
  let data: string;
  let one: string;
  let two: string;
  const serverId = randomUUID();

  beforeAll(async () => {
    bench = createBench();
    data = await bench.folder();
    one = await bench.serverImage("tools-of-args.mjs", { args: ["pid=first"] });
    two = await bench.serverImage("tools-of-args.mjs", { args: ["pid=second", "more"] });
  });
  afterEach(() => bench.end());
  afterAll(() => bench.close());

  const withoutVolume = { secrets: [{ name: "KEY", variable: "SERVICE_KEY", required: true }] };
  const withVolume = { ...withoutVolume, permissions: { volumes: [{ name: "notes", path: "/notes" }] } };
  const deployOf = (image: string, spec: object): DeployRequestInput => ({
    ...imageRequest("killed", image, spec),
    serverId,
    secretValues: { KEY: "kept" },
  });

  type Deed = (dtma: DtmaProcess) => Promise<string>;
  const path = "/v1/servers/killed";
  const deploy =
    (image: string, spec: object): Deed =>
    (dtma) =>
      dtma.begin("PUT", path, deployOf(image, spec));
  const rotate: Deed = (dtma) => dtma.begin("PUT", `${path}/secrets/KEY`, { value: `kept` });
  const ask =
    (verb: string): Deed =>
    (dtma) =>
      dtma.begin("POST", `${path}/${verb}`);
  const remove: Deed = (dtma) => dtma.begin("DELETE", path);

  async function armed(killAfter: number | undefined): Promise<DtmaProcess> {
    const env = killAfter === undefined ? {} : { DTMA_KILL_AFTER: String(killAfter) };
    return await bench.start({ data, program, env });
  }

  /** Answers what the operation's end was, or undefined when the DTMA was killed before it. */
  async function run(dtma: DtmaProcess, deed: Deed): Promise<{ id?: string; state?: string }> {
    dtma.child.kill("SIGUSR2");
    await dtma.call("GET", "/v1/info");
    let id: string | undefined;
    try {
      id = await deed(dtma);
      const ended = await dtma.ended(id);
      expect(ended.error).toBeUndefined();
      return { id, state: ended.state };
    } catch (error) {
      if (dtma.child.signalCode === null && (await dtma.kill("SIGKILL")) !== null) throw error;
      return id === undefined ? {} : { id };
    }
  }

  const effectsOf = (dtma: DtmaProcess) => [...dtma.log().matchAll(/^effect \d+ (.*)$/gm)].map(([, name]) => name ?? "");

  /** What is true after every start, whatever was under way before it. */
  async function expectWhole(dtma: DtmaProcess): Promise<ServerObservation | undefined> {
    const [server, ...others] = await dtma.servers();
    expect(others).toEqual([]);
    await expect
      .poll(() => dockerLines("ps", "-a", "--format", "{{.Names}}", "--filter", `label=${bench.label}`), { timeout: 20_000 })
      .toEqual(server === undefined ? [] : [`${bench.scope}.killed`]);
    expect(await dockerLines("volume", "ls", "-q", "--filter", `label=${bench.label}`)).toHaveLength(
      server?.spec.permissions.volumes.length ?? 0,
    );
    expect(await readdir(join(data, "secrets")).catch(() => [])).toHaveLength(server === undefined ? 0 : 1);
    expect((await readdir(data)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
    expect(JSON.parse(await readFile(join(data, "journal.json"), "utf8").catch(() => "[]"))).toEqual([]);
    if (server === undefined || server.desired === "stopped") return server;
    const ready = await dtma.seen("killed", ({ health }) => health.state !== "unknown");
    expect(ready).toMatchObject({ health: { state: "ready" }, container: { state: "running" } });
    expect(
      await docker("exec", ready.container.id, "node", "-p", "require('fs').readFileSync('/run/secrets/KEY','utf8')"),
    ).toBe("kept\n");
    return ready;
  }

  async function prepare(dtma: DtmaProcess, deeds: Deed[]): Promise<void> {
    const before = (await dtma.servers()).length === 0 ? [] : [remove];
    for (const deed of [...before, ...deeds]) expect((await dtma.ended(await deed(dtma))).error).toBeUndefined();
  }

  it.each<
    [string, { from: () => Deed[]; deed: () => Deed; isRepeatable: boolean; mustEnd?: (s?: ServerObservation) => boolean }]
  >([
    ["a first deploy", { from: () => [], deed: () => deploy(one, withVolume), isRepeatable: false }],
    [
      "an update beside the old container",
      { from: () => [deploy(one, withoutVolume)], deed: () => deploy(two, withoutVolume), isRepeatable: true },
    ],
    [
      "an update in place of the old container, because both use a volume",
      { from: () => [deploy(one, withVolume)], deed: () => deploy(two, withVolume), isRepeatable: true },
    ],
    [
      "a rollback",
      {
        from: () => [deploy(one, withoutVolume), deploy(two, withoutVolume)],
        deed: () => ask("rollback"),
        isRepeatable: true,
      },
    ],
    ["a changed secret", { from: () => [deploy(one, withoutVolume)], deed: () => rotate, isRepeatable: true }],
    [
      "a stop",
      {
        from: () => [deploy(one, withoutVolume)],
        deed: () => ask("stop"),
        isRepeatable: false,
        mustEnd: (server) => server?.desired === "stopped" && server.container.state === "exited",
      },
    ],
    [
      "a deletion",
      {
        from: () => [deploy(one, withVolume)],
        deed: () => remove,
        isRepeatable: false,
        mustEnd: (server) => server === undefined,
      },
    ],
  ])(
    "finishes or undoes %s",
    async (_what, { from, deed, isRepeatable, mustEnd }) => {
      const counting = await armed(undefined);
      await prepare(counting, from());
      await run(counting, deed());
      await counting.kill("SIGKILL");
      const effects = effectsOf(counting);
      expect(effects.length).toBeGreaterThan(2);
      expect(effects[0]).toBe("write journal.json");

      let dtma = await armed(1);
      if (isRepeatable) await prepare(dtma, from());
      for (let place = 1; place <= effects.length; place += 1) {
        if (!isRepeatable) await prepare(dtma, from());
        const { id } = await run(dtma, deed());
        await dtma.kill("SIGKILL");
        const made = effectsOf(dtma).join(", ");
        dtma = await armed(place + 1);
        const server = await expectWhole(dtma).catch((error: unknown) => {
          throw new Error(`after ${made}`, { cause: error });
        });
        if (mustEnd !== undefined) expect(mustEnd(server), `after ${made}`).toBe(true);
        if (id === undefined || place === effects.length) continue;
        // It is in the journal from the first change on, so the next DTMA can say how it came out.
        const { body } = await dtma.call("GET", `/v1/operations/${id}`);
        expect(body).toMatchObject({ state: expect.stringMatching(/^(succeeded|cancelled)$/), endedAt: expect.any(Number) });
      }
      await dtma.kill("SIGKILL");
    },
    600_000,
  );
});
