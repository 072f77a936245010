import { describe, expect, it } from "vitest";
import { type AuditEntry, actorOf, changesOf, type NameOf, whatOf } from "./describe.ts";

const ada = "10000000-0000-4000-8000-000000000001";
const box = "20000000-0000-4000-8000-000000000001";
const names: Record<string, string> = { [`person:${ada}`]: "Ada", [`toolbox:${box}`]: "oslo-1" };
const nameOf: NameOf = (entity, id) => names[`${entity}:${id}`];

function entry(part: Partial<AuditEntry>): AuditEntry {
  return {
    id: 1,
    at: 0,
    actorId: ada,
    actorKind: "person",
    action: "changed",
    entity: "toolbox",
    entityId: box,
    changes: {},
    ...part,
  };
}

describe("a line of the audit log", () => {
  it("says who it was, and oneself as such", () => {
    expect(actorOf(entry({}), ada, nameOf)).toBe("You");
    expect(actorOf(entry({}), null, nameOf)).toBe("Ada");
    expect(actorOf(entry({ actorId: box }), null, nameOf)).toBe("Somebody");
    expect(actorOf(entry({ actorId: null, actorKind: "toolbox" }), null, nameOf)).toBe("A toolbox");
  });

  it("names what is here, and takes the name of what is gone from the line", () => {
    expect(whatOf(entry({}), nameOf)).toBe("toolbox oslo-1 changed");
    const gone = entry({
      entity: "server",
      entityId: "x",
      action: "deleted",
      changes: { instance_name_on_toolbox: ["notes", null] },
    });
    expect(whatOf(gone, nameOf)).toBe("server notes deleted");
    expect(whatOf(entry({ entity: "agent", entityId: "x", action: "deleted" }), nameOf)).toBe("agent deleted");
  });

  it("words roles as given and taken", () => {
    expect(whatOf(entry({ entity: "role", entityId: ada, action: "created" }), nameOf)).toBe("role given to Ada");
    expect(whatOf(entry({ entity: "role", entityId: ada, action: "deleted" }), nameOf)).toBe("role taken from Ada");
  });

  it("shows values before and after, names for ids, and never a secret", () => {
    const changes = { name: ["oslo", "oslo-1"], user_id: [null, ada], dtma_bearer_token: "(secret)", spec: "(document)" };
    expect(changesOf(entry({ changes }), nameOf)).toEqual([
      "name: oslo → oslo-1",
      "owner: nothing → Ada",
      "token: renewed",
      "configuration: changed",
    ]);
  });

  it("words allowed tools as people choose them", () => {
    const changes = { connection_config: [{ allowedTools: null }, { allowedTools: ["echo", "get-sum"] }] };
    expect(changesOf(entry({ entity: "connection", changes }), nameOf)).toEqual(["allowed tools: all tools → echo, get-sum"]);
    const none = { connection_config: [{ allowedTools: [] }, { allowedTools: null }] };
    expect(changesOf(entry({ entity: "connection", changes: none }), nameOf)).toEqual(["allowed tools: no tool → all tools"]);
  });

  it("leaves out what a new row does not have, and shows words nobody knows as they came", () => {
    const changes = { name: [null, "A"], description: [null, ""], colour: [null, "blue"] };
    expect(changesOf(entry({ action: "created", changes }), nameOf)).toEqual(["name: A", "colour: blue"]);
    expect(whatOf(entry({ entity: "gadget", entityId: "x" }), nameOf)).toBe("gadget changed");
  });
});
