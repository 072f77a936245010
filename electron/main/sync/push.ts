import { isDeepStrictEqual } from "node:util";
import { AppError, toAppError } from "../../../shared/errors.ts";
import type { Conflict, SharedEntityName } from "../../../shared/model/sync.ts";
import type { Mutation, MutationResult } from "../../../shared/sync-protocol.ts";
import { pushLimit } from "../../../shared/sync-protocol.ts";
import type { Store, Writer } from "../store/index.ts";
import { flattened, type OutboxEntry, parked, requeued } from "../store/outbox.ts";
import type { SharedDatabase } from "./database.ts";
import { remove } from "./pull.ts";
import { project } from "./rows.ts";

/*
INVARIANTS
- Changes of one row go out in their order, one at a time; one that cannot go holds back those after it and those of other
  rows that build on it, and no others.
- A change is marked as sent, and that is committed, before it leaves. Whatever becomes of the answer, it is sent again
  with the same key until it is answered.
- What the database refuses is parked with the reason; nothing is dropped but changes of rows that are gone here, too.
*/

export type Batch = {
  entries: OutboxEntry[] /** When the first of those that wait after a failure may go. */;
  nextDueAt: number | null;
};

const mostAttempts = 6;

/** The changes that may go now, in their order. Reads no further than it must. */
export function pickBatch(queue: Iterable<OutboxEntry>, nowMs: number, limit = pushLimit): Batch {
  const entries: OutboxEntry[] = [];
  const held = new Set<string>();
  const taken = new Set<string>();
  let nextDueAt: number | null = null;
  for (const entry of queue) {
    const { condition } = entry.change;
    const own = subjectOf(entry);
    const isDue = condition.state !== "queued" || condition.nextAttemptAt === null || condition.nextAttemptAt <= nowMs;
    if (condition.state === "queued" && condition.nextAttemptAt !== null && !isDue)
      nextDueAt = Math.min(nextDueAt ?? Number.POSITIVE_INFINITY, condition.nextAttemptAt);
    const isHeld =
      condition.state === "parked" || !isDue || taken.has(own) || [own, ...needsOf(entry)].some((key) => held.has(key));
    if (isHeld) {
      held.add(own);
      continue;
    }
    taken.add(own);
    entries.push(entry);
    if (entries.length === limit) break;
  }
  return { entries, nextDueAt };
}

function subjectOf({ change }: Pick<OutboxEntry, "change">): string {
  return `${change.entity}:${change.entityId}`;
}

/** Rows whose changes must have gone before this one. */
export function needsOf({ change, payload }: Pick<OutboxEntry, "change" | "payload">): string[] {
  const keys: [SharedEntityName, unknown][] =
    change.kind === "connection.put"
      ? [
          ["agents", payload.agentId],
          ["servers", payload.serverId],
        ]
      : change.kind === "server.put"
        ? [["toolboxes", payload.toolboxId]]
        : [];
  return keys.map(([entity, id]) => `${entity}:${String(id)}`);
}

/** Whether `later` may go before `earlier` without changing what either of them does. */
export function areIndependent(earlier: OutboxEntry, later: OutboxEntry): boolean {
  if (subjectOf(earlier) === subjectOf(later)) return false;
  return !needsOf(later).includes(subjectOf(earlier)) && !needsOf(earlier).includes(subjectOf(later));
}

/** `toolboxes`: those that went at the database and now here, too. */
export type PushOutcome = { sent: number; parked: number; toolboxes: string[]; nextDueAt: number | null };

/**
 * Sends one batch. Rejects when the call failed; the changes then wait under their keys. A call that the database refuses
 * as a whole is sent in halves until the one change it cannot take is alone, and parked.
 */
export async function pushBatch(
  store: Store,
  database: Pick<SharedDatabase, "push">,
  now: () => number,
  limit?: number,
): Promise<PushOutcome> {
  const { entries, nextDueAt } = pickBatch(store.sync.entries(), now(), limit);
  if (entries.length === 0) return { sent: 0, parked: 0, toolboxes: [], nextDueAt };
  store.write((tx) => {
    for (const entry of entries) {
      const condition = { state: "sending", since: now() } as const;
      tx.sync.putEntry({ ...entry, isSent: true, change: { ...entry.change, condition, attempts: entry.change.attempts + 1 } });
    }
  });
  const outcome = await send(store, database, entries, now);
  return { ...outcome, nextDueAt };
}

