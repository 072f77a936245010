import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
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

  describe("of entries that end", () => {
    const ends = (token: string, expiresAt: number | undefined, id?: string): AccessEntry => ({
      ...entry(token, null, id),
      ...(expiresAt === undefined ? {} : { expiresAt }),
    });
    /** Time passes, for the timers and for the clock. */
    async function pass(ms: number): Promise<void> {
      for (let left = ms; left > 0; left -= 10) {
        nowMs += Math.min(10, left);
        await vi.advanceTimersByTimeAsync(Math.min(10, left));
      }
    }

    beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] }));
    afterEach(() => void vi.useRealTimers());

    it("lets nobody in from that moment on, and ends what is open by then", async () => {
      const list = await open();
      const [short, long, forever] = [ends("a", 2_000), ends("b", 3_000), ends("c", undefined)];
      for (const each of [short, long, forever]) await list.put(each);
      told = [];
      await pass(999);
      expect([list.find("one", "a"), told]).toEqual([short, []]);
      await pass(10);
      expect([list.find("one", "a"), list.find("one", "b"), told]).toEqual([
        undefined,
        long,
        [[short.connectionId, undefined]],
      ]);
      await pass(2_000);
      expect(told).toEqual([
        [short.connectionId, undefined],
        [long.connectionId, undefined],
      ]);
      expect(list.find("one", "c")).toEqual(forever);
      expect(list.all()).toHaveLength(3);
    });

    it("lets it in again when its end is put off, and ends it at once when it is put into the past", async () => {
      const list = await open();
      const short = ends("a", 2_000);
      await list.put(short);
      await pass(2_000);
      told = [];
      const later = ends("a", 9_000, short.connectionId);
      await list.put(later);
      expect([list.find("one", "a"), told]).toEqual([later, [[short.connectionId, later]]]);
      told = [];
      await list.put(ends("a", 1, short.connectionId));
      expect([list.find("one", "a"), told]).toEqual([undefined, [[short.connectionId, undefined]]]);
      await pass(60_000);
      expect(told).toHaveLength(1);
    });

    it("keeps the end over a restart, also of the database's list", async () => {
      const listed = ends("a", 2_000);
      await (await open()).takeList([listed], "hash", nowMs);
      const after = await open();
      expect(after.find("one", "a")).toEqual(listed);
      nowMs = 2_000;
      expect(after.find("one", "a")).toBeUndefined();
      expect((await open()).find("one", "a")).toBeUndefined();
    });

    it("notices within half a minute that the clock was set", async () => {
      const list = await open();
      const one = ends("a", 86_400_000);
      await list.put(one);
      told = [];
      nowMs = 86_400_001;
      expect(list.find("one", "a")).toBeUndefined();
      await vi.advanceTimersByTimeAsync(30_000);
      expect(told).toEqual([[one.connectionId, undefined]]);
    });

    it("waits for an end that is further away than a timer can count", async () => {
      const list = await open();
      await list.put(ends("a", Date.UTC(2100, 0)));
      told = [];
      await vi.advanceTimersByTimeAsync(120_000);
      expect(told).toEqual([]);
    });
  });
});
