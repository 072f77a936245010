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

export interface Pipes {
  readonly folder: string;
  /** undefined where none can be made. */
  take(): Promise<PipePair | undefined>;
  close(): void;
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
  const canBe = process.platform === "linux";

  function clear(mode: number): void {
    mkdirSync(folder, { recursive: true, mode: ownMode });
    chmodSync(folder, ownMode);
    for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true, force: true });
    chmodSync(folder, mode);
  }

  if (canBe) clear(sharedMode);
  return {
    folder,
    async take() {
      if (!canBe) return undefined;
      const name = randomUUID();
      try {
        // Made when they are wanted: whoever reads through the data folder would wait at a pipe for ever.
        await promisify(execFile)("mkfifo", ["-m", pipeMode, ...Object.values(pathsOf(folder, name))]);
      } catch {
        // Without that program, or on a disk without such files, the Engine's own streams do.
        remove(folder, name);
        return undefined;
      }
      return createPair(folder, inside, name);
    },
    close() {
      if (canBe) clear(ownMode);
    },
  };
}

function createPair(folder: string, mountedAs: string, name: string): PipePair {
  const outside = pathsOf(folder, name);
  const inside = pathsOf(mountedAs, name);
  // A process that opens its end waits for the other one: both are there before it starts. Opened for both ways because
  // nobody reads yet (fifo(7)).
  const input = openSync(outside.input, constants.O_RDWR | constants.O_NONBLOCK);
  const stdout = new Socket({ fd: openSync(outside.output, constants.O_RDONLY | constants.O_NONBLOCK), writable: false });
  stdout.on("error", () => {});

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
        remove(folder, name);
        closeSync(input);
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
