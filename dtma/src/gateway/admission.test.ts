import fc from "fast-check";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createAdmission, type Slot } from "./admission.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const settled = () => vi.advanceTimersByTimeAsync(0);
const limits = { sessionsPerServer: 3, sessionsPerConnection: 2, queueMs: 10_000 };

it("never goes above a cap, keeps the order of each connection, and forgets nobody", async () => {
  const act = fc.oneof(
    { weight: 5, arbitrary: fc.record({ act: fc.constant("acquire" as const), who: fc.nat(3), where: fc.nat(1) }) },
    { weight: 4, arbitrary: fc.record({ act: fc.constant("release" as const), which: fc.nat(50) }) },
    { weight: 1, arbitrary: fc.record({ act: fc.constant("leave" as const), which: fc.nat(50) }) },
    { weight: 1, arbitrary: fc.record({ act: fc.constant("reserve" as const), where: fc.nat(1), isQuick: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ act: fc.constant("wait" as const), ms: fc.nat(6_000) }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 80 }), async (acts) => {
      const admission = createAdmission(limits);
      type Visit = { server: string; connection: string | undefined; slot?: Slot; isOver: boolean; leaves: AbortController };
      const visits: Visit[] = [];
      const spares = new Map<Slot, string>();
      const check = () => {
        for (const server of ["s0", "s1"]) {
          const held = visits.filter((visit) => visit.server === server && visit.slot !== undefined).length;
          const spare = [...spares.values()].filter((name) => name === server).length;
          expect(held + spare).toBeLessThanOrEqual(limits.sessionsPerServer);
        }
        for (const connection of ["c1", "c2", "c3"]) {
          const held = visits.filter((visit) => visit.connection === connection && visit.slot !== undefined);
          expect(held.length).toBeLessThanOrEqual(limits.sessionsPerConnection);
        }
      };
      const give = (visit: Visit | undefined) => {
        const { slot } = visit ?? {};
        if (visit === undefined || slot === undefined) return;
        delete visit.slot;
        slot.release();
        slot.release();
      };
      for (const step of acts) {
        if (step.act === "acquire") {
          const leaves = new AbortController();
          const connection = step.who === 0 ? undefined : `c${step.who}`;
          const visit: Visit = { server: `s${step.where}`, connection, isOver: false, leaves };
          visits.push(visit);
          void admission.acquire({ server: visit.server, connectionId: connection, signal: leaves.signal }).then(
            (slot) => {
              const before = visits.slice(0, visits.indexOf(visit));
              const same = before.filter((one) => one.server === visit.server && one.connection === connection);
              expect(same.filter(({ isOver }) => !isOver)).toEqual([]);
              Object.assign(visit, { slot, isOver: true });
            },
            () => {
              visit.isOver = true;
            },
          );
        } else if (step.act === "release") {
          const held = visits.filter(({ slot }) => slot !== undefined);
          give(held[step.which % Math.max(1, held.length)]);
        } else if (step.act === "leave") {
          const waiting = visits.filter(({ isOver }) => !isOver);
          waiting[step.which % Math.max(1, waiting.length)]?.leaves.abort(new Error("left"));
        } else if (step.act === "reserve") {
          const end = () => {
            if (spare !== undefined && spares.delete(spare)) spare.release();
          };
          const spare = admission.reserve(`s${step.where}`, () => (step.isQuick ? end() : setTimeout(end, 100)));
          if (spare !== undefined) spares.set(spare, `s${step.where}`);
        } else await vi.advanceTimersByTimeAsync(step.ms);
        await settled();
        check();
      }
      while (visits.some(({ slot }) => slot !== undefined)) {
        for (const visit of visits) give(visit);
        await vi.advanceTimersByTimeAsync(200);
        check();
      }
      expect(visits.filter(({ isOver }) => !isOver)).toEqual([]);
      expect(vi.getTimerCount()).toBe(0);
    }),
    { numRuns: 300 },
  );
});

