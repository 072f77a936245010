import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createDocker } from "../../dtma/src/docker/engine.ts";
import { killCommandsInside } from "../../dtma/src/docker/processes.ts";
import { type Bench, createBench, docker, imageRequest, processesIn } from "../fixtures/dtma.ts";
import { parts } from "../setup/parts.ts";

const [byNode, byShell] = killCommandsInside("").map(([program]) => program);

describe.skipIf(process.platform !== "linux")("ending processes by their mark, as it is done inside a container", () => {
  const started: ChildProcess[] = [];
  afterEach(() => {
    for (const child of started.splice(0)) child.kill("SIGKILL");
  });

  it.each([[byNode], [byShell]])("with %s: those with the mark go, and no other", async (program) => {
    const [marked, other] = [randomUUID(), randomUUID()].map((mark) => {
      const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000); console.log()"], {
        env: { MARK: mark },
        stdio: ["ignore", "pipe", "ignore"],
      });
      started.push(child);
      return { child, mark };
    });
    await Promise.all(started.map((child) => once(child.stdout as NodeJS.EventEmitter, "data")));
    const exited = once(marked?.child as ChildProcess, "exit");
    const command = killCommandsInside(`MARK=${marked?.mark}`).find(([first]) => first === program) ?? [];
    const path = program === "node" ? process.execPath : (program ?? "");
    expect(spawnSync(path, command.slice(1), { encoding: "utf8" }).status).toBe(0);
    expect(await exited).toEqual([null, "SIGKILL"]);
    expect(other?.child.exitCode).toBeNull();
    expect(other?.child.signalCode).toBeNull();
  });
});

describe.skipIf(!parts.docker)("a process of a session", () => {
  let bench: Bench;
  beforeEach(() => {
    bench = createBench();
  });
  afterEach(() => bench.close());

  it("goes with all its children, also those that left it and those that ignore every polite word", async () => {
    const dtma = await bench.start();
    const image = await bench.serverImage("probe.mjs");
    expect((await dtma.perform("PUT", "/v1/servers/host", imageRequest("host", image))).error).toBeUndefined();
    const engine = createDocker(undefined, process.env);
    const container = await engine.getContainer(`${bench.scope}.host`);
    if (container === undefined) throw new Error("no container");
    const idle = await processesIn(container.id);

    const child = "process.on('SIGTERM',()=>{});setInterval(()=>{},1000)";
    const parent = `require('child_process').spawn(process.execPath,['-e',${JSON.stringify(child)}],{detached:true,stdio:'ignore'}).unref();console.log('up');`;
    const stubborn = await engine.openProcess(container, ["node", "-e", parent + child], () => {});
    await once(stubborn.stdout, "data");
    expect(await processesIn(container.id)).toHaveLength(idle.length + 2);
    await stubborn.end(50);
    expect(await stubborn.exited).toBe(137);
    // A child that left its parent is reaped by the container's first process, a moment later.
    await expect.poll(() => processesIn(container.id)).toEqual(idle);

    const leaving = await engine.openProcess(container, ["node", "-e", parent], () => {});
    await leaving.end(2_000);
    expect(await leaving.exited).toBe(0);
    // A child that left its parent is reaped by the container's first process, a moment later.
    await expect.poll(() => processesIn(container.id)).toEqual(idle);
    await docker("rm", "-f", container.id);
    await expect(engine.openProcess(container, ["node"], () => {})).rejects.toMatchObject({ code: "SERVER_NOT_RUNNING" });
  });
});
