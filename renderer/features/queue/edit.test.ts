import { describe, expect, it } from "vitest";
import type { QueuedChange } from "../../../shared/model/sync.ts";
import { mutation } from "../../../shared/sync-protocol.ts";
import { rowsFor } from "../../../test/fixtures/window/rows.ts";
import { editDraftFor, toMembers } from "./edit.ts";

const { rows } = rowsFor("offline");
const byId = <Row extends { id: string }>(list: readonly Row[]) => new Map(list.map((row) => [row.id as string, row]));
const tables = {
  agents: byId(rows.agents),
  connections: byId(rows.connections),
  servers: byId(rows.servers),
  toolboxes: byId(rows.toolboxes),
  templates: byId(rows.templates),
};

function queued(index: number, part: Partial<QueuedChange> = {}): QueuedChange {
  const change = rows.queue[index];
  if (change === undefined) throw new Error("The fixture has fewer changes.");
  return { ...change, ...part };
}

describe("editing a queued change", () => {
  it("starts with the values it has now", () => {
    expect(editDraftFor(queued(0), tables)).toEqual({ name: "Scribe", description: "Takes minutes." });
    expect(editDraftFor(queued(2), tables)).toEqual({ allowedTools: "echo\nget-sum" });
    expect(editDraftFor(queued(4), tables)).toEqual({ desired: "running" });
  });

  it("is not offered for a deletion or for what has no value to type", () => {
    expect(editDraftFor(queued(0, { kind: "agent.delete", fields: [] }), tables)).toBeUndefined();
    expect(editDraftFor(queued(2, { fields: ["tokenHash"] }), tables)).toBeUndefined();
  });

  it("sends the members that were edited and no others", () => {
    expect(toMembers(queued(0), { name: " Writer ", description: "" }, tables)).toEqual({ name: "Writer", description: "" });
    expect(toMembers(queued(2), { allowedTools: null }, tables)).toEqual({ allowedTools: null });
    expect(toMembers(queued(2), { allowedTools: "echo\n\necho" }, tables)).toEqual({ allowedTools: ["echo"] });
  });

  it("renames a server within its configuration, as the database takes it", () => {
    const change = queued(4, { fields: ["toolboxId", "spec"] });
    const members = toMembers(change, { name: "renamed" }, tables);
    const row = tables.servers.get(change.entityId);
    expect(members).toEqual({ spec: { ...row?.spec, name: "renamed" } });
    const sent = { id: change.id, kind: change.kind, entityId: change.entityId, baseRevision: null };
    expect(mutation.safeParse({ ...sent, payload: { toolboxId: row?.toolboxId, ...members } }).success).toBe(true);
  });
});
