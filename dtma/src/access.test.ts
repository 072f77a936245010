import { randomUUID } from "node:crypto";
import { beforeEach, describe, expect, it } from "vitest";
import { type AccessEntry, accessEntry } from "../../shared/dtma-protocol.ts";
import { openAccessList } from "./access.ts";
import type { DataFolder } from "./data-folder.ts";
import { createLog } from "./log.ts";
import { hashToken } from "./token-hash.ts";

const entry = (token: string, allowedTools: string[] | null = null, connectionId: string = randomUUID()): AccessEntry =>
  accessEntry.parse({ connectionId, server: "one", tokenHash: hashToken(token), allowedTools });

describe("the access list", () => {
  let files: Map<string, string>;
  let isDiskFull: boolean;
  let told: [string, AccessEntry | undefined][];
  let nowMs: number;

  beforeEach(() => {
    files = new Map();
    isDiskFull = false;
    told = [];
    nowMs = 1_000;
  });

  const data: DataFolder = {
    path: "/data",
    read: async (name) => files.get(name),
    async write(name, content) {
      if (isDiskFull) throw new Error("ENOSPC");
      files.set(name, content);
    },
    async setAside() {},
    close() {},
  };
  const open = () =>
    openAccessList(
      data,
      async (id, now) => void told.push([id, now]),
      createLog(() => {}),
      () => nowMs,
    );

  it("takes over what a toolbox without a database kept", async () => {
    const one = entry("a");
    files.set("access.json", JSON.stringify([one]));
    expect((await open()).find("one", "a")).toEqual(one);
  });

  it("has the database's list after a restart, and its hash", async () => {
    const [listed, direct] = [entry("a"), entry("b")];
    const before = await open();
    await before.put(direct);
    await before.takeList([listed], "hash", nowMs);
    const after = await open();
    expect(after.listHash()).toBe("hash");
    expect([after.find("one", "a"), after.find("one", "b"), after.find("two", "a")]).toEqual([listed, direct, undefined]);
    await after.remove(listed.connectionId);
    await (await open()).takeList(null, "hash", nowMs);
    expect((await open()).find("one", "a")).toBeUndefined();
  });

  it("tells open sessions of every change of the list, and ends those of a token that was replaced", async () => {
    const list = await open();
    const [gone, narrowed, renewed, same] = [entry("a"), entry("b"), entry("c"), entry("d")];
    await list.takeList([gone, narrowed, renewed, same], "one", nowMs);
    told = [];
    const now = [entry("b", [], narrowed.connectionId), entry("e", null, renewed.connectionId), same];
    await list.takeList(now, "two", nowMs);
    expect(told.filter(([id]) => id === gone.connectionId)).toEqual([[gone.connectionId, undefined]]);
    expect(told.filter(([id]) => id === narrowed.connectionId)).toEqual([[narrowed.connectionId, now[0]]]);
    expect(told.filter(([id]) => id === renewed.connectionId)).toEqual([
      [renewed.connectionId, undefined],
      [renewed.connectionId, now[1]],
    ]);
    expect(told.filter(([id]) => id === same.connectionId)).toEqual([]);
  });

  it("obeys a list that it cannot write down, and asks for it again", async () => {
    const list = await open();
    await list.takeList([entry("a")], "one", nowMs);
    isDiskFull = true;
    await expect(list.takeList([], "two", nowMs)).rejects.toThrow("ENOSPC");
    expect(list.all()).toEqual([]);
    expect(list.listHash()).toBeNull();
  });

  it("asks for the whole list again when a server that is in it was deleted", async () => {
    const list = await open();
    await list.takeList([entry("a")], "one", nowMs);
    await list.removeServer("two");
    expect(list.listHash()).toBe("one");
    await list.removeServer("one");
    expect([list.all(), list.listHash()]).toEqual([[], null]);
  });

  it("goes on with what was listed when there is no database any more, for control centres to decide", async () => {
    const list = await open();
    const listed = entry("a");
    await list.takeList([listed], "one", nowMs);
    await list.forgetList();
    expect([list.all(), list.listHash()]).toEqual([[listed], null]);
    await list.remove(listed.connectionId);
    expect(JSON.parse(files.get("access.json") ?? "")).toEqual({ listed: [], listHash: null, direct: [] });
  });

  it("gives what is here already a minute when a database comes", async () => {
    const list = await open();
    await list.put(entry("a"));
    nowMs = 3_600_000;
    await list.forgetList();
    await list.takeList([], "one", nowMs + 59_000);
    expect(list.all()).toHaveLength(1);
    await list.takeList(null, "one", nowMs + 60_000);
    expect(list.all()).toEqual([]);
  });
});
