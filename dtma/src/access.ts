import { z } from "zod";
import { type AccessEntry, accessEntry } from "../../shared/dtma-protocol.ts";
import { connectionId, timestampMs } from "../../shared/model/ids.ts";
import { type DataFolder, readKept } from "./data-folder.ts";
import type { Log } from "./log.ts";
import { type AccessSources, compareAccess, type Direct, mergeAccess, takeList } from "./report/access-rule.ts";
import { hashToken } from "./token-hash.ts";

/*
INVARIANTS
- The toolbox knows tokens by their hashes only.
- A change that a control centre asks for is on disk before it is answered, and applies to open sessions before it is
  answered. One of the database's list applies at once, and is on disk before its hash counts as known.
- A removal that could not be written still ends what is open, and asking again writes it: nothing is answered as done that
  the next start would not know.
- A token that was replaced ends the sessions that were opened with it, and so does the end of an entry, at that moment. From
  then on the entry is in the list, but lets nobody in.
- A file that cannot be understood lets nobody in: the database's list is asked for as a whole again.
*/

const fileName = "access.json";
/** A clock that was set, or a machine that slept, is noticed after this long. */
const longestWaitMs = 30_000;

const kept = z.object({
  listed: z.array(accessEntry),
  /** Of the list, as the database named it; null asks for the whole list again. */
  listHash: z.string().nullable(),
  direct: z.array(
    z.discriminatedUnion("said", [
      z.object({ said: z.literal("put"), connectionId, entry: accessEntry, at: timestampMs }),
      z.object({ said: z.literal("removed"), connectionId, tokenHash: accessEntry.shape.tokenHash, at: timestampMs }),
    ]),
  ),
});

export interface AccessList {
  all(): AccessEntry[];
  /** Who a token belongs to on this server; undefined from the moment its entry ends. */
  find(server: string, token: string): AccessEntry | undefined;
  /** Whether it is the token of any entry that has not ended. */
  isKnown(token: string): boolean;
  put(entry: AccessEntry): Promise<void>;
  /** Nothing happens when there is no such entry. */
  remove(connectionId: string): Promise<void>;
  removeServer(server: string): Promise<void>;
  /** The hash of the database's list that is kept here. */
  listHash(): string | null;
  /** Takes the database's list, or its word that it is as before (null), in answer to a report sent at `askedAt`. */
  takeList(list: readonly AccessEntry[] | null, hash: string, askedAt: number): Promise<void>;
  /** There is another database from now on, or none: what was listed counts as put here, until a list says otherwise. */
  forgetList(): Promise<void>;
}

