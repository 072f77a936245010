import type { Migration } from "./migration.ts";

/** Whether the row of a change that was sent has gone at the shared database since. */
export const gone: Migration = {
  number: 3,
  name: "gone",
  sql: "ALTER TABLE outbox ADD COLUMN is_gone INTEGER NOT NULL DEFAULT 0",
};
