import {
  type CallErrorKind,
  callErrorKinds,
  latencyBoundsMs,
  latencyBucket,
  type ToolUsage,
} from "../../../shared/model/usage.ts";
import type { Failure } from "./messages/failure.ts";
import { type Message, memberOf } from "./messages/json-rpc.ts";

/*
What one `tools/call` leaves in the books.

INVARIANTS
- Nothing of a message is kept but its size, the tool's name and how it ended.
- A call counts once as one that came, and once by how it ended: its first `end`.
- Time is measured on the monotonic clock.
*/

/** `answered` is by the server, with a result that is no error. */
export type CallOutcome = "answered" | CallErrorKind;

export interface Call {
  end(outcome: CallOutcome, bytesOut: number): void;
}

/** The books of one caller on one server. */
export interface CallAccount {
  /** A `tools/call` came; `tool` is undefined when it names none. */
  begin(tool: string | undefined, bytesIn: number): Call;
}

/** For the holder of the toolbox's own token, who is in no books. */
export const noAccount: CallAccount = { begin: () => noCall };
const noCall: Call = { end() {} };

/** How a call ended that the server answered. */
export function outcomeOf(answer: Message): CallOutcome {
  if (answer.hasError) return "protocol";
  const isError = memberOf(answer.text, answer.result, "isError");
  return isError !== undefined && answer.text.startsWith("true", isError.start) ? "tool" : "answered";
}

/** How a call ended that has no answer of the server. */
export function outcomeOfFailure({ status, error }: Failure): CallOutcome {
  const code = (error.data as { code?: unknown } | undefined)?.code;
  if (code === "LIMIT_REACHED" || (status === 503 && code === undefined)) return "limited";
  return status >= 500 || code === "SERVER_EXITED" || code === "SERVER_NOT_RUNNING" ? "died" : "ended";
}

export type CallSizes = { outcome: CallOutcome; durationMs: number; bytesIn: number; bytesOut: number };

/** The counts of one tool. */
export class ToolCounter {
  calls = 0;
  readonly errors: number[] = callErrorKinds.map(() => 0);
  readonly latency: number[] = [...latencyBoundsMs.map(() => 0), 0];
  latencySumMs = 0;
  bytesIn = 0;
  bytesOut = 0;
  lastUsedAt = 0;

  static from(usage: ToolUsage): ToolCounter {
    const counter = new ToolCounter();
    counter.calls = usage.calls;
    for (const [index, kind] of callErrorKinds.entries()) counter.errors[index] = usage.errors[kind] ?? 0;
    for (const [index, calls] of usage.latency.entries()) counter.latency[index] = calls;
    counter.latencySumMs = usage.latencySumMs;
    counter.bytesIn = usage.bytesIn;
    counter.bytesOut = usage.bytesOut;
    counter.lastUsedAt = usage.lastUsedAt;
    return counter;
  }

  count({ outcome, durationMs, bytesIn, bytesOut }: CallSizes): void {
    this.calls++;
    if (outcome !== "answered") {
      const kind = callErrorKinds.indexOf(outcome);
      this.errors[kind] = (this.errors[kind] ?? 0) + 1;
    }
    if (outcome === "answered" || outcome === "tool" || outcome === "protocol") {
      const bucket = latencyBucket(durationMs);
      this.latency[bucket] = (this.latency[bucket] ?? 0) + 1;
      this.latencySumMs += durationMs;
    }
    this.bytesIn += bytesIn;
    this.bytesOut += bytesOut;
    this.lastUsedAt = Date.now();
  }

  /** The counts under a name; without those of `before`, which has to be an earlier state of the same tool. */
  toUsage(tool: string, before?: ToolCounter): ToolUsage {
    const errors: ToolUsage["errors"] = {};
    for (const [index, kind] of callErrorKinds.entries()) {
      const count = (this.errors[index] ?? 0) - (before?.errors[index] ?? 0);
      if (count > 0) errors[kind] = count;
    }
    const latency = this.latency.map((calls, bucket) => calls - (before?.latency[bucket] ?? 0));
    return {
      tool,
      calls: this.calls - (before?.calls ?? 0),
      errors,
      latency: latency.slice(0, latency.findLastIndex((calls) => calls > 0) + 1),
      latencySumMs: Math.round(this.latencySumMs - (before?.latencySumMs ?? 0)),
      bytesIn: this.bytesIn - (before?.bytesIn ?? 0),
      bytesOut: this.bytesOut - (before?.bytesOut ?? 0),
      lastUsedAt: this.lastUsedAt,
    };
  }
}
