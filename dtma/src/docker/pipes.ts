import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { closeSync, constants, openSync } from "node:fs";
import { chmod, mkdir, readdir, rm, stat } from "node:fs/promises";
import { Socket } from "node:net";
import { dirname, join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { promisify } from "node:util";

/*
Named pipes of the host, mounted into containers: through a pair of them a process is spoken to directly, where the
Engine would copy every message twice each way (docs/decisions/0026).

INVARIANTS
- A container has a folder of its own, mounted read-only: nothing of another container can be reached through it.
- A pair has names until both ends are open or it is given up; nothing here is waited for without an end.
- Whoever took a pair opens it: then no end stays open but those given out.
- Where pipes cannot be, nothing fails: the answer is undefined, and the Engine's own streams do.
*/

/** Where a container finds its pipes. */
export const pipesPath = "/run/dtma";
/** Names the pair that a program of ours takes as its standard streams, without the endings. */
export const pipesVariable = "DTMA_PIPES";
/** The programs that do so, and say it with an empty line, before a package's own command begins in them. */
export const pipePrograms = { node: "/app/dtma-start.cjs", python: "/app/dtma-start.py" };
export const [inputEnding, outputEnding] = [".in", ".out"];

/** The same for any other command, where the image has a shell. */
const script = 'exec <"$0" >"$1" && echo && shift && exec "$@"';
/** The user of the container is any. */
const [pipeMode, folderMode] = ["666", 0o711];
const clockLagMs = 100;
const folderPattern = /[/\\]pipes[/\\][0-9a-f-]{36}$/;

export interface Pipes {
  /** A folder for a new container; undefined where there can be none. */
  makeFolder(): Promise<string | undefined>;
  /** Makes the folder of a container anew that is gone: without it Docker does not start the container. */
  restoreFolder(folder: string): Promise<void>;
  removeFolder(folder: string): Promise<void>;
  /** Removes every folder but these, and from these what an earlier DTMA left in them. */
  removeUnused(usedFolders: ReadonlySet<string>): Promise<void>;
  /** A pair in the folder of a container that sees it as `inside`. */
  take(folder: string, inside?: string): Promise<PipePair | undefined>;
}

export type ExecStart = { command: string[]; environment: string[]; attachesStdio: boolean };

export interface PipePair {
  /** How an exec starts the command with the pair as its standard streams; undefined where nothing in the image can. */
  start(command: string[], variables: readonly string[]): ExecStart | undefined;
  /** The host's ends, once the process has the others; undefined, and the pair given up, when `signal` comes first. */
  open(signal: AbortSignal): Promise<{ stdin: Writable; stdout: Readable } | undefined>;
}

/** Folders of pipes below the data folder. */
export function createPipes(dataFolder: string): Pipes {
  const root = join(dataFolder, "pipes");
  // The clock of a file system lags a little behind.
  const startedAt = Date.now() - clockLagMs;
  const isOurs = (folder: string) => folderPattern.test(folder);

  async function make(folder: string): Promise<void> {
    await mkdir(dirname(folder), { recursive: true, mode: 0o700 });
    await mkdir(folder, { recursive: true });
    await chmod(folder, folderMode);
  }

  /** A pair of now may be waiting for its process. */
  async function removeOld(path: string): Promise<void> {
    const found = await stat(path).catch(() => undefined);
    if (found !== undefined && found.mtimeMs < startedAt) await rm(path, { recursive: true, force: true });
  }

  return {
    async makeFolder() {
      if (process.platform !== "linux") return undefined;
      const folder = join(root, randomUUID());
      try {
        await make(folder);
        return folder;
      } catch {
        await rm(folder, { recursive: true, force: true }).catch(() => undefined);
        return undefined;
      }
    },

    async restoreFolder(folder) {
      if (isOurs(folder)) await make(folder);
    },

    async removeFolder(folder) {
      if (isOurs(folder)) await rm(folder, { recursive: true, force: true });
    },

    async removeUnused(usedFolders) {
      for (const name of await readdir(root).catch(() => [])) {
        const folder = join(root, name);
        if (!usedFolders.has(folder)) await rm(folder, { recursive: true, force: true });
        else for (const left of await readdir(folder)) await removeOld(join(folder, left));
      }
    },

    async take(folder, inside = pipesPath) {
      const name = randomUUID();
      const outside = pathsOf(join(folder, name));
      try {
        // Made when they are wanted: whoever reads through the data folder would wait at a pipe for ever.
        await promisify(execFile)("mkfifo", ["-m", pipeMode, outside.input, outside.output]);
        return createPair(outside, join(inside, name));
      } catch {
        await remove(outside);
        return undefined;
      }
    },
  };
}

type Paths = { input: string; output: string };

function pathsOf(pair: string): Paths {
  return { input: pair + inputEnding, output: pair + outputEnding };
}

async function remove({ input, output }: Paths): Promise<void> {
  for (const path of [input, output]) await rm(path, { force: true }).catch(() => undefined);
}

function createPair(outside: Paths, inside: string): PipePair {
  // A process that opens its end waits for the other one: both are there before it starts. The input is opened for both ways
  // because nobody reads yet (fifo(7)).
  const input = openSync(outside.input, constants.O_RDWR | constants.O_NONBLOCK);
  let stdout: Socket;
  try {
    stdout = new Socket({ fd: openSync(outside.output, constants.O_RDONLY | constants.O_NONBLOCK), writable: false });
  } catch (error) {
    closeSync(input);
    throw error;
  }
  stdout.on("error", () => {});
  return {
    start: (command, variables) => startAt(inside, command, variables),
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
        closeSync(input);
        await remove(outside);
      }
    },
  };
}

function startAt(pair: string, command: string[], variables: readonly string[]): ExecStart | undefined {
  const isNode = command[1] === "--require" && command[2] === pipePrograms.node;
  if (isNode || command[1] === pipePrograms.python) {
    // Python has looked at its streams by then: they are to be pipes all along.
    return { command, environment: [`${pipesVariable}=${pair}`], attachesStdio: true };
  }
  // A shell passes on variables with a name it could have given itself, and no others.
  if (variables.some((name) => !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name))) return undefined;
  const { input, output } = pathsOf(pair);
  return { command: ["sh", "-c", script, input, output, ...command], environment: [], attachesStdio: false };
}
