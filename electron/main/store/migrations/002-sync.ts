import type { EntityName } from "../../../../shared/contract/state.ts";
import { documentTable, type Migration } from "./migration.ts";

/*
Rows of the shared database arrive in the order of its feed, where a child can come before its parent and a name can be
taken for a moment, so unique keys and references between synced tables are no longer SQLite's: `Writer.put` checks them
for changes made here, `Writer.delete` takes the children along, and the pull does neither.
*/
export const sync: Migration = {
  number: 2,
  name: "sync",
  sql: `
    ${rebuilt("toolboxes", ["name TEXT NOT NULL AS (data ->> 'name') STORED"])}
    CREATE INDEX toolboxes_by_name ON toolboxes (name);
    ${rebuilt("servers", [
      "toolbox_id TEXT NOT NULL AS (data ->> 'toolboxId') STORED",
      "name TEXT NOT NULL AS (data ->> '$.spec.name') STORED",
    ])}
    CREATE INDEX servers_by_name ON servers (toolbox_id, name);
    ${rebuilt("connections", [
      "agent_id TEXT NOT NULL AS (data ->> 'agentId') STORED",
      "server_id TEXT NOT NULL AS (data ->> 'serverId') STORED",
    ])}
    CREATE INDEX connections_by_agent ON connections (agent_id, server_id);
    CREATE INDEX connections_by_server ON connections (server_id);

    ${documentTable("people", [])}
    ${documentTable("toolLists", [])}
    ${documentTable("queue", [
      "position REAL NOT NULL AS (data ->> 'position') STORED",
      "entity TEXT NOT NULL AS (data ->> 'entity') STORED",
      "entity_id TEXT NOT NULL AS (data ->> 'entityId') STORED",
      "state TEXT NOT NULL AS (data ->> '$.condition.state') STORED",
    ])}
    CREATE INDEX queue_by_position ON queue (position);
    CREATE INDEX queue_by_subject ON queue (entity, entity_id);
    CREATE INDEX queue_by_state ON queue (state);

    -- The part of a queued change that no window sees.
    CREATE TABLE outbox (
      id TEXT PRIMARY KEY REFERENCES queue (id) ON DELETE CASCADE,
      mutation_id TEXT NOT NULL UNIQUE,
      base_revision INTEGER,
      -- It went out at least once, so the database may have applied it.
      is_sent INTEGER NOT NULL DEFAULT 0,
      payload TEXT NOT NULL CHECK (json_valid(payload)),
      before TEXT NOT NULL CHECK (json_valid(before))
    ) STRICT;

    -- Rows as the shared database last showed them: what local changes are laid over, and what an undo goes back to.
    -- "row" is null for a row that was accepted from here and has not come back yet.
    CREATE TABLE synced (
      entity TEXT NOT NULL,
      id TEXT NOT NULL,
      revision INTEGER NOT NULL,
      generation INTEGER NOT NULL,
      "row" TEXT CHECK (json_valid("row")),
      PRIMARY KEY (entity, id)
    ) STRICT;

    -- Work on the vault and on links that a transaction decided and that is done after it.
    CREATE TABLE chores (id INTEGER PRIMARY KEY AUTOINCREMENT, data TEXT NOT NULL CHECK (json_valid(data))) STRICT;
  `,
};

/** The table anew with other keys, and with its rows. Runs while foreign keys are off. */
function rebuilt(entity: EntityName, keys: string[]): string {
  return `
    CREATE TABLE kept AS SELECT rowid AS place, id, data FROM ${entity};
    DROP TABLE ${entity};
    ${documentTable(entity, keys)}
    INSERT INTO ${entity} (id, data) SELECT id, data FROM kept ORDER BY place;
    DROP TABLE kept;`;
}
