import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { syncErrorCode } from "../../shared/sync-protocol.ts";
import { type Postgres, type Supabase, startPostgres } from "../fixtures/database.ts";
import {
  type Caller,
  definitionOf,
  furnish,
  type HttpCaller,
  httpCaller,
  mutation,
  type PlainCaller,
  plainWorkspace,
  pull,
  push,
  reportOf,
  sha256,
  specOf,
  supabaseWorkspace,
  toolboxToken,
  type Workspace,
} from "../fixtures/database-people.ts";
import { parts } from "../setup/parts.ts";

/*
Who may do what, over every table and every function there is, on both transports, with raw SQL and raw HTTP. What the
catalogue lists and these tables do not say anything about fails the test.
*/

const callers = ["anonymous", "stranger", "user", "other", "admin", "dtma"] as const;
type CallerName = (typeof callers)[number];
type Ids = Awaited<ReturnType<typeof furnish>>;

/** How one transport attempts what this test is about. */
type Transport<C extends Caller> = {
  open(postgres: Postgres): Promise<Workspace<C>>;
  /** The rows, or undefined when the attempt was refused. */
  select(caller: C, schema: string, table: string, columns: readonly string[]): Promise<Record<string, unknown>[] | undefined>;
  /** Whether it was refused. */
  write(caller: C, schema: string, table: string, columns: readonly string[], verb: Verb): Promise<boolean>;
  /** Calls a function of any schema with nulls; whether it was refused for want of a right to call it. */
  isCallRefused(caller: C, schema: string, name: string, types: readonly string[]): Promise<boolean>;
};

const verbs = ["insert", "update", "delete"] as const;
type Verb = (typeof verbs)[number];

const plain: Transport<PlainCaller> = {
  open: plainWorkspace,
  async select({ client }, schema, table, columns) {
    try {
      return (await client.query(`select ${columns.join(", ")} from ${schema}.${table}`)).rows;
    } catch (error) {
      expect(error).toMatchObject({ code: "42501" });
      return undefined;
    }
  },
  async write({ client }, schema, table, columns, verb) {
    const column = columns.at(-1) ?? "id";
    const statements: Record<Verb, string> = {
      insert: `insert into ${schema}.${table} default values`,
      update: `update ${schema}.${table} set ${column} = ${column}`,
      delete: `delete from ${schema}.${table}`,
    };
    try {
      await client.query(statements[verb]);
      return false;
    } catch (error) {
      expect(error).toMatchObject({ code: "42501" });
      return true;
    }
  },
  async isCallRefused({ client }, schema, name, types) {
    try {
      await client.query(`select ${schema}.${name}(${types.map((type) => `null::${type}`).join(", ")})`);
      return false;
    } catch (error) {
      return /^permission denied for (function|schema)/.test((error as Error).message);
    }
  },
};

const http: Transport<HttpCaller> = {
  open: supabaseWorkspace,
  async select(caller, schema, table, columns) {
    const { status, body } = await caller.request("GET", `${table}?select=${columns.join(",")}`, undefined, schema);
    if (status >= 400) return undefined;
    return body as Record<string, unknown>[];
  },
  async write(caller, schema, table, columns, verb) {
    const column = columns.at(-1) ?? "id";
    const all = `${table}?${column}=not.is.null`;
    // @supabase/lite grants all tables to everybody: there row-level security alone finds no row to change.
    const { status, body } =
      verb === "insert"
        ? await caller.request("POST", table, {}, schema)
        : await caller.request(
            verb === "update" ? "PATCH" : "DELETE",
            all,
            verb === "update" ? { [column]: null } : undefined,
            schema,
          );
    return status >= 400 || (verb !== "insert" && Array.isArray(body) && body.length === 0);
  },
  async isCallRefused(caller, schema, name, types) {
    const names = types.map((_, index) => `p${index}`);
    const body = Object.fromEntries(names.map((key) => [key, null]));
    return (await caller.request("POST", `rpc/${name}`, body, schema)).status >= 400;
  },
};

