import type { ConnectionOptions } from "node:tls";
import type pg from "pg";
import type { ReportingTarget } from "../../../shared/dtma-protocol.ts";
import { fromConnection, fromDatabaseMessage, ReportFailure } from "./failure.ts";
import type { ReportLink } from "./link.ts";

/*
INVARIANTS
- One connection, kept between reports and given up with the first failure: a late answer is never taken for another's.
- Nothing of the session is relied on, so a pooler may stand in between.
*/

type PostgresTarget = Extract<ReportingTarget, { kind: "postgres" }>;

export const reportDeadlineMs = 20_000;
const statement = "select public.report_toolbox($1, $2, $3) as answer";

export function createPostgresLink(target: PostgresTarget): ReportLink {
  let current: Promise<pg.Client> | undefined;

  function open(): Promise<pg.Client> {
    const made: Promise<pg.Client> = connect(() => {
      if (current === made) current = undefined;
    });
    current = made;
    return made;
  }

  async function connect(onLost: () => void): Promise<pg.Client> {
    // Loaded late: without reports it would take memory for nothing.
    const { default: pg } = await import("pg");
    const client = new pg.Client({
      host: target.host,
      port: target.port,
      database: target.database,
      user: target.user,
      password: target.password,
      ssl: target.tls === "off" ? false : tlsOptions(target),
      application_name: "dtma",
      connectionTimeoutMillis: reportDeadlineMs,
      query_timeout: reportDeadlineMs,
      keepAlive: true,
      keepAliveInitialDelayMillis: 15_000,
    });
    client.on("error", onLost);
    client.on("end", onLost);
    try {
      await client.connect();
    } catch (error) {
      await end(client);
      throw error;
    }
    return client;
  }

  async function giveUp(): Promise<void> {
    const given = current;
    current = undefined;
    const client = await given?.catch(() => undefined);
    if (client !== undefined) await end(client);
  }

  return {
    async report(report, signal) {
      const stop = Promise.withResolvers<never>();
      const onAbort = () => stop.reject(signal.reason);
      signal.addEventListener("abort", onAbort, { once: true });
      try {
        signal.throwIfAborted();
        const client = await Promise.race([current ?? open(), stop.promise]);
        const values = [target.toolboxId, target.token, JSON.stringify(report)];
        const { rows } = await Promise.race([client.query({ text: statement, values }), stop.promise]);
        return (rows[0] as { answer: unknown } | undefined)?.answer;
      } catch (error) {
        void giveUp();
        throw fromPostgres(error, target);
      } finally {
        signal.removeEventListener("abort", onAbort);
      }
    },
    close: giveUp,
  };
}

/** The host is named for the check of the certificate, also where it is an address and no name. */
function tlsOptions({ tls, ca, host }: PostgresTarget): ConnectionOptions {
  if (tls === "encrypt") return { rejectUnauthorized: false };
  return { rejectUnauthorized: true, host, ...(ca === null ? {} : { ca }) };
}

/** Says goodbye, and hangs up on a server that does not answer that. */
async function end(client: pg.Client): Promise<void> {
  const timer = setTimeout(
    () => (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy(),
    1_000,
  );
  await client.end().catch(() => {});
  clearTimeout(timer);
}

/** SQLSTATEs: PostgreSQL documentation, appendix A. */
function fromPostgres(error: unknown, { host, user, database }: PostgresTarget): ReportFailure {
  const { code = "", message = "" } = error as { code?: string; message?: string };
  const ours = fromDatabaseMessage(message);
  if (ours !== undefined) return ours;
  if (message.includes("does not support SSL")) return new ReportFailure("DATABASE_NOT_TRUSTED", `${host} does not offer TLS.`);
  if (!/^[0-9A-Z]{5}$/.test(code)) {
    if (/timeout/i.test(message)) return new ReportFailure("DATABASE_UNREACHABLE", `${host} did not answer in time.`);
    return fromConnection(error, host);
  }
  if (code.startsWith("28")) return new ReportFailure("SIGN_IN_REFUSED", `${host} did not accept the password of ${user}.`);
  if (code === "3D000") return new ReportFailure("SCHEMA_MISSING", `${host} has no database named ${database}.`);
  if (code === "42883" || code === "3F000") return new ReportFailure("SCHEMA_MISSING", `${host} has no function to report to.`);
  if (code === "42501") return new ReportFailure("SIGN_IN_REFUSED", `The login role ${user} may not report to ${host}.`);
  return new ReportFailure("DATABASE_UNREACHABLE", `${host} cannot answer at the moment (${code}).`);
}
