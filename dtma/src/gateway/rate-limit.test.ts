import fc from "fast-check";
import { expect, it } from "vitest";
import { createRateLimit } from "./rate-limit.ts";

function open(perSecond = 50, burst = 200) {
  let now = 0;
  const limit = createRateLimit({ perSecond, burst, clock: () => now });
  const pass = (ms: number): void => {
    now += ms;
  };
  return { limit, pass };
}

it("takes a burst at once, then as much as comes back, and says how long to wait", () => {
  const { limit, pass } = open(2, 3);
  expect([1, 2, 3, 4].map(() => limit.take("one"))).toEqual([undefined, undefined, undefined, 1]);
  pass(499);
  expect(limit.take("one")).toBe(1);
  pass(1);
  expect([limit.take("one"), limit.take("one")]).toEqual([undefined, 1]);
  pass(3_600_000);
  expect([1, 2, 3, 4].map(() => limit.take("one"))).toEqual([undefined, undefined, undefined, 1]);
});

it("lets through no more than the burst and the rate, however it is asked", () => {
  fc.assert(
    fc.property(fc.array(fc.record({ ms: fc.nat(500), asks: fc.nat(40) }), { maxLength: 60 }), (steps) => {
      const { limit, pass } = open(50, 20);
      let [elapsed, taken] = [0, 0];
      for (const { ms, asks } of steps) {
        pass(ms);
        elapsed += ms;
        for (let ask = 0; ask < asks; ask++) if (limit.take("one") === undefined) taken++;
        expect(taken).toBeLessThanOrEqual(20 + (elapsed * 50) / 1_000 + 1e-6);
      }
    }),
  );
});

it("gives every connection a bucket of its own", () => {
  const { limit } = open(1, 1);
  expect([limit.take("one"), limit.take("one"), limit.take("other")]).toEqual([undefined, 1, undefined]);
});

it("has what came in one request paid for by what comes next", () => {
  const { limit, pass } = open(10, 10);
  limit.take("one");
  limit.charge("one", 29);
  expect(limit.take("one")).toBe(3);
  pass(2_100);
  expect(limit.take("one")).toBeUndefined();
});

it("starts anew with a connection that had lost its access", () => {
  const { limit } = open(1, 1);
  limit.take("one");
  limit.forget("one");
  expect(limit.take("one")).toBeUndefined();
});
