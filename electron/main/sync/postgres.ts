import type { ConnectionOptions } from "node:tls";
import pg from "pg";
import { AppError } from "../../../shared/errors.ts";
import type { DatabaseTarget } from "../../../shared/model/sync.ts";
import { nudgeChannel } from "../../../shared/sync-protocol.ts";
import { certificateCodes, DatabaseError, fromDatabaseMessage, fromNetworkFailure, type Transport } from "./database.ts";
import { hasNetwork, isLoopback } from "./network.ts";

/*
INVARIANTS
- One connection for calls and for LISTEN: whoever hears nudges can also ask.
- Without TLS only this computer is spoken to; `encrypt` hides what is said, `verify` also proves to whom.
- A call's answer is waited for at most `callTimeoutMs`; the connection is given up with it, because a late answer would
  be taken for that of the next call.
*/

export type PostgresTarget = Extract<DatabaseTarget, { transport: "postgres" }>;

const connectTimeoutMs = 10_000;
const callTimeoutMs = 30_000;

/** Signs in to a Postgres. Rejects with what keeps it from working, as an AppError. */
export async function openPostgres(target: PostgresTarget, password: string): Promise<Transport> {
  const client = await connectPostgres(target, password);
  const listeners = new Set<() => void>();
  let isLost = false;
  const notify = () => {
    for (const listener of listeners) listener();
  };
  client.on("notification", notify);
  client.on("error", () => {});
  client.on("end", () => {
    isLost = true;
    // The next call finds out why.
    notify();
  });
  try {
    await client.query(`LISTEN ${nudgeChannel}`);
  } catch (error) {
    await client.end().catch(() => {});
    throw fromPostgresError(error, target);
  }

  return {
    async call(name, args) {
      if (isLost) throw fromNetworkFailure("ECONNRESET", target.host, isReachable(target), undefined);
      const names = Object.keys(args);
      const text = `select public.${name}(${names.map((key, index) => `${key} => $${index + 1}`).join(", ")}) as answer`;
      try {
        const { rows } = await client.query({ text, values: Object.values(args).map(toParameter) });
        return (rows[0] as { answer: unknown }).answer;
      } catch (error) {
        if (error instanceof Error && error.message === "Query read timeout") {
          isLost = true;
          void client.end().catch(() => {});
        }
        throw fromPostgresError(error, target);
      }
    },
    onNudge(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    hasNudges: () => !isLost,
    async close() {
      listeners.clear();
      isLost = true;
      await client.end();
    },
  };
}

/** An open connection as a login role. INVALID_INPUT names the field for what only other settings can mend. */
export async function connectPostgres(target: PostgresTarget, password: string): Promise<pg.Client> {
  if (target.tls === "off" && !isLoopback(target.host))
    throw new AppError("INVALID_INPUT", {
      message: "Without TLS, only a database on this computer is spoken to.",
      field: "target.tls",
    });
  const client = new pg.Client({
    host: target.host,
    port: target.port,
    database: target.database,
    user: target.user,
    password,
    ssl: target.tls === "off" ? false : tlsOptions(target),
    application_name: "dtma-control-centre",
    connectionTimeoutMillis: connectTimeoutMs,
    query_timeout: callTimeoutMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: 15_000,
  });
  try {
    await client.connect();
    return client;
  } catch (error) {
    await client.end().catch(() => {});
    throw fromPostgresError(error, target);
  }
}

/** The host is named for the check of the certificate, also where it is an address and no name. */
function tlsOptions({ tls, ca, host }: PostgresTarget): ConnectionOptions {
  if (tls === "encrypt") return { rejectUnauthorized: false };
  return { rejectUnauthorized: true, host, ...(ca === null ? {} : { ca }) };
}

function toParameter(value: unknown): unknown {
  return typeof value === "object" && value !== null ? JSON.stringify(value) : value;
}

const temporaryClasses = ["08", "40", "53", "55", "57", "58"];

/** Translates what pg throws, once. SQLSTATEs: PostgreSQL documentation, appendix A. */
export function fromPostgresError(error: unknown, target: Pick<PostgresTarget, "host" | "database" | "user">): AppError {
  if (error instanceof AppError) return error;
  const { code = "", message = "" } = error as { code?: string; message?: string };
  const ours = fromDatabaseMessage(message, error);
  if (ours !== undefined) return ours;
  if (certificateCodes.has(code))
    return new DatabaseError("DATABASE_NOT_TRUSTED", {
      message: `The certificate of ${target.host} is not trusted: ${message}.`,
      cause: error,
    });
  if (message.includes("does not support SSL"))
    return new DatabaseError("DATABASE_NOT_TRUSTED", { message: `${target.host} does not offer TLS.`, cause: error });
  if (/timeout/i.test(message) && !/^\d/.test(code))
    return new DatabaseError("DATABASE_UNREACHABLE", { message: `${target.host} did not answer in time.`, cause: error });
  if (/^[0-9A-Z]{5}$/.test(code)) return fromSqlState(code, message, target, error);
  return fromNetworkFailure(code === "" ? "ECONNRESET" : code, target.host, isReachable(target), error);
}

function fromSqlState(
  code: string,
  message: string,
  target: Pick<PostgresTarget, "host" | "database" | "user">,
  cause: unknown,
): DatabaseError {
  if (code.startsWith("28"))
    return new DatabaseError("SIGN_IN_REFUSED", {
      message: `${target.host} did not accept the password of ${target.user}.`,
      cause,
    });
  if (code === "3D000")
    return new DatabaseError("INVALID_INPUT", {
      message: `${target.host} has no database named ${target.database}.`,
      field: "target.database",
      cause,
    });
  if (code === "42883" || code === "3F000" || code === "42P01") return new DatabaseError("SCHEMA_MISSING", { cause });
  if (code === "42501")
    return new DatabaseError("NOT_A_MEMBER", {
      message: `The login role ${target.user} may not use this workspace: an admin adds it under People.`,
      cause,
    });
  if (temporaryClasses.includes(code.slice(0, 2)))
    return new DatabaseError("DATABASE_UNREACHABLE", {
      message: `${target.host} cannot answer at the moment: ${message}.`,
      cause,
    });
  return new DatabaseError("INTERNAL", { cause });
}

function isReachable({ host }: Pick<PostgresTarget, "host">): boolean {
  return isLoopback(host) || hasNetwork();
}
