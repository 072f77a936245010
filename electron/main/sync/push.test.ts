import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AppError } from "../../../shared/errors.ts";
import type { MutationResult } from "../../../shared/sync-protocol.ts";
import { createFakeDatabase, type FakeDatabase, type FakePerson } from "../../../test/fakes/shared-database.ts";
import { type Computer, createComputer } from "../../../test/fixtures/computers.ts";
import { rows } from "../../../test/fixtures/rows.ts";

const person: FakePerson = { userId: randomUUID(), name: "Ann", roles: ["admin"] };
let database: FakeDatabase;
let computer: Computer;
let serverId: string;

beforeEach(async () => {
  database = createFakeDatabase();
  const box = rows.toolbox();
  const server = rows.server(box.id);
  serverId = server.id;
  database.seed("toolbox", box.id, { name: "box" });
  database.seed("server", server.id, { toolboxId: box.id, spec: server.spec, desired: "running" });
  computer = createComputer(() => database.connect(person), person.userId);
  await computer.pullAll();
});
afterEach(() => computer.discard());

const queue = () => [...computer.store.sync.entries()];
const agentsThere = () => database.list("agent", person) as { id: string; name: string }[];
const onlyParked = () => {
  const [entry] = queue().filter(({ change }) => change.condition.state === "parked");
  if (entry === undefined) throw new Error("Nothing is parked.");
  return entry;
};

/** Answers some changes otherwise than the database would. */
function answering(refuse: (mutation: { kind: string; entityId: string }) => Partial<MutationResult> | undefined) {
  const real = database.connect(person);
  return {
    ...real,
    async push(mutations: Parameters<typeof real.push>[0]) {
      const taken = mutations.filter((mutation) => refuse(mutation) === undefined);
      const { results } = await real.push(taken);
      return {
        results: mutations.map((mutation) => {
          const given = refuse(mutation);
          const nothing = { revision: null, row: null, code: null, message: null };
          if (given !== undefined) return { ...nothing, status: "rejected" as const, ...given, id: mutation.id };
          return results.find(({ id }) => id === mutation.id) as MutationResult;
        }),
      };
    },
  };
}