it("lets connections take turns, and passes over one that is at its own cap", async () => {
  const admission = createAdmission({ ...limits, sessionsPerServer: 4 });
  const order: string[] = [];
  const ask = (connectionId: string) =>
    admission.acquire({ server: "s", connectionId }).then((slot) => {
      order.push(connectionId);
      return slot;
    });
  const held = await Promise.all([ask("a"), ask("a"), ask("b"), ask("c")]);
  order.length = 0;
  void [ask("a"), ask("a"), ask("b"), ask("d")];
  held[2]?.release();
  held[3]?.release();
  await settled();
  expect(order).toEqual(["b", "d"]);
  held[0]?.release();
  await settled();
  held[1]?.release();
  await settled();
  expect(order).toEqual(["b", "d", "a", "a"]);
});

it("lets one connection with many waiting hold up nobody else", async () => {
  const admission = createAdmission({ sessionsPerServer: 4, sessionsPerConnection: 4, queueMs: 10_000 });
  const order: string[] = [];
  const ask = async (connectionId: string) => {
    const slot = await admission.acquire({ server: "s", connectionId });
    order.push(connectionId);
    return slot;
  };
  const held = await Promise.all([ask("a"), ask("a"), ask("a"), ask("a")]);
  order.length = 0;
  void [ask("a"), ask("a"), ask("a"), ask("b")];
  for (const slot of held) {
    slot.release();
    await settled();
  }
  expect(order).toEqual(["a", "b", "a", "a"]);
});

it("refuses at the deadline with what is full, and at once when as many wait as may be in", async () => {
  const admission = createAdmission({ sessionsPerServer: 2, sessionsPerConnection: 1, queueMs: 10_000 });
  await admission.acquire({ server: "s", connectionId: "a" });
  const late = expect(admission.acquire({ server: "s", connectionId: "a" })).rejects.toMatchObject({
    code: "LIMIT_REACHED",
    message: expect.stringContaining("connection"),
  });
  await expect(admission.acquire({ server: "s", connectionId: "a" })).rejects.toMatchObject({ code: "LIMIT_REACHED" });
  await vi.advanceTimersByTimeAsync(10_000);
  await late;
  await admission.acquire({ server: "s", connectionId: "b" });
  const full = expect(admission.acquire({ server: "s", connectionId: "c" })).rejects.toMatchObject({
    message: expect.stringContaining("server"),
  });
  await vi.advanceTimersByTimeAsync(10_000);
  await full;
});

it("takes who left out of the line and refuses who had left before", async () => {
  const admission = createAdmission({ ...limits, sessionsPerServer: 1 });
  const slot = await admission.acquire({ server: "s", connectionId: "a" });
  const leaving = new AbortController();
  const left = expect(admission.acquire({ server: "s", connectionId: "b", signal: leaving.signal })).rejects.toThrow("left");
  leaving.abort(new Error("left"));
  await left;
  const next = admission.acquire({ server: "s", connectionId: "c" });
  slot.release();
  (await next).release();
  const signal = AbortSignal.abort(new Error("gone"));
  await expect(admission.acquire({ server: "s", connectionId: "a", signal })).rejects.toThrow("gone");
});

it("reserves only where one more place stays free, and asks for the way once somebody waits", async () => {
  const admission = createAdmission({ ...limits, sessionsPerConnection: 3 });
  const asked: string[] = [];
  const spare = admission.reserve("s", () => asked.push("first"));
  expect(spare).toBeDefined();
  const first = await admission.acquire({ server: "s", connectionId: "a" });
  expect(admission.reserve("s", () => asked.push("second"))).toBeUndefined();
  await admission.acquire({ server: "s", connectionId: "a" });
  expect(asked).toEqual([]);
  const waiting = admission.acquire({ server: "s", connectionId: "a" });
  expect(asked).toEqual(["first"]);
  const other = admission.acquire({ server: "s", connectionId: "b" });
  expect(asked).toEqual(["first"]);
  spare?.release();
  spare?.release();
  await waiting;
  first.release();
  await other;
});
