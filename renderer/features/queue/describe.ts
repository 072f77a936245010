import type { Entities } from "../../../shared/contract/state.ts";
import type { QueuedChange } from "../../../shared/model/sync.ts";
import { text } from "../../text.ts";

/*
A queued change in words, what it depends on, and what can be done with it. Pure.

INVARIANTS
- A row that the shared database does not have yet is one that is being made: rows from there carry what it says of them.
- What builds on the making of a row goes with it; the control centre has the last word on both.
*/

/** The rows that queued changes are about. */
export type Places = { [Name in "agents" | "connections" | "servers" | "toolboxes"]: ReadonlyMap<string, Entities[Name]> };

const words = text.queue;

/** What a change does, in a few words with names. */
export function describeChange(change: QueuedChange, places: Places): string {
  const { kind, title, fields } = change;
  const isNew = isCreation(change, places);
  switch (kind) {
    case "agent.put":
      return isNew ? words.kinds.agent.create(title) : words.kinds.agent.change(title);
    case "agent.delete":
      return words.kinds.agent.delete(title);
    case "connection.put": {
      const of = words.kinds.connection;
      const agentId = places.connections.get(change.entityId)?.agentId;
      const agent = (agentId === undefined ? undefined : places.agents.get(agentId)?.name) ?? words.someAgent;
      if (isNew) return of.create(agent, title);
      if (fields.includes("allowedTools") || fields.includes("expiresAt")) return of.access(agent, title);
      return fields.includes("tokenHash") ? of.renew(agent, title) : of.change(agent, title);
    }
    case "connection.delete":
      return words.kinds.connection.delete(title);
    case "toolbox.put": {
      const of = words.kinds.toolbox;
      if (isNew) return of.create(title);
      if (isOnly(fields, "name")) return of.rename(title);
      return isOnly(fields, "tokenHash") ? of.token(title) : of.change(title);
    }
    case "toolbox.delete":
      return words.kinds.toolbox.delete(title);
    case "server.put": {
      const of = words.kinds.server;
      if (isNew) return of.create(title);
      if (!fields.includes("desired") || fields.includes("spec")) return of.change(title);
      return places.servers.get(change.entityId)?.desired === "stopped" ? of.stop(title) : of.start(title);
    }
    case "server.delete":
      return words.kinds.server.delete(title);
    case "template.put":
      return words.kinds.template.change(title);
    case "template.delete":
      return words.kinds.template.delete(title);
  }
}

/** Members that only say where a row belongs are not what somebody changed. */
const bearings = new Set(["agentId", "serverId", "toolboxId"]);

function isOnly(fields: readonly string[], name: string): boolean {
  return fields.every((field) => field === name || bearings.has(field));
}

/** The members a change sets, in words; empty where what it does says it already. */
export function fieldsInWords(change: QueuedChange, places: Places): string {
  if (change.kind.endsWith(".delete") || isCreation(change, places)) return "";
  const isSaid = ["connection.put", "toolbox.put", "server.put"].includes(change.kind);
  if (isSaid && change.fields.filter((field) => !bearings.has(field)).length === 1) return "";
  const names = change.fields.filter((field) => !bearings.has(field)).map((field) => words.fields[field] ?? field);
  return names.length === 0 ? "" : words.sets(new Intl.ListFormat("en").format(names));
}

/** Whether the change makes a row that the shared database does not have. */
export function isCreation(change: QueuedChange, places: Places): boolean {
  const { entity, entityId, kind } = change;
  if (!kind.endsWith(".put")) return false;
  switch (entity) {
    case "agents": {
      const row = places.agents.get(entityId);
      return row !== undefined && row.ownerId === undefined;
    }
    case "connections":
    case "servers":
    case "toolboxes": {
      const row = places[entity].get(entityId);
      return row !== undefined && row.shared === undefined;
    }
    default:
      return false;
  }
}

export type ChangeState = "queued" | "sending" | "refused" | "conflict";

export function stateOf({ condition }: QueuedChange): ChangeState {
  if (condition.state !== "parked") return condition.state;
  return condition.conflict === null ? "refused" : "conflict";
}

function needsOf(change: QueuedChange, places: Places): readonly string[] {
  if (change.kind === "connection.put") {
    const row = places.connections.get(change.entityId);
    return row === undefined ? [] : [`agents:${row.agentId}`, `servers:${row.serverId}`];
  }
  if (change.kind !== "server.put") return [];
  const row = places.servers.get(change.entityId);
  return row === undefined ? [] : [`toolboxes:${row.toolboxId}`];
}

const subjectOf = ({ entity, entityId }: QueuedChange) => `${entity}:${entityId}`;

/** The changes that cannot stand without this one, in the order of the queue. */
export function dependentsOf(change: QueuedChange, queue: readonly QueuedChange[], places: Places): readonly QueuedChange[] {
  if (!isCreation(change, places)) return [];
  const gone = new Set([subjectOf(change)]);
  const found: QueuedChange[] = [];
  for (const other of queue) {
    if (other.position <= change.position) continue;
    const builds = gone.has(subjectOf(other)) || needsOf(other, places).some((key) => gone.has(key));
    if (!builds) continue;
    found.push(other);
    if (isCreation(other, places)) gone.add(subjectOf(other));
  }
  return found;
}

/** Whether two neighbours of the queue may change places. */
export function mayChangePlaces(one: QueuedChange, other: QueuedChange, places: Places): boolean {
  if (one.condition.state === "sending" || other.condition.state === "sending") return false;
  if (subjectOf(one) === subjectOf(other)) return false;
  return !needsOf(one, places).includes(subjectOf(other)) && !needsOf(other, places).includes(subjectOf(one));
}
