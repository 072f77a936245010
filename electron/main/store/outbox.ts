import { randomUUID } from "node:crypto";
import { AppError, type ErrorShape } from "../../../shared/errors.ts";
import type { Conflict, DatabaseTarget, QueuedChange, SharedEntityName, SyncAccount } from "../../../shared/model/sync.ts";
import type { MutationKind, PullCursor } from "../../../shared/sync-protocol.ts";

/*
The queue of changes that the shared database does not have yet, and what is known of its rows.

INVARIANTS
- A change is queued in the transaction that changes the row; while there is no account, nothing is queued.
- A change that may have reached the database is never altered: same idempotency key, same payload, until it is answered.
- Two puts of one row become one only when the first was never sent and no other revision came in between.
- A row the database does not know and that is deleted before its creation was sent leaves nothing behind in the queue.
*/

export type Payload = Readonly<Record<string, unknown>>;

/** What a noun's module asks to have sent. `isNew` creates the row; its payload is then complete. */
export type LocalChange = {
  kind: MutationKind;
  entityId: string;
  title: string;
  payload: Payload;
  isNew?: boolean;
};

export type OutboxEntry = {
  change: QueuedChange;
  /** Idempotency key. */
  mutationId: string;
  baseRevision: number | null;
  isSent: boolean;
  /** The row went at the database while it was not known whether this change had arrived; if it is known again, it came back. */
  isGone: boolean;
  payload: Payload;
  /** What the members of the payload were when the change was made. */
  before: Payload;
};

export type SyncedRow = { revision: number; generation: number; row: Record<string, unknown> | null };

export type StoredAccount = {
  /** Of this sign-in; the vault's key. */
  id: string;
  target: DatabaseTarget;
  who: SyncAccount["who"];
  /** Until the first pull has ended, rows the database does not have are not queued one by one. */
  phase: "first-pull" | "steady";
  /** Whether rows that exist only here are sent when the first pull has ended. */
  bringsLocalRows: boolean;
};

/** Work outside SQLite that must happen once the transaction that decided it is committed, also after a crash. */
export type Chore =
  | { kind: "move-toolbox"; from: string; to: string }
  | {
      kind: "forget-secrets";
      keys: (
        | { kind: "toolbox" | "connection" | "account"; id: string }
        | { kind: "server-secret"; id: string; name: string }
      )[];
    };

export interface OutboxReader {
  account(): StoredAccount | undefined;
  cursor(): PullCursor | null;
  /** The pull that is under way from nothing, if one is. */
  resetGeneration(): number | undefined;
  generation(): number;
  lastPullAt(): number | undefined;
  synced(entity: SharedEntityName, id: string): SyncedRow | undefined;
  entry(id: string): OutboxEntry | undefined;
  /** Queued changes in the order of the queue; read lazily, so stop early. Nothing may be written meanwhile. */
  entries(): Iterable<OutboxEntry>;
  entriesOf(entity: SharedEntityName, entityId: string): OutboxEntry[];
  countQueue(): { queued: number; parked: number };
  chores(): { id: number; chore: Chore }[];
}

export interface OutboxWriter extends OutboxReader {
  setAccount(account: StoredAccount | undefined): void;
  setCursor(
    cursor: PullCursor | null,
    progress: { resetGeneration: number | undefined; generation: number; pulledAt: number | undefined },
  ): void;
  setSynced(entity: SharedEntityName, id: string, row: SyncedRow): void;
  forgetSynced(entity: SharedEntityName, id: string): void;
  /** Ids of rows that the pull with this generation has not shown. */
  syncedBefore(generation: number): { entity: SharedEntityName; id: string }[];
  enqueue(change: LocalChange): void;
  /** Replaces what is known of a queued change: sent, failed, parked, edited. */
  putEntry(entry: OutboxEntry): void;
  removeEntry(id: string): void;
  addChore(chore: Chore): void;
  removeChore(id: number): void;
  /** Forgets account, cursor, queue and every row of the database that was kept; local rows stay as they are. */
  forgetSync(): void;
}

