import type { Entities } from "../../../shared/contract/state.ts";
import type { QueuedChange } from "../../../shared/model/sync.ts";
import { linesToList } from "./conflict.ts";
import type { Places } from "./describe.ts";

/*
Which members of a queued change can be given other values, and what is sent for them. Pure.

INVARIANTS
- Only members the change sets can be edited; a deletion has none.
- A configuration is edited as a whole that differs in the one member that was changed.
*/

export type EditDraft = {
  name?: string;
  description?: string;
  desired?: "running" | "stopped";
  /** null allows all tools; else one name per line. */
  allowedTools?: string | null;
};

type Rows = Places & { templates: ReadonlyMap<string, Entities["templates"]> };

/** The values a change has now; undefined when nothing of it can be edited. */
export function editDraftFor(change: QueuedChange, rows: Rows): EditDraft | undefined {
  const { kind, entityId, fields } = change;
  const draft: EditDraft = {};
  const sets = (field: string) => fields.includes(field);
  if (kind === "agent.put") {
    const row = rows.agents.get(entityId);
    if (row !== undefined && sets("name")) draft.name = row.name;
    if (row !== undefined && sets("description")) draft.description = row.description;
  } else if (kind === "toolbox.put") {
    const row = rows.toolboxes.get(entityId);
    if (row !== undefined && sets("name")) draft.name = row.name;
  } else if (kind === "server.put") {
    const row = rows.servers.get(entityId);
    if (row !== undefined && sets("spec")) draft.name = row.spec.name;
    if (row !== undefined && row.desired !== "deleted" && sets("desired")) draft.desired = row.desired;
  } else if (kind === "connection.put") {
    const row = rows.connections.get(entityId);
    if (row !== undefined && sets("allowedTools")) draft.allowedTools = row.allowedTools?.join("\n") ?? null;
  } else if (kind === "template.put") {
    const row = rows.templates.get(entityId);
    if (row !== undefined && sets("definition")) Object.assign(draft, { name: row.title, description: row.description });
  }
  return Object.keys(draft).length === 0 ? undefined : draft;
}

/** The members to send for an edited draft. */
export function toMembers(change: QueuedChange, draft: EditDraft, rows: Rows): Record<string, unknown> {
  const members: Record<string, unknown> = {};
  const { kind, entityId } = change;
  const name = draft.name?.trim();
  if (kind === "template.put") {
    const row = rows.templates.get(entityId);
    if (row !== undefined) members.definition = { ...row, title: name ?? row.title, description: draft.description ?? "" };
    return members;
  }
  if (kind === "server.put") {
    const row = rows.servers.get(entityId);
    if (row !== undefined && name !== undefined) members.spec = { ...row.spec, name };
  } else if (name !== undefined) members.name = name;
  if (draft.description !== undefined) members.description = draft.description;
  if (draft.desired !== undefined) members.desired = draft.desired;
  if (draft.allowedTools !== undefined)
    members.allowedTools = draft.allowedTools === null ? null : linesToList(draft.allowedTools);
  return members;
}