async function send(
  store: Store,
  database: Pick<SharedDatabase, "push">,
  entries: OutboxEntry[],
  now: () => number,
): Promise<Omit<PushOutcome, "nextDueAt">> {
  let results: MutationResult[];
  try {
    ({ results } = await database.push(entries.map(toMutation)));
    if (results.length !== entries.length)
      throw new AppError("SCHEMA_TOO_NEW", { message: "The database answered another number of changes than it was sent." });
  } catch (error) {
    const failure = toAppError(error);
    if (failure.code !== "INVALID_INPUT") {
      store.write((tx) => release(tx, entries));
      throw error;
    }
    if (entries.length > 1) {
      const middle = Math.ceil(entries.length / 2);
      const first = await send(store, database, entries.slice(0, middle), now);
      const second = await send(store, database, entries.slice(middle), now);
      return {
        sent: first.sent + second.sent,
        parked: first.parked + second.parked,
        toolboxes: [...first.toolboxes, ...second.toolboxes],
      };
    }
    results = [{ id: "", status: "rejected", revision: null, row: null, code: "INVALID_INPUT", message: failure.message }];
  }
  return store.write((tx) => {
    const held = new Set<string>();
    const toolboxes = new Set<string>();
    for (const [index, entry] of entries.entries()) {
      const result = results[index];
      const current = tx.sync.entry(entry.change.id);
      if (result === undefined || current === undefined) continue;
      const isSettled = settle(tx, current, result, { held, toolboxes }, now());
      if (!isSettled) held.add(subjectOf(current));
    }
    return { sent: entries.length, parked: held.size, toolboxes: [...toolboxes] };
  });
}

function toMutation(entry: OutboxEntry): Mutation {
  const { change, mutationId, baseRevision, payload } = entry;
  return { id: mutationId, kind: change.kind, entityId: change.entityId, baseRevision, payload } as unknown as Mutation;
}

/** Back to the queue after a call whose outcome is not known: the keys stay. */
export function release(tx: Writer, entries: Iterable<Pick<OutboxEntry, "change">>): void {
  for (const { change } of entries) {
    const entry = tx.sync.entry(change.id);
    if (entry?.change.condition.state !== "sending") continue;
    tx.sync.putEntry({ ...entry, change: { ...entry.change, condition: { state: "queued", nextAttemptAt: null } } });
  }
}

/** Puts changes that were on their way when this program ended back into the queue. */
export function recoverQueue(store: Store): void {
  store.write((tx) =>
    release(
      tx,
      tx.list("queue", { state: "sending" }).map((change) => ({ change })),
    ),
  );
}

type Seen = { held: ReadonlySet<string>; toolboxes: Set<string> };

/** Acts on the answer to one change. False: it stays in the queue, and holds back what builds on it. */
function settle(tx: Writer, entry: OutboxEntry, result: MutationResult, seen: Seen, nowMs: number): boolean {
  const { entity, entityId } = entry.change;
  switch (result.status) {
    case "applied":
    case "duplicate":
      accept(tx, entry, result.revision, seen.toolboxes);
      return true;
    case "conflict":
      return settleConflict(tx, entry, result, nowMs);
    case "rejected": {
      const isGoneHere = isPut(entry) && !tx.hasRow(entity, entityId);
      if (isGoneHere && result.code === "NOT_FOUND") {
        tx.sync.removeEntry(entry.change.id);
        return true;
      }
      if (result.code === "NOT_FOUND" && needsOf(entry).some((key) => seen.held.has(key))) {
        tx.sync.putEntry(requeued(entry));
        return false;
      }
      if (result.code === "INTERNAL" && entry.change.attempts < mostAttempts) {
        const again = requeued(entry);
        const nextAttemptAt = nowMs + 1_000 * 2 ** entry.change.attempts;
        tx.sync.putEntry({
          ...again,
          change: { ...again.change, attempts: entry.change.attempts, condition: { state: "queued", nextAttemptAt } },
        });
        return false;
      }
      const reason = new AppError("CHANGE_REFUSED", {
        message: result.message ?? `The shared database refused it (${result.code}).`,
      });
      tx.sync.putEntry(parked(entry, reason.toShape(), null, nowMs));
      return false;
    }
  }
}

function isPut({ change }: OutboxEntry): boolean {
  return change.kind.endsWith(".put");
}

/**
 * The database has the change: its row is now what was sent, or what others made of it since, and later changes of the row
 * build on the new revision.
 */
