import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { SharedDatabase } from "../../electron/main/sync/database.ts";
import { openDatabase } from "../../electron/main/sync/open.ts";
import type { Mutation, SyncChange } from "../../shared/sync-protocol.ts";
import { type Computer, createComputer } from "../fixtures/computers.ts";
import { type Postgres, startPostgres } from "../fixtures/database.ts";
import { type PlainCaller, plainWorkspace, type Workspace } from "../fixtures/database-people.ts";
import { rows } from "../fixtures/rows.ts";
import { programOf, runProgram } from "../fixtures/sync-programs.ts";
import { parts } from "../setup/parts.ts";

const runs = 100;

describe.skipIf(parts.postgres === undefined)("three computers and a real Postgres", () => {
  let postgres: Postgres;
  let workspace: Workspace<PlainCaller>;
  let databases: SharedDatabase[] = [];

  beforeAll(async () => {
    postgres = await startPostgres();
    workspace = await plainWorkspace(postgres);
    const { user, password } = workspace.admin.login;
    const database = workspace.admin.client.database ?? "";
    const target = {
      transport: "postgres",
      host: postgres.host,
      port: postgres.port,
      database,
      user,
      tls: "off",
      ca: null,
    } as const;
    databases = await Promise.all([0, 1, 2].map(() => openDatabase(target, { kind: "password", password }, async () => {})));
  });
  afterAll(async () => {
    for (const database of databases) await database.close();
    await workspace.close();
    await postgres.stop();
  });

  const adminId = () => workspace.admin.id ?? "";

  async function makeWorld() {
    const { admin, owner } = workspace;
    await owner.query(
      "truncate public.account_tool_environments, public.agents, dtma.sync_changes, dtma.sync_mutations cascade",
    );
    await owner.query("update dtma.workspace set feed_id = gen_random_uuid()");
    const box = rows.toolbox();
    const specs = ["one", "two", "three"].map((name) => rows.server(box.id, { spec: rows.spec({ name }) }));
    const seeds = [
      { kind: "toolbox.put", entityId: box.id, payload: { name: "box", kind: "host", url: "https://192.0.2.1:30000" } },
      ...specs.map(({ id, spec }) => ({
        kind: "server.put",
        entityId: id,
        payload: { toolboxId: box.id, spec, desired: "running" },
      })),
    ];
    await admin.call("sync_push", { p_mutations: seeds.map((seed) => ({ id: randomUUID(), baseRevision: null, ...seed })) });
    const computers = databases.map((database) => createComputer(() => database, adminId()));
    const late = new Set<() => Promise<void>>();
    return {
      computers,
      servers: specs.map(({ id }) => id as string),
      reach: () => databases[0] as SharedDatabase,
      async beginLate(mutations: Mutation[]) {
        // A session that took its transaction id before others commit, and writes a row nobody else locks.
        const client = await postgres.connect(admin.client.database ?? "", admin.login);
        await client.query("begin");
        await client.query("select pg_current_xact_id()");
        const commit = async () => {
          late.delete(commit);
          await client.query("select public.sync_push($1)", [JSON.stringify(mutations)]);
          await client.query("commit");
          await client.end();
        };
        late.add(commit);
        return commit;
      },
      async history() {
        const { rows: found } = await owner.query<{ entity_id: string; member: string; value: unknown }>(
          `select l.entity_id, m.key as member, case jsonb_typeof(m.value) when 'array' then m.value -> 1 else m.value end as value
           from public.audit_log l, jsonb_each(l.changes) m where l.entity = 'agent'`,
        );
        return found.map(({ entity_id, member, value }) => ({ key: `agent:${entity_id}:${member}`, value }));
      },
      async rowsOf(entity: "agent" | "connection" | "server") {
        const found: Record<string, unknown>[] = [];
        let cursor = null;
        for (;;) {
          const answer = await (databases[1] as SharedDatabase).pull(cursor, 500);
          for (const change of answer.changes as SyncChange[])
            if (change.entity === entity && change.row !== null) found.push(change.row);
          if (!answer.more) return found;
          cursor = answer.cursor;
        }
      },
      async close() {
        for (const commit of late) await commit();
        for (const computer of computers as Computer[]) computer.discard();
      },
    };
  }

  it("agree in the end, with every accepted change there exactly once, whatever happens in between", async () => {
    await fc.assert(
      fc.asyncProperty(programOf({ maxLength: 50 }), async (program) => {
        const world = await makeWorld();
        try {
          await runProgram(world, program);
        } finally {
          await world.close();
        }
      }),
      { numRuns: runs },
    );
  }, 300_000);

  it("hear of a change within moments, by the nudge and not by asking", async () => {
    const world = await makeWorld();
    try {
      const [one, other] = world.computers as [Computer, Computer];
      for (const computer of world.computers) await computer.pullAll();
      const nudged = new Promise<void>((resolve) => databases[1]?.onNudge(resolve));
      const agent = one.createAgent("Seen at once");
      await one.push();
      await nudged;
      await other.pullAll();
      expect(other.store.get("agents", agent)).toMatchObject({ name: "Seen at once", ownerId: adminId() });
    } finally {
      await world.close();
    }
  });
});
