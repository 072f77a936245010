import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { nodePreload } from "../images/node-preload.ts";
import { createPipes, type ExecStart, type Pipes, pipePrograms } from "./pipes.ts";

const cat = "process.stdin.pipe(process.stdout)";

describe.skipIf(process.platform !== "linux")("pairs of pipes", () => {
  let data: string;
  let pipes: Pipes;
  beforeEach(() => {
    data = mkdtempSync(join(tmpdir(), "dtma-pipes-"));
    pipes = createPipes(data, join(data, "pipes"));
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    pipes.close();
    rmSync(data, { recursive: true });
  });

  async function take() {
    const pair = await pipes.take();
    if (pair === undefined) throw new Error("no pair");
    return pair;
  }

  /** As an exec would, with standard streams that lead elsewhere. */
  function start({ command: [program = "", ...args], environment }: ExecStart) {
    const env = { ...process.env, ...Object.fromEntries(environment.map((entry) => entry.split("=") as [string, string])) };
    return spawn(program, args, { env, stdio: ["pipe", "pipe", "inherit"] });
  }

  const ways: [string, () => string[]][] = [
    ["a shell", () => ["cat"]],
    [
      "the program before a package's",
      () => {
        const preload = join(data, "preload.cjs");
        writeFileSync(preload, nodePreload);
        // The marker that it is there is its path in an image.
        return [process.execPath, "--require", preload, "-e", cat, pipePrograms.node];
      },
    ],
  ];

  it.each(ways)("carry megabytes both ways to a process that takes them by %s, and its end", async (_name, command) => {
    const pair = await take();
    const child = start(pair.start(command()));
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

  it("have no name any more once they are open, and the folder cannot be listed without a capability", async () => {
    const pair = await take();
    const child = start(pair.start(["cat"]));
    const ends = await pair.open(AbortSignal.timeout(10_000));
    expect(readdirSync(pipes.folder)).toEqual([]);
    expect(statSync(pipes.folder).mode & 0o777).toBe(0o311);
    ends?.stdin.destroy();
    await once(child, "exit");
  });

  it("are dropped when nobody comes, or one who cannot take them", async () => {
    const [late, refused] = [await take(), await take()];
    expect(readdirSync(pipes.folder)).toHaveLength(4);
    expect(await late.open(AbortSignal.timeout(10))).toBeUndefined();
    const over = new AbortController();
    const opened = refused.open(over.signal);
    start({ ...refused.start(["cat"]), command: ["sh", "-c", "exit 3"] }).once("exit", () => over.abort());
    expect(await opened).toBeUndefined();
    expect(readdirSync(pipes.folder)).toEqual([]);
  });

  it("tell the end of a process that ends at once", async () => {
    const pair = await take();
    const child = start(pair.start(["true"]));
    await once(child, "exit");
    await delay(20);
    const ends = await pair.open(AbortSignal.timeout(10_000));
    if (ends === undefined) throw new Error("not opened");
    ends.stdout.resume();
    await once(ends.stdout, "end");
  });

  it("of an earlier DTMA are removed", async () => {
    const left = await take();
    expect(readdirSync(pipes.folder)).toHaveLength(2);
    pipes = createPipes(data, join(data, "pipes"));
    expect(readdirSync(pipes.folder)).toEqual([]);
    await left.open(AbortSignal.abort());
  });

  it("are none where they cannot be made", async () => {
    vi.stubEnv("PATH", "/nowhere");
    expect(await pipes.take()).toBeUndefined();
  });
});
