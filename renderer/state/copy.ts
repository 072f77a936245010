import type { Change, Cursor, Entities, EntityName, StateEvent } from "../../shared/contract/state.ts";
import type { Facts } from "../../shared/model/facts.ts";
import { localCondition } from "../../shared/model/sync.ts";

/*
The window's read-only copy of the control centre's rows. Pure.

INVARIANTS
- Only events of `state.watch` change the copy; nothing is ever written here because a person clicked.
- A map is replaced when, and only when, one of its rows changed: what was derived from it may be kept by its identity.
- A snapshot replaces everything; a patch of another epoch than the copy's is ignored.
*/

export type Tables = { readonly [Name in EntityName]: ReadonlyMap<string, Entities[Name]> };

export type Copy = {
  /** False until the first snapshot. */
  readonly isReady: boolean;
  readonly cursor: Cursor | null;
  readonly facts: Facts;
  readonly tables: Tables;
};

export const emptyCopy: Copy = {
  isReady: false,
  cursor: null,
  facts: { keychain: { state: "unknown" }, docker: { state: "unknown" }, sync: localCondition, signIns: [], neededClients: [] },
  tables: {
    toolboxes: new Map(),
    templates: new Map(),
    servers: new Map(),
    agents: new Map(),
    connections: new Map(),
    activities: new Map(),
    people: new Map(),
    queue: new Map(),
    toolLists: new Map(),
  },
};

/** The copy after these events, in their order. Copies each touched map once, however many changes it has. */
export function applyEvents(copy: Copy, events: readonly StateEvent[]): Copy {
  let next = copy;
  let changes: Change[] = [];
  const flush = () => {
    if (changes.length > 0) next = { ...next, tables: applyChanges(next.tables, changes) };
    changes = [];
  };
  for (const event of events) {
    if (event.type === "facts") {
      next = { ...next, facts: event.facts };
    } else if (event.type === "snapshot") {
      changes = [];
      next = { isReady: true, cursor: event.cursor, facts: event.facts, tables: toTables(event.rows) };
    } else if (event.cursor.epoch === next.cursor?.epoch) {
      for (const change of event.changes) changes.push(change);
      next = { ...next, cursor: event.cursor };
    }
  }
  flush();
  return next;
}

function applyChanges(tables: Tables, changes: readonly Change[]): Tables {
  const touched: Partial<Record<EntityName, Map<string, unknown>>> = {};
  for (const change of changes) {
    touched[change.entity] ??= new Map<string, unknown>(tables[change.entity]);
    const table = touched[change.entity];
    if (change.row === null) table?.delete(change.id);
    else table?.set(change.id, change.row);
  }
  return { ...tables, ...(touched as Partial<Tables>) };
}

function toTables(rows: Extract<StateEvent, { type: "snapshot" }>["rows"]): Tables {
  return {
    toolboxes: byId(rows.toolboxes),
    templates: byId(rows.templates),
    servers: byId(rows.servers),
    agents: byId(rows.agents),
    connections: byId(rows.connections),
    activities: byId(rows.activities),
    people: byId(rows.people),
    queue: byId(rows.queue),
    toolLists: byId(rows.toolLists),
  };
}

function byId<Row extends { id: string }>(rows: readonly Row[]): Map<string, Row> {
  return new Map(rows.map((row) => [row.id, row]));
}
