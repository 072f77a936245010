import type { Slot } from "../admission.ts";
import type { Failure } from "../messages/failure.ts";
import { errorCodes } from "../messages/json-rpc.ts";
import { taskNamed } from "../messages/tasks.ts";
import { TaskOwners } from "./task-owners.ts";
import { toFailure, UpstreamError } from "./upstream.ts";
import { type Call, type RunningCall, Worker } from "./worker.ts";

/*
Which worker takes a call.

INVARIANTS
- A worker serves calls of its own key only; the key names the server, who may use it and what it was initialized with. A
  worker is never given to another key, however idle it is. A call about a task goes to the worker whose process has it, though
  that be of a release that drains; a container is needed for as long as a client awaits a task there.
- Calls that wait for the same key start in the order they came, but for those that lead to no questions and can always start;
  none waits longer than `queueMs`. Whether a call may be made is asked again just before it starts.
- A worker holds a slot from before its process is opened until that is gone.
*/

export type Want = {
  key: string;
  server: string;
  /** The container its workers run in, where there is one. */
  container: string | undefined;
  /** The connection whose caps count, undefined for the holder of the toolbox's own token and for everybody together. */
  owner: string | undefined;
  /** There is one process for all who want it. */
  isShared: boolean;
  /** Its transport tells calls apart, so one worker takes them all. */
  separates: boolean;
  /** One process answers all connections behind it and cannot tell them apart: a stateless server over HTTP. */
  isCommon: boolean;
  /** The params of `initialize`, as JSON text. */
  initialize: string;
};

export type WorkerPoolDeps = {
  /** A place for one more process. Rejects with an UpstreamError of status 503. */
  acquire(want: Want, signal: AbortSignal): Promise<Slot>;
  /** Opens the server's side and makes the worker ready for calls. Rejects with what `toFailure` understands. */
  connect(worker: Worker, want: Want): Promise<void>;
  onCount(server: string): void;
  onFault(server: string, error: unknown): void;
  idleMs: number;
  queueMs: number;
};

export type Started = { worker: Worker; running: RunningCall };

/** Who waits for a worker to be ready has no call. */
type Waiter = {
  want: Want;
  call: Call | undefined;
  resolve(worker: Worker, running: RunningCall | undefined): void;
  reject(error: unknown): void;
};
type Opening = { want: Want; controller: AbortController };

export class WorkerPool {
  readonly #deps: WorkerPoolDeps;
  readonly #workers = new Set<Worker>();
  readonly #ending = new Map<Worker, Promise<void>>();
  readonly #waiters = new Map<string, Waiter[]>();
  readonly #openings = new Map<string, Set<Opening>>();
  readonly #opened = new Map<Promise<void>, Want>();
  /** Of processes that workers of several connections reach. */
  readonly #tasks = new Map<string, TaskOwners>();
  #closed: Failure | undefined;

  constructor(deps: WorkerPoolDeps) {
    this.#deps = deps;
  }

  /** Starts the call as soon as a worker takes it. Rejects with an UpstreamError, or with the signal's reason. */
  async start(want: Want, call: Call, signal: AbortSignal): Promise<Started> {
    signal.throwIfAborted();
    const holder = this.#holder(want, call);
    if (holder !== undefined) {
      // What a task wants to know is in its state: this need not run alone, where only that is in its way.
      const taken: Call = holder.takes(call) ? call : { ...call, attention: "none" };
      return { worker: holder, running: startIn(holder, taken) };
    }
    if (!this.#waiters.has(want.key) || call.attention === "none") {
      const worker = this.#find(want.key, call);
      if (worker !== undefined) return { worker, running: startIn(worker, call) };
    }
    const { worker, running } = await this.#wait(want, call, signal);
    if (running === undefined) throw new TypeError("A call was not started.");
    return { worker, running };
  }

