import { randomUUID } from "node:crypto";
import { chown, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer as createHttpServer, type IncomingMessage, type Server } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ReportFailure } from "../../dtma/src/report/failure.ts";
import { createReportLink } from "../../dtma/src/report/link.ts";
import { type ReportingTarget, type ReportingTargetInput, reportingTarget } from "../../shared/dtma-protocol.ts";
import { reportAnswer, toolboxReport } from "../../shared/sync-protocol.ts";
import { type Postgres, startPostgres } from "../fixtures/database.ts";
import {
  furnish,
  type PlainCaller,
  plainWorkspace,
  reportOf,
  toolboxToken,
  type Workspace,
} from "../fixtures/database-people.ts";
import { startDtma } from "../fixtures/dtma.ts";
import { startTcpProxy } from "../fixtures/tcp-proxy.ts";
import { parts } from "../setup/parts.ts";

const report = toolboxReport.parse(reportOf([]));
const canary = `canary-token-${randomUUID()}`;
const never = new AbortController().signal;

let folder: string;
let certificate: { key: string; cert: string };
let otherAuthority: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "dtma-links-"));
  // A DTMA makes itself a certificate for this address.
  const make = async (name: string) => {
    const data = join(folder, name);
    const flags = [
      "--host=127.0.0.1",
      "--port=0",
      "--config=none",
      `--data=${data}`,
      `--scope=links-${randomUUID().slice(0, 8)}`,
    ];
    const dtma = await startDtma(flags, { DTMA_AUTH_TOKEN: randomUUID() }, "");
    await dtma.kill("SIGTERM");
    const text = await readFile(join(data, "certificate.pem"), "utf8");
    const start = text.indexOf("-----BEGIN CERTIFICATE-----");
    return { key: text.slice(0, start), cert: text.slice(start) };
  };
  certificate = await make("own");
  otherAuthority = (await make("other")).cert;
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function send(input: ReportingTargetInput, signal = never): Promise<unknown> {
  const link = createReportLink(reportingTarget.parse(input) as ReportingTarget);
  try {
    return await link.report(report, signal);
  } finally {
    await link.close();
  }
}

/** The failure of a report; its words and those of its causes hold nothing secret. */
async function failureOf(input: ReportingTargetInput): Promise<ReportFailure> {
  const failure = await send(input).then(
    () => expect.fail("The report was accepted."),
    (error: ReportFailure) => error,
  );
  expect(`${failure.message} ${String((failure.cause as Error | undefined)?.message)}`).not.toContain("canary");
  return failure;
}

describe.skipIf(!parts.postgres)("a report over Postgres", () => {
  let postgres: Postgres;
  let space: Workspace<PlainCaller>;
  let target: Extract<ReportingTargetInput, { kind: "postgres" }>;

  beforeAll(async () => {
    postgres = await startPostgres();
    space = await plainWorkspace(postgres);
    const { toolbox } = await furnish(space);
    target = {
      kind: "postgres",
      host: "127.0.0.1",
      port: postgres.port,
      database: space.owner.database ?? "",
      ...space.dtma.login,
      tls: "off",
      toolboxId: toolbox,
      token: toolboxToken,
    };
  });
  afterAll(async () => {
    await space?.close();
    await postgres?.stop();
  });

  it("is answered", async () => {
    expect(reportAnswer.parse(await send(target))).toMatchObject({ wantTools: [], access: expect.any(Array) });
  });

  it("goes on over the same connection, and over another when that was lost", async () => {
    const link = createReportLink(reportingTarget.parse(target));
    const sessions = async () => {
      const text = "select pid from pg_stat_activity where application_name = 'dtma'";
      return (await space.owner.query(text)).rows.map(({ pid }) => pid as number);
    };
    await link.report(report, never);
    const first = await sessions();
    await link.report(report, never);
    expect(await sessions()).toEqual(first);
    await space.owner.query("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'dtma'");
    await expect.poll(sessions).toEqual([]);
    await expect
      .poll(() =>
        link.report(report, never).then(
          () => true,
          () => false,
        ),
      )
      .toBe(true);
    expect(await sessions()).toHaveLength(1);
    await link.close();
    await expect.poll(sessions).toEqual([]);
  });

  it("ends when it is told to, also while the server says nothing", async () => {
    const holder = await postgres.connect(target.database);
    await holder.query("begin");
    await holder.query("lock table account_tool_environments in access exclusive mode");
    const stop = new AbortController();
    const sent = send(target, stop.signal);
    const waiting = "select 1 from pg_stat_activity where application_name = 'dtma' and wait_event_type = 'Lock'";
    await expect.poll(async () => (await space.owner.query(waiting)).rowCount).toBe(1);
    stop.abort();
    await expect(sent).rejects.toMatchObject({ code: "DATABASE_UNREACHABLE" });
    await holder.end();
  });

  it("says what is wrong with the way, and never what was sent", async () => {
    expect((await failureOf({ ...target, token: canary })).code).toBe("FORBIDDEN");
    expect((await failureOf({ ...target, toolboxId: randomUUID(), token: canary })).code).toBe("FORBIDDEN");
    expect((await failureOf({ ...target, password: canary, token: canary })).code).toBe("SIGN_IN_REFUSED");
    expect((await failureOf({ ...target, database: "none", token: canary })).code).toBe("SCHEMA_MISSING");
    expect((await failureOf({ ...target, database: "postgres", token: canary })).code).toBe("SCHEMA_MISSING");
    expect((await failureOf({ ...target, ...space.stranger.login, tls: "encrypt", token: canary })).code).toBe(
      "DATABASE_NOT_TRUSTED",
    );
    expect((await failureOf({ ...target, port: 1, token: canary })).code).toBe("DATABASE_UNREACHABLE");
  });

  it("trusts the authority it was given and no other, and hides what is said without one", async () => {
    const { rows } = await space.owner.query("show data_directory");
    const data = rows[0].data_directory as string;
    const { uid, gid } = await stat(data);
    for (const [name, text] of [
      ["server.key", certificate.key],
      ["server.crt", certificate.cert],
    ] as const) {
      await writeFile(join(data, name), text, { mode: 0o600 });
      await chown(join(data, name), uid, gid);
    }
    await space.owner.query("alter system set ssl = on");
    await space.owner.query("select pg_reload_conf()");
    await expect
      .poll(() =>
        send({ ...target, tls: "verify", ca: certificate.cert }).then(
          () => true,
          () => false,
        ),
      )
      .toBe(true);
    expect(await send({ ...target, tls: "encrypt" })).toBeDefined();
    expect((await failureOf({ ...target, tls: "verify" })).code).toBe("DATABASE_NOT_TRUSTED");
    expect((await failureOf({ ...target, tls: "verify", ca: otherAuthority })).code).toBe("DATABASE_NOT_TRUSTED");

    const host = "127.0.0.2";
    const alias = await startTcpProxy(postgres.port, host);
    const elsewhere = { ...target, host, port: alias.port, ca: certificate.cert };
    expect((await failureOf({ ...elsewhere, tls: "verify" })).code).toBe("DATABASE_NOT_TRUSTED");
    expect(await send({ ...elsewhere, tls: "encrypt" })).toBeDefined();
    await alias.down();
  });
});

