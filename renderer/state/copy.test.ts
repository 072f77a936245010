import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Change, StateEvent } from "../../shared/contract/state.ts";
import { rowsFor } from "../../test/fixtures/window/rows.ts";
import { applyEvents, type Copy, emptyCopy } from "./copy.ts";

const { rows, facts } = rowsFor("team");
const snapshot: StateEvent = { type: "snapshot", cursor: { epoch: "a", sequence: 1 }, rows, facts };

function patch(sequence: number, changes: Change[], epoch = "a"): StateEvent {
  return { type: "patch", cursor: { epoch, sequence }, changes };
}

function put(index: number, name: string): Change {
  const row = rows.agents[index];
  if (row === undefined) throw new Error("The fixture has fewer agents.");
  return { entity: "agents", id: row.id, row: { ...row, name } };
}

function drop(index: number): Change {
  return { entity: "agents", id: rows.agents[index]?.id ?? "", row: null };
}

function names(copy: Copy): string[] {
  return [...copy.tables.agents.values()].map((row) => row.name);
}

describe("the copy", () => {
  it("is not ready before the first snapshot and ignores patches until then", () => {
    const copy = applyEvents(emptyCopy, [patch(1, [put(0, "early")])]);
    expect(copy.isReady).toBe(false);
    expect(names(copy)).toEqual([]);
  });

  it("changes and deletes rows and remembers where it stands", () => {
    const copy = applyEvents(emptyCopy, [snapshot, patch(2, [put(0, "Renamed")]), patch(3, [drop(1)])]);
    expect(names(copy)).toEqual(["Renamed", "Support desk"]);
    expect(copy.cursor).toEqual({ epoch: "a", sequence: 3 });
  });

  it("keeps the identity of every table that was not touched", () => {
    const before = applyEvents(emptyCopy, [snapshot]);
    const after = applyEvents(before, [patch(2, [put(0, "Renamed")])]);
    expect(after.tables.servers).toBe(before.tables.servers);
    expect(after.tables.agents).not.toBe(before.tables.agents);
    expect(names(before)).not.toContain("Renamed");
  });

  it("replaces everything with a snapshot of another database and ignores that database's patches before", () => {
    const before = applyEvents(emptyCopy, [snapshot]);
    expect(applyEvents(before, [patch(9, [drop(0)], "b")])).toEqual(before);
    const other: StateEvent = { ...snapshot, cursor: { epoch: "b", sequence: 7 }, rows: { ...rows, agents: [] } };
    const after = applyEvents(before, [patch(2, [put(0, "Renamed")]), other]);
    expect(names(after)).toEqual([]);
    expect(after.cursor).toEqual({ epoch: "b", sequence: 7 });
  });

  it("takes facts without touching rows", () => {
    const before = applyEvents(emptyCopy, [snapshot]);
    const after = applyEvents(before, [{ type: "facts", facts: { ...facts, keychain: { state: "available" } } }]);
    expect(after.facts.keychain).toEqual({ state: "available" });
    expect(after.tables).toBe(before.tables);
  });

  it("ends in the same state however the events of a stream are cut into frames", () => {
    const change = fc.oneof(
      fc.tuple(fc.nat(2), fc.string()).map(([index, name]) => put(index, name)),
      fc.nat(2).map(drop),
    );
    fc.assert(
      fc.property(fc.array(fc.array(change, { maxLength: 4 }), { maxLength: 12 }), fc.array(fc.nat(12)), (batches, cuts) => {
        const events = [snapshot, ...batches.map((changes, index) => patch(index + 2, changes))];
        let cut = emptyCopy;
        let from = 0;
        for (const to of [...cuts.filter((at) => at < events.length).sort((one, other) => one - other), events.length]) {
          cut = applyEvents(cut, events.slice(from, to));
          from = Math.max(from, to);
        }
        expect(cut).toEqual(applyEvents(emptyCopy, events));
      }),
    );
  });
});
