import type { ErrorCode, ErrorShape } from "../../../shared/errors.ts";
import type { SyncLink } from "../../../shared/model/sync.ts";

/*
Where the workspace stands with its shared database: states and what changes them. Pure.

INVARIANTS
- Failures that pass by themselves lead to one planned attempt, ever later and with jitter, never earlier than Retry-After.
- Waking up or another network brings the planned attempt forward, once; it never starts a second one.
- What only a person can mend is not tried in the meantime; what somebody else can mend is looked at once a minute.
- `since` of an outage is the moment it began, however many attempts it takes.
*/

export type LinkState =
  | Exclude<SyncLink, { state: "connecting" | "waiting" | "blocked" }>
  | { state: "connecting"; since: number; attempt: number }
  | (Extract<SyncLink, { state: "waiting" | "blocked" }> & { attempt: number });

export type FailureKind = "my-network" | "service" | "credentials" | "blocked";
export type Failure = { kind: FailureKind; error: ErrorShape; retryAfterMs?: number };

export type LinkEvent =
  /** There is an account: at the start, and after somebody signed in. */
  | { type: "signed-in" }
  | { type: "signed-out" }
  | { type: "reached" }
  | { type: "failed"; failure: Failure }
  /** The planned time has come, or a person does not want to wait for it. */
  | { type: "due" }
  /** This computer woke up, or its network changed. */
  | { type: "woken" };

/** `random` is in [0, 1). */
export type Moment = { now: number; random: number };

const firstDelayMs = 1_000;
const longestDelayMs = 60_000;
const blockedDelayMs = 60_000;
const wakeDelayMs = { least: 300, spread: 1_700 };

export function transition(from: LinkState, event: LinkEvent, moment: Moment): LinkState {
  switch (event.type) {
    case "signed-in":
      return { state: "connecting", since: moment.now, attempt: 0 };
    case "signed-out":
      return { state: "local" };
    case "reached":
      return from.state === "connecting" ? { state: "online", since: moment.now } : from;
    case "failed":
      return from.state === "connecting" || from.state === "online" ? failed(from, event.failure, moment) : from;
    case "due":
      if (from.state !== "waiting" && from.state !== "blocked") return from;
      return { state: "connecting", since: from.since, attempt: from.attempt };
    case "woken": {
      if (from.state !== "waiting" && from.state !== "blocked") return from;
      return { ...from, until: Math.min(from.until, moment.now + wakeDelayMs.least + wakeDelayMs.spread * moment.random) };
    }
  }
}

function failed(
  from: Extract<LinkState, { state: "connecting" | "online" }>,
  failure: Failure,
  { now, random }: Moment,
): LinkState {
  const { kind, error, retryAfterMs = 0 } = failure;
  if (kind === "credentials") return { state: "signed-out", since: now, error };
  const since = from.state === "connecting" ? from.since : now;
  const attempt = from.state === "connecting" ? from.attempt + 1 : 1;
  const planned = kind === "blocked" ? blockedDelayMs : Math.min(longestDelayMs, firstDelayMs * 2 ** (attempt - 1));
  const until = now + Math.max(planned * (0.5 + random / 2), retryAfterMs * (1 + random / 10));
  if (kind === "blocked") return { state: "blocked", since, until, error, attempt };
  return { state: "waiting", since, until, reason: kind, error, attempt };
}

const kinds: Partial<Record<ErrorCode, FailureKind>> = {
  NETWORK_DOWN: "my-network",
  SIGN_IN_REFUSED: "credentials",
  DATABASE_NOT_TRUSTED: "blocked",
  NOT_A_MEMBER: "blocked",
  SCHEMA_MISSING: "blocked",
  SCHEMA_TOO_OLD: "blocked",
  SCHEMA_TOO_NEW: "blocked",
  FORBIDDEN: "blocked",
  INVALID_INPUT: "blocked",
};

/** What a failure of a call means for the link. Unknown ones are the service's and pass by themselves. */
export function failureKind(code: ErrorCode): FailureKind {
  return kinds[code] ?? "service";
}

/** The state as the window gets it. */
export function toSyncLink(state: LinkState): SyncLink {
  if (state.state !== "connecting" && state.state !== "waiting" && state.state !== "blocked") return state;
  const { attempt: _, ...rest } = state;
  return "until" in rest ? { ...rest, until: Math.round(rest.until) } : rest;
}
