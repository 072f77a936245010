import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AppError } from "../../../shared/errors.ts";
import type { DatabaseTarget, SyncCondition } from "../../../shared/model/sync.ts";
import { createFakeDatabase, type FakeDatabase, type FakePerson } from "../../../test/fakes/shared-database.ts";
import { fastFolder, silentLog } from "../../../test/fixtures/computers.ts";
import { rows } from "../../../test/fixtures/rows.ts";
import { openStore, type Store } from "../store/index.ts";
import type { Chore } from "../store/outbox.ts";
import type { SharedDatabase } from "./database.ts";
import { createSync, type Sync } from "./index.ts";
import { agentCreated } from "./payloads.ts";

const target: DatabaseTarget = { transport: "supabase", url: "https://team.example", publishableKey: "key" };
const credential = { kind: "password", email: "a@example.org", password: "secret" } as const;

let folder: string;
let store: Store;
let sync: Sync;
let database: FakeDatabase;
let person: FakePerson;
let failure: AppError | undefined;
let opened: number;
let chores: Chore[];
let kept: Map<string, string>;

beforeEach(() => {
  folder = mkdtempSync(join(fastFolder, "sync-"));
  store = openStore(folder);
  database = createFakeDatabase();
  person = { userId: randomUUID(), name: "Ann", roles: ["admin", "user"] };
  failure = undefined;
  opened = 0;
  chores = [];
  kept = new Map();
  sync = start();
});
afterEach(async () => {
  await sync.stop();
  store.close();
  rmSync(folder, { recursive: true, force: true });
});

function start(): Sync {
  const made = createSync({
    store,
    log: silentLog,
    async open() {
      opened += 1;
      if (failure !== undefined) throw failure;
      return failing(database.connect(person));
    },
    secrets: { get: async (id) => kept.get(id), set: async (id, value) => void kept.set(id, value) },
    hashes: { toolbox: async () => "b".repeat(64), connection: async () => "c".repeat(64) },
    doChore: async (chore) => void chores.push(chore),
    onToolboxes() {},
    random: () => 0,
  });
  made.start();
  return made;
}

/** Every call fails while `failure` is set, as if the network had gone. */
function failing(real: SharedDatabase): SharedDatabase {
  const guarded = <A extends unknown[], T>(call: (...args: A) => Promise<T>) => {
    return async (...args: A) => {
      if (failure !== undefined) throw failure;
      return call(...args);
    };
  };
  return {
    ...real,
    whoAmI: guarded(real.whoAmI),
    pull: guarded(real.pull),
    push: guarded(real.push),
    liveness: guarded(real.liveness),
  };
}

const until = (isSo: (condition: SyncCondition) => boolean) =>
  expect.poll(() => isSo(sync.condition()), { interval: 5, timeout: 10_000 }).toBe(true);
const state = (wanted: SyncCondition["link"]["state"]) => until(({ link }) => link.state === wanted);
const atRest = () => until(({ link, queued, isFirstPull }) => link.state === "online" && queued === 0 && !isFirstPull);

function createAgent(name: string): string {
  const row = rows.agent({ name });
  store.write((tx) => {
    tx.put("agents", row);
    tx.enqueue(agentCreated(row));
  });
  return row.id;
}

describe("a workspace", () => {
  it("is local at first: nothing is queued, and the one person has both roles", () => {
    createAgent("here");
    expect(sync.condition()).toMatchObject({ link: { state: "local" }, account: null, queued: 0 });
    expect(sync.roles()).toEqual(["admin", "user"]);
  });

  it("publishes everything that is here, once, and in an order in which it can be taken", async () => {
    const box = rows.toolbox();
    const server = rows.server(box.id);
    const agentId = createAgent("here");
    store.write((tx) => {
      tx.put("toolboxes", box);
      tx.put("servers", server);
      tx.put("connections", rows.connection(agentId as never, server.id));
    });
    await sync.connect(target, credential, { bringsLocalRows: true });
    await atRest();
    for (const entity of ["toolbox", "server", "agent", "connection"] as const)
      expect(database.list(entity, person)).toHaveLength(1);
    await sync.stop();
    sync = start();
    await atRest();
    for (const entity of ["toolbox", "server", "agent", "connection"] as const)
      expect(database.list(entity, person)).toHaveLength(1);
  });

  it("joins another without making anything twice, and can leave what is only here where it is", async () => {
    const mine = createAgent("only here");
    database.seed("agent", randomUUID(), { name: "there", ownerId: person.userId });
    await sync.connect(target, credential, { bringsLocalRows: false });
    await atRest();
    expect(
      store
        .list("agents")
        .map(({ name }) => name)
        .sort(),
    ).toEqual(["only here", "there"]);
    expect(database.list("agent", person)).toHaveLength(1);
    expect(store.get("agents", mine)?.ownerId).toBeUndefined();
  });

  it("is not begun with a database that does not answer, or that refuses the person", async () => {
    failure = new AppError("SIGN_IN_REFUSED");
    await expect(sync.connect(target, credential, { bringsLocalRows: true })).rejects.toMatchObject({
      code: "SIGN_IN_REFUSED",
    });
    expect(sync.condition().account).toBeNull();
    expect(kept.size).toBe(0);
  });

  it("sends what is done while it is connected, and shows what others do", async () => {
    await sync.connect(target, credential, { bringsLocalRows: true });
    await atRest();
    createAgent("sent");
    await expect.poll(() => database.list("agent", person).length).toBe(1);
    database.seed("agent", randomUUID(), { name: "by somebody else", ownerId: person.userId });
    database.nudge();
    await expect.poll(() => store.list("agents").length).toBe(2);
  });
});