function accept(tx: Writer, entry: OutboxEntry, revision: number | null, toolboxes: Set<string>): void {
  const { entity, entityId } = entry.change;
  tx.sync.removeEntry(entry.change.id);
  const known = tx.sync.synced(entity, entityId);
  // It may have come back since.
  if (entry.isGone && known === undefined) return remove(tx, entity, entityId, toolboxes);
  if (isPut(entry)) {
    if (revision === null) return;
    if (known === undefined || revision > known.revision) {
      const row = known?.row == null ? null : withMembers(known.row, entry.payload);
      tx.sync.setSynced(entity, entityId, { revision, generation: tx.sync.generation(), row });
    }
    const next = tx.sync.entriesOf(entity, entityId)[0];
    const isOnlyOurs = entry.baseRevision === null || revision <= entry.baseRevision + 1;
    if (next !== undefined && !next.isSent && next.baseRevision === entry.baseRevision && isOnlyOurs)
      tx.sync.putEntry({ ...next, baseRevision: revision });
    if (known !== undefined && revision <= known.revision) project(tx, entity, entityId);
  } else if (revision === null) {
    tx.sync.forgetSynced(entity, entityId);
    if (entity === "connections") tx.sync.addChore({ kind: "forget-secrets", keys: [{ kind: "connection", id: entityId }] });
    if (tx.hasRow(entity, entityId) && tx.sync.entriesOf(entity, entityId).length === 0) tx.delete(entity, entityId);
  } else if (known !== undefined && revision > known.revision) {
    tx.sync.setSynced(entity, entityId, { ...known, revision });
  }
}

function withMembers(row: Record<string, unknown>, payload: OutboxEntry["payload"]): Record<string, unknown> {
  const next = { ...row };
  const admin = typeof row.admin === "object" && row.admin !== null ? { ...row.admin } : undefined;
  for (const [name, value] of Object.entries(payload)) {
    if (admin !== undefined && name in admin) Object.assign(admin, { [name]: value });
    else if (name in row) next[name] = value;
  }
  return admin === undefined ? next : { ...next, admin };
}

/** Merges by rule where the rule is certain, and otherwise keeps both versions for a person to choose. */
function settleConflict(tx: Writer, entry: OutboxEntry, result: MutationResult, nowMs: number): boolean {
  const { entity, entityId } = entry.change;
  const theirs = (result.row ?? null) as Record<string, unknown> | null;
  if (result.code === "DELETED" && !tx.hasRow(entity, entityId)) {
    tx.sync.removeEntry(entry.change.id);
    tx.sync.forgetSynced(entity, entityId);
    return true;
  }
  if (result.code === "ALREADY_CONNECTED" && theirs !== null) {
    // The same link made on two computers: the one the database has stays, unless its allow-list is another.
    if (isDeepStrictEqual(theirs.allowedTools, entry.payload.allowedTools ?? null)) {
      giveUpRow(tx, entry);
      return true;
    }
  }
  const fields = theirs === null ? [] : differences(entry, theirs);
  const isOwnHistory = fields.every(({ base, theirs: there }) => isDeepStrictEqual(base ?? null, there ?? null));
  if (result.code === "STALE" && isPut(entry) && theirs !== null && result.revision !== null && isOwnHistory) {
    tx.sync.putEntry(requeued(entry, { baseRevision: result.revision }));
    return false;
  }
  if (theirs !== null && theirs.id === entityId && result.revision !== null) {
    const known = tx.sync.synced(entity, entityId);
    if (known === undefined || result.revision >= known.revision)
      tx.sync.setSynced(entity, entityId, { revision: result.revision, generation: tx.sync.generation(), row: theirs });
  }
  const conflict: Conflict = { code: result.code ?? "STALE", fields, isDeleted: theirs === null };
  const reason = new AppError("CHANGE_CONFLICT", { ...(result.message === null ? {} : { message: result.message }) }).toShape();
  tx.sync.putEntry(parked(entry, reason, conflict, nowMs));
  project(tx, entity, entityId);
  return false;
}

/** Members of the change whose value in the database is another, without hashes of secrets. */
export function differences(entry: OutboxEntry, theirRow: Record<string, unknown>): Conflict["fields"] {
  const theirs = flattened(theirRow);
  return Object.entries(entry.payload)
    .filter(([name, mine]) => name in theirs && !isDeepStrictEqual(mine ?? null, theirs[name] ?? null))
    .map(([name, mine]) => ({ name, base: entry.before[name] ?? null, mine: mine ?? null, theirs: theirs[name] ?? null }));
}

/** Takes a row back that the database will never have, with its changes and its secret. */
export function giveUpRow(tx: Writer, { change }: Pick<OutboxEntry, "change">): void {
  const { entity, entityId } = change;
  for (const each of tx.sync.entriesOf(entity, entityId)) tx.sync.removeEntry(each.change.id);
  const connection = entity === "connections" ? tx.get("connections", entityId) : undefined;
  const server = connection === undefined ? undefined : tx.get("servers", connection.serverId);
  if (server !== undefined && tx.get("toolboxes", server.toolboxId) !== undefined) tx.addRevocation(entityId, server.toolboxId);
  if (entity === "connections" || entity === "toolboxes")
    tx.sync.addChore({
      kind: "forget-secrets",
      keys: [{ kind: entity === "connections" ? "connection" : "toolbox", id: entityId }],
    });
  tx.delete(entity, entityId);
}
