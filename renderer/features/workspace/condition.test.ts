import { describe, expect, it } from "vitest";
import { AppError } from "../../../shared/errors.ts";
import { localCondition, type SyncCondition, type SyncLink } from "../../../shared/model/sync.ts";
import { formatTime } from "../../format.ts";
import { describeSync } from "./condition.ts";

const now = Date.parse("2026-11-20T14:30:00");
const pulledAt = Date.parse("2026-11-20T14:02:00");
const since = Date.parse("2026-11-20T13:40:00");
const at = (ms: number) => formatTime(ms, now);

function condition(link: SyncLink, change: Partial<SyncCondition> = {}): SyncCondition {
  return { ...localCondition, link, lastPullAt: pulledAt, ...change };
}

const unreachable = new AppError("DATABASE_UNREACHABLE").toShape();

describe("the words for the shared database", () => {
  it("has nothing to say about a local workspace", () => {
    expect(describeSync(localCondition, now)).toBeNull();
  });

  it("says as of when, since when, and that it is this computer's network", () => {
    const link: SyncLink = { state: "waiting", since, until: now + 12_000, reason: "my-network", error: unreachable };
    const described = describeSync(condition(link), now);
    expect(described?.words).toBe(`as of ${at(pulledAt)}, offline since ${at(since)} (this computer's network)`);
    expect(described?.detail).toContain("The next attempt is in 12 s.");
  });

  it("tells the service from the network", () => {
    const link: SyncLink = { state: "waiting", since, until: now, reason: "service", error: unreachable };
    expect(describeSync(condition(link), now)?.words).toMatch(/\(the service\)$/);
  });

  it("claims no age for rows that were never fetched", () => {
    const link: SyncLink = { state: "waiting", since, until: now, reason: "service", error: unreachable };
    expect(describeSync(condition(link, { lastPullAt: null }), now)?.words).toBe(`Offline since ${at(since)} (the service)`);
  });

  it("does not call a workspace up to date before its first fetch has ended", () => {
    const link: SyncLink = { state: "online", since };
    expect(describeSync(condition(link, { isFirstPull: true }), now)?.tone).toBe("busy");
    expect(describeSync(condition(link), now)?.tone).toBe("ok");
  });

  it("names what blocks it, also what has no word of its own", () => {
    const blocked = (code: "NOT_A_MEMBER" | "FORBIDDEN"): SyncLink => ({
      state: "blocked",
      since,
      until: now,
      error: new AppError(code).toShape(),
    });
    expect(describeSync(condition(blocked("NOT_A_MEMBER")), now)?.words).toMatch(/waiting to be let in$/);
    expect(describeSync(condition(blocked("FORBIDDEN")), now)?.words).toMatch(/somebody has to mend it$/);
  });

  it("says since when nobody is signed in", () => {
    const link: SyncLink = { state: "signed-out", since, error: new AppError("SIGN_IN_REFUSED").toShape() };
    expect(describeSync(condition(link), now)).toMatchObject({
      tone: "danger",
      words: `as of ${at(pulledAt)}, signed out since ${at(since)}`,
    });
  });
});