type Visible = (ids: Ids, space: Workspace<Caller>) => readonly string[];
const none: Visible = () => [];

/** What a direct select shows, by a column that names the row. Callers and tables that are not listed are shown nothing. */
const visible: Record<string, { by: string; rows: Partial<Record<CallerName, Visible>> }> = {
  people: {
    by: "id",
    rows: {
      stranger: (_, { stranger }) => (stranger.id === undefined ? [] : [stranger.id]),
      user: (_, { user }) => [user.id ?? ""],
      other: (_, { other }) => [other.id ?? ""],
      admin: (_, { admin, user, other, stranger }) =>
        [admin.id, user.id, other.id, stranger.id].filter((id) => id !== undefined),
    },
  },
  roles: {
    by: "name",
    rows: { stranger: none, user: () => ["admin", "user"], other: () => ["admin", "user"], admin: () => ["admin", "user"] },
  },
  user_roles: {
    by: "user_id",
    rows: {
      stranger: none,
      user: (_, { user }) => [user.id ?? ""],
      other: (_, { other }) => [other.id ?? ""],
      admin: (_, { admin, user, other }) => [admin.id ?? "", admin.id ?? "", user.id ?? "", other.id ?? ""],
    },
  },
  tool_catalog: {
    by: "slug",
    rows: {
      stranger: none,
      user: () => ["everything"],
      other: () => ["everything"],
      admin: () => ["everything", "hidden"],
    },
  },
  agents: {
    by: "id",
    rows: {
      stranger: none,
      user: ({ agent }) => [agent],
      other: ({ otherAgent }) => [otherAgent],
      admin: ({ agent, otherAgent }) => [agent, otherAgent],
    },
  },
  audit_log: {
    by: "entity_id",
    rows: {
      // An account makes its own person when it signs in first; a login role is added by an admin.
      stranger: none,
      user: ({ agent, connection }, { user }) => [agent, connection, ...("request" in user ? [user.id ?? ""] : [])],
      other: ({ otherAgent, otherConnection }, { other }) => [
        otherAgent,
        otherConnection,
        ...("request" in other ? [other.id ?? ""] : []),
      ],
      admin: (ids, space) => [
        ids.toolbox,
        ids.running,
        ids.stopped,
        ids.agent,
        ids.otherAgent,
        ids.connection,
        ids.otherConnection,
        "everything",
        "hidden",
        ...[space.admin, space.admin, space.admin, space.user, space.user, space.other, space.other].map(({ id }) => id ?? ""),
        ...[space.stranger.id].filter((id) => id !== undefined),
      ],
    },
  },
  sync_nudges: { by: "id", rows: { stranger: none, user: () => ["1"], other: () => ["1"], admin: () => ["1"] } },
};

const everybodySignedIn: readonly CallerName[] = ["stranger", "user", "other", "admin"];

/** Functions of schema public: who may call them, and whom the function itself then refuses. */
const functions: Record<
  string,
  {
    call: readonly CallerName[];
    args(ids: Ids, space: Workspace<Caller>): Record<string, unknown>;
    refuses: Partial<Record<CallerName, string>>;
  }
