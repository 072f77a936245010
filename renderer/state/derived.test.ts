import { describe, expect, it } from "vitest";
import { byName, groupBy, perTable } from "./derived.ts";

type Row = { id: string; name: string; owner: string };
const table = new Map<string, Row>(
  [
    { id: "1", name: "box-10", owner: "a" },
    { id: "2", name: "Box-2", owner: "b" },
    { id: "3", name: "box-1", owner: "a" },
  ].map((row) => [row.id, row]),
);

describe("what is derived from a table", () => {
  it("is computed once per table and again for another one", () => {
    let computed = 0;
    const size = perTable((rows: ReadonlyMap<string, Row>) => {
      computed += 1;
      return rows.size;
    });
    expect([size(table), size(table), computed]).toEqual([3, 3, 1]);
    size(new Map(table));
    expect(computed).toBe(2);
  });

  it("gives the same empty list for every group nobody has, so that selectors stay stable", () => {
    const byOwner = groupBy((row: Row) => row.owner);
    expect(byOwner(table)("a").map((row) => row.id)).toEqual(["1", "3"]);
    expect(byOwner(table)("x")).toBe(byOwner(table)("y"));
  });

  it("orders names as people count", () => {
    expect([...table.values()].sort(byName((row) => row.name)).map((row) => row.name)).toEqual(["box-1", "Box-2", "box-10"]);
  });
});
