import { expect, it } from "vitest";
import { retryAfterMs } from "./link.ts";
import { backOffMs, nextReportMs } from "./schedule.ts";

it("reports when the database asked for it, give or take a tenth, within limits", () => {
  expect([0, 0.5, 1].map((random) => nextReportMs(5_000, random))).toEqual([4_500, 5_000, 5_500]);
  expect(nextReportMs(1, 0.5)).toBe(500);
  expect(nextReportMs(86_400_000, 0.5)).toBe(300_000);
});

it("waits twice as long after each failure, up to half a minute for an outage and five minutes for a refusal", () => {
  const ceilings = (code: "DATABASE_UNREACHABLE" | "FORBIDDEN") =>
    [1, 2, 3, 6, 9, 1_000].map((failures) => backOffMs(code, failures, undefined, 1));
  expect(ceilings("DATABASE_UNREACHABLE")).toEqual([1_000, 2_000, 4_000, 30_000, 30_000, 30_000]);
  expect(ceilings("FORBIDDEN")).toEqual([2_000, 4_000, 8_000, 64_000, 300_000, 300_000]);
  expect(backOffMs("FORBIDDEN", 9, undefined, 0)).toBe(150_000);
});

it("never comes back before the service asked for it", () => {
  for (const random of [0, 0.5, 1]) expect(backOffMs("DATABASE_UNREACHABLE", 1, 60_000, random)).toBeGreaterThanOrEqual(60_000);
});

it("reads both forms of Retry-After, and an hour at most", () => {
  expect(retryAfterMs("7")).toBe(7_000);
  expect(retryAfterMs("Thu, 01 Jan 1970 00:00:10 GMT", 4_000)).toBe(6_000);
  expect(retryAfterMs("Thu, 01 Jan 1970 00:00:10 GMT", 40_000)).toBe(0);
  expect(retryAfterMs("999999999")).toBe(3_600_000);
  expect(retryAfterMs("soon")).toBeUndefined();
  expect(retryAfterMs(undefined)).toBeUndefined();
});