> = {
  sync_whoami: { call: everybodySignedIn, args: () => ({}), refuses: { stranger: "NOT_SIGNED_IN" } },
  sync_pull: { call: everybodySignedIn, args: () => ({ p_cursor: null, p_limit: 10 }), refuses: { stranger: "NOT_A_MEMBER" } },
  sync_push: { call: everybodySignedIn, args: () => ({ p_mutations: [] }), refuses: { stranger: "NOT_A_MEMBER" } },
  sync_tools: { call: everybodySignedIn, args: () => ({ p_hashes: [] }), refuses: { stranger: "NOT_A_MEMBER" } },
  sync_liveness: { call: everybodySignedIn, args: () => ({}), refuses: { stranger: "NOT_A_MEMBER" } },
  sync_audit: { call: everybodySignedIn, args: () => ({ p_limit: 5 }), refuses: { stranger: "NOT_A_MEMBER" } },
  sync_loads: {
    call: everybodySignedIn,
    args: ({ toolbox }) => ({ p_toolbox: toolbox }),
    refuses: { stranger: "NOT_A_MEMBER", user: "FORBIDDEN", other: "FORBIDDEN" },
  },
  set_workspace: {
    call: everybodySignedIn,
    args: () => ({ p_settings: { name: "Workspace" } }),
    refuses: { stranger: "NOT_A_MEMBER", user: "FORBIDDEN", other: "FORBIDDEN" },
  },
  set_role: {
    call: everybodySignedIn,
    // What somebody would try first.
    args: (_, { user }) => ({ p_person: user.id, p_role: "user", p_granted: true }),
    refuses: { stranger: "NOT_A_MEMBER", user: "FORBIDDEN", other: "FORBIDDEN" },
  },
  add_person: {
    call: everybodySignedIn,
    args: (_, { user }) => ({
      p_person: { name: "Uma", ...("login" in user ? { loginRole: (user as PlainCaller).login.user } : { userId: user.id }) },
    }),
    refuses: { stranger: "NOT_A_MEMBER", user: "FORBIDDEN", other: "FORBIDDEN" },
  },
  user_has_role: { call: everybodySignedIn, args: (_, { user }) => ({ user_id: user.id, name: "admin" }), refuses: {} },
  make_first_admin: { call: [], args: (_, { user }) => ({ p_person: { name: "Uma", userId: user.id } }), refuses: {} },
  report_toolbox: {
    call: [...callers],
    args: ({ toolbox }) => ({ p_toolbox: toolbox, p_token: "wrong", p_report: reportOf([]) }),
    refuses: Object.fromEntries(callers.map((name) => [name, "REPORT_REFUSED"])),
  },
};

/** Helpers that row-level security calls as whoever reads. */
const helpers = ["person_id", "is_admin", "is_member"];

