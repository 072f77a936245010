import { randomUUID } from "node:crypto";
import type pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { auditPage, pullAnswer, pushAnswer, syncErrorCode, whoAmI } from "../../shared/sync-protocol.ts";
import { type Postgres, startPostgres } from "../fixtures/database.ts";
import {
  type Change,
  definitionOf,
  furnish,
  mutation,
  type Page,
  type PlainCaller,
  plainWorkspace,
  pull,
  push,
  pushAll,
  reportOf,
  seen,
  sha256,
  specOf,
  toolboxToken,
  type Workspace,
} from "../fixtures/database-people.ts";
import { parts } from "../setup/parts.ts";

describe.skipIf(!parts.postgres)("the shared database", () => {
  let postgres: Postgres;
  let space: Workspace<PlainCaller>;
  let ids: Awaited<ReturnType<typeof furnish>>;

  beforeAll(async () => {
    postgres = await startPostgres();
  });
  afterAll(() => postgres?.stop());
  beforeEach(async () => {
    space = await plainWorkspace(postgres);
    ids = await furnish(space);
    return () => space.close();
  });

  const find = (changes: Change[], entity: string, id: string) =>
    changes.find((change) => change.entity === entity && change.id === id);
  const entitiesOf = (changes: Change[]) => [...new Set(changes.map(({ entity }) => entity))].sort();

  describe("who somebody is", () => {
    it("is known by the login role, and described as the protocol says", async () => {
      expect(whoAmI.parse(await space.admin.call("sync_whoami"))).toMatchObject({ name: "Ada", roles: ["admin", "user"] });
      expect(whoAmI.parse(await space.user.call("sync_whoami"))).toMatchObject({ userId: space.user.id, roles: ["user"] });
    });

    it("cannot be changed by claiming to be somebody else", async () => {
      await space.user.client.query("begin");
      await space.user.client.query("select set_config('request.jwt.claims', $1, true)", [
        JSON.stringify({ sub: space.admin.id, role: "authenticated" }),
      ]);
      await space.user.client.query("select set_config('request.jwt.claim.sub', $1, true)", [space.admin.id]);
      await space.user.client.query("set local role authenticated");
      expect(await space.user.call("sync_whoami")).toMatchObject({ userId: space.user.id, roles: ["user"] });
      await space.user.client.query("rollback");
    });

    it("answers a login role that nobody added with a code", async () => {
      const answer = await space.stranger.attempt("sync_pull", {});
      expect(answer.ok ? undefined : syncErrorCode(answer.message)).toBe("NOT_SIGNED_IN");
    });
  });

  describe("pull", () => {
    it("gives an admin everything, in the shapes of the protocol", async () => {
      const page = pullAnswer.parse(await space.admin.call("sync_pull", { p_limit: 500 }));
      expect(page).toMatchObject({ reset: true, more: false, heldBack: false });
      expect(entitiesOf(page.changes as Change[])).toEqual(["agent", "connection", "person", "server", "template", "toolbox"]);
      expect(page.changes.filter(({ entity }) => entity === "connection")).toHaveLength(2);
      expect(JSON.stringify(page)).not.toContain(sha256(toolboxToken));
      expect(JSON.stringify(page)).not.toContain(sha256(ids.connection));
    });

    it("gives a user the running servers, the public templates and what is theirs, and mentions nothing else", async () => {
      const { changes } = pullAnswer.parse(await space.user.call("sync_pull", { p_limit: 500 }));
      expect(changes.map(({ entity, id }) => `${entity} ${id}`).sort()).toEqual(
        [
          `agent ${ids.agent}`,
          `connection ${ids.connection}`,
          `person ${space.user.id}`,
          `server ${ids.running}`,
          "template everything",
        ].sort(),
      );
      const server = find(changes as Change[], "server", ids.running)?.row;
      expect(server).toMatchObject({ name: "running", toolboxName: "Toolbox", status: "running", admin: null });
      expect(JSON.stringify(server)).not.toContain("203.0.113.7");
    });

    it("gives the owner of a connection its address and certificate, and a tag of the token that is valid", async () => {
      const row = find((await pull(space.user)).changes, "connection", ids.connection)?.row;
      expect(row).toMatchObject({
        endpoint: { url: "https://203.0.113.7:30000/mcp/servers/running/mcp", fingerprint: Array(32).fill("AB").join(":") },
        tokenTag: sha256(sha256(ids.connection)).slice(0, 16),
      });
      const seenByAdmin = find((await pull(space.admin)).changes, "connection", ids.connection)?.row;
      expect(seenByAdmin).toMatchObject({ ownerId: space.user.id, endpoint: null, tokenTag: null });
    });

    it("goes on where it ended, page by page, with each row once", async () => {
      await pushAll(
        space.user,
        Array.from({ length: 25 }, (_, index) => mutation("agent.put", randomUUID(), { name: `Agent ${index}` })),
      );
      const { changes, cursor } = await pull(space.user, null, 7);
      expect(changes.filter(({ entity }) => entity === "agent")).toHaveLength(26);
      expect(new Set(changes.map(({ id }) => id)).size).toBe(changes.length);
      expect((await pull(space.user, cursor, 7)).changes).toEqual([]);
      await pushAll(space.user, [mutation("agent.put", ids.agent, { name: "Renamed" }, 1)]);
      expect((await pull(space.user, cursor)).changes).toMatchObject([
        { entity: "agent", id: ids.agent, revision: 2, row: { name: "Renamed" } },
      ]);
    });

    it("tells of deletions with tombstones, and leaves old ones out of a first pull", async () => {
      const { cursor } = await pull(space.user);
      await pushAll(space.user, [mutation("agent.delete", ids.agent, {}, 1)]);
      const { changes } = await pull(space.user, cursor);
      expect(changes).toEqual(
        expect.arrayContaining([
          expect.objectContaining({ entity: "agent", id: ids.agent, row: null }),
          expect.objectContaining({ entity: "connection", id: ids.connection, row: null }),
        ]),
      );
      expect((await pull(space.user)).changes.filter(({ row }) => row === null)).toEqual([]);
    });

    it("keeps a deletion in the middle of a first pull", async () => {
      const first = await space.user.call<{ cursor: object; changes: Change[] }>("sync_pull", { p_cursor: null, p_limit: 1 });
      await pushAll(space.user, [mutation("agent.delete", ids.agent)]);
      const { changes } = await pull(space.user, first.cursor);
      expect(find(changes, "agent", ids.agent)?.row).toBeNull();
    });

    it("takes a server that stopped away from users, and gives it back", async () => {
      const { cursor } = await pull(space.user);
      const report = (server: object) =>
        space.dtma.call("report_toolbox", { p_toolbox: ids.toolbox, p_token: toolboxToken, p_report: reportOf([server]) });
      await report(seen(ids.running, { state: "exited" }));
      const away = await pull(space.user, cursor);
      expect(find(away.changes, "server", ids.running)).toMatchObject({ row: null });
      expect(find(away.changes, "connection", ids.connection)?.row).toMatchObject({ serverStatus: "error" });
      await report(seen(ids.running));
      expect(find((await pull(space.user, away.cursor)).changes, "server", ids.running)?.row).toMatchObject({
        status: "running",
      });
    });

    it("never skips a transaction that commits late", async () => {
      const slow = await postgres.connect(space.owner.database ?? "", space.user.login);
      const agent = randomUUID();
      await slow.query("begin");
      await slow.query("select public.sync_push($1)", [JSON.stringify([mutation("agent.put", agent, { name: "Slow" })])]);
      // A later transaction is committed, and pulled, before the slow one ends.
      await pushAll(space.user, [mutation("agent.put", ids.agent, { name: "Quick" }, 1)]);
      const early = await pull(space.user);
      expect(find(early.changes, "agent", agent)).toBeUndefined();
      expect(early.heldBack).toBe(true);
      await slow.query("commit");
      await slow.end();
      const late = await pull(space.user, early.cursor);
      expect(find(late.changes, "agent", agent)?.row).toMatchObject({ name: "Slow" });
      expect(find(late.changes, "agent", ids.agent)?.row).toMatchObject({ name: "Quick" });
      expect(late.heldBack).toBe(false);
    });

    it("misses nothing of what several sessions push at the same time, in transactions of any length", async () => {
      const copy = new Map<string, Change["row"]>();
      let cursor: object | null = null;
      const pullOnce = async () => {
        const page: Page = await pull(space.admin, cursor, 50);
        cursor = page.cursor;
        for (const { entity, id, row } of page.changes) {
          if (row === null) copy.delete(`${entity} ${id}`);
          else copy.set(`${entity} ${id}`, row);
        }
        return page;
      };
      await pullOnce();
      const database = space.owner.database ?? "";
      const write = async (who: PlainCaller, seed: number) => {
        const client = await postgres.connect(database, who.login);
        const made: string[] = [];
        for (let round = 0; round < 12; round += 1) {
          const batch = Array.from({ length: 1 + ((seed * 7 + round * 3) % 9) }, () =>
            mutation("agent.put", randomUUID(), { name: "New" }),
          );
          made.push(...batch.map(({ entityId }) => entityId));
          const removed = round % 3 === 2 ? made.splice(0, 2).map((id) => mutation("agent.delete", id)) : [];
          await client.query("begin");
          await client.query("select public.sync_push($1)", [JSON.stringify([...batch, ...removed])]);
          await client.query("select pg_sleep($1)", [((seed + round) % 4) / 200]);
          await client.query("commit");
        }
        await client.end();
      };
      let isWriting = true;
      const writers = Promise.all([space.user, space.other, space.admin, space.user].map(write)).finally(() => {
        isWriting = false;
      });
      let pulls = 0;
      while (isWriting) {
        await pullOnce();
        pulls += 1;
      }
      await writers;
      await expect.poll(async () => (await pullOnce()).heldBack).toBe(false);
      const whole = new Map((await pull(space.admin)).changes.map(({ entity, id, row }) => [`${entity} ${id}`, row]));
      expect(whole.size).toBeGreaterThan(100);
      expect(pulls).toBeGreaterThan(3);
      expect([...copy].sort()).toEqual([...whole].sort());
    });

    it("starts from nothing when the role changes, or the database was restored", async () => {
      const { cursor } = await pull(space.user);
      await space.admin.call("set_role", { p_person: space.user.id, p_role: "admin", p_granted: true });
      const asAdmin = await pull(space.user, cursor);
      expect(asAdmin.reset).toBe(true);
      expect(find(asAdmin.changes, "toolbox", ids.toolbox)?.row).toMatchObject({ url: "https://203.0.113.7:30000" });
      await space.owner.query("select dtma.rebuild_feed()");
      const rebuilt = await pull(space.user, asAdmin.cursor);
      expect(rebuilt.reset).toBe(true);
      expect(rebuilt.changes.length).toBe(asAdmin.changes.length);
    });

    it("does not let one person use another's cursor", async () => {
      const { cursor } = await pull(space.other);
      expect(await pull(space.user, cursor)).toMatchObject({ reset: true });
    });

    it("refuses what is no cursor and no size", async () => {
      for (const args of [{ p_cursor: { feed: "x", xid: "-1" } }, { p_limit: 0 }, { p_limit: 5_001 }]) {
        const answer = await space.user.attempt("sync_pull", args);
        expect(answer.ok ? undefined : syncErrorCode(answer.message), JSON.stringify(args)).toBe("INVALID_INPUT");
      }
    });

    it("is announced once per transaction to everybody who listens", async () => {
      const heard: string[] = [];
      const listener: pg.Client = await postgres.connect(space.owner.database ?? "", space.other.login);
      listener.on("notification", ({ channel }) => heard.push(channel));
      await listener.query("listen dtma_sync");
      await pushAll(space.user, [
        mutation("agent.put", ids.agent, { name: "One" }, 1),
        mutation("agent.put", randomUUID(), { name: "Two" }),
      ]);
      await expect.poll(() => heard).toEqual(["dtma_sync"]);
      await listener.end();
    });
  });

  describe("push", () => {
    it("applies a mutation once, however often it is sent", async () => {
      const rename = mutation("agent.put", ids.agent, { name: "Once" }, 1);
      const first = pushAnswer.parse(await space.user.call("sync_push", { p_mutations: [rename, rename] })).results;
      expect(first.map(({ status, revision }) => [status, revision])).toEqual([
        ["applied", 2],
        ["duplicate", 2],
      ]);
      expect(await push(space.user, [rename])).toMatchObject([{ status: "duplicate", revision: 2 }]);
      const { rows } = await space.owner.query(
        "select count(*)::int from audit_log where entity = 'agent' and action = 'changed'",
      );
      expect(rows).toEqual([{ count: 1 }]);
    });

    it("applies a mutation once when two sessions send it at the same time", async () => {
      const second = await postgres.connect(space.owner.database ?? "", space.user.login);
      const create = mutation("agent.put", randomUUID(), { name: "Twice" });
      const text = "select public.sync_push($1) as value";
      await second.query("begin");
      const { rows } = await second.query(text, [JSON.stringify([create])]);
      expect(rows[0].value.results).toMatchObject([{ status: "applied" }]);
      const waiting = push(space.user, [create]);
      await second.query("commit");
      await second.end();
      expect(await waiting).toMatchObject([{ status: "duplicate", revision: 1 }]);
    });

    it("fails as a whole in a deadlock, remembers nothing of it, and can be sent again", async () => {
      const second = randomUUID();
      await pushAll(space.user, [mutation("agent.put", second, { name: "Second" })]);
      const database = space.owner.database ?? "";
      const [one, two] = await Promise.all([
        postgres.connect(database, space.user.login),
        postgres.connect(database, space.user.login),
      ]);
      const rename = (id: string, name: string) => [JSON.stringify([mutation("agent.put", id, { name }, 1)])];
      const text = "select public.sync_push($1) as value";
      await one.query("begin");
      await two.query("begin");
      await one.query(text, rename(ids.agent, "One"));
      await two.query(text, rename(second, "Two"));
      const crossing = rename(second, "One");
      const attempts = await Promise.allSettled([one.query(text, crossing), two.query(text, rename(ids.agent, "Two"))]);
      const failures = attempts.filter(({ status }) => status === "rejected") as PromiseRejectedResult[];
      expect(failures.map(({ reason }) => reason.code)).toEqual(["40P01"]);
      await Promise.allSettled([one.query("rollback"), two.query("rollback")]);
      expect((await space.user.client.query(text, crossing)).rows[0].value.results).toMatchObject([{ status: "applied" }]);
      await Promise.all([one.end(), two.end()]);
    });

    it("refuses another change under an id that was used, and tells nobody of other people's", async () => {
      const rename = mutation("agent.put", ids.agent, { name: "Once" }, 1);
      await pushAll(space.user, [rename]);
      expect(await push(space.user, [{ ...rename, payload: { name: "Another" } }])).toMatchObject([{ code: "ID_REUSED" }]);
      expect(await push(space.other, [rename])).toMatchObject([{ code: "ID_REUSED", row: null, revision: null }]);
      // A queue that learned of a newer revision may send the same change on top of it.
      expect(await push(space.user, [{ ...rename, baseRevision: 2 }])).toMatchObject([{ status: "duplicate" }]);
    });

    it("applies the others when one of them is refused", async () => {
      const good = randomUUID();
      const results = await push(space.user, [
        mutation("agent.put", randomUUID(), { name: "" }),
        mutation("agent.put", good, { name: "Good" }),
        { id: "no id", kind: "agent.put" },
        mutation("agent.fly", ids.agent),
      ]);
      expect(results.map(({ status, code }) => [status, code])).toEqual([
        ["rejected", "INVALID_INPUT"],
        ["applied", null],
        ["rejected", "INVALID_INPUT"],
        ["rejected", "INVALID_INPUT"],
      ]);
      expect(find((await pull(space.user)).changes, "agent", good)).toBeDefined();
    });

    it("merges changes of different members, and calls the same value no conflict", async () => {
      await pushAll(space.user, [mutation("agent.put", ids.agent, { name: "Renamed" }, 1)]);
      expect(await push(space.admin, [mutation("agent.put", ids.agent, { description: "Described" }, 1)])).toMatchObject([
        { status: "applied", revision: 3 },
      ]);
      expect(await push(space.admin, [mutation("agent.put", ids.agent, { name: "Renamed" }, 1)])).toMatchObject([
        { status: "applied", revision: 3 },
      ]);
      expect(find((await pull(space.user)).changes, "agent", ids.agent)?.row).toMatchObject({
        name: "Renamed",
        description: "Described",
      });
    });

    it("asks when a member was changed to another value, and shows the row there is", async () => {
      await pushAll(space.user, [mutation("agent.put", ids.agent, { name: "Theirs" }, 1)]);
      const stale = mutation("agent.put", ids.agent, { name: "Ours" }, 1);
      const conflict = { status: "conflict", code: "STALE", revision: 2, row: { name: "Theirs" } };
      expect(await push(space.user, [stale])).toMatchObject([conflict]);
      expect(await push(space.user, [stale])).toMatchObject([conflict]);
      expect(await push(space.user, [mutation("agent.put", ids.agent, { name: "Ours" }, 2)])).toMatchObject([
        { status: "applied", revision: 3 },
      ]);
    });

    it("asks before it brings back, or removes, what somebody else removed or changed", async () => {
      await pushAll(space.user, [mutation("agent.put", ids.agent, { name: "Changed" }, 1)]);
      expect(await push(space.user, [mutation("agent.delete", ids.agent, {}, 1)])).toMatchObject([
        { status: "conflict", code: "STALE", row: { name: "Changed" } },
      ]);
      await pushAll(space.user, [mutation("agent.delete", ids.agent, {}, 2)]);
      expect(await push(space.user, [mutation("agent.put", ids.agent, { name: "Back" }, 2)])).toMatchObject([
        { status: "conflict", code: "DELETED", row: null, revision: null },
      ]);
      expect(await push(space.user, [mutation("agent.put", ids.agent, { name: "Back" })])).toMatchObject([
        { status: "conflict", code: "DELETED" },
      ]);
      expect(await push(space.user, [mutation("agent.delete", ids.agent, {}, 2)])).toMatchObject([{ status: "applied" }]);
    });

    it("lets queued edits of one row follow each other without knowing their revisions", async () => {
      const id = randomUUID();
      const create = mutation("agent.put", id, { name: "A" });
      const rename = { ...mutation("agent.put", id, { name: "B" }), after: create.id };
      const again = { ...mutation("agent.put", id, { name: "C" }), after: rename.id };
      expect(await push(space.user, [create, rename, again])).toMatchObject([
        { status: "applied", revision: 1 },
        { status: "applied", revision: 2 },
        { status: "applied", revision: 3 },
      ]);
      const stale = mutation("agent.put", id, { name: "D" }, 1);
      const onTop = { ...mutation("agent.put", id, { name: "E" }), after: stale.id };
      expect(await push(space.user, [stale, onTop])).toMatchObject([{ code: "STALE" }, { code: "PREDECESSOR" }]);
      expect(await push(space.user, [{ ...onTop, after: undefined, baseRevision: 3 }])).toMatchObject([{ status: "applied" }]);
    });

    it("keeps the end of a connection apart from its allow-list, and refuses what is no moment", async () => {
      const put = (more: object, base: number) =>
        push(space.user, [
          mutation("connection.put", ids.connection, { agentId: ids.agent, serverId: ids.running, ...more }, base),
        ]);
      expect(await put({ expiresAt: 1_900_000_000_000 }, 1)).toMatchObject([{ status: "applied", revision: 2 }]);
      expect(await put({ allowedTools: ["echo"] }, 1)).toMatchObject([{ status: "applied", revision: 3 }]);
      expect(await put({ expiresAt: 1_900_000_000_000 }, 1)).toMatchObject([{ status: "applied", revision: 3 }]);
      expect(await put({ expiresAt: null }, 1)).toMatchObject([
        { status: "conflict", code: "STALE", row: { expiresAt: 1_900_000_000_000, allowedTools: ["echo"] } },
      ]);
      for (const expiresAt of ["2030-01-01", -1, 1.5, 1e300, true, {}]) {
        expect(await put({ expiresAt }, 3), String(expiresAt)).toMatchObject([{ status: "rejected", code: "INVALID_INPUT" }]);
      }
      const audit = auditPage.parse(await space.admin.call("sync_audit", { p_before: null, p_limit: 20 }));
      expect(audit.entries.some(({ changes }) => "expires_at" in changes)).toBe(true);
    });

    it("revokes whatever happened to the connection in the meantime", async () => {
      await pushAll(space.user, [
        mutation("connection.put", ids.connection, { agentId: ids.agent, serverId: ids.running, allowedTools: ["echo"] }, 1),
      ]);
      expect(await push(space.user, [mutation("connection.delete", ids.connection, {}, 1)])).toMatchObject([
        { status: "applied" },
      ]);
    });

    it("connects an agent to a server once, and names the connection that is there", async () => {
      const again = { agentId: ids.agent, serverId: ids.running, tokenHash: sha256("x") };
      expect(await push(space.user, [mutation("connection.put", randomUUID(), again)])).toMatchObject([
        { status: "conflict", code: "ALREADY_CONNECTED", row: { id: ids.connection } },
      ]);
      await pushAll(space.user, [mutation("connection.delete", ids.connection)]);
      expect(await push(space.user, [mutation("connection.put", randomUUID(), again)])).toMatchObject([{ status: "applied" }]);
    });

    it("links to servers that run or ran, and to no others", async () => {
      const connect = (serverId: string) =>
        push(space.user, [mutation("connection.put", randomUUID(), { agentId: ids.agent, serverId, tokenHash: sha256("x") })]);
      expect(await connect(ids.stopped)).toMatchObject([{ status: "rejected", code: "SERVER_NOT_AVAILABLE" }]);
      expect(await connect(randomUUID())).toMatchObject([{ status: "rejected", code: "SERVER_NOT_AVAILABLE" }]);
      await pushAll(space.user, [mutation("connection.delete", ids.connection)]);
      await space.dtma.call("report_toolbox", {
        p_toolbox: ids.toolbox,
        p_token: toolboxToken,
        p_report: reportOf([seen(ids.running, { state: "exited" })]),
      });
      // The server was seen running before, so a link made offline to it is still meant.
      expect(await connect(ids.running)).toMatchObject([{ status: "applied" }]);
    });

    it("keeps server names apart on a toolbox, and only there", async () => {
      const put = (toolboxId: string) => mutation("server.put", randomUUID(), { toolboxId, spec: specOf("running") });
      const second = randomUUID();
      expect(await push(space.admin, [put(ids.toolbox)])).toMatchObject([{ status: "rejected", code: "NAME_TAKEN" }]);
      await pushAll(space.admin, [mutation("toolbox.put", second, { name: "Second", url: null }), put(second)]);
    });

    it("lets one template have many servers on a toolbox, and keeps it while they use it", async () => {
      expect(await push(space.admin, [mutation("template.delete", "everything", {}, 1)])).toMatchObject([
        { status: "rejected", code: "IN_USE" },
      ]);
      await pushAll(space.admin, [
        mutation("template.put", "everything", { definition: { ...definitionOf("everything"), title: "New title" } }, 1),
      ]);
      const { changes } = await pull(space.user);
      expect(find(changes, "template", "everything")?.row).toMatchObject({ definition: { title: "New title" } });
    });

    it("marks a server for deletion until its toolbox reports it gone", async () => {
      await pushAll(space.admin, [mutation("server.delete", ids.running, {}, 1)]);
      expect(find((await pull(space.admin)).changes, "server", ids.running)?.row).toMatchObject({
        status: "deleting",
        admin: { desired: "deleted" },
      });
      await space.dtma.call("report_toolbox", {
        p_toolbox: ids.toolbox,
        p_token: toolboxToken,
        p_report: reportOf([seen(ids.stopped, { desired: "stopped", state: "exited" })]),
      });
      const { changes } = await pull(space.admin);
      expect(find(changes, "server", ids.running)).toBeUndefined();
      expect(find(changes, "connection", ids.connection)).toBeUndefined();
    });

    it("takes the servers and connections of a toolbox with it", async () => {
      const { cursor } = await pull(space.user);
      await pushAll(space.admin, [mutation("toolbox.delete", ids.toolbox, {}, 1)]);
      expect(find((await pull(space.user, cursor)).changes, "connection", ids.connection)?.row).toBeNull();
      expect(entitiesOf((await pull(space.admin)).changes)).toEqual(["agent", "person", "template"]);
    });

    it("raises the revision with what people change, and not with what toolboxes report", async () => {
      const revisionOf = async () => find((await pull(space.admin)).changes, "server", ids.running)?.revision;
      expect(await revisionOf()).toBe(1);
      await space.dtma.call("report_toolbox", {
        p_toolbox: ids.toolbox,
        p_token: toolboxToken,
        p_report: reportOf([seen(ids.running, { state: "restarting" })]),
      });
      expect(await revisionOf()).toBe(1);
      const toolboxId = ids.toolbox;
      await pushAll(space.admin, [mutation("server.put", ids.running, { toolboxId, desired: "stopped" }, 1)]);
      expect(await revisionOf()).toBe(2);
    });
  });

  describe("edits in SQL by the owner of the schema", () => {
    it("reach the feed, raise the revision and are audited like everybody's", async () => {
      const { cursor } = await pull(space.admin);
      await space.owner.query("update public.agents set name = 'By hand' where id = $1", [ids.agent]);
      const { changes } = await pull(space.admin, cursor);
      expect(changes).toMatchObject([{ entity: "agent", revision: 2, row: { name: "By hand" } }]);
      expect(await push(space.user, [mutation("agent.put", ids.agent, { name: "Mine" }, 1)])).toMatchObject([
        { code: "STALE" },
      ]);
      const { rows } = await space.owner.query("select actor_kind, changes from audit_log order by id desc limit 1");
      expect(rows).toEqual([{ actor_kind: "owner", changes: { name: ["Agent", "By hand"] } }]);
    });
  });
});
