import { documentTable, type Migration } from "./migration.ts";

/*
Rows are documents: `data` holds the whole entity as shared/contract/state.ts describes it, and what must be unique,
referenced or searched is a generated column, so the shape has one owner and SQLite still guards the keys.
*/
export const first: Migration = {
  number: 1,
  name: "first",
  sql: `
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;

    -- Newest change of every row. Deleted rows stay as entries without a row, so that a window can be told.
    CREATE TABLE changes (
      sequence INTEGER PRIMARY KEY AUTOINCREMENT,
      entity TEXT NOT NULL,
      id TEXT NOT NULL,
      UNIQUE (entity, id)
    ) STRICT;

    ${documentTable("toolboxes", ["name TEXT NOT NULL AS (data ->> 'name') STORED UNIQUE"])}
    ${documentTable("templates", [])}
    ${documentTable("servers", [
      "toolbox_id TEXT NOT NULL AS (data ->> 'toolboxId') STORED REFERENCES toolboxes (id) ON DELETE CASCADE",
      "name TEXT NOT NULL AS (data ->> '$.spec.name') STORED",
      "UNIQUE (toolbox_id, name)",
    ])}
    ${documentTable("agents", [])}
    ${documentTable("connections", [
      "agent_id TEXT NOT NULL AS (data ->> 'agentId') STORED REFERENCES agents (id) ON DELETE CASCADE",
      "server_id TEXT NOT NULL AS (data ->> 'serverId') STORED REFERENCES servers (id) ON DELETE CASCADE",
      "UNIQUE (agent_id, server_id)",
    ])}
    CREATE INDEX connections_by_server ON connections (server_id);
    ${documentTable("activities", [
      "toolbox_id TEXT NOT NULL AS (data ->> 'toolboxId') STORED REFERENCES toolboxes (id) ON DELETE CASCADE",
      "state TEXT NOT NULL AS (data ->> 'state') STORED",
      "started_at INTEGER NOT NULL AS (data ->> 'startedAt') STORED",
    ])}
    CREATE INDEX activities_by_age ON activities (started_at);

    -- Links that were cut while their toolbox was away: told to it as soon as it answers.
    CREATE TABLE revocations (
      connection_id TEXT PRIMARY KEY,
      toolbox_id TEXT NOT NULL REFERENCES toolboxes (id) ON DELETE CASCADE
    ) STRICT;
  `,
};