describe.skipIf(!parts.postgres)("access to the shared database", () => {
  let postgres: Postgres;
  beforeAll(async () => {
    postgres = await startPostgres();
  });
  afterAll(() => postgres?.stop());

  describe.each([
    ["plain Postgres, in SQL", plain as Transport<Caller>],
    ["Supabase, in HTTP", http as unknown as Transport<Caller>],
  ])("on %s", (transportName, transport) => {
    let space: Workspace<Caller>;
    let ids: Ids;
    let tables: { schema: string; name: string; columns: string[] }[];
    const isHttp = transport === (http as unknown as Transport<Caller>);

    beforeAll(async () => {
      space = await transport.open(postgres);
      ids = await furnish(space);
      await space.stranger.attempt("sync_whoami", {});
      await space.owner.query("insert into public.sync_nudges default values");
      const { rows } = await space.owner.query(`
        select n.nspname as schema, c.relname as name, array_agg(a.attname::text order by a.attnum) as columns
        from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid
        where n.nspname in ('public', 'dtma') and c.relkind in ('r', 'p', 'v', 'm') and a.attnum > 0 and not a.attisdropped
        group by 1, 2 order by 1, 2`);
      tables = rows;
    });
    afterAll(() => space?.close());

    const everything = async () => {
      const { rows } = await space.owner.query(`select md5(string_agg(t, '')) as digest from (
        ${tables.map(({ schema, name }) => `select coalesce((select string_agg(x::text, '' order by x::text) from ${schema}.${name} x), '') as t`).join(" union all ")}) all_rows`);
      return rows[0].digest as string;
    };

    it("knows every table that can be read", async () => {
      const { rows } = await space.owner.query(
        "select distinct tablename::text as name from pg_policies where schemaname in ('public', 'dtma') order by 1",
      );
      expect(rows.map(({ name }) => name)).toEqual(Object.keys(visible).sort());
    });

    it.each(callers)("shows %s the rows they may see, and no others", async (name) => {
      expect(tables.length).toBeGreaterThan(15);
      for (const table of tables) {
        const expectation = table.schema === "public" ? visible[table.name] : undefined;
        const rows = expectation?.rows[name]?.(ids, space) ?? [];
        const shown = await transport.select(space[name], table.schema, table.name, ["*"]);
        const named = (shown ?? []).map((row) => String(row[expectation?.by ?? ""]));
        expect(named.sort(), `${table.schema}.${table.name}`).toEqual([...rows].sort());
      }
    });

    it.each(callers)("shows %s no column of a table that nobody reads", async (name) => {
      const hidden = tables.filter(({ schema, name: table }) => schema === "dtma" || !(table in visible));
      expect(hidden.map((table) => table.name)).toEqual(
        expect.arrayContaining(["account_tool_environments", "sync_mutations"]),
      );
      for (const table of hidden) {
        for (const column of table.columns) {
          const shown = await transport.select(space[name], table.schema, table.name, [column]);
          expect(shown ?? [], `${table.name}.${column}`).toEqual([]);
          if (!isHttp) expect(shown, `${table.name}.${column}`).toBeUndefined();
        }
      }
    });

    it.each(callers)("lets %s write no table directly", async (name) => {
      const before = await everything();
      for (const table of tables) {
        for (const verb of verbs) {
          const isRefused = await transport.write(space[name], table.schema, table.name, table.columns, verb);
          expect(isRefused, `${verb} ${table.schema}.${table.name}`).toBe(true);
        }
      }
      expect(await everything()).toBe(before);
    });

    it("says something about every function", async () => {
      const { rows } = await space.owner.query(
        "select distinct proname::text as name from pg_proc where pronamespace = 'public'::regnamespace order by 1",
      );
      expect(rows.map((row) => row.name)).toEqual(Object.keys(functions).sort());
    });

    it.each(callers)("lets %s call the functions that are for them, and no others", async (name) => {
      for (const [fn, { call, args, refuses }] of Object.entries(functions)) {
        const answer = await space[name].attempt(fn, args(ids, space));
        const what = `${fn}: ${JSON.stringify(answer).slice(0, 300)}`;
        if (!call.includes(name)) {
          expect(answer.ok, what).toBe(false);
          expect(answer.ok || syncErrorCode(answer.message), what).toBeUndefined();
          continue;
        }
        let code = refuses[name];
        // A login role that nobody added is nobody; an account that signed in is somebody without a role.
        if (name === "stranger" && code === "NOT_A_MEMBER" && !isHttp) code = "NOT_SIGNED_IN";
        if (name === "stranger" && fn === "sync_whoami" && isHttp) code = undefined;
        expect(answer.ok, what).toBe(code === undefined);
        expect(answer.ok ? undefined : syncErrorCode(answer.message), what).toBe(code);
      }
    });

    it.each(callers)("lets %s call nothing of what is inside", async (name) => {
      const { rows } = await space.owner.query(`
        select p.proname::text as name, array(select format_type(t, null) from unnest(p.proargtypes) t) as types
        from pg_proc p where p.pronamespace = 'dtma'::regnamespace and p.prorettype <> 'trigger'::regtype order by 1`);
      expect(rows.length).toBeGreaterThan(30);
      for (const row of rows) {
        const isForThem = !isHttp && helpers.includes(row.name) && everybodySignedIn.includes(name);
        const isRefused = await transport.isCallRefused(space[name], "dtma", row.name, row.types);
        expect(isRefused, `dtma.${row.name}`).toBe(!isForThem);
      }
    });

    it("lets a user not make themselves an admin, by any way in", async () => {
      const { user } = space;
      await user.attempt("set_role", { p_person: user.id, p_role: "admin", p_granted: true });
      await user.attempt("add_person", { p_person: { name: "Uma", userId: user.id, roles: ["admin"] } });
      await user.attempt("make_first_admin", { p_person: { name: "Uma", userId: user.id } });
      await user.attempt("sync_push", { p_mutations: [mutation("person.put", user.id ?? "", { roles: ["admin"] })] });
      expect(await user.call("sync_whoami")).toMatchObject({ roles: ["user"] });
      expect(await user.call("user_has_role", { user_id: user.id, name: "admin" })).toBe(false);
    });

    it("tells a user nothing about other people's roles", async () => {
      expect(await space.user.call("user_has_role", { user_id: space.admin.id, name: "admin" })).toBe(false);
      expect(await space.admin.call("user_has_role", { user_id: space.admin.id, name: "admin" })).toBe(true);
    });

    describe("through changes", () => {
      const onTheUsers = {
        "agent.put": ["agent", { name: "Taken" }],
        "connection.put": ["connection", { allowedTools: ["taken"], tokenHash: sha256("taken") }],
        "connection.delete": ["connection", {}],
        "agent.delete": ["agent", {}],
      } as const;
      const ofAdmins = {
        "toolbox.put": ["toolbox", { url: "https://203.0.113.66", tokenHash: sha256("taken") }],
        "server.put": ["running", { desired: "stopped", spec: specOf("taken") }],
        "template.put": ["everything", { definition: definitionOf("everything"), status: "archived" }],
        "server.delete": ["running", { force: true }],
        "toolbox.delete": ["toolbox", {}],
        "template.delete": ["hidden", {}],
      } as const;

      const changeOf = (kind: string, key: string, payload: object) => {
        const refers = kind.startsWith("connection.put")
          ? { agentId: ids.agent, serverId: ids.running }
          : kind.startsWith("server.put")
            ? { toolboxId: ids.toolbox }
            : {};
        return mutation(
          kind,
          key in ids ? ids[key as keyof Ids] : key,
          { ...refers, ...payload },
          kind.endsWith(".put") ? 1 : null,
        );
      };
      const state = async () => (await pull(space.admin)).changes;

      it.each(Object.keys({ ...onTheUsers, ...ofAdmins }))("%s changes nothing for those it is not for", async (kind) => {
        const [key, payload] = { ...onTheUsers, ...ofAdmins }[kind as keyof typeof onTheUsers];
        const before = await state();
        const isOwn = kind in onTheUsers;
        const inside: CallerName[] = isOwn ? ["other"] : ["user", "other"];
        for (const name of inside) {
          // Removing what one may not see is told to be done, when it is not there; what is there is "not found".
          const [result] = await push(space[name], [changeOf(kind, key, payload)]);
          expect(result, name).toMatchObject({
            status: "rejected",
            code: isOwn ? "NOT_FOUND" : "FORBIDDEN",
            row: null,
            revision: null,
          });
        }
        for (const name of ["anonymous", "stranger", "dtma"] as const) {
          const answer = await space[name].attempt("sync_push", { p_mutations: [changeOf(kind, key, payload)] });
          expect(answer.ok, name).toBe(false);
        }
        expect(await state()).toEqual(before);
      });

      it("connects nobody's agent but one's own, and takes nobody's place", async () => {
        const put = (agentId: string, id: string = randomUUID()) =>
          mutation("connection.put", id, { agentId, serverId: ids.running, tokenHash: sha256("x") });
        expect(await push(space.other, [put(ids.agent)])).toMatchObject([{ code: "NOT_FOUND" }]);
        expect(await push(space.other, [put(ids.otherAgent, ids.connection)])).toMatchObject([
          { code: "NOT_FOUND", row: null },
        ]);
        expect(await push(space.other, [mutation("agent.put", ids.agent, { name: "Mine" })])).toMatchObject([
          { code: "NOT_FOUND", row: null },
        ]);
      });

      it("are made by those they are for", async () => {
        const own = await push(space.user, [
          changeOf("agent.put", "agent", { description: "Mine" }),
          changeOf("connection.put", "connection", { allowedTools: ["echo"] }),
        ]);
        expect(own.map(({ status }) => status)).toEqual(["applied", "applied"]);
        // In this order each still has what it is about.
        for (const kind of [
          "toolbox.put",
          "template.put",
          "agent.put",
          "connection.put",
          "server.put",
          "connection.delete",
          "agent.delete",
          "server.delete",
          "toolbox.delete",
          "template.delete",
        ] as const) {
          const [key, payload] = { ...onTheUsers, ...ofAdmins }[kind];
          const change = { ...changeOf(kind, key, payload), ...(kind === "connection.put" ? { baseRevision: 2 } : {}) };
          expect(await push(space.admin, [change]), kind).toMatchObject([{ status: "applied" }]);
        }
      });
    });

    it("lets nobody but the owner of the schema make a first admin, not even the secret key of Supabase", async () => {
      if (!isHttp) {
        const { rows } = await space.owner.query(
          "select grantee::regrole::text from pg_proc p, aclexplode(p.proacl) where proname = 'make_first_admin'",
        );
        expect(rows).toEqual([{ grantee: "postgres" }]);
        return;
      }
      const { supabase } = space as unknown as { supabase: Supabase };
      const service = httpCaller(supabase, { apikey: supabase.secretKey });
      const answer = await service.attempt("make_first_admin", { p_person: { name: "Eve", userId: space.user.id } });
      expect(answer).toMatchObject({ ok: false, message: expect.stringContaining("permission denied") });
    });

    if (isHttp) {
      it("lets in who signs in by an admin's approval, or at once where the workspace is open", async () => {
        const { supabase } = space as unknown as { supabase: Supabase };
        const signIn = async (email: string) => {
          const { userId, token } = await supabase.signUp(email, randomUUID());
          const caller = httpCaller(supabase, { token, id: userId });
          return { caller, who: await caller.call<{ name: string; roles: string[] }>("sync_whoami") };
        };
        const first = await signIn("first@example.org");
        expect(first.who).toMatchObject({ name: "first", roles: [] });
        await space.admin.call("add_person", { p_person: { name: "The first", email: "first@example.org" } });
        expect(await first.caller.call("sync_whoami")).toMatchObject({ name: "The first", roles: ["user"] });
        await space.admin.call("set_workspace", { p_settings: { joinPolicy: "open" } });
        expect((await signIn("second@example.org")).who).toMatchObject({ roles: ["user"] });
        await space.admin.call("set_workspace", { p_settings: { joinPolicy: "approval" } });
        expect((await signIn("third@example.org")).who).toMatchObject({ roles: [] });
        const { entries } = await space.admin.call<{ entries: object[] }>("sync_audit", { p_limit: 1_000 });
        expect(entries).toEqual(
          expect.arrayContaining([
            expect.objectContaining({ entity: "workspace", changes: { join_policy: ["approval", "open"] } }),
          ]),
        );
      });
    }

    it(`keeps what ${transportName} told of the audit log as it was`, async () => {
      const { rows } = await space.owner.query("select count(*)::int as count from audit_log");
      expect(rows[0].count).toBeGreaterThan(20);
      for (const statement of ["update audit_log set changes = '{}'", "delete from audit_log", "truncate audit_log"]) {
        await expect(space.owner.query(statement), statement).rejects.toThrow("FORBIDDEN: The audit log");
      }
      const text = JSON.stringify((await space.owner.query("select * from audit_log")).rows);
      for (const secret of [toolboxToken, sha256(toolboxToken), sha256(ids.connection), sha256("taken")]) {
        expect(text).not.toContain(secret);
      }
      const { entries } = await space.user.call<{ entries: { actorId: string }[] }>("sync_audit");
      expect(new Set(entries.map(({ actorId }) => actorId))).toEqual(new Set([space.user.id]));
    });
  });
});
