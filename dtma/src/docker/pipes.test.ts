import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { nodePreload } from "../images/node-preload.ts";
import { createPipes, type ExecStart, type PipePair, type Pipes, pipePrograms } from "./pipes.ts";

const cat = "process.stdin.pipe(process.stdout)";

describe.skipIf(process.platform !== "linux")("pairs of pipes", () => {
  let data: string;
  let pipes: Pipes;
  let folder: string;
  beforeEach(async () => {
    data = mkdtempSync(join(tmpdir(), "dtma-pipes-"));
    pipes = createPipes(data);
    folder = (await pipes.makeFolder()) ?? "";
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    rmSync(data, { recursive: true });
  });

  async function take() {
    const pair = await pipes.take(folder, folder);
    if (pair === undefined) throw new Error("no pair");
    return pair;
  }
  const startOf = (pair: PipePair, command: string[]): ExecStart => {
    const start = pair.start(command, ["PATH", "Path2", "_x"]);
    if (start === undefined) throw new Error("no start");
    return start;
  };

  /** As an exec would, with standard streams that lead elsewhere. */
  function start({ command: [program = "", ...given], environment }: ExecStart) {
    const preload = join(data, "preload.cjs");
    writeFileSync(preload, nodePreload);
    // Where an image has it at its own path.
    const args = given.map((arg) => (arg === pipePrograms.node ? preload : arg));
    const env = { ...process.env, ...Object.fromEntries(environment.map((entry) => entry.split("=") as [string, string])) };
    return spawn(program, args, { env, stdio: ["pipe", "pipe", "inherit"] });
  }

  const ways: [string, () => string[]][] = [
    ["a shell", () => ["cat"]],
    ["the program before a package's", () => ["node", "--require", pipePrograms.node, "-e", cat]],
  ];

  it.each(ways)("carry megabytes both ways to a process that takes them by %s, and its end", async (_name, command) => {
    const pair = await take();
    const child = start(startOf(pair, command()));
    const exited = once(child, "exit");
    const ends = await pair.open(AbortSignal.timeout(10_000));
    if (ends === undefined) throw new Error("not opened");
    const sent = randomBytes(3 * 2 ** 20);
    const received: Buffer[] = [];
    ends.stdout.on("data", (chunk: Buffer) => received.push(chunk));
    const over = once(ends.stdout, "end");
    ends.stdin.end(sent);
    await over;
    expect(Buffer.concat(received).equals(sent)).toBe(true);
    expect(await exited).toEqual([0, null]);
  });

  it("have no name any more once they are open", async () => {
    const pair = await take();
    const child = start(startOf(pair, ["cat"]));
    const ends = await pair.open(AbortSignal.timeout(10_000));
    expect(readdirSync(folder)).toEqual([]);
    ends?.stdin.destroy();
    await once(child, "exit");
  });

  it("are dropped when nobody comes, or one who cannot take them", async () => {
    const [late, refused] = [await take(), await take()];
    expect(readdirSync(folder)).toHaveLength(4);
    expect(await late.open(AbortSignal.timeout(10))).toBeUndefined();
    const over = new AbortController();
    const opened = refused.open(over.signal);
    start({ ...startOf(refused, ["cat"]), command: ["sh", "-c", "exit 3"] }).once("exit", () => over.abort());
    expect(await opened).toBeUndefined();
    expect(readdirSync(folder)).toEqual([]);
  });

  it("tell the end of a process that ends at once", async () => {
    const pair = await take();
    const child = start(startOf(pair, ["true"]));
    await once(child, "exit");
    await delay(20);
    const ends = await pair.open(AbortSignal.timeout(10_000));
    if (ends === undefined) throw new Error("not opened");
    ends.stdout.resume();
    await once(ends.stdout, "end");
  });

  it("of an earlier DTMA are removed with the folders that nobody uses, those of now are not", async () => {
    const unused = await pipes.makeFolder();
    const left = await take();
    await delay(300);
    const next = createPipes(data);
    const waiting = await next.take(folder, folder);
    expect(readdirSync(folder)).toHaveLength(4);
    await next.removeUnused(new Set([folder]));
    expect(readdirSync(folder)).toHaveLength(2);
    expect(existsSync(unused ?? "")).toBe(false);
    for (const pair of [left, waiting]) await pair?.open(AbortSignal.abort());
    expect(readdirSync(folder)).toEqual([]);
  });

  it("have a folder that is made anew where it is gone, and none outside of ours", async () => {
    await pipes.removeFolder(folder);
    expect(existsSync(folder)).toBe(false);
    await pipes.restoreFolder(folder);
    expect(statSync(folder).mode & 0o777).toBe(0o711);
    const foreign = join(data, "elsewhere");
    await pipes.restoreFolder(foreign);
    expect(existsSync(foreign)).toBe(false);
    await pipes.removeFolder(data);
    expect(existsSync(folder)).toBe(true);
  });

  it("are not started through a shell that would lose variables of the image", async () => {
    const pair = await take();
    expect(pair.start(["cat"], ["spring.profile"])).toBeUndefined();
    expect(pair.start(["cat"], ["FOO-X"])).toBeUndefined();
    expect(pair.start(["node", "--require", pipePrograms.node, "x.js"], ["FOO-X"])?.command[0]).toBe("node");
    expect(pair.start(["node", "x.js", pipePrograms.node], ["OK"])?.command[0]).toBe("sh");
    await pair.open(AbortSignal.abort());
  });

  it("are none where they cannot be made, and nothing is left", async () => {
    vi.stubEnv("PATH", "/nowhere");
    expect(await pipes.take(folder)).toBeUndefined();
    vi.unstubAllEnvs();
    expect(await pipes.take(join(data, "gone"))).toBeUndefined();
    expect(readdirSync(folder)).toEqual([]);
    rmSync(join(data, "pipes"), { recursive: true });
    writeFileSync(join(data, "pipes"), "in the way");
    expect(await pipes.makeFolder()).toBeUndefined();
  });
});
