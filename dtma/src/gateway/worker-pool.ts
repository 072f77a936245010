import type { Slot } from "./admission.ts";
import type { Failure } from "./client-stream.ts";
import { errorCodes } from "./json-rpc.ts";
import { toFailure, UpstreamError } from "./upstream.ts";
import { type Call, type RunningCall, Worker } from "./worker.ts";

/*
Which worker takes a call.

INVARIANTS
- A worker serves calls of its own key only; the key names the server, who may use it and what it was initialized with. A
  worker is never given to another key, however idle it is.
- Calls that wait for the same key start in the order they came, and none waits longer than `queueMs`.
- A worker holds a slot from before its process is opened until that is gone.
*/

export type Want = {
  key: string;
  server: string;
  /** The connection whose caps count, undefined for the holder of the toolbox's own token and for everybody together. */
  owner: string | undefined;
  /** There is one process for all who want it. */
  isShared: boolean;
  /** Its transport tells calls apart, so one worker takes them all. */
  separates: boolean;
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

type Waiter = { want: Want; call: Call; resolve(started: Started): void; reject(error: unknown): void };

export class WorkerPool {
  readonly #deps: WorkerPoolDeps;
  readonly #workers = new Set<Worker>();
  readonly #ending = new Map<Worker, Promise<void>>();
  readonly #waiters = new Map<string, Waiter[]>();
  readonly #openings = new Map<string, Set<AbortController>>();
  readonly #opened = new Set<Promise<void>>();

  constructor(deps: WorkerPoolDeps) {
    this.#deps = deps;
  }

  /** Starts the call as soon as a worker takes it. Rejects with an UpstreamError, or with the signal's reason. */
  start(want: Want, call: Call, signal: AbortSignal): Promise<Started> {
    signal.throwIfAborted();
    const waiting = this.#waiters.get(want.key);
    if (waiting === undefined) {
      const worker = this.#find(want.key, call);
      if (worker !== undefined) return Promise.resolve({ worker, running: worker.start(call) });
    }
    const { promise, resolve, reject } = Promise.withResolvers<Started>();
    const waiter: Waiter = { want, call, resolve, reject };
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

  /** A worker for the key that is ready, opened where there is none. Rejects like `start`. */
  async ready(want: Want, signal: AbortSignal): Promise<Worker> {
    const { promise, resolve, reject } = Promise.withResolvers<Worker>();
    const there = [...this.#workers].find((worker) => worker.key === want.key && worker.isReady && !worker.isRetired);
    if (there !== undefined) return there;
    this.#open(want, signal, { resolve, reject });
    return promise;
  }

  /** Workers that are at work; `container` narrows it. */
  busyCount(server: string, container?: string): number {
    return this.#of(server, container).filter((worker) => !worker.isIdle).length;
  }

  /** Ends the idle worker that was used longest ago, of the connection if it has one, else of the server. */
  makeRoom(server: string, owner: string | undefined): void {
    const idle = [...this.#workers].filter((worker) => worker.isReady && worker.isIdle);
    const oldest = (those: Worker[]) => those.sort((one, other) => one.lastUsedAt - other.lastUsedAt)[0];
    const given =
      oldest(idle.filter((worker) => owner !== undefined && worker.owner === owner)) ??
      oldest(idle.filter((worker) => worker.server === server));
    if (given !== undefined) this.#end(given);
  }

  /** Ends the workers of a server, or those in one of its containers. */
  closeServer(server: string, container: string | undefined, failure: Failure): Promise<void> {
    return this.#endAll(
      (worker) => worker.server === server && (container === undefined || worker.container === container),
      failure,
    );
  }

  /** Ends the workers that belong to a connection. */
  closeOwner(owner: string, failure: Failure): Promise<void> {
    return this.#endAll((worker) => worker.owner === owner, failure);
  }

  async close(failure: Failure): Promise<void> {
    for (const controllers of this.#openings.values()) for (const controller of controllers) controller.abort();
    for (const waiters of [...this.#waiters.values()])
      for (const waiter of [...waiters]) this.#leave(waiter, new UpstreamError(failure));
    await this.#endAll(() => true, failure);
    await Promise.all(this.#opened);
    await this.#endAll(() => true, failure);
  }

  /** Called about once a second. */
  tick(now: number): void {
    for (const worker of this.#workers) {
      if (worker.isReady && worker.isIdle && (worker.isRetired || now - worker.lastUsedAt > this.#deps.idleMs))
        this.#end(worker);
    }
  }

  #of(server: string, container: string | undefined): Worker[] {
    return [...this.#workers].filter(
      (worker) => worker.server === server && (container === undefined || worker.container === container),
    );
  }

  /** The one used last, because a server that keeps something between calls keeps it there. */
  #find(key: string, call: Call): Worker | undefined {
    let found: Worker | undefined;
    for (const worker of this.#workers) {
      if (worker.key !== key || !worker.isReady || !worker.takes(call)) continue;
      if (found === undefined || worker.lastUsedAt >= found.lastUsedAt) found = worker;
    }
    return found;
  }

  #leave(waiter: Waiter, reason: unknown): void {
    const waiting = this.#waiters.get(waiter.want.key);
    const index = waiting?.indexOf(waiter) ?? -1;
    if (waiting === undefined || index === -1) return;
    waiting.splice(index, 1);
    if (waiting.length === 0) this.#waiters.delete(waiter.want.key);
    waiter.reject(reason);
    this.#openFewer(waiter.want.key);
  }

  /** Gives waiting calls to workers that take them. */
  #serve(key: string): void {
    for (let waiting = this.#waiters.get(key); waiting?.[0] !== undefined; waiting = this.#waiters.get(key)) {
      const [first] = waiting;
      const worker = this.#find(key, first.call);
      if (worker === undefined) break;
      waiting.shift();
      if (waiting.length === 0) this.#waiters.delete(key);
      first.resolve({ worker, running: worker.start(first.call) });
    }
    this.#openFewer(key);
  }

  #openMore(want: Want): void {
    const openings = this.#openings.get(want.key)?.size ?? 0;
    if (want.isShared) {
      const isThere = [...this.#workers].some((worker) => worker.key === want.key && worker.isOpen && !worker.isRetired);
      if (isThere) return;
    }
    if (openings < this.#needed(want.key)) this.#open(want, undefined, undefined);
  }

  /** How many more workers those who wait for the key need: a call that may lead to questions has one to itself. */
  #needed(key: string): number {
    const waiting = this.#waiters.get(key) ?? [];
    const [first] = waiting;
    if (first === undefined) return 0;
    if (first.want.isShared || first.want.separates) return 1;
    const asking = waiting.filter(({ call }) => call.attention === "asks").length;
    return Math.max(1, asking + (waiting.some(({ call }) => call.attention === "silent") ? 1 : 0));
  }

  #openFewer(key: string): void {
    const openings = this.#openings.get(key);
    const needed = this.#needed(key);
    for (const controller of [...(openings ?? [])].reverse()) {
      if ((openings?.size ?? 0) <= needed) return;
      openings?.delete(controller);
      controller.abort();
    }
  }

  #open(
    want: Want,
    signal: AbortSignal | undefined,
    waiter: { resolve(worker: Worker): void; reject(error: unknown): void } | undefined,
  ): void {
    const controller = new AbortController();
    const openings = this.#openings.get(want.key) ?? new Set();
    // One that somebody waits for by itself is not given up for the others' sake.
    if (waiter === undefined) openings.add(controller);
    this.#openings.set(want.key, openings);
    const opened = this.#opening(
      want,
      signal === undefined ? controller.signal : AbortSignal.any([signal, controller.signal]),
    ).then(
      (worker) => waiter?.resolve(worker),
      (error: unknown) => {
        if (waiter !== undefined) waiter.reject(error);
        else if (openings.has(controller)) this.#refuseFirst(want.key, error);
      },
    );
    const after = opened.finally(() => {
      openings.delete(controller);
      if (openings.size === 0 && this.#openings.get(want.key) === openings) this.#openings.delete(want.key);
      this.#opened.delete(after);
      this.#serve(want.key);
      if (this.#waiters.has(want.key)) this.#openMore(want);
    });
    this.#opened.add(after);
  }

  async #opening(want: Want, signal: AbortSignal): Promise<Worker> {
    const slot = await this.#deps.acquire(want, signal);
    if (signal.aborted) {
      slot.release();
      throw signal.reason;
    }
    const worker = new Worker({
      key: want.key,
      server: want.server,
      owner: want.owner,
      isShared: want.isShared,
      onIdle: (idle) => {
        if (idle.isRetired && idle.isIdle) this.#end(idle);
        else if (this.#waiters.has(idle.key)) queueMicrotask(() => this.#serve(idle.key));
        this.#deps.onCount(idle.server);
      },
      onEnd: (ended, gone) => {
        this.#workers.delete(ended);
        this.#ending.set(ended, gone);
        const settled = (): void => {
          this.#ending.delete(ended);
          slot.release();
        };
        gone.then(settled, (error: unknown) => {
          settled();
          this.#deps.onFault(ended.server, error);
        });
        this.#deps.onCount(ended.server);
      },
    });
    this.#workers.add(worker);
    try {
      await this.#deps.connect(worker, want);
    } catch (error) {
      await worker.end(toFailure(error)).catch(() => undefined);
      throw error;
    }
    if (!worker.isOpen) throw new UpstreamError(endedAtOnce);
    worker.isReady = true;
    return worker;
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
