import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { storedStates } from "../../shared/model/status.ts";
import { knownSchemaVersion } from "../../shared/sync-protocol.ts";
import { applyMigrations, type Postgres, readMigrations, startPostgres, startSupabase } from "../fixtures/database.ts";
import { furnish, mutation, plainWorkspace, pull, pushAll } from "../fixtures/database-people.ts";
import { parts } from "../setup/parts.ts";

describe.skipIf(!parts.postgres)("the migrations of the shared database", () => {
  let postgres: Postgres;

  beforeAll(async () => {
    postgres = await startPostgres();
  });
  afterAll(() => postgres?.stop());

  /** The whole schema as text, with grants, policies and triggers. */
  async function describeSchema(database: string): Promise<string> {
    const program = join(parts.postgres ?? "", "pg_dump");
    const { stdout } = await promisify(execFile)(program, ["--schema-only", `--dbname=${postgres.url(database)}`], {
      maxBuffer: 2 ** 26,
    });
    return stdout.replace(/^\\(un)?restrict .*$/gm, "");
  }

  it("are known to the build by the version of the last one", () => {
    expect(readMigrations().at(-1)?.version).toBe(knownSchemaVersion);
    for (const { version, name } of readMigrations())
      expect([version, name]).toEqual([expect.stringMatching(/^\d{14}$/), expect.stringMatching(/^[a-z_]+$/)]);
  });

  it("apply to an empty database, and again without any change", async () => {
    await postgres.createDatabase("empty");
    const client = await postgres.connect("empty");
    await applyMigrations(client);
    const once = await describeSchema("empty");
    const { rows: workspace } = await client.query("select * from dtma.workspace");
    await applyMigrations(client);
    expect(await describeSchema("empty")).toBe(once);
    expect((await client.query("select * from dtma.workspace")).rows).toEqual(workspace);
  });

  it("say the version of a package whichever registry it is from, and the reference of an image", async () => {
    await postgres.createDatabase("versions");
    const client = await postgres.connect("versions");
    await applyMigrations(client);
    const sources = [
      { type: "npm", package: "time-mcp", version: "1.0.6" },
      { type: "pypi", package: "mcp-server-time", version: "2026.7.1" },
      { type: "oci", image: "ghcr.io/owner/time:1" },
    ];
    const { rows } = await client.query(
      "select dtma.version_of(jsonb_build_object('source', source)) as version from jsonb_array_elements($1) as source",
      [JSON.stringify(sources)],
    );
    expect(rows.map(({ version }) => version)).toEqual(["1.0.6", "2026.7.1", "ghcr.io/owner/time:1"]);
  });

  it("apply again to a database in use, and lose nothing", async () => {
    const space = await plainWorkspace(postgres);
    await furnish(space);
    const { changes, cursor } = await pull(space.admin);
    await applyMigrations(space.owner);
    expect((await pull(space.admin)).changes).toEqual(changes);
    expect(await pull(space.admin, cursor)).toMatchObject({ changes: [], reset: false });
    await space.close();
  });

  it("are recorded with their checksums, which another tool's run leaves alone", async () => {
    await postgres.createDatabase("recorded");
    const client = await postgres.connect("recorded");
    for (const { sql } of readMigrations()) await client.query(sql);
    const recorded = async () =>
      (await client.query("select version, name, checksum from dtma.schema_migrations order by 1")).rows;
    const withoutChecksums = readMigrations().map(({ version, name }) => ({ version, name, checksum: null }));
    expect(await recorded()).toEqual(withoutChecksums);
    await applyMigrations(client);
    const complete = readMigrations().map(({ version, name, checksum }) => ({ version, name, checksum }));
    expect(await recorded()).toEqual(complete);
    for (const { sql } of readMigrations()) await client.query(sql);
    expect(await recorded()).toEqual(complete);
  });

  it("apply as an owner who is no superuser, who then lets people in", async () => {
    const admin = await postgres.connect("postgres");
    const owner = { user: "plain_owner", password: "owner-1234" };
    await admin.query(`create role ${owner.user} login createrole password '${owner.password}'`);
    await admin.query(`create database owned owner ${owner.user}`);
    const client = await postgres.connect("owned", owner);
    await applyMigrations(client);
    await applyMigrations(client);
    const person = { name: "Ada", loginRole: "ada_owned", passwordVerifier: scramOf };
    const { rows } = await client.query("select public.make_first_admin($1) as value", [person]);
    expect(rows[0].value).toMatchObject({ name: "Ada", loginRole: "ada_owned", roles: ["admin", "user"] });
    const ada = await postgres.connect("owned", { user: "ada_owned", password: "pencil" });
    expect((await ada.query("select public.sync_whoami() as value")).rows[0].value).toMatchObject({ name: "Ada" });
  });

  it("leave the auth schema of Supabase as it is", async () => {
    await postgres.createDatabase("hosted");
    const client = await postgres.connect("hosted");
    await client.query("create schema auth; create table auth.users (id uuid primary key, email text)");
    await client.query(
      "create function auth.uid() returns uuid language sql stable as $$ select nullif(current_setting('request.jwt.claim.sub', true), '')::uuid $$",
    );
    await client.query("create publication supabase_realtime");
    const before = await describeSchema("hosted");
    await applyMigrations(client);
    await applyMigrations(client);
    const after = await describeSchema("hosted");
    const authOf = (text: string) =>
      text.split("\n\n").filter((block) => /\bauth\.(uid|users)/.test(block) && !/dtma/.test(block));
    expect(authOf(after)).toEqual(authOf(before));

    // Realtime listens there, so that changes leave a row for it.
    const id = "7d9f1c1e-9c5a-4a57-9d8e-1f2f5c6f1d11";
    await client.query("insert into auth.users values ($1, 'ada@example.org')", [id]);
    await client.query("select public.make_first_admin($1)", [{ name: "Ada", email: "Ada@example.org" }]);
    await client.query("begin");
    await client.query("select set_config('request.jwt.claim.sub', $1, true)", [id]);
    await client.query("set local role authenticated");
    const { rows } = await client.query("select public.sync_push($1) as value", [
      JSON.stringify([mutation("toolbox.put", id, { name: "A" }), mutation("toolbox.put", crypto.randomUUID(), { name: "B" })]),
    ]);
    expect(rows[0].value.results).toMatchObject([{ status: "applied" }, { status: "applied" }]);
    await client.query("commit");
    const published = await client.query("select tablename from pg_publication_tables where pubname = 'supabase_realtime'");
    expect(published.rows).toEqual([{ tablename: "sync_nudges" }]);
    // One for the first admin, one for both toolboxes together.
    expect((await client.query("select count(*)::int from sync_nudges")).rows).toEqual([{ count: 2 }]);
  });

  it("apply behind a Supabase-compatible server, twice", async () => {
    await postgres.createDatabase("behind");
    const supabase = await startSupabase(postgres, "behind");
    try {
      const client = await postgres.connect("behind");
      await applyMigrations(client);
      const once = await describeSchema("behind");
      await applyMigrations(client);
      expect(await describeSchema("behind")).toBe(once);
      expect((await client.query("select dtma.people_are_login_roles() as value")).rows).toEqual([{ value: false }]);
    } finally {
      await supabase.stop();
    }
  });

  describe("make a schema that", () => {
    const ours = "('public', 'dtma')";
    const list = async (text: string): Promise<string[]> => {
      const client = await postgres.connect("empty");
      const { rows } = await client.query(text);
      await client.end();
      return rows.map((row) => String(Object.values(row)[0]));
    };

    it("has row-level security on every table", async () => {
      const tables = (condition: string) =>
        list(`select c.oid::regclass from pg_class c join pg_namespace n on n.oid = c.relnamespace
          where n.nspname in ${ours} and c.relkind in ('r', 'p') and ${condition}`);
      expect((await tables("true")).length).toBeGreaterThan(15);
      expect(await tables("not c.relrowsecurity")).toEqual([]);
    });

    it("gives nobody a right to write a table, or to read one with secrets, and outsiders none at all", async () => {
      expect(
        await list(`select format('%s: %s on %s', grantee, privilege_type, table_name) from information_schema.role_table_grants
          where table_schema in ${ours} and (grantee in ('PUBLIC', 'anon', 'dtma_toolbox')
            or (grantee = 'authenticated' and (privilege_type <> 'SELECT' or table_name in
              ('account_tool_environments', 'account_tool_instances', 'agent_mcp_connections'))))`),
      ).toEqual([]);
    });

    it("resolves names in functions with more rights by an empty search path only", async () => {
      const definers = (condition: string) =>
        list(`select p.oid::regprocedure from pg_proc p join pg_namespace n on n.oid = p.pronamespace
          where n.nspname in ('public', 'dtma', 'auth') and p.prosecdef and ${condition}`);
      expect((await definers("true")).length).toBeGreaterThan(15);
      expect(await definers(`not coalesce(p.proconfig @> array['search_path=""'], false)`)).toEqual([]);
    });

    it("has the words of this build in the status column, and no others", async () => {
      const [check = ""] = await list(`select pg_get_constraintdef(oid) from pg_constraint
        where conrelid = 'public.account_tool_instances'::regclass and pg_get_constraintdef(oid) like '%status_on_toolbox%'`);
      expect([...check.matchAll(/'([a-z_]+)'/g)].map(([, word]) => word).sort()).toEqual([...storedStates].sort());
    });

    it("has an index for every reference that deletes with its row", async () => {
      expect(
        await list(`select conrelid::regclass || ' ' || conname from pg_constraint c
          where c.contype = 'f' and c.confdeltype = 'c' and c.connamespace = 'public'::regnamespace and c.conrelid <> 'public.user_roles'::regclass
            and not exists (select from pg_index i where i.indrelid = c.conrelid and i.indkey[0] = c.conkey[1])`),
      ).toEqual([]);
    });
  });

  it("keep an admin out who is the second first one, and the last admin in", async () => {
    const space = await plainWorkspace(postgres);
    const again = space.owner.query("select public.make_first_admin($1)", [{ name: "Eve", loginRole: space.user.login.user }]);
    await expect(again).rejects.toThrow(/^FIRST_ADMIN_EXISTS: /);
    const leave = { p_person: space.admin.id, p_role: "admin", p_granted: false };
    expect(await space.admin.attempt("set_role", leave)).toMatchObject({ message: expect.stringMatching(/^LAST_ADMIN: /) });
    await space.admin.call("set_role", { ...leave, p_person: space.user.id, p_granted: true });
    await space.admin.call("set_role", leave);
    await pushAll(space.user, [mutation("toolbox.put", crypto.randomUUID(), { name: "T" })]);
    expect(await space.admin.attempt("sync_push", { p_mutations: [] })).toMatchObject({ ok: true });
    expect(await space.admin.call("sync_whoami")).toMatchObject({ roles: ["user"] });
    await space.close();
  });

  it("let two admins who demote each other at the same time keep one of them", async () => {
    const space = await plainWorkspace(postgres);
    await space.admin.call("set_role", { p_person: space.user.id, p_role: "admin", p_granted: true });
    const demote = (who: typeof space.admin, whom: string | undefined) =>
      who.attempt("set_role", { p_person: whom, p_role: "admin", p_granted: false });
    const answers = await Promise.all([demote(space.admin, space.user.id), demote(space.user, space.admin.id)]);
    expect(answers.filter(({ ok }) => ok)).toHaveLength(1);
    const { rows } = await space.owner.query(
      "select count(*)::int from user_roles ur join roles r on r.id = ur.role_id where r.name = 'admin'",
    );
    expect(rows).toEqual([{ count: 1 }]);
    await space.close();
  });
});

/** Of the password `pencil` with the salt of RFC 7677. */
const scramOf =
  "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
