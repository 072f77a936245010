import { randomUUID } from "node:crypto";
import { expect, it } from "vitest";
import type { ConnectionUsage } from "../../../shared/dtma-protocol.ts";
import { connectionId } from "../../../shared/model/ids.ts";
import { UsageMeter } from "./usage.ts";

const id = connectionId.parse(randomUUID());
const other = connectionId.parse(randomUUID());

it("goes on from the totals of earlier starts, and knows what this start added", () => {
  const told: ConnectionUsage[] = [];
  const meter = new UsageMeter((usage) => told.push(usage), [{ connectionId: id, calls: 5, errors: 1, lastUsedAt: 9 }]);
  expect(meter.all()).toEqual([{ connectionId: id, calls: 5, errors: 1, lastUsedAt: 9 }]);
  expect(meter.sinceStart()).toEqual([]);
  meter.count(id, "call");
  meter.count(id, "error");
  meter.flush();
  expect(told).toMatchObject([{ connectionId: id, calls: 6, errors: 2 }]);
  expect(meter.sinceStart()).toMatchObject([{ connectionId: id, calls: 1, errors: 1 }]);
});

it("hides a connection without access, but still reports what it did, and goes on when it comes back", () => {
  const meter = new UsageMeter(() => {});
  meter.count(id, "call");
  meter.count(other, "seen");
  meter.forget(id);
  expect(meter.all().map(({ connectionId: which }) => which)).toEqual([other]);
  expect(meter.sinceStart()).toMatchObject([{ calls: 1 }, { calls: 0 }]);
  meter.remember(id);
  meter.count(id, "call");
  expect(meter.all()).toMatchObject([{ calls: 2 }, { calls: 0 }]);
});

it("keeps a bounded number of those", () => {
  const meter = new UsageMeter(() => {});
  for (let index = 0; index < 1_100; index++) {
    const one = connectionId.parse(randomUUID());
    meter.count(one, "call");
    meter.forget(one);
  }
  expect(meter.sinceStart()).toHaveLength(1_000);
});
