import type { Agent } from "undici";
import type { ReportingTarget } from "../../../shared/dtma-protocol.ts";
import type { ToolboxReport } from "../../../shared/sync-protocol.ts";
import { fromConnection, fromDatabaseMessage, ReportFailure } from "./failure.ts";
import { createPostgresLink, reportDeadlineMs } from "./postgres-link.ts";

/*
INVARIANTS
- The token goes to the database of the target and nowhere else, also not after a redirect.
- Every report has a deadline.
*/

const answerBytes = 64 * 2 ** 20;
const longestRetryAfterMs = 3_600_000;

/** The way to one database. */
export interface ReportLink {
  /** Calls `report_toolbox`; the answer as it came. Throws a ReportFailure. */
  report(report: ToolboxReport, signal: AbortSignal): Promise<unknown>;
  close(): Promise<void>;
}

export function createReportLink(target: ReportingTarget): ReportLink {
  return target.kind === "postgres" ? createPostgresLink(target) : createSupabaseLink(target);
}

function createSupabaseLink(target: Extract<ReportingTarget, { kind: "supabase" }>): ReportLink {
  const base = new URL(target.url);
  const url = new URL(`${base.pathname.replace(/\/$/, "")}/rest/v1/rpc/report_toolbox`, base);
  let agent: Agent | undefined;
  return {
    async report(report, signal) {
      try {
        // Loaded late: without reports it would take memory for nothing.
        const undici = await import("undici");
        agent ??= new undici.Agent({
          connect: { timeout: reportDeadlineMs, ...(target.ca === null ? {} : { ca: target.ca }) },
          headersTimeout: reportDeadlineMs,
          bodyTimeout: reportDeadlineMs,
          maxResponseSize: answerBytes,
        });
        const { statusCode, headers, body } = await undici.request(url, {
          method: "POST",
          headers: { apikey: target.publishableKey, "content-type": "application/json", accept: "application/json" },
          body: JSON.stringify({ p_toolbox: target.toolboxId, p_token: target.token, p_report: report }),
          dispatcher: agent,
          signal: AbortSignal.any([signal, AbortSignal.timeout(reportDeadlineMs)]),
        });
        const text = await body.text();
        if (statusCode === 200) return JSON.parse(text) as unknown;
        throw fromAnswer(statusCode, text, url.host, retryAfterMs(headers["retry-after"]));
      } catch (error) {
        throw fromConnection(error, url.host);
      }
    },
    close: async () => agent?.destroy(),
  };
}

/** Milliseconds from a Retry-After header: seconds or a date (RFC 9110, 10.2.3), an hour at most. */
export function retryAfterMs(header: string | string[] | undefined, nowMs: number = Date.now()): number | undefined {
  const text = Array.isArray(header) ? header[0] : header;
  if (text === undefined) return undefined;
  const ms = /^\d+$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - nowMs;
  return Number.isFinite(ms) ? Math.min(longestRetryAfterMs, Math.max(0, ms)) : undefined;
}

function fromAnswer(status: number, text: string, host: string, waitMs: number | undefined): ReportFailure {
  const ours = fromDatabaseMessage(messageOf(text));
  if (ours !== undefined) return ours;
  if (status === 404) return new ReportFailure("SCHEMA_MISSING", `${host} has no function to report to.`);
  if (status === 401 || status === 403)
    return new ReportFailure("SIGN_IN_REFUSED", `${host} does not accept the publishable key.`);
  const options = { retryAfterMs: waitMs };
  return new ReportFailure("DATABASE_UNREACHABLE", `${host} answered with status ${status}.`, options);
}

function messageOf(text: string): string {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    return typeof message === "string" ? message : "";
  } catch {
    return "";
  }
}
