import type { ServerEndpoint, ServerProcess } from "../../docker/server-process.ts";
import type { Admission, Slot } from "../admission.ts";

/*
Warm spares: processes of a server that are started before anybody asks for them. What takes time when a session is opened
is `docker exec` and the start of the server's program; a spare has both behind it.

INVARIANTS
- A spare is handed out once, to one caller, and never gets a byte before that; it is as isolated as a fresh process.
- A spare is of the container that is asked for: one of another container is ended, never handed out.
- Spares hold slots of their own, and are ended first when somebody waits for a slot.
- A server whose spares die by themselves is given new ones ever more rarely; one that nobody uses has none.
*/

export type StdioEndpoint = Extract<ServerEndpoint, { type: "stdio" }>;

export interface Spares {
  /** A process for one caller: a spare if there is one, else a fresh one. What `endpoint.open` rejects with. */
  open(server: string, endpoint: StdioEndpoint): Promise<ServerProcess>;
  /** Called about once a second: ends what is not used any more, and starts what is missing. */
  tick(now: number): void;
  /** Ends the spares of a server, or those in one of its containers; there are none again until its next use. */
  closeServer(server: string, container?: string): Promise<void>;
  close(): Promise<void>;
}

export type SpareLimits = {
  /** Spares of each server in use; 0 has none. */
  spares: number;
  /** A server that nobody has opened for so long has none any more. */
  spareIdleMs: number;
};

type SparesDeps = {
  admission: Pick<Admission, "reserve">;
  limits: SpareLimits;
  /** Whether the machine has memory left for a process that nobody has asked for yet. */
  hasRoom(): boolean;
  /** A spare could not be ended. */
  onFault(server: string, error: unknown): void;
  now?: () => number;
};

/** After a hand-out the machine is left to the session that starts. */
const refillMs = 200;
const backOffMs = { least: 2_000, most: 600_000 };
/** It has nothing to put away. */
const endGraceMs = 200;

type Spare = { process: ServerProcess; slot: Slot; isHandedOut: boolean; gone: Promise<void> | undefined };
type Pool = {
  server: string;
  container: string | undefined;
  endpoint: StdioEndpoint;
  ready: Set<Spare>;
  starting: Promise<void> | undefined;
  usedAt: number;
  notBefore: number;
  deaths: number;
  isClosed: boolean;
};

export function createSpares(deps: SparesDeps): Spares {
  const { admission, limits, now = Date.now } = deps;
  const pools = new Map<string, Pool>();
  /** Spares that are being ended, and starts whose process is not wanted any more. */
  const leaving = new Set<Promise<void>>();
  let isClosed = false;

  function noteLeaving(server: string, gone: Promise<void>): Promise<void> {
    const noted = gone
      .catch((error: unknown) => deps.onFault(server, error))
      .finally(() => {
        leaving.delete(noted);
      });
    leaving.add(noted);
    return noted;
  }

  function discard(pool: Pool, spare: Spare): Promise<void> {
    pool.ready.delete(spare);
    spare.gone ??= noteLeaving(
      pool.server,
      spare.process.end(endGraceMs).finally(() => spare.slot.release()),
    );
    return spare.gone;
  }

  function noteDeath(pool: Pool): void {
    pool.notBefore = now() + Math.min(backOffMs.least * 2 ** pool.deaths, backOffMs.most);
    pool.deaths++;
  }

  /** Starts one that is missing; the next follows when it is there. */
  function fill(pool: Pool): void {
    if (pool.isClosed || isClosed || pool.starting !== undefined || pool.ready.size >= limits.spares) return;
    if (now() < pool.notBefore || !deps.hasRoom()) return;
    let spare: Spare | undefined;
    let mustGo = false;
    const slot = admission.reserve(pool.server, () => {
      mustGo = true;
      if (spare !== undefined && !spare.isHandedOut) void discard(pool, spare);
    });
    if (slot === undefined) return;
    pool.starting = (async () => {
      try {
        const process = await pool.endpoint.open();
        spare = { process, slot, isHandedOut: false, gone: undefined };
      } catch {
        // Why a server cannot be started is told to the next one who asks for a session of it.
        slot.release();
        noteDeath(pool);
        return;
      } finally {
        pool.starting = undefined;
      }
      watch(pool, spare);
      if (mustGo || pool.isClosed || isClosed) await discard(pool, spare);
      else {
        pool.ready.add(spare);
        fill(pool);
      }
    })();
  }

  /** One that ends while it waits is noticed at once. What it says is left where it is, for whoever gets it. */
  function watch(pool: Pool, spare: Spare): void {
    const { process } = spare;
    const noteEnd = (): void => {
      if (spare.isHandedOut || !pool.ready.has(spare)) return;
      noteDeath(pool);
      void discard(pool, spare);
    };
    for (const stream of [process.stdin, process.stdout, process.stderr]) stream.on("error", () => undefined);
    process.stdin.once("close", noteEnd);
    process.stdout.once("close", noteEnd);
    void process.exited.then(noteEnd);
  }

  function closePool(pool: Pool): Promise<unknown> {
    pool.isClosed = true;
    if (pools.get(pool.server) === pool) pools.delete(pool.server);
    const starting = pool.starting === undefined ? [] : [pool.starting];
    return Promise.all([...starting, ...[...pool.ready].map((spare) => discard(pool, spare))]);
  }

  /** The pool of the container that the endpoint leads into. */
  function poolOf(server: string, endpoint: StdioEndpoint): Pool {
    const known = pools.get(server);
    if (known !== undefined && known.container === endpoint.container) {
      known.endpoint = endpoint;
      return known;
    }
    if (known !== undefined)
      void noteLeaving(
        server,
        closePool(known).then(() => undefined),
      );
    const pool: Pool = {
      server,
      container: endpoint.container,
      endpoint,
      ready: new Set(),
      starting: undefined,
      usedAt: 0,
      notBefore: 0,
      deaths: 0,
      isClosed: false,
    };
    pools.set(server, pool);
    return pool;
  }

  function takeReady(pool: Pool): ServerProcess | undefined {
    for (const spare of pool.ready) {
      pool.ready.delete(spare);
      spare.isHandedOut = true;
      spare.slot.release();
      pool.deaths = 0;
      return spare.process;
    }
    return undefined;
  }

  return {
    async open(server, endpoint) {
      if (limits.spares === 0 || isClosed) return endpoint.open();
      const pool = poolOf(server, endpoint);
      pool.usedAt = now();
      pool.notBefore = Math.max(pool.notBefore, pool.usedAt + refillMs);
      setTimeout(() => fill(pool), refillMs).unref();
      const spare = takeReady(pool);
      if (spare === undefined) return endpoint.open();
      return Object.assign(spare, { replace: () => endpoint.open() });
    },

    tick(at) {
      for (const pool of [...pools.values()]) {
        if (at - pool.usedAt > limits.spareIdleMs)
          void noteLeaving(
            pool.server,
            closePool(pool).then(() => undefined),
          );
        else fill(pool);
      }
    },

    async closeServer(server, container) {
      const pool = pools.get(server);
      if (pool !== undefined && (container === undefined || pool.container === container)) await closePool(pool);
      await Promise.all(leaving);
    },

    async close() {
      isClosed = true;
      await Promise.all([...pools.values()].map(closePool));
      await Promise.all(leaving);
    },
  };
}
