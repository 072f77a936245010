import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { chmodSync, closeSync, constants, mkdirSync, openSync, readdirSync, rmSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { promisify } from "node:util";

/*
Named pipes of the host, mounted into containers: through a pair of them a process is spoken to directly, where the
Engine would copy every message twice each way (docs/decisions/0026).

INVARIANTS
- The folder is mounted read-only and can be entered but not listed, by whomever. A pair has a name that cannot be guessed,
  and only until both ends are open: no process of a container meets the pipes of another.
- Whoever took a pair opens or drops it: then its names are gone, and no end of it stays open but those given out.
- What a process opened here is never waited for without an end.
*/

/** Where a container finds the pipes. */
export const pipesPath = "/run/dtma";
/** Names the pair that a program of ours takes as its standard streams, without the endings. */
export const pipesVariable = "DTMA_PIPES";
/** The programs that do so, and say it with an empty line, before a package's own command begins in them. */
export const pipePrograms = { node: "/app/dtma-start.cjs", python: "/app/dtma-start.py" };
export const [inputEnding, outputEnding] = [".in", ".out"];

/** The same for any other command, where the image has a shell. */
const script = 'exec <"$0" >"$1" && echo && shift && exec "$@"';
const pipeMode = "666";
/** Not even its owner lists the folder in a container, where that may be the container's user: it has no capability to. */
const [ownMode, sharedMode] = [0o700, 0o311];
/** Pairs kept ready, because making them takes a process. */
const kept = 16;

export interface Pipes {
  readonly folder: string;
  /** undefined where none can be made. */
  take(): Promise<PipePair | undefined>;
  close(): Promise<void>;
}

export type ExecStart = { command: string[]; environment: string[]; attachesStdio: boolean };

export interface PipePair {
  /** How an exec starts the command with the pair as its standard streams. Needs a program of ours, or a shell. */
  start(command: string[]): ExecStart;
  /** The host's ends, once the process has the others; undefined, and the pair dropped, when `signal` comes first. */
  open(signal: AbortSignal): Promise<{ stdin: Writable; stdout: Readable } | undefined>;
}

/**
 * Pairs of pipes below the data folder. Those of an earlier DTMA are removed; the folder stays, it may be mounted, in
 * containers as `inside`.
 */
export function createPipes(dataFolder: string, inside = pipesPath): Pipes {
  const folder = join(dataFolder, "pipes");
  const ready: string[] = [];
  let making: Promise<void> | undefined;
  let canMake = process.platform === "linux";

  function clear(mode: number): void {
    mkdirSync(folder, { recursive: true, mode: ownMode });
    chmodSync(folder, ownMode);
    for (const name of readdirSync(folder)) rmSync(join(folder, name), { force: true });
    chmodSync(folder, mode);
  }

  async function make(): Promise<void> {
    const names = Array.from({ length: kept }, () => randomUUID());
    const paths = names.flatMap((name) => Object.values(pathsOf(folder, name)));
    try {
      await promisify(execFile)("mkfifo", ["-m", pipeMode, ...paths]);
      ready.push(...names);
    } catch {
      // No such program, or no such files on this disk: the Engine's own streams do.
      canMake = false;
    }
  }

  const refill = (): Promise<void> => {
    making ??= make().finally(() => {
      making = undefined;
    });
    return making;
  };

  if (canMake) clear(sharedMode);
  return {
    folder,
    async take() {
      while (canMake && ready.length === 0) await refill();
      const name = ready.shift();
      if (name === undefined) return undefined;
      if (ready.length < kept / 2 && canMake) void refill();
      return createPair(folder, inside, name);
    },
    async close() {
      if (process.platform !== "linux") return;
      canMake = false;
      await making;
      ready.length = 0;
      clear(ownMode);
    },
  };
}

function createPair(folder: string, mountedAs: string, name: string): PipePair {
  const outside = pathsOf(folder, name);
  const inside = pathsOf(mountedAs, name);
  // A process that opens its end waits for the other one: both are there before it starts. Opened for both ways because
  // nobody reads yet (fifo(7)).
  let input: number | undefined = openSync(outside.input, constants.O_RDWR | constants.O_NONBLOCK);
  const stdout = new Socket({ fd: openSync(outside.output, constants.O_RDONLY | constants.O_NONBLOCK), writable: false });
  stdout.on("error", () => {});

  const drop = () => {
    remove(folder, name);
    if (input !== undefined) closeSync(input);
    input = undefined;
  };
  return {
    start(command) {
      if (Object.values(pipePrograms).some((program) => command.includes(program))) {
        // Python has looked at its streams by then: they are to be pipes all along.
        return { command, environment: [`${pipesVariable}=${join(mountedAs, name)}`], attachesStdio: true };
      }
      const shell = ["sh", "-c", script, inside.input, inside.output, ...command];
      return { command: shell, environment: [], attachesStdio: false };
    },
    async open(signal) {
      try {
        signal.throwIfAborted();
        await once(stdout, "readable", { signal });
        if (stdout.read(1)?.[0] !== 0x0a) throw new Error("The pipe was closed.");
        const stdin = new Socket({ fd: openSync(outside.input, constants.O_WRONLY | constants.O_NONBLOCK), readable: false });
        stdin.on("error", () => {});
        return { stdin, stdout };
      } catch {
        stdout.destroy();
        return undefined;
      } finally {
        drop();
      }
    },
  };
}

function pathsOf(folder: string, name: string): { input: string; output: string } {
  return { input: join(folder, name + inputEnding), output: join(folder, name + outputEnding) };
}

function remove(folder: string, name: string): void {
  for (const path of Object.values(pathsOf(folder, name))) rmSync(path, { force: true });
}
