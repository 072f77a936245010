import { randomBytes, randomUUID } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { connect as connectTcp, createServer as createTcpServer, type Server as TcpServer } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { beginBrowserSignIn } from "../../electron/main/sync/browser-sign-in.ts";
import type { SharedDatabase } from "../../electron/main/sync/database.ts";
import type { Credential } from "../../electron/main/sync/index.ts";
import { openDatabase, testConnection } from "../../electron/main/sync/open.ts";
import { parseRetryAfter } from "../../electron/main/sync/supabase.ts";
import type { DatabaseTarget } from "../../shared/model/sync.ts";
import type { Mutation, SyncChange } from "../../shared/sync-protocol.ts";
import { applyMigrations, type Postgres, type Supabase, startPostgres, startSupabase } from "../fixtures/database.ts";
import { plainWorkspace } from "../fixtures/database-people.ts";
import { parts } from "../setup/parts.ts";

const agentPut = (id: string, name: string, baseRevision: number | null = null) =>
  ({ id: randomUUID(), kind: "agent.put", entityId: id, baseRevision, payload: { name } }) as Mutation;

type Way = { target: DatabaseTarget; admin: Credential; user: Credential; stranger: Credential };

describe.skipIf(parts.postgres === undefined)("the shared database, over either transport", () => {
  let postgres: Postgres;
  let supabase: Supabase;
  const ways: Partial<Record<"postgres" | "supabase", Way>> = {};
  const closing: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    postgres = await startPostgres();
    const plain = await plainWorkspace(postgres);
    const { host, port } = postgres;
    const database = plain.admin.client.database ?? "";
    ways.postgres = {
      target: { transport: "postgres", host, port, database, user: plain.admin.login.user, tls: "off", ca: null },
      admin: { kind: "password", password: plain.admin.login.password },
      user: { kind: "password", password: plain.user.login.password },
      stranger: { kind: "password", password: plain.stranger.login.password },
    };
    logins = { user: plain.user.login.user, stranger: plain.stranger.login.user };
    await postgres.createDatabase("project");
    supabase = await startSupabase(postgres, "project");
    const owner = await postgres.connect("project");
    await applyMigrations(owner);
    const people: Record<string, { email: string; password: string }> = {};
    for (const name of ["admin", "user", "stranger"]) {
      const account = { email: `${name}@example.org`, password: randomBytes(12).toString("hex") };
      const { userId } = await supabase.signUp(account.email, account.password);
      people[name] = account;
      if (name === "admin") await owner.query("select public.make_first_admin($1)", [{ name: "Ada", userId }]);
    }
    ways.supabase = {
      target: { transport: "supabase", url: supabase.url, publishableKey: supabase.publishableKey },
      admin: { kind: "password", ...(people.admin as { email: string; password: string }) },
      user: { kind: "password", ...(people.user as { email: string; password: string }) },
      stranger: { kind: "password", ...(people.stranger as { email: string; password: string }) },
    };
    const ada = await openDatabase(ways.supabase.target, ways.supabase.admin, async () => {});
    const uma = await openDatabase(ways.supabase.target, ways.supabase.user, async () => {});
    await ada.setRole((await uma.whoAmI()).userId, "user", true);
    await Promise.all([ada.close(), uma.close(), owner.end()]);
    closing.push(() => plain.close());
  });
  let logins = { user: "", stranger: "" };
  afterAll(async () => {
    for (const close of closing.reverse()) await close();
    await supabase.stop();
    await postgres.stop();
  });

  const targetOf = (way: Way, who: "admin" | "user" | "stranger"): DatabaseTarget =>
    way.target.transport === "postgres" && who !== "admin" ? { ...way.target, user: logins[who] } : way.target;

  async function opened<T>(
    way: Way,
    who: "admin" | "user" | "stranger",
    work: (database: SharedDatabase) => Promise<T>,
  ): Promise<T> {
    const database = await openDatabase(targetOf(way, who), way[who], async () => {});
    try {
      return await work(database);
    } finally {
      await database.close();
    }
  }

  describe.each(["postgres", "supabase"] as const)("%s", (name) => {
    const way = () => ways[name] as Way;

    it("says who one is, and takes, repeats and shows changes", async () => {
      await opened(way(), "admin", async (database) => {
        expect(await database.whoAmI()).toMatchObject({ name: "Ada", roles: ["admin", "user"] });
        const id = randomUUID();
        const made = agentPut(id, "First");
        expect((await database.push([made])).results).toMatchObject([{ status: "applied", revision: 1 }]);
        expect((await database.push([made])).results).toMatchObject([{ status: "duplicate", revision: 1 }]);
        await expect
          .poll(async () => ((await database.pull(null, 500)).changes as SyncChange[]).find((change) => change.id === id)?.row)
          .toMatchObject({ name: "First" });
        expect(await database.liveness()).toMatchObject({ toolboxes: [] });
        expect(await database.tools(["none"])).toEqual({ tools: {} });
        expect((await database.audit(null, 5)).entries.length).toBeGreaterThan(0);
      });
    });

    it("refuses users what is for admins, and everybody who was not let in", async () => {
      await opened(way(), "user", async (database) => {
        await expect(database.addPerson({ name: "Eve" })).rejects.toMatchObject({ code: "FORBIDDEN" });
        await expect(database.loads(randomUUID())).rejects.toMatchObject({ code: "FORBIDDEN" });
      });
      const { steps, who } = await testConnection(openDatabase, targetOf(way(), "stranger"), way().stranger);
      expect(who).toBeNull();
      expect(steps.find(({ state }) => state === "failed")?.error?.code).toMatch(/NOT_A_MEMBER|SIGN_IN_REFUSED/);
    });

    it("says that a password is wrong", async () => {
      const wrong: Credential = { ...way().admin, kind: "password", password: "not this one" } as Credential;
      const { steps } = await testConnection(openDatabase, way().target, wrong);
      expect(steps.find(({ state }) => state === "failed")).toMatchObject({
        id: "sign-in",
        error: { code: "SIGN_IN_REFUSED" },
      });
    });

    it("says that a call as a whole is not as described, so that one bad change can be found", async () => {
      await opened(way(), "admin", async (database) => {
        await expect(database.pull(null, 100_000)).rejects.toMatchObject({ code: "INVALID_INPUT" });
      });
    });

    it("says that nothing listens there, and that a name does not exist", async () => {
      const nowhere: DatabaseTarget =
        way().target.transport === "postgres"
          ? ({ ...way().target, port: 9 } as DatabaseTarget)
          : ({ ...way().target, url: "http://127.0.0.1:9" } as DatabaseTarget);
      const refused = await testConnection(openDatabase, nowhere, way().admin);
      expect(refused.steps[0]).toMatchObject({ id: "address", state: "failed", error: { code: "DATABASE_UNREACHABLE" } });
      const nameless: DatabaseTarget =
        way().target.transport === "postgres"
          ? ({ ...way().target, host: "no-such-host.invalid", tls: "verify" } as DatabaseTarget)
          : ({ ...way().target, url: "https://no-such-host.invalid" } as DatabaseTarget);
      const unknown = await testConnection(openDatabase, nameless, way().admin);
      expect(unknown.steps[0]?.error?.code).toMatch(/DATABASE_UNREACHABLE|NETWORK_DOWN/);
    });

    it("sends nothing in the clear over a network", async () => {
      const clear: DatabaseTarget =
        way().target.transport === "postgres"
          ? ({ ...way().target, host: "192.0.2.1" } as DatabaseTarget)
          : ({ ...way().target, url: "http://192.0.2.1" } as DatabaseTarget);
      await expect(openDatabase(clear, way().admin, async () => {})).rejects.toMatchObject({ code: "INVALID_INPUT" });
    });
  });

  it("takes up a Supabase session again, and hands out what replaces it", async () => {
    const way = ways.supabase as Way;
    const kept: Credential[] = [];
    const first = await openDatabase(way.target, way.admin, async (credential) => void kept.push(credential));
    await first.close();
    const again = await openDatabase(way.target, kept[0] as Credential, async (credential) => void kept.push(credential));
    expect(await again.whoAmI()).toMatchObject({ name: "Ada" });
    await again.close();
    expect(kept).toHaveLength(2);
    expect(kept.every(({ kind }) => kind === "session")).toBe(true);
    await expect(openDatabase(way.target, { kind: "session", refreshToken: "made-up" }, async () => {})).rejects.toMatchObject({
      code: "SIGN_IN_REFUSED",
    });
  });

  it("hears nudges over LISTEN, and notices when the connection is cut", async () => {
    const way = ways.postgres as Way;
    const cable = await openCable(postgres.port);
    const cut = { ...way.target, port: cable.port } as DatabaseTarget;
    const listening = await openDatabase(cut, way.admin, async () => {});
    expect(listening.hasNudges()).toBe(true);
    const nudged = new Promise<void>((resolve) => listening.onNudge(resolve));
    await opened(way, "admin", (database) => database.push([agentPut(randomUUID(), "Heard")]));
    await nudged;
    const lost = new Promise<void>((resolve) => listening.onNudge(resolve));
    cable.cut();
    await lost;
    expect(listening.hasNudges()).toBe(false);
    await expect(listening.whoAmI()).rejects.toMatchObject({ code: "DATABASE_UNREACHABLE" });
    await listening.close();
    await cable.close();
  });

  it("says that a Postgres without TLS does not offer it", async () => {
    const way = ways.postgres as Way;
    const { steps } = await testConnection(openDatabase, { ...way.target, tls: "verify" } as DatabaseTarget, way.admin);
    expect(steps.find(({ state }) => state === "failed")).toMatchObject({
      id: "encryption",
      error: { code: "DATABASE_NOT_TRUSTED" },
    });
  });
});

