import type { AccessEntry, ConnectionUsage } from "../../../shared/dtma-protocol.ts";
import { type CallAccount, type CallSizes, ToolCounter } from "./account.ts";

/*
The books of all connections.

INVARIANTS
- They stay small: a tool has an entry of its own when the server lists it or has answered a call of it without an error, and
  a connection has at most `maxTools` of them. What has none is counted together, under no name.
*/

export type ConnectionId = AccessEntry["connectionId"];

type Tool = {
  readonly counter: ToolCounter;
  /** As it was when the DTMA started. */
  readonly before: ToolCounter | undefined;
};

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
  readonly tools: Map<string, Tool>;
  /** Since the last `flush`. */
  readonly changedTools: Set<string>;
};

type EndedCall = CallSizes & { server: string; tool: string | undefined };

export type UsageOptions = {
  report(usage: ConnectionUsage): void;
  /** Totals of earlier starts. */
  totals?: readonly ConnectionUsage[];
  /** Whether a server lists a tool. */
  isListed?(server: string, tool: string): boolean;
  /** A monotonic clock in milliseconds. */
  clock?(): number;
};

const keptForgotten = 1_000;
const maxTools = 100;
const maxNameLength = 256;
/** Of the entry for what has none of its own. */
const others = "";

/** Counts what connections do. `flush` reports those that changed since the last time; call it once a second. */
export class UsageMeter {
  readonly #counters = new Map<ConnectionId, Counter>();
  readonly #changed = new Set<ConnectionId>();
  readonly #options: UsageOptions;
  readonly #clock: () => number;

  constructor(options: UsageOptions) {
    this.#options = options;
    this.#clock = options.clock ?? (() => performance.now());
    for (const { connectionId, calls, errors, lastUsedAt, tools = [] } of options.totals ?? []) {
      const counter = newCounter({ calls, errors }, lastUsedAt);
      for (const usage of tools)
        counter.tools.set(usage.tool, { counter: ToolCounter.from(usage), before: ToolCounter.from(usage) });
      this.#counters.set(connectionId, counter);
    }
  }

  /** The connection said something. */
  seen(connectionId: ConnectionId): void {
    this.#touch(connectionId);
  }

  /** The books of a connection on a server. */
  accountOf(connectionId: ConnectionId, server: string): CallAccount {
    return {
      begin: (tool, bytesIn) => {
        const startedAt = this.#clock();
        let isOver = false;
        this.#touch(connectionId).calls++;
        return {
          end: (outcome, bytesOut) => {
            if (isOver) return;
            isOver = true;
            this.#count(connectionId, { server, tool, outcome, durationMs: this.#clock() - startedAt, bytesIn, bytesOut });
          },
        };
      },
    };
  }

  /** A request was refused, unread, because too many came. Nobody knows what it was: it counts as a call of no tool. */
  limited(connectionId: ConnectionId): void {
    this.#touch(connectionId).calls++;
    this.#count(connectionId, { ...unread, outcome: "limited" });
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
      if (counter === undefined) continue;
      this.#options.report(total(id, counter, counter.changedTools));
      counter.changedTools.clear();
    }
    this.#changed.clear();
  }

  /** Totals over all starts of the connections that have access. */
  all(): ConnectionUsage[] {
    return [...this.#counters]
      .filter(([, { isForgotten }]) => !isForgotten)
      .map(([id, counter]) => total(id, counter, counter.tools.keys()));
  }

  /** What was done since this start, also by connections that have no access any more. */
  sinceStart(): ConnectionUsage[] {
    return [...this.#counters]
      .filter(([, { isUsed }]) => isUsed)
      .map(([connectionId, { calls, errors, lastUsedAt, tools }]) => {
        const used = [...tools].filter(([, { counter, before }]) => counter.calls > (before?.calls ?? 0));
        return {
          connectionId,
          calls,
          errors,
          lastUsedAt,
          tools: used.map(([name, { counter, before }]) => counter.toUsage(name, before)),
        };
      });
  }

  #touch(connectionId: ConnectionId): Counter {
    const counter = this.#counters.get(connectionId) ?? newCounter();
    this.#counters.set(connectionId, counter);
    counter.lastUsedAt = Date.now();
    counter.isUsed = true;
    counter.isForgotten = false;
    this.#changed.add(connectionId);
    return counter;
  }

  #count(connectionId: ConnectionId, ended: EndedCall): void {
    const counter = this.#counters.get(connectionId);
    if (counter === undefined) return;
    if (ended.outcome !== "answered" && ended.outcome !== "ended") counter.errors++;
    const name = this.#entryOf(counter, ended);
    let tool = counter.tools.get(name);
    if (tool === undefined) {
      tool = { counter: new ToolCounter(), before: undefined };
      counter.tools.set(name, tool);
    }
    tool.counter.count(ended);
    counter.changedTools.add(name);
    if (!counter.isForgotten) this.#changed.add(connectionId);
  }

  /** The name under which a call is counted. */
  #entryOf({ tools }: Counter, { server, tool, outcome }: EndedCall): string {
    if (tool === undefined || tool.length > maxNameLength) return others;
    if (tools.has(tool)) return tool;
    if (tools.size - (tools.has(others) ? 1 : 0) >= maxTools) return others;
    return outcome === "answered" || this.#options.isListed?.(server, tool) === true ? tool : others;
  }
}

const unread = { server: "", tool: undefined, durationMs: 0, bytesIn: 0, bytesOut: 0 };

function newCounter(before = { calls: 0, errors: 0 }, lastUsedAt = 0): Counter {
  return {
    before,
    calls: 0,
    errors: 0,
    lastUsedAt,
    isUsed: false,
    isForgotten: false,
    tools: new Map(),
    changedTools: new Set(),
  };
}

function total(connectionId: ConnectionId, counter: Counter, tools: Iterable<string>): ConnectionUsage {
  const { before, calls, errors, lastUsedAt } = counter;
  return {
    connectionId,
    calls: before.calls + calls,
    errors: before.errors + errors,
    lastUsedAt,
    tools: [...tools].flatMap((name) => counter.tools.get(name)?.counter.toUsage(name) ?? []),
  };
}