type Statement = {
  get(...values: unknown[]): unknown;
  all(...values: unknown[]): unknown[];
  run(...values: unknown[]): unknown;
  iterate(...values: unknown[]): Iterable<unknown>;
};

export type OutboxDeps = {
  prepare(sql: string): Statement;
  putChange(change: QueuedChange): void;
  now(): number;
};

type EntryRow = {
  data: string;
  mutation_id: string;
  base_revision: number | null;
  is_sent: number;
  is_gone: number;
  payload: string;
  before: string;
};

const entryColumns =
  "SELECT q.data, o.mutation_id, o.base_revision, o.is_sent, o.is_gone, o.payload, o.before FROM queue q JOIN outbox o ON o.id = q.id";

const entityOf: Record<string, SharedEntityName> = {
  agent: "agents",
  connection: "connections",
  toolbox: "toolboxes",
  server: "servers",
  template: "templates",
};

/** The feed's entity that a mutation changes. */
export function entityOfKind(kind: MutationKind): SharedEntityName {
  return entityOf[kind.slice(0, kind.indexOf("."))] as SharedEntityName;
}

export function createOutbox({ prepare, putChange, now }: OutboxDeps): OutboxWriter {
  const meta = (key: string) =>
    (prepare("SELECT value FROM meta WHERE key = ?").get(key) as { value: string } | undefined)?.value;
  const setMeta = (key: string, value: string | undefined) =>
    value === undefined
      ? prepare("DELETE FROM meta WHERE key = ?").run(key)
      : prepare("INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value").run(
          key,
          value,
        );
  const number = (key: string) => (meta(key) === undefined ? undefined : Number(meta(key)));

  const outbox: OutboxWriter = {
    account() {
      const text = meta("sync.account");
      return text === undefined ? undefined : JSON.parse(text);
    },
    cursor() {
      const text = meta("sync.cursor");
      return text === undefined ? null : JSON.parse(text);
    },
    resetGeneration: () => number("sync.reset"),
    generation: () => number("sync.generation") ?? 0,
    lastPullAt: () => number("sync.pulled-at"),
    synced(entity, id) {
      const found = prepare(`SELECT revision, generation, "row" AS text FROM synced WHERE entity = ? AND id = ?`).get(
        entity,
        id,
      ) as { revision: number; generation: number; text: string | null } | undefined;
      if (found === undefined) return undefined;
      const { revision, generation, text } = found;
      return { revision, generation, row: text === null ? null : JSON.parse(text) };
    },
    entry(id) {
      const found = prepare(`${entryColumns} WHERE q.id = ?`).get(id) as EntryRow | undefined;
      return found === undefined ? undefined : toEntry(found);
    },
    *entries() {
      for (const row of prepare(`${entryColumns} ORDER BY q.position`).iterate()) yield toEntry(row as EntryRow);
    },
    entriesOf: (entity, entityId) =>
      // Most of the time, and for every row of a first pull, nothing waits at all.
      prepare("SELECT 1 FROM queue LIMIT 1").get() === undefined
        ? []
        : (
            prepare(`${entryColumns} WHERE q.entity = ? AND q.entity_id = ? ORDER BY q.position`).all(
              entity,
              entityId,
            ) as EntryRow[]
          ).map(toEntry),
    countQueue() {
      const rows = prepare("SELECT state, count(*) AS count FROM queue GROUP BY state").all() as {
        state: string;
        count: number;
      }[];
      const parked = rows.find(({ state }) => state === "parked")?.count ?? 0;
      return { queued: rows.reduce((sum, { count }) => sum + count, 0) - parked, parked };
    },
    chores: () =>
      (prepare("SELECT id, data FROM chores ORDER BY id").all() as { id: number; data: string }[]).map(({ id, data }) => ({
        id,
        chore: JSON.parse(data),
      })),

    setAccount: (account) => void setMeta("sync.account", account === undefined ? undefined : JSON.stringify(account)),
    setCursor(cursor, { resetGeneration, generation, pulledAt }) {
      setMeta("sync.cursor", cursor === null ? undefined : JSON.stringify(cursor));
      setMeta("sync.reset", resetGeneration?.toString());
      setMeta("sync.generation", String(generation));
      if (pulledAt !== undefined) setMeta("sync.pulled-at", String(pulledAt));
    },
    setSynced(entity, id, { revision, generation, row }) {
      prepare(
        `INSERT INTO synced (entity, id, revision, generation, "row") VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (entity, id) DO UPDATE SET revision = excluded.revision, generation = excluded.generation, "row" = excluded."row"`,
      ).run(entity, id, revision, generation, row === null ? null : JSON.stringify(row));
    },
    forgetSynced: (entity, id) => void prepare("DELETE FROM synced WHERE entity = ? AND id = ?").run(entity, id),
    syncedBefore: (generation) =>
      prepare("SELECT entity, id FROM synced WHERE generation < ?").all(generation) as {
        entity: SharedEntityName;
        id: string;
      }[],
    enqueue(change) {
      const account = outbox.account();
      if (account === undefined) return;
      const entity = entityOfKind(change.kind);
      const pending = outbox.entriesOf(entity, change.entityId);
      const revision = outbox.synced(entity, change.entityId)?.revision;
      if (change.kind.endsWith(".delete")) enqueueDelete(change, entity, pending, revision);
      else enqueuePut(change, entity, pending, revision, account.phase);
    },
    putEntry(entry) {
      putChange(entry.change);
      prepare(
        `INSERT INTO outbox (id, mutation_id, base_revision, is_sent, is_gone, payload, before) VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET mutation_id = excluded.mutation_id, base_revision = excluded.base_revision,
           is_sent = excluded.is_sent, is_gone = excluded.is_gone, payload = excluded.payload, before = excluded.before`,
      ).run(
        entry.change.id,
        entry.mutationId,
        entry.baseRevision,
        entry.isSent ? 1 : 0,
        entry.isGone ? 1 : 0,
        JSON.stringify(entry.payload),
        JSON.stringify(entry.before),
      );
    },
    removeEntry: (id) => void prepare("DELETE FROM queue WHERE id = ?").run(id),
    addChore: (chore) => void prepare("INSERT INTO chores (data) VALUES (?)").run(JSON.stringify(chore)),
    removeChore: (id) => void prepare("DELETE FROM chores WHERE id = ?").run(id),
    forgetSync() {
      for (const key of ["sync.account", "sync.cursor", "sync.reset", "sync.generation", "sync.pulled-at"])
        setMeta(key, undefined);
      for (const table of ["queue", "synced", "people", "toolLists"]) prepare(`DELETE FROM ${table}`).run();
    },
  };

  function append(change: LocalChange, entity: SharedEntityName, baseRevision: number | null): void {
    const last = prepare("SELECT max(position) AS last FROM queue").get() as { last: number | null };
    outbox.putEntry({
      change: {
        id: randomUUID(),
        kind: change.kind,
        entity,
        entityId: change.entityId,
        title: change.title,
        fields: Object.keys(change.payload),
        position: Math.floor(last.last ?? 0) + 1,
        condition: { state: "queued", nextAttemptAt: null },
        attempts: 0,
        createdAt: now(),
      },
      mutationId: randomUUID(),
      baseRevision,
      isSent: false,
      isGone: false,
      payload: change.payload,
      before: valuesBefore(change, entity),
    });
  }

  /** The members of the payload as they are without it: in what is pending, else in the database's row. */
  function valuesBefore(change: LocalChange, entity: SharedEntityName): Payload {
    const versions = [
      outbox.synced(entity, change.entityId)?.row ?? {},
      ...outbox.entriesOf(entity, change.entityId).map(({ payload }) => payload),
    ];
    const merged: Payload = Object.assign({}, ...versions.map(flattened));
    return Object.fromEntries(Object.keys(change.payload).map((key) => [key, merged[key] ?? null]));
  }

  function enqueuePut(
    change: LocalChange,
    entity: SharedEntityName,
    pending: OutboxEntry[],
    revision: number | undefined,
    phase: StoredAccount["phase"],
  ): void {
    const last = pending.at(-1);
    const isCreating = revision === undefined;
    if (last === undefined && isCreating && (phase === "first-pull" || change.isNew !== true)) return;
    const { condition, kind } = last?.change ?? { condition: undefined, kind: undefined };
    const isUnsent = last !== undefined && !last.isSent && condition?.state === "queued";
    const isRefused = condition?.state === "parked" && condition.conflict === null;
    if (
      last !== undefined &&
      kind === change.kind &&
      (isUnsent || isRefused) &&
      (last.baseRevision ?? undefined) === revision
    ) {
      const payload = { ...last.payload, ...change.payload };
      const merged: QueuedChange = {
        ...last.change,
        title: change.title,
        fields: Object.keys(payload),
        condition: { state: "queued", nextAttemptAt: null },
      };
      // A refused change was answered, and its key would be answered the same again.
      const mutationId = isRefused ? randomUUID() : last.mutationId;
      const before = { ...valuesBefore(change, entity), ...last.before };
      outbox.putEntry({ ...last, change: merged, payload, before, mutationId, isSent: false });
      return;
    }
    append(change, entity, revision ?? null);
  }

  function enqueueDelete(
    change: LocalChange,
    entity: SharedEntityName,
    pending: OutboxEntry[],
    revision: number | undefined,
  ): void {
    for (const entry of pending) if (!mayBeApplied(entry)) outbox.removeEntry(entry.change.id);
    const isKnown = revision !== undefined || pending.some(mayBeApplied);
    const isQueued = pending.some((entry) => mayBeApplied(entry) && entry.change.kind === change.kind);
    if (isKnown && !isQueued) append(change, entity, revision ?? null);
  }

  return outbox;
}

