import type { EntityName } from "../../../../shared/contract/state.ts";

/** One step forward. Numbers are consecutive from 1; a published migration is never edited. */
export type Migration = { number: number; name: string; sql: string };

/**
 * A table of documents with the triggers that feed the change feed, also for rows deleted by a cascade.
 * The triggers delete before they insert: inside an upsert, SQLite overrides a conflict clause of a trigger's statement.
 */
export function documentTable(entity: EntityName, keys: string[]): string {
  const columns = ["id TEXT PRIMARY KEY", "data TEXT NOT NULL CHECK (json_valid(data))", ...keys];
  const trigger = (when: "INSERT" | "UPDATE" | "DELETE", row: "NEW" | "OLD") => `
    CREATE TRIGGER ${entity}_${when.toLowerCase()} AFTER ${when} ON ${entity} BEGIN
      DELETE FROM changes WHERE entity = '${entity}' AND id = ${row}.id;
      INSERT INTO changes (entity, id) VALUES ('${entity}', ${row}.id);
    END;`;
  return `
    CREATE TABLE ${entity} (${columns.join(", ")}) STRICT;
    ${trigger("INSERT", "NEW")}
    ${trigger("UPDATE", "NEW")}
    ${trigger("DELETE", "OLD")}`;
}
