import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ToolboxId } from "../../../shared/model/ids.ts";
import { rows } from "../../../test/fixtures/rows.ts";
import { openStore, type Store } from "./index.ts";

let folder: string;
let store: Store;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "store-"));
  store = openStore(folder);
});
afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true });
});

describe("the store", () => {
  it("gives back what was written, after it was closed and opened again", () => {
    const written = rows.agent({ name: "Researcher" });
    store.write((tx) => tx.put("agents", written));
    store.close();
    store = openStore(folder);
    expect(store.list("agents")).toEqual([written]);
  });

  it("undoes the whole transaction when a part of it fails", () => {
    expect(() =>
      store.write((tx) => {
        tx.put("agents", rows.agent({ name: "Kept back" }));
        throw new Error("no");
      }),
    ).toThrow("no");
    expect(store.list("agents")).toEqual([]);
  });

  it("knows its account also after it was asked what it remembers", () => {
    const account = { id: "one", target: { transport: "postgres" }, who: null, phase: "pulled", bringsLocalRows: false };
    store.write((tx) => tx.sync.setAccount(account as never));
    expect(store.remembered("install_source")).toBeUndefined();
    expect(store.sync.account()).toEqual(account);
    store.remember("install_source", "here");
    expect(store.remembered("install_source")).toBe("here");
    expect(store.sync.account()).toEqual(account);
  });

  it("refuses a row that does not match its schema", () => {
    expect(() => store.write((tx) => tx.put("agents", { ...rows.agent({ name: " " }), name: "" }))).toThrow();
  });

  it("refuses a second opener with a sentence that names the folder", () => {
    expect(() => openStore(folder)).toThrow(
      expect.objectContaining({ code: "WORKSPACE_IN_USE", message: expect.stringContaining(folder) }),
    );
  });

  it("refuses a file that a newer version wrote, and leaves it as it is", () => {
    store.close();
    const db = new Database(join(folder, "workspace.sqlite"));
    const known = db.pragma("user_version", { simple: true });
    db.pragma("user_version = 999");
    db.close();
    expect(() => openStore(folder)).toThrow(expect.objectContaining({ code: "WORKSPACE_TOO_NEW" }));
    const again = new Database(join(folder, "workspace.sqlite"));
    expect(again.pragma("user_version", { simple: true })).toBe(999);
    again.pragma(`user_version = ${known}`);
    again.close();
    store = openStore(folder);
  });

  it("refuses two servers of one name on a toolbox, and a second link between the same two", () => {
    const box = rows.toolbox({ name: "box" });
    const one = rows.server(box.id);
    const user = rows.agent({ name: "a" });
    store.write((tx) => {
      tx.put("toolboxes", box);
      tx.put("servers", one);
      tx.put("agents", user);
      tx.put("connections", rows.connection(user.id, one.id));
    });
    expect(() => store.write((tx) => tx.put("servers", rows.server(box.id)))).toThrow(
      expect.objectContaining({ code: "ALREADY_EXISTS" }),
    );
    expect(() => store.write((tx) => tx.put("connections", rows.connection(user.id, one.id)))).toThrow(
      expect.objectContaining({ code: "ALREADY_EXISTS" }),
    );
  });

  it("says NOT_FOUND when a row's parent is gone", () => {
    expect(() => store.write((tx) => tx.put("servers", rows.server(randomUUID() as ToolboxId)))).toThrow(
      expect.objectContaining({ code: "NOT_FOUND" }),
    );
  });
});

describe("the change feed", () => {
  it("tells the newest row of each change once, in the order of the last changes", () => {
    const [first, second] = [rows.agent({ name: "first" }), rows.agent({ name: "second" })];
    const start = store.snapshot().cursor;
    store.write((tx) => {
      tx.put("agents", first);
      tx.put("agents", second);
      tx.put("agents", { ...first, name: "renamed" });
    });
    const told = store.changesSince(start);
    expect(told?.changes.map((change) => change.row)).toEqual([second, { ...first, name: "renamed" }]);
    expect(store.changesSince(told?.cursor ?? start)?.changes).toEqual([]);
  });

  it("tells of rows that a cascade deleted", () => {
    const box = rows.toolbox({ name: "box" });
    const one = rows.server(box.id);
    const user = rows.agent({ name: "a" });
    const link = rows.connection(user.id, one.id);
    store.write((tx) => {
      tx.put("toolboxes", box);
      tx.put("servers", one);
      tx.put("agents", user);
      tx.put("connections", link);
    });
    const before = store.snapshot().cursor;
    store.write((tx) => tx.delete("toolboxes", box.id));
    expect(
      store
        .changesSince(before)
        ?.changes.map(({ entity, id, row }) => [entity, id, row])
        .sort(),
    ).toEqual(
      [
        ["toolboxes", box.id, null],
        ["servers", one.id, null],
        ["connections", link.id, null],
      ].sort(),
    );
  });

  it("stays silent when a write changes nothing", async () => {
    const row = rows.agent({ name: "same" });
    store.write((tx) => tx.put("agents", row));
    const cursor = store.snapshot().cursor;
    store.write((tx) => tx.put("agents", row));
    store.write((tx) => tx.patch("agents", row.id, { name: "same" }));
    expect(store.changesSince(cursor)?.changes).toEqual([]);
  });

  it("does not continue from another workspace or from the future", () => {
    const { cursor } = store.snapshot();
    expect(store.changesSince({ ...cursor, epoch: "other" })).toBeUndefined();
    expect(store.changesSince({ ...cursor, sequence: cursor.sequence + 1 })).toBeUndefined();
  });

  it("calls listeners after the commit, once for many writes of one turn", async () => {
    let calls = 0;
    const stop = store.onChange(() => {
      calls += 1;
    });
    store.write((tx) => tx.put("agents", rows.agent({ name: "a" })));
    store.write((tx) => tx.put("agents", rows.agent({ name: "b" })));
    expect(calls).toBe(0);
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    expect(calls).toBe(1);
    stop();
  });
});