describe("pushing", () => {
  it("makes one change of several to a row that were never sent, and none of a row made and deleted", async () => {
    const kept = computer.createAgent("one");
    computer.changeAgent(kept, { name: "two" });
    computer.changeAgent(kept, { description: "three" });
    const gone = computer.createAgent("never");
    computer.deleteAgent(gone);
    expect(queue().map(({ payload }) => payload)).toEqual([{ name: "two", description: "three" }]);
    await computer.settle();
    expect(agentsThere()).toMatchObject([{ id: kept, name: "two", description: "three" }]);
    expect(database.history.filter(({ key }) => key.endsWith(":name") && key.includes(kept))).toHaveLength(1);
  });

  it("never alters a change that may have arrived", async () => {
    const id = computer.createAgent("first");
    const lost = { push: async () => Promise.reject(new AppError("DATABASE_UNREACHABLE")) };
    await expect(computer.push(lost)).rejects.toThrow();
    const [before] = queue();
    computer.changeAgent(id, { name: "second" });
    expect(queue().map(({ payload, mutationId }) => [payload.name, mutationId === before?.mutationId])).toEqual([
      ["first", true],
      ["second", false],
    ]);
    await computer.settle();
    expect(agentsThere()).toMatchObject([{ name: "second" }]);
  });

  describe("a change whose answer was lost", () => {
    const losing = () => {
      const real = database.connect(person);
      return { push: async (mutations: never[]) => real.push(mutations).then(() => Promise.reject(new Error("It was lost."))) };
    };
    let other: Computer;
    let id: string;

    beforeEach(async () => {
      other = createComputer(() => database.connect(person), person.userId);
      id = computer.createAgent("first");
      await computer.settle();
      await other.pullAll();
    });
    afterEach(() => other.discard());

    it("gives way to what somebody else made of the row afterwards", async () => {
      computer.changeAgent(id, { name: "mine" });
      await expect(computer.push(losing())).rejects.toThrow();
      await other.pullAll();
      other.changeAgent(id, { name: "theirs" });
      await other.settle();
      await computer.pullAll();
      expect(computer.store.get("agents", id)).toMatchObject({ name: "mine" });
      await computer.settle();
      expect(computer.store.get("agents", id)).toMatchObject({ name: "theirs" });
      expect(queue()).toEqual([]);
    });

    it.each(["changed", "created"])("goes with its row when that was %s and somebody else deleted it", async (what) => {
      const row = what === "created" ? computer.createAgent("new") : id;
      if (what === "changed") computer.changeAgent(row, { name: "mine" });
      await expect(computer.push(losing())).rejects.toThrow();
      if (what === "created") await computer.pullAll();
      await other.pullAll();
      other.deleteAgent(row);
      await other.settle();
      await computer.pullAll();
      await computer.settle();
      expect(agentsThere().map((each) => each.id)).not.toContain(row);
      expect(computer.store.list("agents").map((each) => each.id)).not.toContain(row);
      expect(queue()).toEqual([]);
    });
  });

  it("holds back what builds on a refused change, and nothing else", async () => {
    const refused = computer.createAgent("refused");
    const link = computer.connect(refused, serverId);
    const other = computer.createAgent("fine");
    const faulty = answering(({ entityId }) =>
      entityId === refused ? { code: "INVALID_INPUT", message: "Not this name." } : undefined,
    );
    await computer.push(faulty);
    expect(agentsThere().map(({ id }) => id)).toEqual([other]);
    expect(queue().map(({ change }) => [change.entityId, change.condition.state])).toEqual([
      [refused, "parked"],
      [link, "queued"],
    ]);
    expect(onlyParked().change.condition).toMatchObject({ reason: { code: "CHANGE_REFUSED", message: "Not this name." } });
    await computer.push(faulty);
    expect(queue()).toHaveLength(2);
    computer.queue().edit(onlyParked().change.id, { name: "allowed" });
    await computer.settle();
    expect(queue()).toEqual([]);
    expect(database.list("connection", person)).toHaveLength(1);
  });

  it("goes on with the rest of a batch that the database refuses as a whole, and parks the one it cannot take", async () => {
    const ids = Array.from({ length: 9 }, (_, index) => computer.createAgent(`agent ${index}`));
    const real = database.connect(person);
    let calls = 0;
    await computer.push({
      push: async (mutations) => {
        calls += 1;
        if (mutations.some(({ entityId }) => entityId === ids[4]))
          throw new AppError("INVALID_INPUT", { message: "This is no mutation." });
        return real.push(mutations);
      },
    });
    expect(agentsThere()).toHaveLength(8);
    expect(onlyParked().change.entityId).toBe(ids[4]);
    expect(calls).toBeLessThan(10);
  });

  it("tries again what failed inside the database, under a new key, and parks it in the end", async () => {
    const id = computer.createAgent("unlucky");
    const keys = new Set<string>();
    const broken = answering(() => ({ code: "INTERNAL", message: "Out of luck." }));
    for (let round = 0; round < 8; round += 1) {
      for (const { mutationId } of queue()) keys.add(mutationId);
      await computer.push(broken);
      computer.skew(10_000_000);
    }
    expect(onlyParked().change).toMatchObject({ entityId: id, attempts: 6 });
    expect(keys.size).toBe(6);
    computer.queue().retry(onlyParked().change.id);
    await computer.settle();
    expect(agentsThere()).toMatchObject([{ id, name: "unlucky" }]);
  });

  it("keeps one of two links that were made between the same two, and asks when their lists differ", async () => {
    const other = createComputer(() => database.connect(person), person.userId);
    try {
      const agent = computer.createAgent("linked");
      await computer.settle();
      await other.pullAll();
      const first = computer.connect(agent, serverId);
      other.connect(agent, serverId);
      await computer.settle();
      await other.settle();
      expect(other.store.list("connections").map(({ id }) => id)).toEqual([first]);
      expect([...other.store.sync.entries()]).toEqual([]);
      computer.disconnect(first);
      await computer.settle();
      await other.pullAll();
      const again = computer.connect(agent, serverId);
      const differing = other.connect(agent, serverId);
      other.allow(differing, ["echo"]);
      await computer.settle();
      await other.settle();
      const [entry] = [...other.store.sync.entries()];
      expect(entry?.change.condition).toMatchObject({ state: "parked", conflict: { code: "ALREADY_CONNECTED" } });
      other.queue().resolve(entry?.change.id ?? "", { version: "mine" });
      await other.settle();
      await computer.pullAll();
      expect(computer.store.list("connections")).toMatchObject([{ id: again, allowedTools: ["echo"] }]);
      expect(other.store.list("connections")).toMatchObject([{ id: again, allowedTools: ["echo"] }]);
    } finally {
      other.discard();
    }
  });
});

