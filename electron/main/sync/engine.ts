import { AppError, toAppError } from "../../../shared/errors.ts";
import type { Logger } from "../log.ts";
import type { Store } from "../store/index.ts";
import { assertCompatible, publishLocalRows, type TokenHashes, toWho } from "./account.ts";
import { DatabaseError, type SharedDatabase } from "./database.ts";
import { applyLiveness, pullPages } from "./pull.ts";
import { pushBatch } from "./push.ts";
import { failureKind, type LinkEvent, type LinkState, transition } from "./transition.ts";

/*
The loop that keeps the copy here and the shared database the same.

INVARIANTS
- One thing at a time: pushing, pulling and waiting never overlap, so what was accepted is in the next pull.
- A failure ends the visit to the database and is handed to `transition`; the loop itself decides nothing about time.
- Whatever arrives while it is busy is looked at before it sleeps: nothing is noticed only by chance.
*/

export type EngineDeps = {
  store: Store;
  log: Logger;
  /** Reaches the database with the account's secret. Rejects with SIGN_IN_REFUSED when there is none. */
  open(): Promise<SharedDatabase>;
  hashes: TokenHashes;
  onState(state: LinkState): void;
  /** Rows of toolboxes came, changed or went. */
  onToolboxes(ids: string[]): void;
  /** Work the last transaction left for the vault. */
  doChores(): Promise<void>;
  now(): number;
  random(): number;
};

export interface Engine {
  state(): LinkState;
  dispatch(event: LinkEvent): void;
  /** Something was queued here. */
  poke(): void;
  /**
   * Runs `work` against the open database, or against the one that is just being opened. NETWORK_DOWN or
   * DATABASE_UNREACHABLE when there is none.
   */
  ask<T>(work: (database: SharedDatabase) => Promise<T>): Promise<T>;
  /** Asks for a pull now. */
  pullNow(): void;
  stop(): Promise<void>;
}

const livenessIntervalMs = 10_000;
/** After a pull that brought something, perhaps a toolbox nobody has asked about yet. */
const livenessSoonMs = 1_000;
const pollIntervalMs = { withNudges: 60_000, without: 3_000 };
const heldBackDelayMs = 100;
const toolBatch = 200;
/** As long as a person who asked for something may be kept waiting for the connection to come up. */
const attemptTimeoutMs = 10_000;

