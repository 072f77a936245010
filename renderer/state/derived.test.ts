import { describe, expect, it } from "vitest";
import { byName, groupBy, perTable, sortedBy } from "./derived.ts";

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

  it("keeps an order while only other members change and finds it anew when names or rows do", () => {
    const names = sortedBy((row: Row) => row.name);
    const ids = (rows: ReadonlyMap<string, Row>) => names(rows).map((row) => row.id);
    expect(ids(table)).toEqual(["3", "2", "1"]);
    const set = (id: string, change: Partial<Row>) =>
      new Map(table).set(id, { id, name: "", owner: "", ...table.get(id), ...change });
    const moved = set("3", { owner: "b" });
    expect(names(moved)[0]?.owner).toBe("b");
    expect(ids(set("3", { name: "zebra" }))).toEqual(["2", "1", "3"]);
    expect(ids(set("4", { name: "alpha" }))).toEqual(["4", "3", "2", "1"]);
    const without = new Map(table);
    without.delete("2");
    expect(ids(without)).toEqual(["3", "1"]);
    const swapped = new Map(without).set("5", { id: "5", name: "aardvark", owner: "a" });
    expect(ids(swapped)).toEqual(["5", "3", "1"]);
  });

  it("orders names as people count", () => {
    expect([...table.values()].sort(byName((row) => row.name)).map((row) => row.name)).toEqual(["box-1", "Box-2", "box-10"]);
  });
});
