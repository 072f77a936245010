import { z } from "zod";
import { type AccessEntry, accessEntry } from "../../shared/dtma-protocol.ts";
import type { DataFolder } from "./data-folder.ts";
import { hashToken } from "./data-folder.ts";

/*
INVARIANTS
- The toolbox knows tokens by their hashes only.
- A change is on disk before it is answered, and applies to open sessions before it is answered.
*/

const fileName = "access.json";

export interface AccessList {
  all(): AccessEntry[];
  /** Who a token belongs to on this server. */
  find(server: string, token: string): AccessEntry | undefined;
  put(entry: AccessEntry): Promise<void>;
  /** Nothing happens when there is no such entry. */
  remove(connectionId: string): Promise<void>;
  removeServer(server: string): Promise<void>;
}

/** Loads the list. `onChange` is told of every change and awaited. */
export async function openAccessList(
  data: DataFolder,
  onChange: (connectionId: string, entry: AccessEntry | undefined) => Promise<void>,
): Promise<AccessList> {
  const text = await data.read(fileName);
  const entries = new Map<string, AccessEntry>(
    z
      .array(accessEntry)
      .parse(text === undefined ? [] : JSON.parse(text))
      .map((entry) => [entry.connectionId, entry]),
  );
  let lastWrite: Promise<void> = Promise.resolve();

  /** Writes follow one another, each with the whole list of its moment. */
  async function save(): Promise<void> {
    const write = lastWrite.catch(() => {}).then(() => data.write(fileName, JSON.stringify([...entries.values()])));
    lastWrite = write;
    await write;
  }

  return {
    all: () => [...entries.values()],
    find(server, token) {
      // A lookup by the hash of a random token leaks nothing useful through its timing.
      const hash = hashToken(token);
      return [...entries.values()].find((entry) => entry.server === server && entry.tokenHash === hash);
    },
    async put(entry) {
      entries.set(entry.connectionId, entry);
      await save();
      await onChange(entry.connectionId, entry);
    },
    async remove(connectionId) {
      if (!entries.delete(connectionId)) return;
      await save();
      await onChange(connectionId, undefined);
    },
    async removeServer(server) {
      const gone = [...entries.values()].filter((entry) => entry.server === server);
      for (const { connectionId } of gone) entries.delete(connectionId);
      if (gone.length === 0) return;
      await save();
      for (const { connectionId } of gone) await onChange(connectionId, undefined);
    },
  };
}