export function createEngine(deps: EngineDeps): Engine {
  const { store, log, now } = deps;
  let state: LinkState = { state: "local" };
  let database: SharedDatabase | undefined;
  let isStopped = false;
  let isPullWanted = true;
  let wake = () => {};
  let isAwake = false;
  const attempts = new Set<() => void>();

  const rouse = () => {
    isAwake = true;
    wake();
  };

  function dispatch(event: LinkEvent): void {
    const before = state;
    state = transition(state, event, { now: now(), random: deps.random() });
    if (state !== before) {
      if (state.state !== before.state) log.info("sync.state", { from: before.state, to: state.state, event: event.type });
      deps.onState(state);
    }
    for (const look of [...attempts]) look();
    // A computer that woke up cannot know what it missed.
    if (event.type === "woken") isPullWanted = true;
    rouse();
  }

  /** Settles once the attempt to connect has succeeded or failed, or takes too long to wait for. */
  function attemptEnded(): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        attempts.delete(look);
        resolve();
      };
      const look = () => {
        if (state.state !== "connecting") end();
      };
      const timer = setTimeout(end, attemptTimeoutMs);
      attempts.add(look);
      look();
    });
  }

  /** Sleeps until the time, or until something happens. Null: until something happens. */
  async function sleep(until: number | null): Promise<void> {
    if (isAwake) {
      isAwake = false;
      return;
    }
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      wake = resolve;
      if (until !== null) timer = setTimeout(resolve, Math.min(Math.max(0, until - now()), 2 ** 31 - 1));
    });
    clearTimeout(timer);
    wake = () => {};
    isAwake = false;
  }

  async function run(): Promise<void> {
    while (!isStopped) {
      switch (state.state) {
        case "local":
        case "signed-out":
          await sleep(null);
          break;
        case "waiting":
        case "blocked":
          if (state.until <= now()) dispatch({ type: "due" });
          else await sleep(state.until);
          break;
        case "connecting":
          await visit();
          break;
        case "online":
          dispatch({ type: "failed", failure: { kind: "service", error: new AppError("DATABASE_UNREACHABLE").toShape() } });
          break;
      }
    }
  }

  /** From connecting to the failure, the sign-out or the stop that ends it. */
  async function visit(): Promise<void> {
    let opened: SharedDatabase | undefined;
    let stopListening = () => {};
    try {
      opened = await deps.open();
      const who = await opened.whoAmI();
      assertCompatible(who);
      if (isStopped || state.state !== "connecting") return;
      const account = store.sync.account();
      if (account === undefined) return;
      store.write((tx) => tx.sync.setAccount({ ...account, who: toWho(who) }));
      if (who.roles.length === 0) throw new AppError("NOT_A_MEMBER");
      stopListening = opened.onNudge(() => {
        isPullWanted = true;
        rouse();
      });
      database = opened;
      isPullWanted = true;
      dispatch({ type: "reached" });
      await stay(opened);
    } catch (error) {
      const failure = toAppError(error);
      const kind = failureKind(failure.code);
      log.warn("sync.failed", { code: failure.code, message: failure.message, kind, error: failure });
      dispatch({ type: "failed", failure: { kind, error: failure.toShape(), ...retryAfterOf(failure) } });
    } finally {
      database = undefined;
      stopListening();
      await opened?.close().catch((error: unknown) => log.warn("sync.close-failed", { error }));
    }
  }

  async function stay(open: SharedDatabase): Promise<void> {
    let livenessAt = 0;
    let pollAt = 0;
    let nextDueAt: number | null = null;
    let identityAt = now();
    const isHere = () => !isStopped && state.state === "online";
    while (isHere()) {
      isAwake = false;
      for (let isMore = true; isMore && isHere(); ) {
        const outcome = await pushBatch(store, open, now);
        ({ nextDueAt } = outcome);
        isMore = outcome.sent > 0;
        if (outcome.toolboxes.length > 0) deps.onToolboxes(outcome.toolboxes);
        if (outcome.sent > 0) {
          isPullWanted = true;
          log.info("outbox.pushed", { changes: outcome.sent, parked: outcome.parked });
        }
      }
      let heldBack = false;
      if (isHere() && (isPullWanted || pollAt <= now())) {
        isPullWanted = false;
        const pulled = await pullAll(open, isHere);
        ({ heldBack } = pulled);
        if (pulled.changes > 0) livenessAt = Math.min(livenessAt, now() + livenessSoonMs);
        pollAt = now() + (open.hasNudges() ? pollIntervalMs.withNudges : pollIntervalMs.without);
      }
      await deps.doChores();
      if (isHere() && (await publishLocalRows(store, deps.hashes)) > 0) continue;
      if (isHere() && livenessAt <= now()) {
        applyLiveness(store, await open.liveness(), now());
        livenessAt = now() + livenessIntervalMs;
      }
      if (isHere() && identityAt + pollIntervalMs.withNudges <= now()) {
        identityAt = now();
        refreshIdentity(toWho(await open.whoAmI()));
      }
      if (!isHere() || isPullWanted) continue;
      if (heldBack) isPullWanted = true;
      await sleep(Math.min(pollAt, livenessAt, nextDueAt ?? pollAt, heldBack ? now() + heldBackDelayMs : pollAt));
    }
  }

  /** Roles and names can change while this computer is signed in. */
  function refreshIdentity(who: ReturnType<typeof toWho>): void {
    const account = store.sync.account();
    if (account === undefined || JSON.stringify(account.who) === JSON.stringify(who)) return;
    store.write((tx) => tx.sync.setAccount({ ...account, who }));
    deps.onState(state);
    if (who.roles.length === 0) throw new AppError("NOT_A_MEMBER");
  }

  async function pullAll(open: SharedDatabase, isHere: () => boolean): Promise<{ heldBack: boolean; changes: number }> {
    const startedAt = now();
    const toolboxes = new Set<string>();
    const tools = new Set<string>();
    let changes = 0;
    let heldBack = false;
    for await (const page of pullPages(store, open, log, now)) {
      changes += page.changes;
      ({ heldBack } = page);
      for (const id of page.toolboxes) toolboxes.add(id);
      for (const hash of page.missingTools) tools.add(hash);
      if (!isHere()) break;
    }
    if (toolboxes.size > 0) deps.onToolboxes([...toolboxes]);
    if (changes > 0) {
      log.info("sync.pulled", { changes, durationMs: now() - startedAt });
      refreshIdentity(toWho(await open.whoAmI()));
      await fetchTools(open, [...tools], isHere);
    }
    deps.onState(state);
    return { heldBack, changes };
  }

  async function fetchTools(open: SharedDatabase, missing: string[], isHere: () => boolean): Promise<void> {
    for (let start = 0; start < missing.length && isHere(); start += toolBatch) {
      const hashes = missing.slice(start, start + toolBatch);
      const { tools } = await open.tools(hashes);
      store.write((tx) => {
        for (const [id, items] of Object.entries(tools)) tx.putSynced("toolLists", { id, items });
      });
    }
  }

  const ended = run().catch((error: unknown) => log.error("sync.ended", { error }));

  return {
    state: () => state,
    dispatch,
    poke: rouse,
    pullNow() {
      isPullWanted = true;
      rouse();
    },
    async ask(work) {
      if (database === undefined && state.state === "connecting") await attemptEnded();
      if (database !== undefined) return work(database);
      throw "error" in state
        ? AppError.fromShape(state.error)
        : new AppError("DATABASE_UNREACHABLE", { message: "The workspace is not connected to its shared database." });
    },
    async stop() {
      isStopped = true;
      rouse();
      // A call on its way ends at once instead of at its deadline.
      await database?.close().catch(() => undefined);
      await ended;
    },
  };
}

function retryAfterOf(failure: AppError): { retryAfterMs?: number } {
  if (!(failure instanceof DatabaseError) || failure.retryAfterMs === undefined) return {};
  return { retryAfterMs: failure.retryAfterMs };
}