/** Loads the list. `onChange` is told of every change and awaited. */
export async function openAccessList(
  data: DataFolder,
  onChange: (connectionId: string, entry: AccessEntry | undefined) => Promise<void>,
  log: Log,
  now: () => number = Date.now,
): Promise<AccessList> {
  const stored = toSources(await readKept(data, fileName, z.union([z.array(accessEntry), kept]), log), now());
  let sources: AccessSources = {
    listed: new Map(stored.listed.map((entry) => [entry.connectionId, entry])),
    direct: new Map(stored.direct.map((said) => [said.connectionId, said])),
  };
  let listHash = stored.listHash;
  let entries = mergeAccess(sources);
  let byToken = indexed(entries);
  /** What is open with these has been ended. */
  const ended = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  let lastWrite: Promise<void> = Promise.resolve();
  let isUnsaved = false;

  /** Writes follow one another, each with the whole list of its moment. */
  async function save(): Promise<void> {
    const write = lastWrite
      .catch(() => {})
      .then(async () => {
        isUnsaved = true;
        const listed = [...sources.listed.values()];
        const content: z.input<typeof kept> = { listed, listHash, direct: [...sources.direct.values()] };
        await data.write(fileName, JSON.stringify(content));
        isUnsaved = false;
      });
    lastWrite = write;
    await write;
  }

  /** From here on the new list counts; answers what open sessions have to be told. */
  function change(next: AccessSources) {
    const before = entries;
    sources = next;
    entries = mergeAccess(next);
    byToken = indexed(entries);
    return compareAccess(before, entries);
  }

  const isOver = ({ expiresAt }: AccessEntry): boolean => expiresAt !== undefined && expiresAt <= now();

  /** Wakes up when the next entry ends. */
  function awaitEnd(): void {
    clearTimeout(timer);
    let next = Number.POSITIVE_INFINITY;
    for (const entry of entries.values())
      if (entry.expiresAt !== undefined && !ended.has(entry.connectionId)) next = Math.min(next, entry.expiresAt);
    if (next === Number.POSITIVE_INFINITY) return;
    timer = setTimeout(endOver, Math.min(Math.max(1, next - now()), longestWaitMs));
    timer.unref();
  }

  function endOver(): void {
    for (const [id, entry] of entries) {
      if (ended.has(id) || !isOver(entry)) continue;
      ended.add(id);
      log.info("access.ended", { connectionId: id });
      onChange(id, undefined).catch((error: unknown) => log.error("access.not-ended", error, { connectionId: id }));
    }
    awaitEnd();
  }

  async function tell(changes: ReturnType<typeof change>): Promise<void> {
    for (const { connectionId: id, entry } of changes) {
      if (entry !== undefined && isOver(entry)) ended.add(id);
      else ended.delete(id);
    }
    awaitEnd();
    await Promise.all(
      changes.map(async ({ connectionId: id, kind, entry }) => {
        if (kind === "removed" || kind === "renewed" || ended.has(id)) await onChange(id, undefined);
        if (kind !== "removed" && !ended.has(id)) await onChange(id, entry);
      }),
    );
  }

  async function apply(next: AccessSources): Promise<void> {
    const changes = change(next);
    try {
      await save();
    } finally {
      await tell(changes);
    }
  }

  for (const [id, entry] of entries) if (isOver(entry)) ended.add(id);
  awaitEnd();
  return {
    all: () => [...entries.values()],
    find(server, token) {
      // A lookup by the hash of a random token leaks nothing useful through its timing.
      const entry = byToken.get(tokenKey(server, hashToken(token)));
      return entry === undefined || isOver(entry) ? undefined : entry;
    },
    isKnown(token) {
      const hash = hashToken(token);
      return [...entries.values()].some((entry) => entry.tokenHash === hash && !isOver(entry));
    },
    put(entry) {
      const said: Direct = { said: "put", connectionId: entry.connectionId, entry, at: now() };
      return apply({ ...sources, direct: new Map(sources.direct).set(entry.connectionId, said) });
    },
    async remove(id) {
      const entry = entries.get(id);
      if (entry === undefined) return isUnsaved ? save() : undefined;
      const direct = new Map(sources.direct);
      if (listHash === null && !sources.listed.has(id)) direct.delete(id);
      else direct.set(id, { said: "removed", connectionId: entry.connectionId, tokenHash: entry.tokenHash, at: now() });
      await apply({ ...sources, direct });
    },
    async removeServer(server) {
      const gone = [...entries.values()].filter((entry) => entry.server === server);
      if (gone.length === 0) return isUnsaved ? save() : undefined;
      const [listed, direct] = [new Map(sources.listed), new Map(sources.direct)];
      for (const { connectionId: id } of gone) {
        direct.delete(id);
        // Should the database still list it, it says so when it is asked for the whole list.
        if (listed.delete(id)) listHash = null;
      }
      await apply({ listed, direct });
    },
    listHash: () => listHash,
    async takeList(list, hash, askedAt) {
      const next = takeList(sources, list, askedAt);
      if (list === null && hash === listHash && next.direct.size === sources.direct.size) return;
      const told = tell(change(next));
      listHash = hash;
      try {
        await save();
      } catch (error) {
        listHash = null;
        throw error;
      } finally {
        await told;
      }
    },
    async forgetList() {
      const at = now();
      const direct = new Map<string, Direct>();
      for (const [id, entry] of entries) direct.set(id, { said: "put", connectionId: entry.connectionId, entry, at });
      listHash = null;
      await apply({ listed: new Map(), direct });
    },
  };
}

function tokenKey(server: string, tokenHash: string): string {
  return `${server} ${tokenHash}`;
}

function indexed(entries: ReadonlyMap<string, AccessEntry>): Map<string, AccessEntry> {
  return new Map([...entries.values()].map((entry) => [tokenKey(entry.server, entry.tokenHash), entry]));
}

/** A toolbox that never had a database kept a plain list. */
function toSources(stored: AccessEntry[] | z.infer<typeof kept> | undefined, nowMs: number): z.infer<typeof kept> {
  if (stored !== undefined && !Array.isArray(stored)) return stored;
  return {
    listed: [],
    listHash: null,
    direct: (stored ?? []).map((entry) => ({ said: "put", connectionId: entry.connectionId, entry, at: nowMs })),
  };
}
