import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isOver } from "../../../shared/model/agent.ts";
import { dayOf, endLabel, endOf, endOfDay } from "./end.ts";

const now = Date.UTC(2026, 10, 27, 12);
const dayMs = 86_400_000;

describe("the end of a connection", () => {
  it("is over from its moment on, and never without one", () => {
    expect([isOver({}, now), isOver({ expiresAt: now }, now), isOver({ expiresAt: now + 1 }, now)]).toEqual([
      false,
      true,
      false,
    ]);
    expect(endLabel({}, now)).toBe("Never");
    expect(endLabel({ expiresAt: now - dayMs }, now)).toMatch(/^Expired /);
    expect(endLabel({ expiresAt: now + dayMs }, now)).toMatch(/2026/);
  });

  it("follows from a choice", () => {
    expect(endOf("never", now, now)).toBeNull();
    expect(endOf("month", now, null)).toBe(now + 30 * dayMs);
    expect(endOf("quarter", now, 5)).toBe(now + 90 * dayMs);
    expect(endOf("date", now, now)).toBe(endOfDay(dayOf(now)));
    expect(endOf("date", now, null)).toBe(endOfDay(dayOf(now + 30 * dayMs)));
  });

  it("is the last moment of a day that was typed, and that day again", () => {
    fc.assert(
      fc.property(fc.date({ min: new Date(2000, 0, 1), max: new Date(2100, 0, 1), noInvalidDate: true }), (date) => {
        const end = endOfDay(dayOf(date.getTime()));
        expect(end).toBeGreaterThanOrEqual(date.getTime());
        expect(dayOf(end ?? 0)).toBe(dayOf(date.getTime()));
        expect(dayOf((end ?? 0) + 1)).not.toBe(dayOf(date.getTime()));
      }),
    );
    for (const day of ["", "2026-02-31", "27.11.2026", "2026-1-1"]) expect(endOfDay(day)).toBeNull();
  });
});
