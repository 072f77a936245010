import type { AuditPage } from "../../../shared/sync-protocol.ts";
import { text } from "../../text.ts";

/*
A line of the audit log in words. Pure.

INVARIANTS
- A name nobody here knows (any more) is taken from the line itself, and left out rather than invented.
- Words of the database nobody here knows are shown as they came.
*/

export type AuditEntry = AuditPage["entries"][number];

/** Looks up what an id is called; undefined when it is not known here. */
export type NameOf = (entity: string, id: string) => string | undefined;

const words = text.audit;

const nameMembers = ["name", "instance_name_on_toolbox"];

/** Who did it. */
export function actorOf(entry: AuditEntry, ownId: string | null, nameOf: NameOf): string {
  if (entry.actorKind !== "person") return words.actors[entry.actorKind];
  if (entry.actorId !== null && entry.actorId === ownId) return words.you;
  return (entry.actorId === null ? undefined : nameOf("person", entry.actorId)) ?? words.somebody;
}

/** What was done to what. */
export function whatOf(entry: AuditEntry, nameOf: NameOf): string {
  const { entity, entityId, action } = entry;
  if (entity === "role") {
    const name = nameOf("person", entityId) ?? "";
    return action === "deleted" ? words.roleTaken(name) : words.roleGiven(name);
  }
  const name = nameOf(entity, entityId) ?? nameInside(entry) ?? (entity === "template" ? entityId : "");
  return words.what(words.entities[entity] ?? entity, name, words.actions[action]);
}

function nameInside({ changes }: AuditEntry): string | undefined {
  for (const member of nameMembers) {
    const pair = changes[member];
    if (!Array.isArray(pair)) continue;
    const known = pair[1] ?? pair[0];
    if (typeof known === "string") return known;
  }
  return undefined;
}

/** What changed, member by member, with values where they are no secret; deletions name nothing. */
export function changesOf(entry: AuditEntry, nameOf: NameOf): readonly string[] {
  if (entry.action === "deleted" || entry.entity === "role") return [];
  return Object.entries(entry.changes).flatMap(([member, value]) => {
    const name = words.members[member] ?? member;
    if (value === "(secret)") return [words.member(name, words.secret)];
    if (!Array.isArray(value)) return entry.action === "created" ? [] : [words.member(name, words.document)];
    const [before, after] = value.map((each) => shortValue(member, each, nameOf));
    if (entry.action === "created") return after === words.nothing ? [] : [words.member(name, after ?? "")];
    return [words.member(name, words.fromTo(before ?? "", after ?? ""))];
  });
}

const references: Readonly<Record<string, string>> = {
  user_id: "person",
  agent_id: "agent",
  mcp_server_instance_id: "server",
  account_tool_environment_id: "toolbox",
};

const longest = 60;

function toolsInWords(allowed: unknown): string {
  if (!Array.isArray(allowed)) return text.conflict.allTools;
  return allowed.length === 0 ? text.conflict.noTools : allowed.join(", ");
}

function shortValue(member: string, value: unknown, nameOf: NameOf): string {
  if (value === null || value === undefined || value === "") return words.nothing;
  const entity = references[member];
  if (entity !== undefined && typeof value === "string") return nameOf(entity, value) ?? value.slice(0, 8);
  if (member === "connection_config") return toolsInWords((value as { allowedTools?: unknown }).allowedTools);
  const shown = typeof value === "string" ? value : JSON.stringify(value);
  return shown.length > longest ? `${shown.slice(0, longest)}…` : shown;
}
