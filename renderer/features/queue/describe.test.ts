import { describe, expect, it } from "vitest";
import type { QueuedChange } from "../../../shared/model/sync.ts";
import { type Rows, rowsFor } from "../../../test/fixtures/window/rows.ts";
import { dependentsOf, describeChange, fieldsInWords, isCreation, mayChangePlaces, type Places, stateOf } from "./describe.ts";

const { rows } = rowsFor("offline");
const places = placesOf(rows);

function placesOf({ agents, connections, servers, toolboxes }: Rows): Places {
  const byId = <Row extends { id: string }>(list: readonly Row[]) => new Map(list.map((row) => [row.id as string, row]));
  return { agents: byId(agents), connections: byId(connections), servers: byId(servers), toolboxes: byId(toolboxes) };
}

function queued(index: number): QueuedChange {
  const change = rows.queue[index];
  if (change === undefined) throw new Error("The fixture has fewer changes.");
  return change;
}

describe("a queued change in words", () => {
  it("names what is done and to what", () => {
    expect(rows.queue.map((change) => describeChange(change, places))).toEqual([
      "Create agent Scribe",
      "Connect Scribe to memory",
      "Change what Research assistant may use of everything",
      "Rename a toolbox to frankfurt-1",
      "Start server everything",
    ]);
  });

  it("tells starting from stopping by what is wanted now", () => {
    const start = queued(4);
    const row = places.servers.get(start.entityId);
    if (row === undefined) throw new Error("The fixture has this server.");
    const servers = new Map([...places.servers, [row.id as string, { ...row, desired: "stopped" as const }]]);
    expect(describeChange(start, { ...places, servers })).toBe("Stop server everything");
  });

  it("has words for rows that are gone already", () => {
    const gone = { ...queued(1), entityId: "gone" };
    expect(describeChange({ ...gone, kind: "connection.delete" }, places)).toBe("Disconnect an agent from memory");
    expect(describeChange(gone, places)).toContain("an agent");
    expect(describeChange({ ...gone, kind: "server.delete", entity: "servers" }, places)).toBe("Delete server memory");
  });

  it("lists members only where the title does not say them", () => {
    const rename: QueuedChange = { ...queued(0), entityId: rows.agents[0]?.id ?? "", fields: ["name", "description"] };
    expect(fieldsInWords(rename, places)).toBe("Sets name and description");
    for (const index of [0, 1, 2, 3, 4]) expect(fieldsInWords(queued(index), places)).toBe("");
  });

  it("knows the making of a row by the shared database not having it", () => {
    expect([0, 1, 2, 3, 4].map((index) => isCreation(queued(index), places))).toEqual([true, true, false, false, false]);
  });

  it("tells a conflict from a refusal", () => {
    const states = rowsFor("conflicts").rows.queue.map(stateOf);
    expect(states).toEqual(["conflict", "conflict", "conflict", "refused", "queued", "sending"]);
  });
});

describe("what builds on a change", () => {
  it("goes with the making of a row, and with nothing else", () => {
    const [agentMade, linkMade] = [queued(0), queued(1)];
    expect(dependentsOf(agentMade, rows.queue, places)).toEqual([linkMade]);
    expect(dependentsOf(linkMade, rows.queue, places)).toEqual([]);
    expect(dependentsOf(queued(3), rows.queue, places)).toEqual([]);
  });

  it("includes what builds on those in turn", () => {
    const access: QueuedChange = { ...queued(1), id: crypto.randomUUID(), position: 9, fields: ["allowedTools"] };
    const found = dependentsOf(queued(0), [...rows.queue, access], places);
    expect(found.map(({ id }) => id)).toEqual([queued(1).id, access.id]);
  });

  it("keeps its order, while others may change places", () => {
    expect(mayChangePlaces(queued(0), queued(1), places)).toBe(false);
    expect(mayChangePlaces(queued(1), queued(0), places)).toBe(false);
    expect(mayChangePlaces(queued(0), queued(0), places)).toBe(false);
    expect(mayChangePlaces(queued(2), queued(3), places)).toBe(true);
  });

  it("moves nothing that is being sent", () => {
    const sending: QueuedChange = { ...queued(3), condition: { state: "sending", since: 0 } };
    expect(mayChangePlaces(queued(2), sending, places)).toBe(false);
  });
});
