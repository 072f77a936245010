import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Entities } from "../../../shared/contract/state.ts";
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

function agent(name: string): Entities["agents"] {
  return { id: randomUUID() as Entities["agents"]["id"], name, description: "", createdAt: 1 };
}

function toolbox(name: string): Entities["toolboxes"] {
  return {
    id: randomUUID() as Entities["toolboxes"]["id"],
    name,
    kind: "host",
    url: "https://192.0.2.1:30000",
    fingerprint: null,
    serversOnQuit: "keep",
    link: { state: "unknown" },
    confirmedAt: null,
    docker: null,
    dtmaVersion: null,
    hostname: null,
    platform: null,
    hardeningGaps: [],
    load: null,
    createdAt: 1,
  };
}

function server(toolboxId: Entities["toolboxes"]["id"], name: string): Entities["servers"] {
  return {
    id: randomUUID() as Entities["servers"]["id"],
    toolboxId,
    templateId: null,
    spec: {
      name,
      source: { type: "oci", image: "example/echo:1" },
      transport: { type: "stdio" },
      arguments: [],
      environment: {},
      secrets: [],
      permissions: { network: "open", readOnlyRoot: true, volumes: [], memoryBytes: 2 ** 29, cpus: 1, pids: 64 },
    },
    desired: "running",
    observed: { state: "never" },
    tools: null,
    load: null,
    activeOperationId: null,
    lastError: null,
    createdAt: 1,
  };
}

function connection(agentId: Entities["agents"]["id"], serverId: Entities["servers"]["id"]): Entities["connections"] {
  return {
    id: randomUUID() as Entities["connections"]["id"],
    agentId,
    serverId,
    allowedTools: null,
    delivery: "pending",
    calls: 0,
    errors: 0,
    lastUsedAt: null,
    createdAt: 1,
  };
}

describe("the store", () => {
  it("gives back what was written, after it was closed and opened again", () => {
    const written = agent("Researcher");
    store.write((tx) => tx.put("agents", written));
    store.close();
    store = openStore(folder);
    expect(store.list("agents")).toEqual([written]);
  });

  it("undoes the whole transaction when a part of it fails", () => {
    expect(() =>
      store.write((tx) => {
        tx.put("agents", agent("Kept back"));
        throw new Error("no");
      }),
    ).toThrow("no");
    expect(store.list("agents")).toEqual([]);
  });

  it("refuses a row that does not match its schema", () => {
    expect(() => store.write((tx) => tx.put("agents", { ...agent(" "), name: "" }))).toThrow();
  });

  it("refuses a second opener with a sentence that names the folder", () => {
    expect(() => openStore(folder)).toThrow(
      expect.objectContaining({ code: "WORKSPACE_IN_USE", message: expect.stringContaining(folder) }),
    );
  });

  it("refuses a file that a newer version wrote, and leaves it as it is", () => {
    store.close();
    const db = new Database(join(folder, "workspace.sqlite"));
    db.pragma("user_version = 999");
    db.close();
    expect(() => openStore(folder)).toThrow(expect.objectContaining({ code: "WORKSPACE_TOO_NEW" }));
    const again = new Database(join(folder, "workspace.sqlite"));
    expect(again.pragma("user_version", { simple: true })).toBe(999);
    again.pragma("user_version = 1");
    again.close();
    store = openStore(folder);
  });

  it("refuses two servers of one name on a toolbox, and a second link between the same two", () => {
    const box = toolbox("box");
    const one = server(box.id, "echo");
    const user = agent("a");
    store.write((tx) => {
      tx.put("toolboxes", box);
      tx.put("servers", one);
      tx.put("agents", user);
      tx.put("connections", connection(user.id, one.id));
    });
    expect(() => store.write((tx) => tx.put("servers", server(box.id, "echo")))).toThrow(
      expect.objectContaining({ code: "ALREADY_EXISTS" }),
    );
    expect(() => store.write((tx) => tx.put("connections", connection(user.id, one.id)))).toThrow(
      expect.objectContaining({ code: "ALREADY_EXISTS" }),
    );
  });

  it("says NOT_FOUND when a row's parent is gone", () => {
    expect(() => store.write((tx) => tx.put("servers", server(randomUUID() as Entities["toolboxes"]["id"], "echo")))).toThrow(
      expect.objectContaining({ code: "NOT_FOUND" }),
    );
  });
});

describe("the change feed", () => {
  it("tells the newest row of each change once, in the order of the last changes", () => {
    const [first, second] = [agent("first"), agent("second")];
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
    const box = toolbox("box");
    const one = server(box.id, "echo");
    const user = agent("a");
    const link = connection(user.id, one.id);
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
    const row = agent("same");
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
    store.write((tx) => tx.put("agents", agent("a")));
    store.write((tx) => tx.put("agents", agent("b")));
    expect(calls).toBe(0);
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    expect(calls).toBe(1);
    stop();
  });
});
