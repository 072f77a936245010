import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { createFakeDatabase, type FakePerson } from "../../../test/fakes/shared-database.ts";
import { type Computer, createComputer } from "../../../test/fixtures/computers.ts";
import { rows } from "../../../test/fixtures/rows.ts";
import { type Program, programOf, runProgram } from "../../../test/fixtures/sync-programs.ts";
import type { SharedDatabase } from "./database.ts";

const person: FakePerson = { userId: randomUUID(), name: "Ann", roles: ["admin"] };
let computers: Computer[] = [];

afterEach(() => {
  for (const computer of computers) computer.discard();
  computers = [];
});

function makeWorld(wrap: (database: SharedDatabase) => SharedDatabase = (database) => database) {
  const reach = () => wrap(database.connect(person));
  const database = createFakeDatabase();
  const box = rows.toolbox();
  database.seed("toolbox", box.id, { name: "box" });
  const servers = ["one", "two", "three"].map((name) => {
    const server = rows.server(box.id, { spec: rows.spec({ name }) });
    database.seed("server", server.id, { toolboxId: box.id, spec: server.spec, desired: "running" });
    return server.id as string;
  });
  computers = [0, 1, 2].map(() => createComputer(reach, person.userId));
  return {
    computers,
    servers,
    reach,
    beginLate: (mutations: Parameters<typeof database.beginLate>[1]) => database.beginLate(person, mutations),
    history: () => database.history,
    rowsOf: async (entity: "agent" | "connection" | "server") => database.list(entity, person) as Record<string, unknown>[],
  };
}

describe("three computers and a database", () => {
  it("agree in the end, with every accepted change there exactly once, whatever happens in between", async () => {
    await fc.assert(
      fc.asyncProperty(programOf({ maxLength: 60 }), async (program: Program) => {
        const world = makeWorld();
        try {
          await runProgram(world, program);
        } finally {
          for (const computer of computers) computer.discard();
          computers = [];
        }
      }),
      { numRuns: 60 },
    );
  }, 120_000);

  it("would be seen to disagree if the database took a change and forgot it", async () => {
    const world = makeWorld((database) => ({
      ...database,
      push: async (mutations) => ({
        results: mutations.map(({ id }) => ({ id, status: "applied", revision: 1, row: null, code: null, message: null })),
      }),
    }));
    world.computers[0]?.createAgent("never arrives");
    await expect(runProgram(world, [])).rejects.toThrow();
  });
});