  /** A worker for the key that is ready, opened where there is none. Rejects like `start`. */
  async ready(want: Want, signal: AbortSignal): Promise<Worker> {
    signal.throwIfAborted();
    const there = this.#find(want.key, undefined);
    return there ?? (await this.#wait(want, undefined, signal)).worker;
  }

  #wait(
    want: Want,
    call: Call | undefined,
    signal: AbortSignal,
  ): Promise<{ worker: Worker; running: RunningCall | undefined }> {
    if (this.#closed !== undefined) return Promise.reject(new UpstreamError(this.#closed));
    const { promise, resolve, reject } = Promise.withResolvers<{ worker: Worker; running: RunningCall | undefined }>();
    const waiter: Waiter = { want, call, resolve: (worker, running) => resolve({ worker, running }), reject };
    const waiting = this.#waiters.get(want.key);
    if (waiting === undefined) this.#waiters.set(want.key, [waiter]);
    else waiting.push(waiter);
    const leave = (): void => this.#leave(waiter, signal.reason);
    signal.addEventListener("abort", leave, { once: true });
    const expire = (): void => {
      // One that is being opened has a deadline of its own.
      const isOpening = [...this.#workers].some((worker) => worker.key === want.key && !worker.isReady);
      if (isOpening) late = setTimeout(expire, this.#deps.queueMs);
      else this.#leave(waiter, tooBusy);
    };
    let late = setTimeout(expire, this.#deps.queueMs);
    const settled = (): void => {
      clearTimeout(late);
      signal.removeEventListener("abort", leave);
    };
    promise.then(settled, settled);
    this.#openMore(want);
    return promise;
  }

  /** Workers that are at work; of one container, all for whose clients it has to stay. */
  busyCount(server: string, container?: string): number {
    // Sessions listen to a shared worker and are counted themselves.
    const isBusy = (worker: Worker): boolean => (worker.isShared ? worker.isAtWork : !worker.isIdle);
    const isNeeded = (worker: Worker): boolean => container !== undefined && worker.leadsToTasks;
    return this.#of(server, container).filter((worker) => isBusy(worker) || isNeeded(worker)).length;
  }

  /**
   * Ends the idle worker that was used longest ago: of the connection that is at its cap, or of the server that is, there of
   * the connection itself before those of others.
   */
  makeRoom({ server, owner, isOwnerFull }: { server: string; owner: string | undefined; isOwnerFull: boolean }): void {
    const idle = [...this.#workers].filter((worker) => worker.isReady && worker.isIdle);
    const oldest = (those: Worker[]) => those.sort((one, other) => one.lastUsedAt - other.lastUsedAt)[0];
    const own = idle.filter((worker) => owner !== undefined && worker.owner === owner);
    const ofServer = idle.filter((worker) => worker.server === server);
    const given = isOwnerFull ? oldest(own) : (oldest(ofServer.filter((worker) => own.includes(worker))) ?? oldest(ofServer));
    if (given !== undefined) this.#end(given);
  }

  /** Ends the workers of a server, or those in one of its containers, and who waits for one. */
  async closeServer(server: string, container: string | undefined, failure: Failure): Promise<void> {
    const isOf = (one: { server: string; container: string | undefined }): boolean =>
      one.server === server && (container === undefined || one.container === container);
    for (const key of [...this.#tasks.keys()]) {
      if (container === undefined ? key.startsWith(`${server} `) : key === `${server} ${container}`) this.#tasks.delete(key);
    }
    await this.#giveUp((want) => isOf(want), failure);
    await this.#endAll(isOf, failure);
  }

  /** Ends the workers that belong to a connection, and what it has in those that belong to nobody. */
  closeOwner(owner: string, failure: Failure): Promise<void> {
    const ended = this.#endAll((worker) => worker.owner === owner, failure);
    for (const { tasks } of this.#workers) tasks.end(owner);
    for (const tasks of this.#tasks.values()) tasks.end(owner);
    return ended;
  }

  async close(failure: Failure): Promise<void> {
    this.#closed = failure;
    await this.#giveUp(() => true, failure);
    await this.#endAll(() => true, failure);
  }

  /** Refuses who waits, and ends what is being opened. */
  async #giveUp(is: (want: Want) => boolean, failure: Failure): Promise<void> {
    const reason = new UpstreamError(failure);
    const openings = [...this.#openings.values()].flatMap((those) => [...those]).filter(({ want }) => is(want));
    for (const waiting of [...this.#waiters.values()]) {
      for (const waiter of [...waiting]) if (is(waiter.want)) this.#leave(waiter, reason);
    }
    for (const { controller } of openings) controller.abort(reason);
    const ending = [...this.#workers].filter(
      (worker) => !worker.isReady && openings.some(({ want }) => want.key === worker.key),
    );
    await Promise.allSettled(ending.map((worker) => worker.end(failure)));
    await Promise.all([...this.#opened].filter(([, want]) => is(want)).map(([opened]) => opened));
  }

  /** Called about once a second. */
  tick(now: number): void {
    for (const worker of this.#workers) {
      const isUnused = worker.isRetired || (now - worker.lastUsedAt > this.#deps.idleMs && !worker.leadsToTasks);
      if (worker.isReady && worker.isIdle && isUnused) this.#end(worker);
    }
  }

  #of(server: string, container: string | undefined): Worker[] {
    return [...this.#workers].filter(
      (worker) => worker.server === server && (container === undefined || worker.container === container),
    );
  }

  /** The one used last, because a server that keeps something between calls keeps it there. */
  #find(key: string, call: Call | undefined): Worker | undefined {
    let found: Worker | undefined;
    for (const worker of this.#workers) {
      if (worker.key !== key || !worker.isReady || !worker.takes(call ?? anyCall)) continue;
      if (found === undefined || worker.lastUsedAt >= found.lastUsedAt) found = worker;
    }
    return found;
  }

  /** The worker whose process has the task that a call is about. */
  #holder({ server, owner, isShared }: Want, { message, owner: client }: Call): Worker | undefined {
    const id = client && taskNamed(message);
    if (id === undefined || client === undefined) return undefined;
    const theirs = [...this.#workers].filter(
      (one) => one.server === server && one.owner === owner && one.isShared === isShared,
    );
    return theirs.find(({ isReady, isOpen, tasks }) => isReady && isOpen && tasks.has(id, client));
  }

  #leave(waiter: Waiter, reason: unknown): void {
    if (!this.#takeOut(waiter)) return;
    waiter.reject(reason);
    // Those behind it may have waited for nothing else.
    this.#serve(waiter.want.key);
  }

  /** Takes somebody out of the line; false when they are in it no more. */
  #takeOut(waiter: Waiter): boolean {
    const waiting = this.#waiters.get(waiter.want.key);
    const index = waiting?.indexOf(waiter) ?? -1;
    if (waiting === undefined || index === -1) return false;
    waiting.splice(index, 1);
    if (waiting.length === 0) this.#waiters.delete(waiter.want.key);
    return true;
  }

  /** Gives waiting calls to workers that take them. */
  #serve(key: string): void {
    let isHeldUp = false;
    for (const waiter of [...(this.#waiters.get(key) ?? [])]) {
      const { call } = waiter;
      if (isHeldUp && call !== undefined && call.attention !== "none") continue;
      const worker = this.#find(key, call);
      if (worker === undefined) {
        isHeldUp = true;
        continue;
      }
      if (!this.#takeOut(waiter)) continue;
      try {
        waiter.resolve(worker, call && startIn(worker, call));
      } catch (error) {
        waiter.reject(error);
      }
    }
    this.#openFewer(key);
  }

  #openMore(want: Want): void {
    const openings = this.#openings.get(want.key)?.size ?? 0;
    if (want.isShared) {
      const isThere = [...this.#workers].some((worker) => worker.key === want.key && worker.isOpen && !worker.isRetired);
      if (isThere) return;
    }
    if (openings < this.#needed(want.key)) this.#open(want);
  }

  /** How many more workers those who wait for the key need: a call that may lead to questions has one to itself. */
  #needed(key: string): number {
    const waiting = this.#waiters.get(key) ?? [];
    const [first] = waiting;
    if (first === undefined) return 0;
    if (first.want.isShared || first.want.separates) return 1;
    const asking = waiting.filter(({ call }) => call?.attention === "asks").length;
    return Math.max(1, asking + (waiting.some(({ call }) => call?.attention === "silent") ? 1 : 0));
  }

  #openFewer(key: string): void {
    const openings = this.#openings.get(key);
    const needed = this.#needed(key);
    for (const opening of [...(openings ?? [])].reverse()) {
      if ((openings?.size ?? 0) <= needed) return;
      openings?.delete(opening);
      opening.controller.abort();
    }
  }

  #open(want: Want): void {
    const opening: Opening = { want, controller: new AbortController() };
    const openings = this.#openings.get(want.key) ?? new Set();
    openings.add(opening);
    this.#openings.set(want.key, openings);
    const opened = this.#opening(want, opening.controller.signal).then(
      () => undefined,
      (error: unknown) => {
        if (openings.has(opening)) this.#refuseFirst(want.key, error);
      },
    );
    const after = opened.finally(() => {
      openings.delete(opening);
      if (openings.size === 0 && this.#openings.get(want.key) === openings) this.#openings.delete(want.key);
      this.#opened.delete(after);
      this.#serve(want.key);
      if (this.#waiters.has(want.key)) this.#openMore(want);
    });
    this.#opened.set(after, want);
  }

  async #opening(want: Want, signal: AbortSignal): Promise<void> {
    const slot = await this.#deps.acquire(want, signal);
    if (signal.aborted) {
      slot.release();
      throw signal.reason;
    }
    let connected: Promise<unknown> = Promise.resolve();
    const worker = new Worker({
      key: want.key,
      server: want.server,
      owner: want.owner,
      isShared: want.isShared,
      tasks: want.isCommon ? this.#tasksOf(want) : undefined,
      onIdle: (idle) => {
        if (idle.isRetired && idle.isIdle) this.#end(idle);
        else if (this.#waiters.has(idle.key)) queueMicrotask(() => this.#serve(idle.key));
        this.#deps.onCount(idle.server);
      },
      onEnd: (ended, gone) => {
        this.#workers.delete(ended);
        // A process that is still being opened comes and goes after its worker has ended.
        const left = Promise.allSettled([gone, connected]).then(([{ status }]) => {
          this.#ending.delete(ended);
          slot.release();
          if (status === "rejected") return gone;
        });
        this.#ending.set(ended, left);
        left.catch((error: unknown) => this.#deps.onFault(ended.server, error));
        this.#deps.onCount(ended.server);
        const [waiter] = this.#waiters.get(ended.key) ?? [];
        if (waiter !== undefined) this.#openMore(waiter.want);
      },
    });
    this.#workers.add(worker);
    try {
      connected = this.#deps.connect(worker, want);
      await connected;
    } catch (error) {
      await worker.end(toFailure(error)).catch(() => undefined);
      throw error;
    }
    if (!worker.isOpen) throw new UpstreamError(endedAtOnce);
    worker.isReady = true;
  }

  #tasksOf({ server, container = "" }: Want): TaskOwners {
    const key = `${server} ${container}`;
    const known = this.#tasks.get(key);
    if (known !== undefined) return known;
    const tasks: TaskOwners = new TaskOwners({
      hasOneClient: false,
      ask: (method, taskId) => {
        // Whose it is makes no difference to the server.
        const worker = [...this.#workers].find((one) => one.tasks === tasks && one.isReady);
        return worker?.askAbout(method, taskId) ?? Promise.reject(new UpstreamError(endedIdle));
      },
      // What it asks comes on the stream of a call.
      reply: () => undefined,
    });
    this.#tasks.set(key, tasks);
    return tasks;
  }

  #refuseFirst(key: string, error: unknown): void {
    const [first] = this.#waiters.get(key) ?? [];
    if (first !== undefined) this.#leave(first, error);
  }

  #end(worker: Worker): void {
    // What came of it is said by onEnd.
    worker.end(endedIdle).catch(() => undefined);
  }

  async #endAll(is: (worker: Worker) => boolean, failure: Failure): Promise<void> {
    const ending = [...this.#ending].filter(([worker]) => is(worker)).map(([, gone]) => gone);
    const ended = [...this.#workers].filter(is).map((worker) => worker.end(failure));
    const results = await Promise.allSettled([...ending, ...ended]);
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }
}

/** Starts a call whose client may still make it. Throws an UpstreamError. */
function startIn(worker: Worker, call: Call): RunningCall {
  const error = call.refused();
  if (error !== undefined) throw new UpstreamError({ status: 200, error });
  return worker.start(call);
}

/** Every worker that is ready takes it. */
const anyCall = { attention: "none" } as const;

const tooBusy = new UpstreamError({
  status: 503,
  error: {
    code: errorCodes.failed,
    message: "Every process of this server that this connection may have is at work.",
    data: { code: "LIMIT_REACHED" },
  },
  headers: { "retry-after": "5" },
});
const endedAtOnce: Failure = {
  status: 502,
  error: { code: errorCodes.failed, message: "The server's process ended at once.", data: { code: "SERVER_EXITED" } },
};
const endedIdle: Failure = {
  status: 502,
  error: {
    code: errorCodes.failed,
    message: "The server's process was idle and has been ended.",
    data: { code: "SERVER_EXITED" },
  },
};
