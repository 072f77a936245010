import type { Cursor, StateEvent } from "../../shared/contract/state.ts";
import type { Facts } from "../../shared/model/facts.ts";
import { localCondition } from "../../shared/model/sync.ts";
import type { Store } from "./store/index.ts";

/** Facts about this machine: not rows, unknown again at every start, told to the window when they change. */
export type FactsCell = {
  get(): Facts;
  set(changes: Partial<Facts>): void;
  onChange(listener: () => void): () => void;
};

export function createFacts(): FactsCell {
  let current: Facts = {
    keychain: { state: "unknown" },
    docker: { state: "unknown" },
    sync: localCondition,
    signIns: [],
    neededClients: [],
  };
  const listeners = new Set<() => void>();
  return {
    get: () => current,
    set(changes) {
      current = { ...current, ...changes };
      for (const listener of listeners) listener();
    },
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/**
 * A window's copy of the state: a snapshot, or what changed since a cursor the feed still remembers, then patches.
 * A slow window gets fewer, larger patches. Ends when the signal aborts.
 */
export async function* watchState(
  store: Store,
  facts: FactsCell,
  since: Cursor | undefined,
  signal: AbortSignal,
): AsyncGenerator<StateEvent> {
  let wake = () => {};
  let isDirty = false;
  let isFactsDirty = false;
  const touch = () => {
    isDirty = true;
    wake();
  };
  const stops = [
    store.onChange(touch),
    facts.onChange(() => {
      isFactsDirty = true;
      touch();
    }),
  ];
  signal.addEventListener("abort", touch, { once: true });
  try {
    let cursor: Cursor;
    const missed = since === undefined ? undefined : store.changesSince(since);
    if (missed === undefined) {
      const snapshot = store.snapshot();
      cursor = snapshot.cursor;
      yield { type: "snapshot", ...snapshot, facts: facts.get() };
    } else {
      cursor = missed.cursor;
      yield { type: "patch", ...missed };
      yield { type: "facts", facts: facts.get() };
    }
    while (!signal.aborted) {
      if (!isDirty) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        continue;
      }
      isDirty = false;
      if (isFactsDirty) {
        isFactsDirty = false;
        yield { type: "facts", facts: facts.get() };
      }
      const changed = store.changesSince(cursor);
      if (changed === undefined) {
        const snapshot = store.snapshot();
        cursor = snapshot.cursor;
        yield { type: "snapshot", ...snapshot, facts: facts.get() };
      } else if (changed.changes.length > 0) {
        cursor = changed.cursor;
        yield { type: "patch", ...changed };
      }
    }
  } finally {
    for (const stop of stops) stop();
  }
}
