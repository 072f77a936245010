import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Client } from "pg";
import { AppError } from "../../../shared/errors.ts";
import { type NewPerson, type PersonRow, personRow } from "../../../shared/sync-protocol.ts";
import { connectPostgres, fromPostgresError, type PostgresTarget } from "./postgres.ts";

/*
Creating and upgrading the schema of a shared database, as its owner.

INVARIANTS
- What will be done is said first; what is done is exactly that, or nothing.
- Each migration is one transaction, with its line in `dtma.schema_migrations`; a failure leaves those before it in place.
- A schema with a migration this version does not know is left alone.
- Nobody becomes an admin by this but by the explicit step, which works once.
*/

export type SchemaMigration = {
  version: string;
  name: string;
  /** The first paragraph of the file's comment. */
  summary: string;
  state: "pending" | "applied" | "changed";
};

export type SchemaPlan = {
  installed: string | null;
  known: string;
  migrations: SchemaMigration[];
  /** Whether the schema is inside a Supabase project, where people are its accounts. */
  isSupabase: boolean;
  needsFirstAdmin: boolean;
};

type File = { version: string; name: string; sql: string; checksum: string; summary: string };

export type SchemaTool = {
  plan(target: PostgresTarget, password: string): Promise<SchemaPlan>;
  /** Applies what `plan` named; CONFLICT when it is not the same any more. Answers the versions it applied. */
  apply(target: PostgresTarget, password: string, versions: string[]): Promise<string[]>;
  /** ALREADY_EXISTS as soon as there is an admin. */
  makeFirstAdmin(target: PostgresTarget, password: string, person: NewPerson): Promise<PersonRow>;
  /** Makes a login role that can report for toolboxes and do nothing else. */
  makeReportingLogin(target: PostgresTarget, password: string, login: { user: string; password: string }): Promise<void>;
};

/** Of two control centres that apply at once, one waits for the other. Any number that nothing else uses. */
const lockKey = 711_303_001;

export function createSchemaTool(folder: string): SchemaTool {
  async function asOwner<T>(target: PostgresTarget, password: string, work: (client: Client) => Promise<T>): Promise<T> {
    const client = await connectPostgres(target, password);
    try {
      return await work(client);
    } catch (error) {
      const { code } = error as { code?: string };
      if (code === "42501")
        throw new AppError("FORBIDDEN", {
          message: `${target.user} may not do this: it takes the owner of the database.`,
          cause: error,
        });
      throw fromPostgresError(error, target);
    } finally {
      await client.end().catch(() => undefined);
    }
  }

  return {
    plan: (target, password) => asOwner(target, password, async (client) => planOf(client, await readFiles(folder))),
    apply: (target, password, versions) =>
      asOwner(target, password, async (client) => {
        const files = await readFiles(folder);
        await client.query("select pg_advisory_lock($1)", [lockKey]);
        const plan = await planOf(client, files);
        const due = plan.migrations.filter(({ state }) => state !== "applied").map(({ version }) => version);
        if (JSON.stringify(due) !== JSON.stringify(versions))
          throw new AppError("CONFLICT", { message: "The schema has changed since it was looked at. Look at the plan again." });
        for (const file of files) if (due.includes(file.version)) await applyFile(client, file);
        return due;
      }),
    makeFirstAdmin: (target, password, person) =>
      asOwner(target, password, async (client) => {
        const { rows } = await client.query("select public.make_first_admin($1) as answer", [JSON.stringify(person)]);
        return personRow.parse((rows[0] as { answer: unknown }).answer);
      }),
    makeReportingLogin: (target, password, login) =>
      asOwner(target, password, async (client) => {
        const role = client.escapeIdentifier(login.user);
        const verifier = client.escapeLiteral(scramVerifier(login.password));
        await client.query(`create role ${role} login in role dtma_toolbox password ${verifier}`);
      }),
  };
}

async function planOf(client: Client, files: File[]): Promise<SchemaPlan> {
  const known = files.at(-1)?.version ?? "";
  const applied = new Map<string, string | null>();
  if (await exists(client, "to_regclass('dtma.schema_migrations')")) {
    const { rows } = await client.query<{ version: string; checksum: string | null }>(
      "select version, checksum from dtma.schema_migrations order by version",
    );
    for (const { version, checksum } of rows) applied.set(version, checksum);
  }
  const installed = [...applied.keys()].at(-1) ?? null;
  if (installed !== null && installed > known)
    throw new AppError("SCHEMA_TOO_NEW", { message: `The database has schema ${installed}; this version knows ${known}.` });
  const hasRoles = await exists(client, "to_regclass('public.user_roles')");
  const admins = hasRoles
    ? await client.query(
        "select 1 from public.user_roles ur join public.roles r on r.id = ur.role_id where r.name = 'admin' limit 1",
      )
    : undefined;
  return {
    installed,
    known,
    isSupabase: await exists(client, "to_regclass('auth.users')"),
    needsFirstAdmin: (admins?.rowCount ?? 0) === 0,
    migrations: files.map(({ version, name, summary, checksum }) => ({
      version,
      name,
      summary,
      state: stateOf(applied, version, checksum),
    })),
  };
}

/** A migration another tool has applied has no checksum; it is taken for what it says it is. */
function stateOf(applied: ReadonlyMap<string, string | null>, version: string, checksum: string): SchemaMigration["state"] {
  const recorded = applied.get(version);
  if (recorded === undefined) return "pending";
  return recorded === null || recorded === checksum ? "applied" : "changed";
}

async function exists(client: Client, expression: string): Promise<boolean> {
  const { rows } = await client.query<{ found: boolean }>(`select ${expression} is not null as found`);
  return rows[0]?.found === true;
}

async function applyFile(client: Client, { version, name, sql, checksum }: File): Promise<void> {
  await client.query("begin");
  try {
    await client.query(sql);
    await client.query("select dtma.record_migration($1, $2, $3)", [version, name, checksum]);
    await client.query("commit");
  } catch (error) {
    await client.query("rollback");
    throw error;
  }
}

async function readFiles(folder: string): Promise<File[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".sql")).sort();
  return Promise.all(
    names.map(async (file) => {
      const sql = await readFile(join(folder, file), "utf8");
      const [, version = "", name = ""] = /^(\d{14})_(.+)\.sql$/.exec(file) ?? [];
      const summary = /^\/\*\s*([\s\S]*?)(?:\n\s*\n|\*\/)/.exec(sql)?.[1]?.replace(/\s+/g, " ").trim() ?? "";
      return { version, name, sql, summary, checksum: createHash("sha256").update(sql).digest("hex") };
    }),
  );
}

/**
 * What Postgres keeps of a password (SCRAM-SHA-256, RFC 5802 and RFC 7677), so that the password itself never crosses.
 * Only for passwords of printable ASCII, for which SASLprep changes nothing.
 */
export function scramVerifier(password: string): string {
  if (!/^[\x20-\x7e]{8,128}$/.test(password))
    throw new AppError("INVALID_INPUT", {
      message: "Use 8 to 128 letters, digits and signs of a plain keyboard.",
      field: "password",
    });
  const iterations = 4_096;
  const salt = randomBytes(16);
  const salted = pbkdf2Sync(password, salt, iterations, 32, "sha256");
  const hmac = (text: string) => createHmac("sha256", salted).update(text).digest();
  const storedKey = createHash("sha256").update(hmac("Client Key")).digest("base64");
  return `SCRAM-SHA-256$${iterations}:${salt.toString("base64")}$${storedKey}:${hmac("Server Key").toString("base64")}`;
}
