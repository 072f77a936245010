import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { PassThrough, Readable, type Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { AppError } from "../../../shared/errors.ts";
import type { DockerCalls } from "./calls.ts";
import { createFrameReader } from "./frames.ts";
import type { ExecStart, PipePair } from "./pipes.ts";
import {
  type ContainerPlace,
  findProcesses,
  isInContainer,
  killCommandsInside,
  sessionVariable,
  signalProcesses,
} from "./processes.ts";
import type { ServerProcess } from "./server-process.ts";

/*
INVARIANTS
- The Engine can start an exec and cannot kill it, so ending is done by signals to host pids that /proc shows to be in
  the container, or by a process inside the container where the host may not signal.
- `exited` settles only when the Engine, or /proc, says that the process is gone; a closed stream alone proves nothing.
- Unread stderr never holds up stdout: beyond its buffer it is dropped.
*/

const defaultGraceMs = 2_000;
const termMs = 1_000;
const killMs = 3_000;
const lateMs = 640;
const stderrBufferBytes = 256 * 1024;
/** How long a process may take to be at its pipes, and when it is tried again after one that did not come. */
const openMs = 10_000;
const tryAgainMs = 600_000;
const lastWordMs = 50;
/** An exit code from here on is a signal's number above it. */
const firstSignalCode = 128;

type ExecState = { Running: boolean; ExitCode: number | null; Pid: number };

/** A running container, and the pipes to its processes where it may have some. */
export type OpenTo = ContainerPlace & { pipes?: PipeWay };

export type PipeWay = {
  take(): Promise<PipePair | undefined>;
  /** Names of the container's variables. */
  variables: readonly string[];
  /** What is known of this container; written here. */
  state: PipeState;
  /** Told once when the pipes of a container are not used. */
  onUnused(why: string): void;
};

export type PipeState = {
  hasWorked: boolean;
  /** Not tried before this time. */
  notBefore: number;
};

/**
 * Starts `command` in a running container; `onStderr` also sees what it complains. Its messages take the way of the pipes
 * where there is one, else that of the Engine. `inTurn` holds up starts, not what follows them. SERVER_NOT_RUNNING,
 * DOCKER_UNAVAILABLE.
 */
export async function openProcess(
  calls: DockerCalls,
  container: OpenTo,
  command: string[],
  onStderr: (chunk: Buffer) => void,
  inTurn: <T>(start: () => Promise<T>) => Promise<T>,
): Promise<ServerProcess> {
  const open = (start: ExecStart, complain: (chunk: Buffer) => void) =>
    inTurn(() => startExec(calls, container, start, complain));
  const throughPipes = container.pipes && (await openThroughPipes(open, command, onStderr, container.pipes));
  if (throughPipes !== undefined) return throughPipes;
  const exec = await open({ command, environment: [], attachesStdio: true }, onStderr);
  return toProcess(exec, exec.socket, exec.stdout);
}

/** undefined where it does not work: an image without a shell, a container in a virtual machine, a full disk. */
async function openThroughPipes(
  open: (start: ExecStart, onStderr: (chunk: Buffer) => void) => Promise<Exec>,
  command: string[],
  onStderr: (chunk: Buffer) => void,
  { take, variables, state, onUnused }: PipeWay,
): Promise<ServerProcess | undefined> {
  if (Date.now() < state.notBefore) return undefined;
  const pair = await take();
  if (pair === undefined) return undefined;
  const giveUp = new AbortController();
  const start = pair.start(command, variables);
  // What a shell says of a pipe it cannot open is nothing of the server's.
  const complaints: Buffer[] = [];
  let isThere = false;
  const complain = (chunk: Buffer) => (isThere ? onStderr(chunk) : void complaints.push(chunk));
  const refuse = (why: string, ms = Number.POSITIVE_INFINITY) => {
    // Another one may have come through meanwhile.
    if (state.hasWorked || Date.now() < state.notBefore) return;
    state.notBefore = Date.now() + ms;
    onUnused(why);
  };
  let exec: Exec;
  try {
    if (start === undefined) throw new Error("The image has variables that a shell does not pass on.");
    exec = await open(start, complain);
  } catch (error) {
    giveUp.abort();
    await pair.open(giveUp.signal);
    if (error instanceof AppError && (error.code === "SERVER_NOT_RUNNING" || error.code === "DOCKER_UNAVAILABLE")) throw error;
    refuse((error as Error).message, start === undefined ? undefined : tryAgainMs);
    return undefined;
  }
  const late = setTimeout(() => giveUp.abort(), openMs).unref();
  // What it has said before its end may be read a moment after it; a look at the pipes comes before the check of the loop.
  exec.socket.once("close", () => setTimeout(() => setImmediate(() => giveUp.abort()), lastWordMs).unref());
  const ends = await pair.open(giveUp.signal);
  clearTimeout(late);
  if (ends !== undefined) {
    state.hasWorked = true;
    isThere = true;
    for (const chunk of complaints) onStderr(chunk);
    exec.stdout.resume();
    return toProcess(exec, ends.stdin, ends.stdout);
  }
  const isOver = exec.socket.closed;
  const unused = new PassThrough();
  await toProcess(exec, unused, unused).end(0);
  if (!isOver) refuse("Nobody came to them in time.", tryAgainMs);
  else {
    const code = await exec.exited;
    // One that was killed says nothing about its image.
    if (code !== null && code < firstSignalCode) {
      refuse(Buffer.concat(complaints).toString("utf8").trim().slice(-500) || `Their start ended with exit code ${code}.`);
    }
  }
  return undefined;
}

type Exec = Awaited<ReturnType<typeof startExec>>;

async function startExec(calls: DockerCalls, container: ContainerPlace, start: ExecStart, onStderr: (chunk: Buffer) => void) {
  const marker = `${sessionVariable}=${randomUUID()}`;
  const execId = await createExec(calls, container.id, { ...start, environment: [...start.environment, marker] });
  const socket = await calls
    .hijack({ method: "POST", path: `/exec/${execId}/start`, body: { Detach: false, Tty: false } })
    .catch((error: unknown) => {
      throw notRunning(error);
    });

  const stdout = new Readable({ read: () => socket.resume() });
  const stderr = new Readable({ highWaterMark: stderrBufferBytes, read() {} });
  const readFrames = createFrameReader();
  const gone = Promise.withResolvers<number | null>();

  // The halves of the socket fail together; the close handler below tells the truth about the process.
  for (const stream of [socket, stdout, stderr]) stream.on("error", () => {});
  socket.on("data", (chunk: Buffer) => {
    let isFull = false;
    for (const { stream, payload } of readFrames(chunk)) {
      if (stream === "stdout") isFull = !stdout.push(payload) || isFull;
      else {
        onStderr(payload);
        if (stderr.readableLength < stderrBufferBytes) stderr.push(payload);
      }
    }
    if (isFull) socket.pause();
  });
  let isClosed = false;
  const closeOutput = () => {
    if (isClosed) return;
    isClosed = true;
    stdout.push(null);
    stderr.push(null);
  };
  socket.once("end", closeOutput);
  socket.once("close", () => {
    closeOutput();
    void watchExit(calls, container, execId, marker).then(gone.resolve);
  });
  return { calls, container, execId, marker, socket, stdout, stderr, exited: gone.promise };
}

function toProcess(exec: Exec, stdin: Writable, stdout: Readable): ServerProcess {
  const { stderr, exited } = exec;
  let ending: Promise<void> | undefined;
  return {
    stdin,
    stdout,
    stderr,
    exited,
    end(graceMs = defaultGraceMs) {
      ending ??= endProcess(exec, { stdin, stdout, exited }, graceMs).finally(() => {
        for (const stream of [exec.socket, stdin, stdout]) stream.destroy();
      });
      return ending;
    },
  };
}

/** Ends whatever any DTMA ever opened in the container: execs of one that was killed are nobody's. */
export async function endAllProcesses(calls: DockerCalls, container: ContainerPlace, execIds: string[]): Promise<void> {
  const marker = `${sessionVariable}=`;
  await signalProcesses(await findProcesses(container, marker), container.id, "SIGKILL");
  for (const execId of execIds) {
    const state = await getExec(calls, execId);
    if (state?.Running === true && state.Pid > 0) await signalProcesses([state.Pid], container.id, "SIGKILL");
  }
  if (await allGone(calls, execIds, termMs)) return;
  await killInside(calls, container.id, marker);
  if (await allGone(calls, execIds, killMs)) return;
  throw new AppError("INTERNAL", { message: "A process of an earlier session could not be ended." });
}

async function endProcess(
  { calls, container, execId, marker }: Exec,
  process: Pick<ServerProcess, "stdin" | "stdout" | "exited">,
  graceMs: number,
): Promise<void> {
  process.stdin.end();
  // Output that nobody reads any more would keep the socket paused and hide its end.
  process.stdout.resume();
  const isOver = async (targets: number[]) => targets.length === 0 && (await isVisible(calls, container));
  const hasExited = await settlesWithin(process.exited, graceMs);
  const targets = await targetsOf(calls, container, execId, marker);
  if (hasExited ? targets.length === 0 : await isOver(targets)) return;
  await signalProcesses(targets, container.id, "SIGTERM");
  if (targets.length > 0 && (await settlesWithin(process.exited, termMs))) {
    if ((await findProcesses(container, marker)).length === 0) return;
  }
  const left = await targetsOf(calls, container, execId, marker);
  if (await isOver(left)) return;
  await signalProcesses(left, container.id, "SIGKILL");
  if (targets.length > 0 && (await settlesWithin(process.exited, killMs))) return;
  if (await isOver(await targetsOf(calls, container, execId, marker))) return;
  await killInside(calls, container.id, marker);
  if (await settlesWithin(process.exited, killMs)) return;
  if (await isOver(await targetsOf(calls, container, execId, marker))) return;
  throw new AppError("INTERNAL", { message: "A process of a session could not be ended." });
}

/** Whether a process of the container that /proc does not show is gone for certain. */
async function isVisible(calls: DockerCalls, { id, pid }: ContainerPlace): Promise<boolean> {
  return calls.isLocal && process.getuid?.() === 0 && pid !== undefined && (await isInContainer(pid, id));
}

async function targetsOf(calls: DockerCalls, container: ContainerPlace, execId: string, marker: string): Promise<number[]> {
  const found = await findProcesses(container, marker);
  const state = await getExec(calls, execId).catch(() => undefined);
  if (state?.Running !== true || state.Pid <= 0 || found.includes(state.Pid)) return found;
  return (await isInContainer(state.Pid, container.id)) ? [...found, state.Pid] : found;
}

async function watchExit(
  calls: DockerCalls,
  container: ContainerPlace,
  execId: string,
  marker: string,
): Promise<number | null> {
  for (let waitMs = 20; ; waitMs = Math.min(waitMs * 2, 1_000)) {
    try {
      const state = await getExec(calls, execId);
      if (state === undefined) return null;
      if (!state.Running) return state.ExitCode;
      // The Engine takes note of one exit after another, which takes it seconds when there are many.
      const isLate = waitMs >= lateMs && (await isVisible(calls, container));
      if (isLate && (await targetsOf(calls, container, execId, marker)).length === 0) return null;
    } catch {
      // Docker is away. /proc can still say that the process is gone, where it shows other processes of the container.
      if (calls.isLocal && process.getuid?.() === 0 && (await findProcesses(container, marker)).length === 0) return null;
    }
    await sleep(waitMs, undefined, { ref: false });
  }
}

async function killInside(calls: DockerCalls, containerId: string, marker: string): Promise<void> {
  for (const command of killCommandsInside(marker)) {
    try {
      const execId = await createExec(calls, containerId, { command, environment: [], attachesStdio: true });
      const output = await calls.hijack({ method: "POST", path: `/exec/${execId}/start`, body: { Detach: false, Tty: false } });
      output.resume();
      output.on("error", () => {});
      await once(output, "close", { signal: AbortSignal.timeout(killMs) });
      if ((await getExec(calls, execId))?.ExitCode === 0) return;
    } catch {
      // The image has no such program, or the container has just gone: the next way, then the caller's own check.
    }
  }
}

async function createExec(
  calls: DockerCalls,
  containerId: string,
  { command, environment, attachesStdio }: ExecStart,
): Promise<string> {
  try {
    const created = await calls.json<{ Id: string }>({
      method: "POST",
      path: `/containers/${containerId}/exec`,
      body: {
        AttachStdin: attachesStdio,
        AttachStdout: attachesStdio,
        AttachStderr: true,
        Tty: false,
        Cmd: command,
        Env: environment,
      },
    });
    return created.Id;
  } catch (error) {
    throw notRunning(error);
  }
}

function notRunning(error: unknown): unknown {
  if (!(error instanceof AppError) || (error.code !== "NOT_FOUND" && error.code !== "CONFLICT")) return error;
  return new AppError("SERVER_NOT_RUNNING", { cause: error });
}

async function getExec(calls: DockerCalls, execId: string): Promise<ExecState | undefined> {
  try {
    return await calls.json<ExecState>({ method: "GET", path: `/exec/${execId}/json`, timeoutMs: 5_000 });
  } catch (error) {
    if (error instanceof AppError && error.code === "NOT_FOUND") return undefined;
    throw error;
  }
}

async function allGone(calls: DockerCalls, execIds: string[], withinMs: number): Promise<boolean> {
  const until = Date.now() + withinMs;
  for (;;) {
    const states = await Promise.all(execIds.map((execId) => getExec(calls, execId)));
    if (states.every((state) => state?.Running !== true)) return true;
    if (Date.now() > until) return false;
    await sleep(50);
  }
}

async function settlesWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  const timer = new AbortController();
  const timeout = sleep(ms, false, { signal: timer.signal }).catch(() => false);
  const settled = await Promise.race([promise.then(() => true), timeout]);
  timer.abort();
  return settled;
}
