import type { AccessEntry } from "../../../shared/dtma-protocol.ts";

/*
Who has access when both a shared database and control centres say so: whoever said it last.

INVARIANTS
- The database's list counts, but for what a control centre put or removed since, of which the database may not know yet.
- What was put counts until the list says something else about the connection than before, and for at most a minute
  against a list that does not agree: a link that was revoked before this toolbox ever saw it in a list ends by then.
- What was removed stays removed for as long as the list has it with the token it had: a revocation wins over a list that
  was made before it. With another token it is another link.
- Without a database nothing is ever listed, and what control centres say is all there is.
*/

/** For how long the database may not know of what a control centre said: its queue has been sent by then. */
export const unconfirmedMs = 60_000;

type ConnectionId = AccessEntry["connectionId"];

/** What a control centre said last about a connection. */
export type Direct =
  | { said: "put"; connectionId: ConnectionId; entry: AccessEntry; at: number }
  | { said: "removed"; connectionId: ConnectionId; tokenHash: string; at: number };

export type AccessSources = {
  listed: ReadonlyMap<string, AccessEntry>;
  direct: ReadonlyMap<string, Direct>;
};

/** Who has access now, by connection. */
export function mergeAccess({ listed, direct }: AccessSources): Map<string, AccessEntry> {
  const merged = new Map(listed);
  for (const [id, said] of direct) {
    if (said.said === "put") merged.set(id, said.entry);
    else if (merged.get(id)?.tokenHash === said.tokenHash) merged.delete(id);
  }
  return merged;
}

/**
 * The sources after an answer of the database. `list` null says that it is as before. `askedAt` is when the report was
 * sent, on the clock of `Direct.at`.
 */
export function takeList(sources: AccessSources, list: readonly AccessEntry[] | null, askedAt: number): AccessSources {
  const listed = list === null ? sources.listed : new Map(list.map((entry) => [entry.connectionId as string, entry]));
  const direct = [...sources.direct].filter(([id, said]) => {
    const word = listed.get(id);
    const isRecent = said.at + unconfirmedMs > askedAt;
    const isNews = !isSameAccess(sources.listed.get(id), word);
    if (said.said === "put") return isRecent && !isNews && !isSameAccess(said.entry, word);
    return word === undefined ? isRecent && !isNews : word.tokenHash === said.tokenHash;
  });
  return { listed, direct: new Map(direct) };
}

/** What is to be done with open sessions: `renewed` is another token or server under the same connection. */
export type AccessChange = { connectionId: string; kind: "added" | "changed" | "renewed" | "removed"; entry?: AccessEntry };

export function compareAccess(
  before: ReadonlyMap<string, AccessEntry>,
  after: ReadonlyMap<string, AccessEntry>,
): AccessChange[] {
  const changes: AccessChange[] = [];
  for (const connectionId of before.keys()) if (!after.has(connectionId)) changes.push({ connectionId, kind: "removed" });
  for (const [connectionId, entry] of after) {
    const old = before.get(connectionId);
    if (old === undefined) changes.push({ connectionId, kind: "added", entry });
    else if (old.tokenHash !== entry.tokenHash || old.server !== entry.server)
      changes.push({ connectionId, kind: "renewed", entry });
    else if (!isSameAccess(old, entry)) changes.push({ connectionId, kind: "changed", entry });
  }
  return changes;
}

function isSameAccess(a: AccessEntry | undefined, b: AccessEntry | undefined): boolean {
  return a === b || JSON.stringify(canonical(a)) === JSON.stringify(canonical(b));
}

function canonical(entry: AccessEntry | undefined): unknown {
  if (entry === undefined) return undefined;
  const { server, tokenHash, allowedTools, expiresAt } = entry;
  return [server, tokenHash, allowedTools && [...new Set(allowedTools)].sort(), expiresAt];
}
