import { randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { type Change, type Cursor, type Entities, type EntityName, entities } from "../../../shared/contract/state.ts";
import { AppError } from "../../../shared/errors.ts";
import { first } from "./migrations/001-first.ts";
import { sync } from "./migrations/002-sync.ts";
import { gone } from "./migrations/003-gone.ts";
import type { Migration } from "./migrations/migration.ts";
import { createOutbox, type LocalChange, type OutboxReader, type OutboxWriter } from "./outbox.ts";

/*
INVARIANTS
- One process writes: the file is held with an exclusive lock for as long as the store is open, also against reading.
- Every row is checked against its schema when it is written; what is read was written by this file.
- `put` keeps names and pairs unique and references whole; `putSynced` takes rows as the shared database has them.
- `Reader` cannot write. Writing happens inside `write`, which is one transaction: all of it or nothing.
- Listeners hear of a change after it is committed, never before.
*/

const migrations: Migration[] = [first, sync, gone];

/** The names by which rows can be found besides their id: generated columns of the migrations. */
type Keys = {
  toolboxes: "name";
  templates: never;
  servers: "toolbox_id" | "name";
  agents: never;
  connections: "agent_id" | "server_id";
  activities: "toolbox_id" | "state";
  people: never;
  queue: "entity" | "entity_id" | "state";
  toolLists: never;
};

export interface Reader {
  get<N extends EntityName>(entity: N, id: string): Entities[N] | undefined;
  /** Like `get`, but a missing row is the error NOT_FOUND with a sentence that names the kind. */
  mustGet<N extends EntityName>(entity: N, id: string): Entities[N];
  hasRow(entity: EntityName, id: string): boolean;
  /** All rows, or those whose keys have the given values. Oldest first. */
  list<N extends EntityName>(entity: N, where?: Partial<Record<Keys[N], string>>): Entities[N][];
  /** Links that were cut and that their toolbox does not know of yet. */
  revocations(toolboxId: string): string[];
  readonly sync: OutboxReader;
}

export interface Writer extends Reader {
  /** Inserts the row or replaces the one with its id. ALREADY_EXISTS when another row has its key. */
  put<N extends EntityName>(entity: N, row: Entities[N]): void;
  /** Changes members of an existing row; does nothing when the row is gone or nothing differs. */
  patch<N extends EntityName>(entity: N, id: string, changes: Partial<Entities[N]>): void;
  /** Deletes the row and what belongs to it. */
  delete(entity: EntityName, id: string): void;
  /** Notes a change for the shared database; does nothing while there is none, or for a row it is not to know. */
  enqueue(change: LocalChange): void;
  /** Writes a row as the shared database has it: without looking at keys and references. */
  putSynced<N extends EntityName>(entity: N, row: Entities[N]): void;
  /** Deletes the row alone: what belongs to it has entries of its own in the database's feed. */
  deleteSynced(entity: EntityName, id: string): void;
  readonly sync: OutboxWriter;
  addRevocation(connectionId: string, toolboxId: string): void;
  removeRevocation(connectionId: string): void;
}

export interface Store extends Reader {
  /** Identifies this workspace file; stays the same for its whole life. */
  readonly workspaceId: string;
  /** Runs `work` in one transaction. */
  write<T>(work: (tx: Writer) => T): T;
  /** Everything there is, and where the feed stands. */
  snapshot(): { cursor: Cursor; rows: { [N in EntityName]: Entities[N][] } };
  /** What changed after the cursor; undefined when the feed cannot continue from it. */
  changesSince(since: Cursor): { cursor: Cursor; changes: Change[] } | undefined;
  /** Calls back after commits, at most once per turn of the event loop. Returns the unsubscriber. */
  onChange(listener: () => void): () => void;
  /** What a person entered once and is offered again; undefined when nothing was. */
  remembered(what: Remembered): string | undefined;
  remember(what: Remembered, value: string): void;
  close(): void;
}

export type Remembered = "install_source";

const nouns: Record<EntityName, string> = {
  toolboxes: "toolbox",
  templates: "template",
  servers: "server",
  agents: "agent",
  connections: "connection",
  activities: "activity",
  people: "person",
  queue: "queued change",
  toolLists: "list of tools",
};

/** Rows that go with a row, as conditions on `?`. */
const children: Partial<Record<EntityName, [table: string, condition: string][]>> = {
  toolboxes: [
    ["connections", "server_id IN (SELECT id FROM servers WHERE toolbox_id = ?)"],
    ["servers", "toolbox_id = ?"],
  ],
  servers: [["connections", "server_id = ?"]],
  agents: [["connections", "agent_id = ?"]],
};

/** Columns that no two rows may share. */
const uniqueKeys: Partial<Record<EntityName, string[]>> = {
  toolboxes: ["name"],
  servers: ["toolbox_id", "name"],
  connections: ["agent_id", "server_id"],
};

/** Columns that name a row of another table. */
const references: Partial<Record<EntityName, [column: string, table: EntityName][]>> = {
  servers: [["toolbox_id", "toolboxes"]],
  connections: [
    ["agent_id", "agents"],
    ["server_id", "servers"],
  ],
};

/** How many tombstones the feed keeps; a window that was away for longer gets a snapshot. */
const tombstoneLimit = 20_000;

/** Opens the workspace file in a folder, made if needed. WORKSPACE_IN_USE, WORKSPACE_TOO_NEW. */
export function openStore(folder: string): Store {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const db = new Database(join(folder, "workspace.sqlite"), { timeout: 0 });
  try {
    lock(db, folder);
    migrate(db, folder);
  } catch (error) {
    db.close();
    throw error;
  }
  return createStore(db);
}

function lock(db: Database.Database, folder: string): void {
  try {
    db.pragma("locking_mode = EXCLUSIVE");
    db.pragma("journal_mode = WAL");
    db.pragma("synchronous = FULL");
    db.pragma("foreign_keys = ON");
    // A first pull writes a hundred thousand rows: pages stay in memory until a commit, and the log is folded in less often.
    db.pragma("cache_size = -12000");
    db.pragma("wal_autocheckpoint = 4000");
    db.exec("BEGIN IMMEDIATE; COMMIT;");
  } catch (error) {
    if (error instanceof Database.SqliteError && error.code.startsWith("SQLITE_BUSY")) {
      throw new AppError("WORKSPACE_IN_USE", {
        message: `The data folder ${folder} is in use by another control centre.`,
        cause: error,
      });
    }
    throw error;
  }
}

function migrate(db: Database.Database, folder: string): void {
  const current = Number(db.pragma("user_version", { simple: true }));
  if (current > migrations.length) {
    throw new AppError("WORKSPACE_TOO_NEW", {
      message: `The data folder ${folder} has schema ${current}; this version knows ${migrations.length}.`,
    });
  }
  // A migration may rebuild a table that others refer to.
  db.pragma("foreign_keys = OFF");
  for (const migration of migrations.slice(current)) {
    db.transaction(() => {
      db.exec(migration.sql);
      db.pragma(`user_version = ${migration.number}`);
    }).immediate();
  }
  db.pragma("foreign_keys = ON");
  db.prepare("INSERT OR IGNORE INTO meta (key, value) VALUES ('workspace_id', ?), ('feed_floor', '0')").run(randomUUID());
}

function createStore(db: Database.Database): Store {
  const statements = new Map<string, Database.Statement>();
  const plucking = new Map<string, Database.Statement>();
  const prepare = (sql: string) => {
    const known = statements.get(sql) ?? db.prepare(sql);
    statements.set(sql, known);
    return known;
  };
  /** Answers with the first column. Of its own, because a statement that was told to do so does it for everybody. */
  const pluck = (sql: string) => {
    const known = plucking.get(sql) ?? db.prepare(sql).pluck();
    plucking.set(sql, known);
    return known;
  };
  const workspaceId = String(pluck("SELECT value FROM meta WHERE key = 'workspace_id'").get());
  const listeners = new Set<() => void>();
  let isNotifying = false;

  const reader: Reader = {
    get(entity, id) {
      const data = pluck(`SELECT data FROM ${entity} WHERE id = ?`).get(id);
      return data === undefined ? undefined : JSON.parse(data as string);
    },
    mustGet(entity, id) {
      const row = reader.get(entity, id);
      if (row === undefined) throw new AppError("NOT_FOUND", { message: `This ${nouns[entity]} does not exist any more.` });
      return row;
    },
    hasRow: (entity, id) => prepare(`SELECT 1 FROM ${entity} WHERE id = ?`).get(id) !== undefined,
    list(entity, where = {}) {
      const keys = Object.entries(where) as [string, string][];
      const condition = keys.length === 0 ? "" : `WHERE ${keys.map(([key]) => `${key} = ?`).join(" AND ")}`;
      const rows = pluck(`SELECT data FROM ${entity} ${condition} ORDER BY rowid`).all(...keys.map(([, value]) => value));
      return rows.map((data) => JSON.parse(data as string));
    },
    get sync() {
      return outbox;
    },
    revocations: (toolboxId) => pluck("SELECT connection_id FROM revocations WHERE toolbox_id = ?").all(toolboxId) as string[],
  };

  const putSynced: Writer["putSynced"] = (entity, row) => {
    const data = JSON.stringify(entities[entity].parse(row));
    const id = row.id;
    try {
      prepare(
        `INSERT INTO ${entity} (id, data) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET data = excluded.data WHERE data IS NOT excluded.data`,
      ).run(id, data);
    } catch (error) {
      throw fromSqliteError(error, entity);
    }
  };

  /** Keys are looked at only when they are new or another: a row may share a name with one that came from elsewhere. */
  const put: Writer["put"] = (entity, row) => {
    const columns = [...(uniqueKeys[entity] ?? []), ...(references[entity] ?? []).map(([column]) => column)];
    if (columns.length === 0) return putSynced(entity, row);
    const keysOf = () => prepare(`SELECT ${columns.join(", ")} FROM ${entity} WHERE id = ?`).get(row.id);
    const before = JSON.stringify(keysOf());
    putSynced(entity, row);
    if (JSON.stringify(keysOf()) !== before) checkKeys(entity, row.id);
  };

  function checkKeys(entity: EntityName, id: string): void {
    const unique = uniqueKeys[entity] ?? [];
    const same = unique.map((column) => `other.${column} = own.${column}`).join(" AND ");
    if (prepare(`SELECT 1 FROM ${entity} own JOIN ${entity} other ON ${same} WHERE own.id = ? AND other.id <> own.id`).get(id))
      throw duplicateError(entity);
    for (const [column, table] of references[entity] ?? []) {
      if (prepare(`SELECT 1 FROM ${entity} own JOIN ${table} parent ON parent.id = own.${column} WHERE own.id = ?`).get(id))
        continue;
      throw new AppError("NOT_FOUND", { message: `What this ${nouns[entity]} belongs to does not exist any more.` });
    }
  }

  const deleteSynced: Writer["deleteSynced"] = (entity, id) => void prepare(`DELETE FROM ${entity} WHERE id = ?`).run(id);
  const outbox = createOutbox({ prepare, putChange: (change) => putSynced("queue", change), now: Date.now });

  const writer: Writer = {
    ...reader,
    sync: outbox,
    enqueue: outbox.enqueue,
    put,
    putSynced,
    deleteSynced,
    patch(entity, id, changes) {
      const row = reader.get(entity, id);
      if (row !== undefined) put(entity, { ...row, ...changes });
    },
    delete(entity, id) {
      for (const [table, condition] of children[entity] ?? []) prepare(`DELETE FROM ${table} WHERE ${condition}`).run(id);
      deleteSynced(entity, id);
    },
    addRevocation: (connectionId, toolboxId) =>
      void prepare("INSERT OR REPLACE INTO revocations (connection_id, toolbox_id) VALUES (?, ?)").run(connectionId, toolboxId),
    removeRevocation: (connectionId) => void prepare("DELETE FROM revocations WHERE connection_id = ?").run(connectionId),
  };

  function notify(): void {
    if (isNotifying || listeners.size === 0) return;
    isNotifying = true;
    setImmediate(() => {
      isNotifying = false;
      for (const listener of listeners) listener();
    });
  }

  const sequence = () => Number(pluck("SELECT seq FROM sqlite_sequence WHERE name = 'changes'").get() ?? 0);
  const floor = () => Number(pluck("SELECT value FROM meta WHERE key = 'feed_floor'").get());
  const cursorNow = (): Cursor => ({ epoch: workspaceId, sequence: sequence() });
  trimTombstones();

  function trimTombstones(): void {
    const kept = entityNames.map((name) => `SELECT '${name}', id FROM ${name}`).join(" UNION ALL ");
    const newestToDrop = pluck(
      `SELECT sequence FROM changes WHERE (entity, id) NOT IN (${kept}) ORDER BY sequence DESC LIMIT 1 OFFSET ${tombstoneLimit}`,
    ).get();
    if (newestToDrop === undefined) return;
    db.transaction(() => {
      prepare(`DELETE FROM changes WHERE sequence <= ? AND (entity, id) NOT IN (${kept})`).run(newestToDrop);
      prepare("UPDATE meta SET value = ? WHERE key = 'feed_floor'").run(String(newestToDrop));
    })();
  }

  return {
    ...reader,
    sync: outbox,
    workspaceId,
    write(work) {
      const before = sequence();
      const result = db.transaction(() => work(writer)).immediate();
      if (sequence() !== before) notify();
      return result;
    },
    snapshot() {
      return db.transaction(() => ({
        cursor: cursorNow(),
        rows: Object.fromEntries(entityNames.map((name) => [name, reader.list(name)])) as { [N in EntityName]: Entities[N][] },
      }))();
    },
    changesSince(since) {
      if (since.epoch !== workspaceId || since.sequence < floor() || since.sequence > sequence()) return undefined;
      return db.transaction(() => {
        const changed = prepare("SELECT entity, id FROM changes WHERE sequence > ? ORDER BY sequence").all(since.sequence) as {
          entity: EntityName;
          id: string;
        }[];
        const changes = changed.map(({ entity, id }) => ({ entity, id, row: reader.get(entity, id) ?? null }) as Change);
        return { cursor: cursorNow(), changes };
      })();
    },
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    remembered: (what) => pluck("SELECT value FROM meta WHERE key = ?").get(what) as string | undefined,
    remember: (what, value) => void prepare("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)").run(what, value),
    close: () => db.close(),
  };
}

const entityNames = Object.keys(entities) as EntityName[];

function duplicateError(entity: EntityName): AppError {
  if (entity === "connections")
    return new AppError("ALREADY_EXISTS", { message: "This agent is connected to this server already." });
  return new AppError("ALREADY_EXISTS", { message: `There is a ${nouns[entity]} with this name already.`, field: "name" });
}

function fromSqliteError(error: unknown, entity: EntityName): unknown {
  if (!(error instanceof Database.SqliteError)) return error;
  if (error.code === "SQLITE_CONSTRAINT_FOREIGNKEY")
    return new AppError("NOT_FOUND", {
      message: `What this ${nouns[entity]} belongs to does not exist any more.`,
      cause: error,
    });
  if (error.code === "SQLITE_FULL") return new AppError("DISK_FULL", { cause: error });
  return error;
}