describe("without the network", () => {
  beforeEach(async () => {
    await sync.connect(target, credential, { bringsLocalRows: true });
    await atRest();
    failure = new AppError("NETWORK_DOWN");
    createAgent("offline");
    await state("waiting");
  });

  it("keeps everything, says whose fault it is, and sends it when the network is back", async () => {
    expect(sync.condition()).toMatchObject({ link: { reason: "my-network", error: { code: "NETWORK_DOWN" } }, queued: 1 });
    expect(store.list("agents")).toHaveLength(1);
    failure = undefined;
    sync.retryNow();
    await atRest();
    expect(database.list("agent", person)).toHaveLength(1);
  });

  it("makes one attempt after waking up, not one for every sign of life", async () => {
    failure = new AppError("DATABASE_UNREACHABLE");
    const before = opened;
    for (let index = 0; index < 50; index += 1) sync.wake();
    await expect.poll(() => opened).toBe(before + 1);
    await state("waiting");
    expect(opened).toBe(before + 1);
  });

  it("goes on after a restart", async () => {
    await sync.stop();
    store.close();
    store = openStore(folder);
    failure = undefined;
    sync = start();
    await atRest();
    expect(database.list("agent", person)).toHaveLength(1);
  });

  it("asks for the person again when the session has ended, and only for that person", async () => {
    failure = new AppError("SIGN_IN_REFUSED");
    sync.retryNow();
    await state("signed-out");
    failure = undefined;
    const ann = person;
    person = { userId: randomUUID(), name: "Eve", roles: ["admin"] };
    await expect(sync.signIn(credential)).rejects.toMatchObject({ code: "CONFLICT" });
    person = ann;
    await sync.signIn(credential);
    await atRest();
  });
});

describe("roles", () => {
  it("are the database's, also while it is away, and follow it when they change", async () => {
    person = { ...person, roles: ["user"] };
    await sync.connect(target, credential, { bringsLocalRows: false });
    await atRest();
    expect(sync.roles()).toEqual(["user"]);
    failure = new AppError("DATABASE_UNREACHABLE");
    sync.wake();
    await state("waiting");
    expect(sync.roles()).toEqual(["user"]);
    person = { ...person, roles: ["admin", "user"] };
    failure = undefined;
    sync.retryNow();
    await until(() => sync.roles().includes("admin"));
  });

  it("of somebody nobody let in yet are a user's of an empty workspace, and it is noticed when that changes", async () => {
    const { roles: _, ...rest } = person;
    person = { ...rest, roles: [] };
    await sync.connect(target, credential, { bringsLocalRows: false });
    await state("blocked");
    expect(sync.condition().link).toMatchObject({ error: { code: "NOT_A_MEMBER" } });
    expect(sync.roles()).toEqual(["user"]);
    person = { ...person, roles: ["user"] };
    sync.retryNow();
    await atRest();
  });
});

describe("signing out", () => {
  it("says first what would be lost, then forgets the rows and the secrets of the account", async () => {
    database.seed("agent", randomUUID(), { name: "there", ownerId: person.userId });
    await sync.connect(target, credential, { bringsLocalRows: true });
    await atRest();
    failure = new AppError("DATABASE_UNREACHABLE");
    createAgent("unsent");
    await expect(sync.signOut({ losesQueue: false })).rejects.toMatchObject({
      code: "QUEUE_NOT_EMPTY",
      message: expect.stringContaining("1 change"),
    });
    const [accountId] = [...kept.keys()];
    await sync.signOut({ losesQueue: true });
    expect(sync.condition()).toMatchObject({ link: { state: "local" }, account: null, queued: 0 });
    expect(store.list("agents").map(({ name }) => name)).toEqual(["unsent"]);
    expect(chores).toContainEqual({
      kind: "forget-secrets",
      keys: expect.arrayContaining([{ kind: "account", id: accountId }]),
    });
    failure = undefined;
    await sync.connect(target, credential, { bringsLocalRows: true });
    await atRest();
    expect(database.list("agent", person)).toHaveLength(2);
  });
});