describe("a Supabase project that is not well", () => {
  let server: Server;
  let answer: { status: number; headers?: Record<string, string>; body?: string };
  let url: string;

  beforeAll(async () => {
    server = createServer((request, response) => {
      request.resume();
      if (request.url?.startsWith("/auth/v1/token") === true) {
        response.writeHead(200, { "content-type": "application/json" });
        const payload = Buffer.from(JSON.stringify({ sub: randomUUID(), exp: 9_999_999_999 })).toString("base64url");
        const access = `${Buffer.from('{"alg":"none"}').toString("base64url")}.${payload}.x`;
        const user = {
          id: randomUUID(),
          aud: "authenticated",
          app_metadata: {},
          user_metadata: {},
          created_at: "2026-01-01T00:00:00Z",
        };
        response.end(
          JSON.stringify({ access_token: access, refresh_token: "next", expires_in: 3_600, token_type: "bearer", user }),
        );
        return;
      }
      response.writeHead(answer.status, { "content-type": "application/json", ...answer.headers });
      response.end(answer.body ?? "{}");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => new Promise<void>((resolve) => void server.close(() => resolve())));

  const open = () =>
    openDatabase(
      { transport: "supabase", url, publishableKey: "key" },
      { kind: "password", email: "a@example.org", password: "p" },
      async () => {},
    );

  it.each([
    [
      { status: 429, headers: { "retry-after": "7" } },
      { code: "DATABASE_UNREACHABLE", retryAfterMs: 7_000 },
    ],
    [{ status: 503 }, { code: "DATABASE_UNREACHABLE", retryAfterMs: undefined }],
    [{ status: 404, body: '{"code":"PGRST202","message":"Could not find the function"}' }, { code: "SCHEMA_MISSING" }],
    [
      { status: 400, body: '{"code":"P0001","message":"NOT_A_MEMBER: Nobody has let this person in."}' },
      { code: "NOT_A_MEMBER", message: "Nobody has let this person in." },
    ],
    [{ status: 401, body: '{"code":"PGRST301","message":"JWT expired"}' }, { code: "SIGN_IN_REFUSED" }],
    [{ status: 200, body: '{"protocol":"one"}' }, { code: "SCHEMA_TOO_NEW" }],
  ])("is understood: %j", async (given, expected) => {
    answer = given;
    const database = await open();
    await expect(database.whoAmI()).rejects.toMatchObject(expected);
    await database.close();
  });

  it("says when to come back, in seconds or as a date", () => {
    expect(parseRetryAfter("12", 0)).toBe(12_000);
    expect(parseRetryAfter("Thu, 01 Jan 1970 00:01:00 GMT", 20_000)).toBe(40_000);
    expect(parseRetryAfter("Thu, 01 Jan 1970 00:00:00 GMT", 20_000)).toBe(0);
    expect(parseRetryAfter("soon", 0)).toBeUndefined();
    expect(parseRetryAfter(null, 0)).toBeUndefined();
  });

  it("signs in by way of the browser: PKCE, and only the answer with our own state counts", async () => {
    answer = { status: 200, body: "{}" };
    const begun = await beginBrowserSignIn({ transport: "supabase", url, publishableKey: "key" }, "github");
    const asked = new URL(begun.url);
    expect(asked.searchParams.get("code_challenge_method")?.toLowerCase()).toBe("s256");
    const back = new URL(asked.searchParams.get("redirect_to") ?? "");
    expect(back.hostname).toBe("127.0.0.1");
    const forged = new URL(back);
    forged.searchParams.set("state", "guessed");
    forged.searchParams.set("code", "stolen");
    expect((await fetch(forged)).status).toBe(404);
    back.searchParams.set("code", "given");
    expect((await fetch(back)).status).toBe(200);
    const made = await begun.done;
    expect(made).toMatchObject({ kind: "made", session: { refresh_token: "next" } });
    await expect(fetch(back)).rejects.toThrow();
  });

  it("ends a sign-in that the provider refused or that was cancelled", async () => {
    const refused = await beginBrowserSignIn({ transport: "supabase", url, publishableKey: "key" }, "github");
    const back = new URL(new URL(refused.url).searchParams.get("redirect_to") ?? "");
    back.searchParams.set("error_description", "The person said no.");
    await fetch(back);
    await expect(refused.done).rejects.toMatchObject({ code: "SIGN_IN_REFUSED", message: "The person said no." });
    const cancelled = await beginBrowserSignIn({ transport: "supabase", url, publishableKey: "key" }, "github");
    cancelled.cancel();
    await expect(cancelled.done).rejects.toMatchObject({ code: "CANCELLED" });
  });
});

/** A way to a port that can be cut in the middle. */
async function openCable(port: number) {
  const sockets = new Set<{ destroy(): void }>();
  const server: TcpServer = createTcpServer((near) => {
    const far = connectTcp(port, "127.0.0.1");
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", () => {});
    }
    near.pipe(far).pipe(near);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    cut() {
      for (const socket of sockets) socket.destroy();
    },
    close: () => new Promise<void>((resolve) => void server.close(() => resolve())),
  };
}
