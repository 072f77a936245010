import type { AccessEntry, ConnectionUsage } from "../../../shared/dtma-protocol.ts";

export type ConnectionId = AccessEntry["connectionId"];

/** Counts what connections do. `flush` reports those that changed since the last time; call it once a second. */
export class UsageMeter {
  readonly #usage = new Map<ConnectionId, ConnectionUsage>();
  readonly #changed = new Set<ConnectionId>();
  readonly #report: (usage: ConnectionUsage) => void;

  constructor(report: (usage: ConnectionUsage) => void) {
    this.#report = report;
  }

  count(connectionId: ConnectionId, what: "seen" | "call" | "error"): void {
    const usage = this.#usage.get(connectionId) ?? { connectionId, calls: 0, errors: 0, lastUsedAt: 0 };
    if (what === "call") usage.calls++;
    if (what === "error") usage.errors++;
    usage.lastUsedAt = Date.now();
    this.#usage.set(connectionId, usage);
    this.#changed.add(connectionId);
  }

  forget(connectionId: string): void {
    for (const id of this.#usage.keys()) {
      if (id !== connectionId) continue;
      this.#usage.delete(id);
      this.#changed.delete(id);
    }
  }

  flush(): void {
    for (const id of this.#changed) {
      const usage = this.#usage.get(id);
      if (usage !== undefined) this.#report({ ...usage });
    }
    this.#changed.clear();
  }

  all(): ConnectionUsage[] {
    return [...this.#usage.values()].map((usage) => ({ ...usage }));
  }
}