describe("a person at the queue", () => {
  it("takes changes back: the row is as the database has it, with what still waits on top", async () => {
    const id = computer.createAgent("kept");
    await computer.settle();
    computer.changeAgent(id, { name: "renamed" });
    computer.queue().discard(queue()[0]?.change.id ?? "");
    expect(computer.store.get("agents", id)).toMatchObject({ name: "kept" });
    computer.deleteAgent(id);
    expect(computer.store.get("agents", id)).toBeUndefined();
    computer.queue().discard(queue()[0]?.change.id ?? "");
    expect(computer.store.get("agents", id)).toMatchObject({ name: "kept" });
    expect(queue()).toEqual([]);
  });

  it("takes a creation back only together with what builds on it", () => {
    const agent = computer.createAgent("base");
    computer.connect(agent, serverId);
    const [creation] = queue();
    expect(() => computer.queue().discard(creation?.change.id ?? "")).toThrow(expect.objectContaining({ code: "CONFLICT" }));
    computer.queue().discard(creation?.change.id ?? "", { withDependents: true });
    expect(queue()).toEqual([]);
    expect(computer.store.list("agents")).toEqual([]);
    expect(computer.store.list("connections")).toEqual([]);
  });

  it("leaves alone what may have arrived", async () => {
    computer.createAgent("on its way");
    await expect(computer.push({ push: async () => Promise.reject(new Error("lost")) })).rejects.toThrow();
    const [entry] = queue();
    const { discard, edit, retry, move } = computer.queue();
    const id = entry?.change.id ?? "";
    for (const deed of [() => discard(id), () => edit(id, { name: "x" }), () => retry(id), () => move(id, null)])
      expect(deed).toThrow(expect.objectContaining({ code: "CHANGE_UNDER_WAY" }));
  });

  it("changes the order only of what does not depend on each other", () => {
    const one = computer.createAgent("one");
    const link = computer.connect(one, serverId);
    const two = computer.createAgent("two");
    const idOf = (entityId: string) => queue().find(({ change }) => change.entityId === entityId)?.change.id ?? "";
    computer.queue().move(idOf(two), idOf(one));
    expect(queue().map(({ change }) => change.entityId)).toEqual([two, one, link]);
    expect(() => computer.queue().move(idOf(link), idOf(one))).toThrow(expect.objectContaining({ code: "CONFLICT" }));
    computer.queue().move(idOf(two), null);
    expect(queue().map(({ change }) => change.entityId)).toEqual([one, link, two]);
  });

  it("chooses between a changed row and its deletion: gone for good, or back as a new one", async () => {
    const other = createComputer(() => database.connect(person), person.userId);
    try {
      const [first, second] = [computer.createAgent("first"), computer.createAgent("second")];
      await computer.settle();
      await other.pullAll();
      for (const id of [first, second]) other.deleteAgent(id);
      await other.settle();
      for (const id of [first, second]) computer.changeAgent(id, { description: "mine" });
      await computer.settle();
      const [one, two] = queue();
      expect(one?.change.condition).toMatchObject({ conflict: { code: "DELETED", isDeleted: true } });
      computer.queue().resolve(one?.change.id ?? "", { version: "theirs" });
      computer.queue().resolve(two?.change.id ?? "", { version: "mine" });
      await computer.settle();
      expect(computer.store.list("agents")).toMatchObject([{ name: "second", description: "mine" }]);
      expect(agentsThere()).toMatchObject([{ name: "second", description: "mine" }]);
    } finally {
      other.discard();
    }
  });
});

describe("pulling", () => {
  it("forgets, after a database was restored, what is not there any more, and keeps what only this computer knows", async () => {
    const lost = computer.createAgent("lost in the backup");
    await computer.settle();
    computer.store.write((tx) => tx.put("agents", rows.agent({ name: "only here" })));
    const waiting = computer.createAgent("waiting");
    database.rows.delete(`agent:${lost}`);
    database.restartFeed();
    await computer.pullAll(1);
    expect(
      computer.store
        .list("agents")
        .map(({ name }) => name)
        .sort(),
    ).toEqual(["only here", "waiting"]);
    await computer.settle();
    expect(agentsThere().map(({ id }) => id)).toEqual([waiting]);
  });

  it("knows a toolbox by its address and certificate, and takes its servers and its token along", async () => {
    const fingerprint = Array(32).fill("AB").join(":");
    const twin = rows.toolbox({ name: "known here", url: "https://192.0.2.9:30000", fingerprint });
    const server = rows.server(twin.id, { spec: rows.spec({ name: "mine" }) });
    computer.store.write((tx) => {
      tx.put("toolboxes", twin);
      tx.put("servers", server);
    });
    const shared = randomUUID();
    database.seed("toolbox", shared, { name: "known there", url: "https://192.0.2.9:30000", fingerprint });
    await computer.pullAll();
    expect(computer.store.get("toolboxes", twin.id)).toBeUndefined();
    expect(computer.store.get("toolboxes", shared)).toMatchObject({ name: "known there", fingerprint });
    expect(computer.store.get("servers", server.id)).toMatchObject({ toolboxId: shared });
    expect(computer.store.sync.chores().map(({ chore }) => chore)).toEqual([
      { kind: "move-toolbox", from: twin.id, to: shared },
    ]);
  });

  it("shows two servers of one name, and two toolboxes, when the database has them", async () => {
    database.seed("toolbox", randomUUID(), { name: "box" });
    await computer.pullAll();
    expect(computer.store.list("toolboxes").map(({ name }) => name)).toEqual(["box", "box"]);
    expect(() => computer.store.write((tx) => tx.put("toolboxes", rows.toolbox({ name: "box" })))).toThrow(
      expect.objectContaining({ code: "ALREADY_EXISTS" }),
    );
  });

  it("goes on when one row is in a form it does not know", async () => {
    const real = database.connect(person);
    database.seed("agent", randomUUID(), { name: "fine", ownerId: person.userId });
    await computer.pull(
      {
        async pull(cursor, limit) {
          const page = await real.pull(cursor, limit);
          return { ...page, changes: [{ entity: "spaceship", id: "x", revision: 1, row: {} }, ...page.changes] };
        },
      },
      50,
    );
    expect(computer.store.list("agents")).toMatchObject([{ name: "fine" }]);
  });
});