/** A row's members as a payload names them: what only admins see of a server is a level deeper. */
export function flattened(row: Payload): Payload {
  const { admin, definition, ...rest } = row as { admin?: Payload | null; definition?: unknown };
  return { ...rest, ...(definition === undefined ? {} : { definition }), ...(admin ?? {}) };
}

/** Whether the database may hold this change although nothing says so: it went out and was not answered. */
export function mayBeApplied({ change, isSent }: OutboxEntry): boolean {
  return isSent && change.condition.state !== "parked";
}

/** The change as a person has to look at it. */
export function parked(entry: OutboxEntry, reason: ErrorShape, conflict: Conflict | null, nowMs: number): OutboxEntry {
  return {
    ...entry,
    isSent: false,
    isGone: false,
    change: { ...entry.change, condition: { state: "parked", since: nowMs, reason, conflict } },
  };
}

/** The change queued anew under a key the database has not answered yet. */
export function requeued(
  entry: OutboxEntry,
  changes: Partial<Pick<OutboxEntry, "payload" | "baseRevision">> = {},
): OutboxEntry {
  const payload = changes.payload ?? entry.payload;
  return {
    ...entry,
    ...changes,
    mutationId: randomUUID(),
    isSent: false,
    isGone: false,
    change: { ...entry.change, fields: Object.keys(payload), attempts: 0, condition: { state: "queued", nextAttemptAt: null } },
  };
}

/** Thrown where a change cannot be touched because it is on its way. */
export function inFlightError(): AppError {
  return new AppError("CHANGE_UNDER_WAY");
}

function toEntry({ data, mutation_id, base_revision, is_sent, is_gone, payload, before }: EntryRow): OutboxEntry {
  return {
    change: JSON.parse(data),
    mutationId: mutation_id,
    baseRevision: base_revision,
    isSent: is_sent === 1,
    isGone: is_gone === 1,
    payload: JSON.parse(payload),
    before: JSON.parse(before),
  };
}
