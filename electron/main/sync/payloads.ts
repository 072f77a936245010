import { createHash } from "node:crypto";
import type { Agent, Connection } from "../../../shared/model/agent.ts";
import type { Server } from "../../../shared/model/server.ts";
import type { Template } from "../../../shared/model/template.ts";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import type { LocalChange } from "../store/outbox.ts";

/*
The changes that people's deeds become, as the shared database takes them. A payload that creates a row is complete; one
that changes a row has the members that changed, and those that say where it belongs.
*/

export function agentCreated({ id, name, description }: Agent): LocalChange {
  return { kind: "agent.put", entityId: id, title: name, payload: { name, description }, isNew: true };
}

export function agentChanged({ id, name }: Agent, changes: Partial<Pick<Agent, "name" | "description">>): LocalChange {
  return { kind: "agent.put", entityId: id, title: name, payload: changes };
}

export function agentDeleted({ id, name }: Agent): LocalChange {
  return { kind: "agent.delete", entityId: id, title: name, payload: {} };
}

export function connectionCreated(row: Connection, title: string, tokenHash: string): LocalChange {
  const { id, agentId, serverId, allowedTools, expiresAt } = row;
  const payload = { agentId, serverId, allowedTools, tokenHash, ...(expiresAt === undefined ? {} : { expiresAt }) };
  return { kind: "connection.put", entityId: id, title, payload, isNew: true };
}

export function connectionChanged(
  { id, agentId, serverId }: Connection,
  title: string,
  changes: { allowedTools?: string[] | null; expiresAt?: number | null; tokenHash?: string },
): LocalChange {
  return { kind: "connection.put", entityId: id, title, payload: { agentId, serverId, ...changes } };
}

export function connectionDeleted({ id }: Connection, title: string): LocalChange {
  return { kind: "connection.delete", entityId: id, title, payload: {} };
}

/** The address of this computer's own DTMA means nothing elsewhere, so it stays here. */
export function toolboxCreated(row: Toolbox, tokenHash: string | undefined): LocalChange {
  const { id, name, kind, url, fingerprint } = row;
  const place = kind === "this-computer" ? { url: null, fingerprint: null } : { url, fingerprint };
  const payload = { name, kind, ...place, ...(tokenHash === undefined ? {} : { tokenHash }) };
  return { kind: "toolbox.put", entityId: id, title: name, payload, isNew: true };
}

export function toolboxChanged({ id, name }: Toolbox, changes: { name?: string; tokenHash?: string }): LocalChange {
  return { kind: "toolbox.put", entityId: id, title: name, payload: changes };
}

export function toolboxDeleted({ id, name }: Toolbox): LocalChange {
  return { kind: "toolbox.delete", entityId: id, title: name, payload: {} };
}

export function serverCreated({ id, toolboxId, templateId, spec, desired }: Server): LocalChange {
  const payload = { toolboxId, templateId, spec, desired: desired === "stopped" ? "stopped" : "running" };
  return { kind: "server.put", entityId: id, title: spec.name, payload, isNew: true };
}

export function serverChanged(
  { id, toolboxId, spec }: Server,
  changes: { desired?: "running" | "stopped"; spec?: Server["spec"] },
): LocalChange {
  return { kind: "server.put", entityId: id, title: spec.name, payload: { toolboxId, ...changes } };
}

/** `force` removes the row at once, for a server whose toolbox has said itself that it is gone. */
export function serverDeleted({ id, spec }: Server, { force = false } = {}): LocalChange {
  return { kind: "server.delete", entityId: id, title: spec.name, payload: force ? { force } : {} };
}

export function templateCreated(row: Template): LocalChange {
  return { ...templateChanged(row), isNew: true };
}

/** The document as a whole. Where it comes from is not said in it: in the database every template is the team's. */
export function templateChanged({ origin: _, ...definition }: Template): LocalChange {
  return { kind: "template.put", entityId: definition.id, title: definition.title, payload: { definition } };
}

export function templateDeleted({ id, title }: Template): LocalChange {
  return { kind: "template.delete", entityId: id, title, payload: {} };
}

/** SHA-256 (hex): how a token is known outside of the vault. */
export function hashOf(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}

/** The short mark by which a connection's owner recognises the token that is valid now (docs/database.md). */
export function tokenTag(token: string): string {
  return hashOf(hashOf(token)).slice(0, 16);
}
