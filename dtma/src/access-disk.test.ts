import { describe, expect, it } from "vitest";
import type { AccessEntry } from "../../shared/dtma-protocol.ts";
import { openAccessList } from "./access.ts";
import type { DataFolder } from "./data-folder.ts";
import { createLog } from "./log.ts";
import { hashToken } from "./token-hash.ts";

const connectionId = "7b0f2f0e-6d3a-4c59-9d5b-0a4f3f1f6c11" as AccessEntry["connectionId"];
const entry: AccessEntry = { connectionId, server: "echo", tokenHash: hashToken("the-token"), allowedTools: null };

/** A folder whose disk can be full. */
function createDisk() {
  const files = new Map<string, string>();
  const disk = {
    isFull: false,
    writes: 0,
    folder: {
      path: "/nowhere",
      read: async (name) => files.get(name),
      async write(name, content) {
        if (disk.isFull) throw new Error("ENOSPC");
        disk.writes += 1;
        files.set(name, content);
      },
      setAside: async () => undefined,
      close: () => undefined,
    } satisfies DataFolder,
  };
  return disk;
}

async function open(disk: ReturnType<typeof createDisk>) {
  const revoked: string[] = [];
  const list = await openAccessList(
    disk.folder,
    async (id, changed) => {
      if (changed === undefined) revoked.push(id);
    },
    createLog(() => {}),
  );
  return { list, revoked };
}

describe("the access list and its disk", () => {
  it("knows after a restart what it has answered as done", async () => {
    const disk = createDisk();
    await (await open(disk)).list.put(entry);
    const { list } = await open(disk);
    expect(list.find("echo", "the-token")).toEqual(entry);
    expect(list.find("other", "the-token")).toBeUndefined();
    await list.remove(connectionId);
    expect((await open(disk)).list.all()).toEqual([]);
  });

  it.each([
    ["a connection", (list: Awaited<ReturnType<typeof open>>["list"]) => list.remove(connectionId)],
    ["a server", (list: Awaited<ReturnType<typeof open>>["list"]) => list.removeServer("echo")],
  ])(
    "ends what is open when the removal of %s cannot be written, and writes it when it is asked again",
    async (_what, remove) => {
      const disk = createDisk();
      const { list, revoked } = await open(disk);
      await list.put(entry);
      disk.isFull = true;
      await expect(remove(list)).rejects.toThrow("ENOSPC");
      expect(list.find("echo", "the-token")).toBeUndefined();
      expect(revoked).toEqual([connectionId]);
      await expect(remove(list)).rejects.toThrow("ENOSPC");
      disk.isFull = false;
      await remove(list);
      expect((await open(disk)).list.all()).toEqual([]);
    },
  );

  it("writes nothing when nothing changed", async () => {
    const disk = createDisk();
    const { list } = await open(disk);
    await list.remove(connectionId);
    await list.removeServer("echo");
    expect(disk.writes).toBe(0);
  });
});
