import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AppError } from "../../../shared/errors.ts";
import { syncLink } from "../../../shared/model/sync.ts";
import { type FailureKind, failureKind, type LinkEvent, type LinkState, toSyncLink, transition } from "./transition.ts";

const error = new AppError("DATABASE_UNREACHABLE").toShape();
const failure = (kind: FailureKind, retryAfterMs?: number): LinkEvent => ({
  type: "failed",
  failure: { kind, error, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) },
});

const states: Record<LinkState["state"], LinkState> = {
  local: { state: "local" },
  "signed-out": { state: "signed-out", since: 10, error },
  connecting: { state: "connecting", since: 10, attempt: 2 },
  online: { state: "online", since: 10 },
  waiting: { state: "waiting", since: 10, until: 60_000, reason: "service", error, attempt: 2 },
  blocked: { state: "blocked", since: 10, until: 60_000, error, attempt: 2 },
};
const events: Record<string, LinkEvent> = {
  "signed-in": { type: "signed-in" },
  "signed-out": { type: "signed-out" },
  reached: { type: "reached" },
  "my network": failure("my-network"),
  service: failure("service"),
  credentials: failure("credentials"),
  blocked: failure("blocked"),
  due: { type: "due" },
  woken: { type: "woken" },
};

/** Where each event leads from each state; a state that is not named stays as it is. */
const table: Record<string, Partial<Record<LinkState["state"], LinkState["state"]>>> = {
  "signed-in": {
    local: "connecting",
    "signed-out": "connecting",
    connecting: "connecting",
    online: "connecting",
    waiting: "connecting",
    blocked: "connecting",
  },
  "signed-out": {
    local: "local",
    "signed-out": "local",
    connecting: "local",
    online: "local",
    waiting: "local",
    blocked: "local",
  },
  reached: { connecting: "online" },
  "my network": { connecting: "waiting", online: "waiting" },
  service: { connecting: "waiting", online: "waiting" },
  credentials: { connecting: "signed-out", online: "signed-out" },
  blocked: { connecting: "blocked", online: "blocked" },
  due: { waiting: "connecting", blocked: "connecting" },
  woken: { waiting: "waiting", blocked: "blocked" },
};

describe("the link to the shared database", () => {
  const cases = Object.keys(states).flatMap((from) => Object.keys(events).map((event) => [from, event] as const));

  it.each(cases)("%s, when %s", (from, event) => {
    const before = states[from as LinkState["state"]];
    const after = transition(before, events[event] as LinkEvent, { now: 1_000, random: 0.5 });
    const expected = table[event]?.[before.state];
    if (expected === undefined) expect(after).toBe(before);
    else expect(after.state).toBe(expected);
    expect(syncLink.safeParse(toSyncLink(after)).success).toBe(true);
  });

  it("waits ever longer, never longer than a minute and never shorter than Retry-After", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 30 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        fc.nat(600_000),
        (attempt, random, retryAfterMs) => {
          const from: LinkState = { state: "connecting", since: 0, attempt };
          const plain = transition(from, failure("service"), { now: 0, random });
          const asked = transition(from, failure("service", retryAfterMs), { now: 0, random });
          const longest = Math.min(60_000, 1_000 * 2 ** attempt);
          if (plain.state !== "waiting" || asked.state !== "waiting") throw new Error("It must wait.");
          expect(plain.until).toBeGreaterThanOrEqual(longest / 2);
          expect(plain.until).toBeLessThanOrEqual(longest);
          expect(asked.until).toBeGreaterThanOrEqual(Math.max(plain.until, retryAfterMs));
        },
      ),
    );
  });

  it("makes one attempt after waking up, soon and spread, however often it is woken", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: 1, maxLength: 20 }), (randoms) => {
        let state: LinkState = states.waiting;
        for (const random of randoms) state = transition(state, { type: "woken" }, { now: 1_000, random });
        if (state.state !== "waiting") throw new Error("It must still wait.");
        expect(state.until).toBeGreaterThanOrEqual(1_300);
        expect(state.until).toBeLessThan(3_000);
      }),
    );
    expect(
      transition({ ...states.waiting, until: 1_001 } as LinkState, { type: "woken" }, { now: 1_000, random: 0 }),
    ).toMatchObject({
      until: 1_001,
    });
  });

  it("knows since when it is offline over any number of attempts, and counts anew after it was reached", () => {
    let state: LinkState = transition({ state: "online", since: 5 }, failure("service"), { now: 100, random: 0 });
    for (let now = 200; now < 1_000; now += 100) {
      state = transition(state, { type: "due" }, { now, random: 0 });
      state = transition(state, failure("my-network"), { now, random: 0 });
      expect(state).toMatchObject({ state: "waiting", since: 100, reason: "my-network" });
    }
    state = transition(
      transition(state, { type: "due" }, { now: 2_000, random: 0 }),
      { type: "reached" },
      { now: 2_001, random: 0 },
    );
    expect(state).toEqual({ state: "online", since: 2_001 });
    expect(transition(state, failure("service"), { now: 3_000, random: 0 })).toMatchObject({
      since: 3_000,
      until: 3_500,
      attempt: 1,
    });
  });

  it("takes failures for what they are", () => {
    expect(failureKind("NETWORK_DOWN")).toBe("my-network");
    expect(failureKind("SIGN_IN_REFUSED")).toBe("credentials");
    expect(failureKind("SCHEMA_TOO_NEW")).toBe("blocked");
    expect(failureKind("DEADLINE_EXCEEDED")).toBe("service");
    expect(failureKind("INTERNAL")).toBe("service");
  });
});