describe("a report over REST", () => {
  type Answer = { status: number; headers?: Record<string, string>; body: unknown };
  let answer: Answer;
  let seen: { request: IncomingMessage; body: string } | undefined;
  let http: Server;
  let https: Server;

  beforeAll(async () => {
    const answering = (request: IncomingMessage, response: import("node:http").ServerResponse) => {
      let body = "";
      request.setEncoding("utf8").on("data", (text: string) => {
        body += text;
      });
      request.on("end", () => {
        seen = { request, body };
        response.writeHead(answer.status, { "content-type": "application/json", ...answer.headers });
        response.end(typeof answer.body === "string" ? answer.body : JSON.stringify(answer.body));
      });
    };
    http = createHttpServer(answering);
    https = createHttpsServer({ key: certificate.key, cert: certificate.cert }, answering);
    for (const server of [http, https]) await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  });
  afterAll(() => {
    http.close();
    https.close();
  });

  const target = (server: Server, scheme: string): Extract<ReportingTargetInput, { kind: "supabase" }> => ({
    kind: "supabase",
    url: `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}/base/`,
    publishableKey: "key",
    toolboxId: randomUUID(),
    token: canary,
  });

  it("carries key, toolbox, token and report, to the function and nowhere else", async () => {
    answer = { status: 200, body: { any: "thing" } };
    const to = target(http, "http");
    expect(await send(to)).toEqual({ any: "thing" });
    expect(seen?.request).toMatchObject({
      method: "POST",
      url: "/base/rest/v1/rpc/report_toolbox",
      headers: { apikey: "key" },
    });
    expect(seen?.request.headers.authorization).toBeUndefined();
    expect(JSON.parse(seen?.body ?? "")).toEqual({ p_toolbox: to.toolboxId, p_token: canary, p_report: report });
    seen = undefined;
    answer = { status: 307, headers: { location: "/elsewhere" }, body: "" };
    expect((await failureOf(to)).code).toBe("DATABASE_UNREACHABLE");
    expect(seen).toMatchObject({ request: { url: "/base/rest/v1/rpc/report_toolbox" } });
  });

  it("says what the answer means, and when to come back", async () => {
    const codeFor = async (next: Answer) => {
      answer = next;
      return (await failureOf(target(http, "http"))).code;
    };
    expect(await codeFor({ status: 400, body: { message: `REPORT_REFUSED: ${canary}` } })).toBe("FORBIDDEN");
    expect(await codeFor({ status: 400, body: { message: "INVALID_INPUT: This is no report." } })).toBe("SCHEMA_TOO_OLD");
    expect(await codeFor({ status: 401, body: { message: canary } })).toBe("SIGN_IN_REFUSED");
    expect(await codeFor({ status: 404, body: {} })).toBe("SCHEMA_MISSING");
    expect(await codeFor({ status: 500, body: canary })).toBe("DATABASE_UNREACHABLE");
    expect(await codeFor({ status: 200, body: `<html>${canary}` })).toBe("DATABASE_UNREACHABLE");
    answer = { status: 429, headers: { "retry-after": "7" }, body: {} };
    expect(await failureOf(target(http, "http"))).toMatchObject({ code: "DATABASE_UNREACHABLE", retryAfterMs: 7_000 });
  });

  it("trusts the authority it was given and no other", async () => {
    answer = { status: 200, body: {} };
    seen = undefined;
    expect((await failureOf(target(https, "https"))).code).toBe("DATABASE_NOT_TRUSTED");
    expect((await failureOf({ ...target(https, "https"), ca: otherAuthority })).code).toBe("DATABASE_NOT_TRUSTED");
    expect(seen).toBeUndefined();
    expect(await send({ ...target(https, "https"), ca: certificate.cert })).toEqual({});
  });
});
