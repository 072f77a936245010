import type { AccessEntry, ConnectionUsage } from "../../../shared/dtma-protocol.ts";

export type ConnectionId = AccessEntry["connectionId"];

type Counter = {
  /** Counts of earlier starts of the DTMA. */
  readonly before: { calls: number; errors: number };
  calls: number;
  errors: number;
  lastUsedAt: number;
  /** Used since this start. */
  isUsed: boolean;
  /** Has no access at the moment: not shown, but what it did is still to be reported. */
  isForgotten: boolean;
};

const keptForgotten = 1_000;

/** Counts what connections do. `flush` reports those that changed since the last time; call it once a second. */
export class UsageMeter {
  readonly #counters = new Map<ConnectionId, Counter>();
  readonly #changed = new Set<ConnectionId>();
  readonly #report: (usage: ConnectionUsage) => void;

  /** `totals` are those of earlier starts. */
  constructor(report: (usage: ConnectionUsage) => void, totals: readonly ConnectionUsage[] = []) {
    this.#report = report;
    for (const { connectionId, calls, errors, lastUsedAt } of totals) {
      this.#counters.set(connectionId, { ...noCounts, before: { calls, errors }, lastUsedAt });
    }
  }

  count(connectionId: ConnectionId, what: "seen" | "call" | "error"): void {
    const counter = this.#counters.get(connectionId) ?? { ...noCounts, before: { calls: 0, errors: 0 } };
    if (what === "call") counter.calls++;
    if (what === "error") counter.errors++;
    counter.lastUsedAt = Date.now();
    counter.isUsed = true;
    counter.isForgotten = false;
    this.#counters.set(connectionId, counter);
    this.#changed.add(connectionId);
  }

  /** The connection has no access any more. */
  forget(connectionId: string): void {
    const counter = this.#counters.get(connectionId as ConnectionId);
    if (counter === undefined) return;
    this.#changed.delete(connectionId as ConnectionId);
    counter.isForgotten = true;
    const forgotten = [...this.#counters].filter(([, { isForgotten }]) => isForgotten);
    for (const [id] of forgotten.slice(0, -keptForgotten)) this.#counters.delete(id);
  }

  /** The connection has access, perhaps again. */
  remember(connectionId: string): void {
    const counter = this.#counters.get(connectionId as ConnectionId);
    if (counter !== undefined) counter.isForgotten = false;
  }

  flush(): void {
    for (const id of this.#changed) {
      const counter = this.#counters.get(id);
      if (counter !== undefined) this.#report(total(id, counter));
    }
    this.#changed.clear();
  }

  /** Totals over all starts of the connections that have access. */
  all(): ConnectionUsage[] {
    return [...this.#counters].filter(([, { isForgotten }]) => !isForgotten).map(([id, counter]) => total(id, counter));
  }

  /** What was done since this start, also by connections that have no access any more. */
  sinceStart(): ConnectionUsage[] {
    return [...this.#counters]
      .filter(([, { isUsed }]) => isUsed)
      .map(([connectionId, { calls, errors, lastUsedAt }]) => ({ connectionId, calls, errors, lastUsedAt }));
  }
}

const noCounts = { calls: 0, errors: 0, lastUsedAt: 0, isUsed: false, isForgotten: false } as const;

function total(connectionId: ConnectionId, { before, calls, errors, lastUsedAt }: Counter): ConnectionUsage {
  return { connectionId, calls: before.calls + calls, errors: before.errors + errors, lastUsedAt };
}
