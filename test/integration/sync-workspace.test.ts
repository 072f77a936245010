import { randomBytes, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { TemplateInput } from "../../shared/contract/catalogue.ts";
import type { AgentId, ConnectionId, ServerId, ToolboxId } from "../../shared/model/ids.ts";
import type { DatabaseTarget } from "../../shared/model/sync.ts";
import { startControlCentre } from "../fixtures/control-centre.ts";
import { type Postgres, startPostgres } from "../fixtures/database.ts";
import { rows } from "../fixtures/rows.ts";
import { parts } from "../setup/parts.ts";

type ControlCentre = Awaited<ReturnType<typeof startControlCentre>>;
type PostgresTarget = Extract<DatabaseTarget, { transport: "postgres" }>;

const passwords = { ada: `ada-${randomBytes(9).toString("base64url")}`, uma: `uma-${randomBytes(9).toString("base64url")}` };
const code = (wanted: string) => (error: unknown) => (error as { data?: { code?: string } }).data?.code === wanted;

/** Two people, two control centres, one Postgres; every deed goes through the routes a window would call. */
describe.skipIf(parts.postgres === undefined)("a shared workspace", () => {
  let postgres: Postgres;
  let owner: pg.Client;
  let ada: ControlCentre;
  let uma: ControlCentre;
  const toolboxId = randomUUID() as ToolboxId;
  const serverId = randomUUID() as ServerId;
  const reported = "token-of-the-box";
  let agentId: AgentId;
  let connectionId: ConnectionId;

  const target = (user: string): PostgresTarget => ({
    transport: "postgres",
    host: postgres.host,
    port: postgres.port,
    database: "team",
    user,
    tls: "off",
    ca: null,
  });
  const online = (centre: ControlCentre) =>
    centre.window.until(
      "the database",
      ({ facts }) => facts.sync.link.state === "online" && !facts.sync.isFirstPull && facts.sync.queued === 0,
    );

  beforeAll(async () => {
    postgres = await startPostgres();
    await postgres.createDatabase("team");
    owner = await postgres.connect("team");
    [ada, uma] = await Promise.all([startControlCentre(), startControlCentre()]);
  });
  afterAll(async () => {
    for (const centre of [ada, uma]) {
      await centre.stop();
      centre.discard();
    }
    await owner.end();
    await postgres.stop();
  });

  it("explains what a database without a schema lacks, and changes nothing by trying", async () => {
    const report = await ada.client.workspace.test({
      target: target(postgres.owner.user),
      credential: { password: postgres.owner.password },
    });
    expect(report.steps.map(({ id, state }) => [id, state])).toEqual([
      ["address", "ok"],
      ["encryption", "ok"],
      ["sign-in", "ok"],
      ["schema", "failed"],
      ["membership", "skipped"],
    ]);
    expect(report.steps[3]?.error).toMatchObject({ code: "SCHEMA_MISSING" });
    const wrong = await ada.client.workspace.test({ target: target(postgres.owner.user), credential: { password: "wrong" } });
    expect(wrong.steps.find(({ state }) => state === "failed")).toMatchObject({
      id: "sign-in",
      error: { code: "SIGN_IN_REFUSED" },
    });
    const nowhere = { ...target("ada"), port: 9 };
    const refused = await ada.client.workspace.test({ target: nowhere, credential: { password: "x" } });
    expect(refused.steps[0]).toMatchObject({
      state: "failed",
      error: { code: "DATABASE_UNREACHABLE", message: expect.stringContaining("refuses") },
    });
  });

  it("gets its schema from the app, which says what it will do and does exactly that", async () => {
    const as = { target: target(postgres.owner.user), password: postgres.owner.password };
    const plan = await ada.client.workspace.planSchema(as);
    expect(plan).toMatchObject({ installed: null, isSupabase: false, needsFirstAdmin: true });
    expect(plan.migrations.length).toBeGreaterThan(3);
    for (const { state, summary } of plan.migrations) {
      expect(state).toBe("pending");
      expect(summary).toMatch(/\w+ \w+/);
    }
    const versions = plan.migrations.map(({ version }) => version);
    await expect(ada.client.workspace.applySchema({ ...as, versions: versions.slice(1) })).rejects.toSatisfy(code("CONFLICT"));
    expect(await ada.client.workspace.applySchema({ ...as, versions })).toEqual({ applied: versions });
    const again = await ada.client.workspace.planSchema(as);
    expect(again.migrations.every(({ state }) => state === "applied")).toBe(true);
    expect(again).toMatchObject({ installed: plan.known, needsFirstAdmin: true });
    await expect(ada.client.workspace.planSchema({ target: target("nobody"), password: "x" })).rejects.toSatisfy(
      code("SIGN_IN_REFUSED"),
    );
  });

  it("gets its first admin once, by an explicit step, with a login role whose password never crosses", async () => {
    const as = { target: target(postgres.owner.user), password: postgres.owner.password };
    const person = { name: "Ada", loginRole: "ada", newPassword: passwords.ada };
    expect(await ada.client.workspace.makeFirstAdmin({ ...as, person })).toMatchObject({
      name: "Ada",
      roles: ["admin", "user"],
    });
    await expect(
      ada.client.workspace.makeFirstAdmin({ ...as, person: { ...person, name: "Eve", loginRole: "eve" } }),
    ).rejects.toSatisfy(code("ALREADY_EXISTS"));
  });

  it("publishes what is here, once", async () => {
    ({ id: agentId } = await ada.client.agents.create({ name: "Made before" }));
    const report = await ada.client.workspace.test({ target: target("ada"), credential: { password: passwords.ada } });
    expect(report.who).toMatchObject({ name: "Ada", isEmpty: true });
    await ada.client.workspace.connect({
      target: target("ada"),
      credential: { password: passwords.ada },
      bringsLocalRows: true,
    });
    await online(ada);
    const { rows: found } = await owner.query("select id, name from public.agents");
    expect(found).toEqual([{ id: agentId, name: "Made before" }]);
    await ada.window.until("the owner", ({ rows: seen }) => seen.agents.get(agentId)?.ownerId !== undefined);
    await expect(
      ada.client.workspace.connect({ target: target("ada"), credential: { password: passwords.ada }, bringsLocalRows: true }),
    ).rejects.toSatisfy(code("ALREADY_EXISTS"));
  });

  it("lets people in, names itself, and does not lose its last admin", async () => {
    await ada.client.workspace.update({ name: "The team" });
    await ada.window.until("the name", ({ facts }) => facts.sync.account?.who?.workspaceName === "The team");
    const person = await ada.client.workspace.addPerson({ name: "Uma", loginRole: "uma", newPassword: passwords.uma });
    await ada.window.until("the person", ({ rows: seen }) => seen.people.has(person.id));
    expect(await ada.client.workspace.setRole({ personId: person.id, role: "user", isGranted: true })).toMatchObject({
      roles: ["user"],
    });
    const self = ada.window.copy.facts.sync.account?.who?.userId ?? "";
    await expect(ada.client.workspace.setRole({ personId: self, role: "admin", isGranted: false })).rejects.toSatisfy(
      code("CONFLICT"),
    );
  });

  it("shows a user the running servers and no more, and refuses what is for admins", async () => {
    const spec = rows.spec({ name: "echo" });
    const put = async (kind: string, entityId: string, payload: object) => {
      const client = await postgres.connect("team", { user: "ada", password: passwords.ada });
      const mutation = { id: randomUUID(), kind, entityId, baseRevision: null, payload };
      await client.query("select public.sync_push($1)", [JSON.stringify([mutation])]);
      await client.end();
    };
    const { createHash } = await import("node:crypto");
    const tokenHash = createHash("sha256").update(reported).digest("hex");
    await put("toolbox.put", toolboxId, {
      name: "box",
      url: "https://192.0.2.1:30000",
      fingerprint: Array(32).fill("AB").join(":"),
      tokenHash,
    });
    await put("server.put", serverId, { toolboxId, spec, desired: "running" });
    await report();
    await uma.client.workspace.connect({
      target: target("uma"),
      credential: { password: passwords.uma },
      bringsLocalRows: true,
    });
    await online(uma);
    const seen = await uma.window.until("the server", ({ rows: copy }) => copy.servers.get(serverId));
    expect(seen).toMatchObject({
      spec: { name: "echo" },
      shared: { status: "running", isSpecKnown: false, toolboxName: "box" },
    });
    expect(uma.window.get("toolboxes", toolboxId)).toMatchObject({ name: "box", url: null });
    expect(JSON.stringify(uma.window.list("toolboxes"))).not.toContain("192.0.2.1");
    expect(await uma.client.session.get()).toMatchObject({ roles: ["user"] });
    await expect(uma.client.servers.stop({ id: serverId })).rejects.toSatisfy(code("FORBIDDEN"));
    await expect(uma.client.workspace.addPerson({ name: "Eve" })).rejects.toSatisfy(code("FORBIDDEN"));
    expect(uma.window.list("agents")).toEqual([]);
    await uma.window.until(
      "the list of tools",
      ({ rows: copy }) => copy.toolLists.get(seen.shared?.tools?.hash ?? "")?.items.length === 1,
    );
  });

  async function report(): Promise<void> {
    const server = {
      serverId,
      desired: "running",
      container: { id: "c", state: "running", restartCount: 0 },
      image: { reference: "r", digest: "d" },
      health: { state: "ready", protocolVersion: "2025-11-25" },
      sessions: 0,
      load: null,
      toolsTag: "one",
      tools: [{ name: "echo", inputSchema: { type: "object" } }],
    };
    const content = {
      protocol: 1,
      dtmaVersion: "0.1.0",
      bootId: "boot",
      docker: { state: "up", engineVersion: "28" },
      hostname: "box",
      platform: "linux",
      hardeningGaps: [],
      host: null,
      servers: [server],
      usage: [],
      have: { accessHash: null, desiredHash: null },
    };
    await owner.query("select public.report_toolbox($1, $2, $3)", [toolboxId, reported, JSON.stringify(content)]);
  }

  it("shows an admin at once what a user links, without the token", async () => {
    ({ id: agentId } = await uma.client.agents.create({ name: "Researcher" }));
    ({ id: connectionId } = await uma.client.connections.connect({ agentId, serverId, allowedTools: ["echo"] }));
    await ada.window.until("the link", ({ rows: seen }) => seen.connections.get(connectionId)?.shared !== undefined);
    expect(ada.window.get("connections", connectionId)).toMatchObject({
      allowedTools: ["echo"],
      shared: { serverName: "echo", endpoint: null },
    });
    await uma.window.until("the way", ({ rows: seen }) =>
      seen.connections.get(connectionId)?.shared?.endpoint?.url.includes("192.0.2.1"),
    );
    await expect(ada.client.workspace.renewConnection({ id: connectionId })).rejects.toSatisfy(code("FORBIDDEN"));
    const hashes = () => owner.query("select token_hash from public.agent_mcp_connections where id = $1", [connectionId]);
    const before = (await hashes()).rows[0];
    await uma.client.workspace.renewConnection({ id: connectionId });
    await expect.poll(async () => (await hashes()).rows[0]).not.toEqual(before);
    await expect(ada.client.workspace.authorizeToolbox({ id: toolboxId, token: "x" })).rejects.toSatisfy(
      (error) => code("TOOLBOX_UNREACHABLE")(error) || code("DEADLINE_EXCEEDED")(error),
    );
    expect(await ada.client.workspace.loads({ toolboxId })).toMatchObject({ host: null });
  });

  it("lets an admin want a server stopped while the toolbox can only be reached through the database", async () => {
    await ada.window.until("that it reports", ({ rows: seen }) => seen.toolboxes.get(toolboxId)?.shared?.reportedAt != null);
    expect(await ada.client.servers.stop({ id: serverId })).toEqual({ operationId: null });
    const wanted = () => owner.query("select desired_state from public.account_tool_instances where id = $1", [serverId]);
    await expect.poll(async () => (await wanted()).rows).toEqual([{ desired_state: "stopped" }]);
    await ada.client.servers.start({ id: serverId });
    await expect.poll(async () => (await wanted()).rows).toEqual([{ desired_state: "running" }]);
  });

  it("carries a template that an admin made to the other computers, as it is changed and deleted", async () => {
    const template: TemplateInput = {
      title: "Team search",
      description: "Ours.",
      categories: ["search"],
      source: { type: "npm", package: "team-search", version: "1.0.0" },
      transport: { type: "stdio" },
      documentationUrl: "https://example.invalid/search",
    };
    const { id } = await ada.client.catalogue.save({ id: null, template });
    const seen = await uma.window.until("the template", ({ rows: there }) => there.templates.get(id));
    expect(seen).toMatchObject({ ...template, id, origin: "team" });
    const { documentationUrl: _, ...shorter } = template;
    await ada.client.catalogue.save({ id, template: { ...shorter, title: "Search of the team" } });
    const changed = await uma.window.until("its new title", ({ rows: there }) => {
      const row = there.templates.get(id);
      return row?.title === "Search of the team" ? row : undefined;
    });
    expect(changed.documentationUrl).toBeUndefined();
    await expect(uma.client.catalogue.save({ id, template })).rejects.toSatisfy(code("FORBIDDEN"));
    await expect(ada.client.catalogue.save({ id: "everything" as typeof id, template })).rejects.toSatisfy(
      code("INVALID_INPUT"),
    );
    await ada.client.catalogue.delete({ id });
    await uma.window.until("that it is gone", ({ rows: there }) => !there.templates.has(id));
    await online(ada);
    expect(uma.window.get("templates", "everything")).toMatchObject({ origin: "bundled" });
  });

  it("keeps working without the database: changes queue, can be seen, changed and taken back, and arrive", async () => {
    await cutOff("uma");
    await uma.window.until("that it is offline", ({ facts }) => facts.sync.link.state !== "online");
    const made = await uma.client.agents.create({ name: "Made offline" });
    const dropped = await uma.client.agents.create({ name: "Given up" });
    await uma.client.agents.update({ id: agentId, name: "Scientist", description: "" });
    const queue = await uma.window.until(
      "three queued changes",
      ({ rows: seen }) => seen.queue.size === 3 && [...seen.queue.values()],
    );
    expect(queue.map(({ title, kind }) => [title, kind])).toEqual([
      ["Made offline", "agent.put"],
      ["Given up", "agent.put"],
      ["Scientist", "agent.put"],
    ]);
    const [first, second, third] = queue.map(({ id }) => id) as [string, string, string];
    await uma.client.workspace.discardChange({ id: second });
    await uma.window.until("that it is gone", ({ rows: seen }) => !seen.agents.has(dropped.id));
    await uma.client.workspace.editChange({ id: first, members: { name: "Edited offline" } });
    await expect(uma.client.workspace.editChange({ id: first, members: { name: 7 } })).rejects.toSatisfy(code("INVALID_INPUT"));
    await uma.client.workspace.moveChange({ id: third, before: first });
    await uma.client.workspace.retryChange({ id: third });
    await expect(uma.client.workspace.signOut({})).rejects.toSatisfy(code("QUEUE_NOT_EMPTY"));
    await letIn("uma");
    await uma.client.workspace.signIn({ credential: { password: passwords.uma } });
    await uma.client.workspace.retryNow();
    await online(uma);
    const { rows: found } = await owner.query(
      "select name from public.agents where user_id <> (select user_id from public.agents where name = 'Made before') order by name",
    );
    expect(found.map(({ name }) => name)).toEqual(["Edited offline", "Scientist"]);
    expect(uma.window.get("agents", made.id)).toMatchObject({ name: "Edited offline" });
  });

  it("keeps both versions of what two people changed, and lets one of them choose", async () => {
    await ada.window.until("the name of before", ({ rows: seen }) => seen.agents.get(agentId)?.name === "Scientist");
    await cutOff("uma");
    await uma.window.until("that it is offline", ({ facts }) => facts.sync.link.state !== "online");
    await uma.client.agents.update({ id: agentId, name: "Uma's word", description: "" });
    await ada.client.agents.update({ id: agentId, name: "Ada's word", description: "" });
    await expect
      .poll(async () => (await owner.query("select 1 from public.agents where name = $1", ["Ada's word"])).rowCount)
      .toBe(1);
    await letIn("uma");
    await uma.client.workspace.signIn({ credential: { password: passwords.uma } });
    const parked = await uma.window.until("the conflict", ({ rows: seen }) =>
      [...seen.queue.values()].find(({ condition }) => condition.state === "parked"),
    );
    expect(parked.condition).toMatchObject({
      state: "parked",
      conflict: { code: "STALE", fields: [{ name: "name", base: "Scientist", mine: "Uma's word", theirs: "Ada's word" }] },
    });
    expect(uma.window.get("agents", agentId)).toMatchObject({ name: "Uma's word" });
    await uma.client.workspace.resolveChange({ id: parked.id, choice: { version: "edited", members: { name: "Our word" } } });
    await online(uma);
    await ada.window.until("the chosen word", ({ rows: seen }) => seen.agents.get(agentId)?.name === "Our word");
  });

  it("stops a link that an admin revokes, for its owner, too", async () => {
    await ada.client.connections.disconnect({ id: connectionId });
    await uma.window.until("that it is gone", ({ rows: seen }) => !seen.connections.has(connectionId));
  });

  it("has written down who did what", async () => {
    const page = await ada.client.workspace.audit({});
    const entries = page.entries.filter(({ entityId }) => entityId === agentId);
    expect(new Set(entries.map(({ actorId }) => actorId)).size).toBe(2);
    expect(
      (await uma.client.workspace.audit({})).entries.every(
        ({ actorId }) => actorId === uma.window.copy.facts.sync.account?.who?.userId,
      ),
    ).toBe(true);
  });

  it.skipIf(!parts.keychain)("goes on after a restart without signing in again", async () => {
    await uma.stop();
    uma = await startControlCentre({ folder: uma.folder });
    await online(uma);
    expect(await uma.client.session.get()).toMatchObject({ roles: ["user"] });
  });

  it("keeps no password outside of the vault", () => {
    const files = ["workspace.sqlite", "workspace.sqlite-wal"].map((name) => join(uma.folder, name));
    const texts =
      files.map((file) => readFileSync(file, "latin1")).join("") + JSON.stringify(uma.lines) + JSON.stringify(ada.lines);
    for (const password of Object.values(passwords)) expect(texts).not.toContain(password);
  });

  it("forgets the account, its rows and its secrets on signing out", async () => {
    await uma.client.workspace.signOut({});
    await uma.window.until(
      "a local workspace",
      ({ facts, rows: seen }) => facts.sync.link.state === "local" && seen.agents.size === 0,
    );
    expect(uma.window.list("servers")).toEqual([]);
    expect(uma.window.list("toolboxes")).toEqual([]);
    expect(await uma.client.session.get()).toMatchObject({ roles: ["admin", "user"] });
  });

  it("ends a sign-in in the browser that nobody waits for", async () => {
    const { id } = { id: randomUUID() };
    await expect(uma.client.workspace.finishSignIn({ id, bringsLocalRows: false })).rejects.toSatisfy(code("NOT_FOUND"));
    await uma.client.workspace.cancelSignIn({ id });
    const nowhere = { transport: "supabase", url: "http://127.0.0.1:9", publishableKey: "key" } as const;
    const begun = await uma.client.workspace.beginSignIn({ target: nowhere, provider: "github" });
    expect(begun.url).toContain("code_challenge");
    await uma.client.workspace.cancelSignIn({ id: begun.id });
  });

  async function cutOff(role: string): Promise<void> {
    await owner.query(`alter role ${role} nologin`);
    await owner.query("select pg_terminate_backend(pid) from pg_stat_activity where usename = $1", [role]);
  }

  const letIn = (role: string) => owner.query(`alter role ${role} login`);
});
