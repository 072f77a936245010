import { randomUUID } from "node:crypto";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mcpEndpointPath, type ReportingTargetInput, reportingState } from "../../shared/dtma-protocol.ts";
import type { Postgres, Supabase } from "../fixtures/database.ts";
import { startPostgres } from "../fixtures/database.ts";
import {
  type Caller,
  mutation,
  plainWorkspace,
  pull,
  pushAll,
  sha256,
  supabaseWorkspace,
  type Workspace,
} from "../fixtures/database-people.ts";
import { type Bench, createBench, docker, imageRequest } from "../fixtures/dtma.ts";
import { startTcpProxy, type TcpProxy } from "../fixtures/tcp-proxy.ts";
import { parts } from "../setup/parts.ts";

const inTime = { timeout: 45_000, interval: 100 };

describe.skipIf(!parts.docker || !parts.postgres)("a toolbox that reports to a shared database", () => {
  let postgres: Postgres;
  let bench: Bench;
  let image: string;

  beforeAll(async () => {
    bench = createBench();
    postgres = await startPostgres();
    image = await bench.serverImage("probe.mjs");
  });
  afterAll(async () => {
    await bench?.close();
    await postgres?.stop();
  });

  /** A toolbox with one server on it, known to the database. */
  async function furnish(space: Workspace<Caller>, name: string) {
    const data = await bench.folder();
    const scope = `${bench.scope}-${name}`;
    const dtma = await bench.start({ data, scope });
    const request = imageRequest(name, image, { environment: { GREETING: `canary-${randomUUID()}` } });
    const ids = { toolbox: randomUUID(), server: request.serverId as string };
    const token = `canary-token-${randomUUID()}`;
    await pushAll(space.admin, [
      mutation("toolbox.put", ids.toolbox, { name, kind: "host", tokenHash: sha256(token) }),
      mutation("server.put", ids.server, { toolboxId: ids.toolbox, spec: request.spec }),
    ]);
    expect((await dtma.perform("PUT", `/v1/servers/${name}`, request)).error).toBeUndefined();
    return { name, dtma, data, scope, ids, token, request };
  }
  type Toolbox = Awaited<ReturnType<typeof furnish>>;

  function onPostgres(space: Workspace<Caller>, { ids, token }: Toolbox, port = postgres.port): ReportingTargetInput {
    const { login } = space.dtma as Caller & { login: { user: string; password: string } };
    const database = (space.owner as unknown as { database: string }).database;
    const place = { host: "127.0.0.1", port, database, ...login, tls: "off" as const };
    return { kind: "postgres", ...place, toolboxId: ids.toolbox, token };
  }
  function onSupabase({ url, publishableKey }: Supabase, { ids, token }: Toolbox): ReportingTargetInput {
    return { kind: "supabase", url, publishableKey, toolboxId: ids.toolbox, token };
  }

  async function setTarget({ dtma }: Toolbox, target: ReportingTargetInput | null): Promise<void> {
    expect(await dtma.call("PUT", "/v1/reporting", target)).toMatchObject({ status: 204 });
  }
  async function stateOf({ dtma }: Toolbox) {
    return reportingState.parse((await dtma.call("GET", "/v1/reporting")).body);
  }
  async function rowOf(space: Workspace<Caller>, entity: string, id: string, who: Caller = space.admin) {
    return (await pull(who)).changes.find((change) => change.entity === entity && change.id === id);
  }
  async function desire(space: Workspace<Caller>, { ids }: Toolbox, desired: "running" | "stopped") {
    const revision = (await rowOf(space, "server", ids.server))?.revision ?? null;
    await pushAll(space.admin, [mutation("server.put", ids.server, { toolboxId: ids.toolbox, desired }, revision)]);
  }

  /** An agent and its connection, made in the database only: no DTMA is told. */
  async function link(space: Workspace<Caller>, { ids }: Toolbox, allowedTools: string[] | null = null) {
    const [id, agentId, token] = [randomUUID(), randomUUID(), `canary-connection-${randomUUID()}`];
    await pushAll(space.user, [
      mutation("agent.put", agentId, { name: "Agent" }),
      mutation("connection.put", id, { agentId, serverId: ids.server, allowedTools, tokenHash: sha256(token) }),
    ]);
    return { id, token };
  }
  async function unlink(space: Workspace<Caller>, id: string) {
    await pushAll(space.user, [mutation("connection.delete", id)]);
  }

  /** Resolves once the toolbox knows the connection, or does not know it any more. */
  async function heard({ dtma }: Toolbox, id: string, isKnown = true) {
    const ids = async () =>
      ((await dtma.call("GET", "/v1/access")).body as { connectionId: string }[]).map(({ connectionId }) => connectionId);
    await expect.poll(async () => (await ids()).includes(id), inTime).toBe(isKnown);
  }

  async function open({ dtma, name }: Toolbox, token: string): Promise<Client> {
    const client = new Client({ name: "test", version: "1" });
    const url = new URL(mcpEndpointPath(name), dtma.ready.url);
    await client.connect(
      new StreamableHTTPClientTransport(url, { requestInit: { headers: { authorization: `Bearer ${token}` } } }),
    );
    return client;
  }
  /** The status of a request to the MCP endpoint; 400 is past the token. */
  async function knock({ dtma, name }: Toolbox, token: string): Promise<number> {
    const response = await fetch(new URL(mcpEndpointPath(name), dtma.ready.url), {
      method: "POST",
      headers: {
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
      },
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list" }),
    });
    await response.body?.cancel();
    return response.status;
  }

  const logsOf = ({ dtma }: Toolbox) =>
    dtma
      .log()
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Record<string, unknown>);

  async function seesTheLifeOfALink(space: Workspace<Caller>, toolbox: Toolbox): Promise<void> {
    const made = await link(space, toolbox, ["raw"]);
    await heard(toolbox, made.id);
    const client = await open(toolbox, made.token);
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(["raw"]);
    expect(JSON.stringify(await client.callTool({ name: "raw", arguments: {} }))).toContain("tools/call");
    await toolbox.dtma.seen(toolbox.name, ({ sessions }) => sessions === 1);

    await unlink(space, made.id);
    await toolbox.dtma.seen(toolbox.name, ({ sessions }) => sessions === 0);
    expect(await knock(toolbox, made.token)).toBe(401);
    await expect(client.callTool({ name: "raw", arguments: {} })).rejects.toThrow();
    await client.close();
  }

  describe("over plain Postgres", () => {
    let space: Awaited<ReturnType<typeof plainWorkspace>>;
    let toolbox: Toolbox;
    let proxy: TcpProxy;

    beforeAll(async () => {
      space = await plainWorkspace(postgres);
      toolbox = await furnish(space, "plain");
      proxy = await startTcpProxy(postgres.port);
    });
    afterAll(async () => {
      await proxy?.down();
      await space?.close();
    });

    it("says nothing before it is told where, and then at once", async () => {
      expect(await stateOf(toolbox)).toEqual({ target: null, condition: null });
      await setTarget(toolbox, onPostgres(space, toolbox, proxy.port));
      await expect.poll(async () => (await stateOf(toolbox)).condition?.lastSuccessAt ?? null, inTime).not.toBeNull();
      // The list counts before the exchange that brought it has ended.
      await expect.poll(async () => (await stateOf(toolbox)).condition?.failure, inTime).toBeNull();
      await expect
        .poll(async () => (await rowOf(space, "server", toolbox.ids.server))?.row, inTime)
        .toMatchObject({
          status: "running",
          tools: { count: 4 },
          admin: { reported: { state: "present", desired: "running", container: { state: "running" } } },
        });
      expect((await toolbox.dtma.call("GET", "/v1/info")).body).toMatchObject({ reporting: { failure: null } });
    });

    it("lets in who is linked in the database only, and ends open sessions when the link is revoked", async () => {
      await seesTheLifeOfALink(space, toolbox);
    });

    it("tells of a server that was stopped in Docker, and of its load", async () => {
      const { container } = await toolbox.dtma.seen(toolbox.name, () => true);
      await docker("stop", "-t", "1", container.id);
      await expect.poll(async () => (await rowOf(space, "server", toolbox.ids.server))?.row?.status, inTime).toBe("error");
      await docker("start", container.id);
      await expect.poll(async () => (await rowOf(space, "server", toolbox.ids.server))?.row?.status, inTime).toBe("running");
      await expect
        .poll(() => space.admin.call("sync_loads", { p_toolbox: toolbox.ids.toolbox }), inTime)
        .toMatchObject({
          host: { memoryTotalBytes: expect.any(Number) },
          servers: { [toolbox.ids.server]: { memoryBytes: expect.any(Number) } },
        });
    });

    it("goes on serving while the database is away, and then catches up", async () => {
      const before = await link(space, toolbox);
      await heard(toolbox, before.id);
      expect(await knock(toolbox, before.token)).toBe(400);
      await proxy.down();
      await unlink(space, before.id);
      const after = await link(space, toolbox);
      await expect
        .poll(async () => (await stateOf(toolbox)).condition?.failure?.error.code, inTime)
        .toBe("DATABASE_UNREACHABLE");
      expect(await knock(toolbox, before.token)).toBe(400);

      await toolbox.dtma.kill("SIGKILL");
      toolbox.dtma = await bench.start({ data: toolbox.data, scope: toolbox.scope });
      expect(await knock(toolbox, before.token)).toBe(400);

      await proxy.up();
      await heard(toolbox, after.id);
      expect(await knock(toolbox, after.token)).toBe(400);
      expect(await knock(toolbox, before.token)).toBe(401);
      // The list counts before the exchange that brought it has ended.
      await expect.poll(async () => (await stateOf(toolbox)).condition?.failure, inTime).toBeNull();
      await unlink(space, after.id);
      await heard(toolbox, after.id, false);
      expect(await knock(toolbox, after.token)).toBe(401);
    });

    it("keeps what a control centre removed removed, until the database knows it too", async () => {
      const made = await link(space, toolbox);
      await heard(toolbox, made.id);
      expect((await toolbox.dtma.call("DELETE", `/v1/access/${made.id}`)).status).toBe(204);
      expect(await knock(toolbox, made.token)).toBe(401);
      const put = { connectionId: randomUUID(), server: toolbox.name, tokenHash: sha256(made.id), allowedTools: null };
      await toolbox.dtma.call("PUT", `/v1/access/${put.connectionId}`, put);
      await pushAll(space.other, [mutation("agent.put", randomUUID(), { name: "Unrelated" })]);
      const success = (await stateOf(toolbox)).condition?.lastSuccessAt ?? 0;
      await expect.poll(async () => (await stateOf(toolbox)).condition?.lastSuccessAt ?? 0, inTime).toBeGreaterThan(success);
      expect(await knock(toolbox, made.token)).toBe(401);
      expect(await knock(toolbox, made.id)).toBe(400);
      await unlink(space, made.id);
      await toolbox.dtma.call("DELETE", `/v1/access/${put.connectionId}`);
    });

    it("counts calls over a restart", async () => {
      const made = await link(space, toolbox);
      const stored = async () => {
        const text = "select calls::int from dtma.connection_usage where connection_id = $1";
        return (await space.owner.query(text, [made.id])).rows[0]?.calls;
      };
      await heard(toolbox, made.id);
      const call = async (times: number) => {
        const client = await open(toolbox, made.token);
        for (let index = 0; index < times; index++) await client.callTool({ name: "raw", arguments: {} });
        await client.close();
      };
      await call(2);
      await expect.poll(stored, inTime).toBe(2);
      expect((await rowOf(space, "connection", made.id, space.user))?.row?.calls).toBeGreaterThan(0);
      await toolbox.dtma.kill("SIGTERM");
      toolbox.dtma = await bench.start({ data: toolbox.data, scope: toolbox.scope });
      await toolbox.dtma.seen(toolbox.name, ({ health }) => health.state === "ready");
      await call(1);
      const stop = new AbortController();
      for await (const event of toolbox.dtma.events({ stats: false, signal: stop.signal })) {
        expect(event).toMatchObject({ type: "snapshot", usage: [{ connectionId: made.id, calls: 3, errors: 0 }] });
        break;
      }
      stop.abort();
      await expect.poll(stored, inTime).toBe(3);
      await unlink(space, made.id);
    });

    it("does what admins want of its servers, each revision once", async () => {
      const { dtma, name } = toolbox;
      await desire(space, toolbox, "stopped");
      await dtma.seen(name, ({ desired, container }) => desired === "stopped" && container.state === "exited");
      await expect.poll(async () => (await rowOf(space, "server", toolbox.ids.server))?.row?.status, inTime).toBe("stopped");
      // The operation that has stopped it may still be putting its things away.
      const begun = async () => (await dtma.call("POST", `/v1/servers/${name}/start`)).status;
      await expect.poll(begun, inTime).toBe(202);
      await dtma.seen(name, ({ desired, health }) => desired === "running" && health.state === "ready");
      const reports = async () => (await stateOf(toolbox)).condition?.lastSuccessAt ?? 0;
      for (const from of [await reports(), (await reports()) + 1]) await expect.poll(reports, inTime).toBeGreaterThan(from);
      expect((await dtma.servers()).find(({ spec }) => spec.name === name)).toMatchObject({ desired: "running" });

      await desire(space, toolbox, "running");
      await desire(space, toolbox, "stopped");
      await dtma.seen(name, ({ desired }) => desired === "stopped");
      await desire(space, toolbox, "running");
      await dtma.seen(name, ({ health }) => health.state === "ready");
    });

    it("deploys a server that needs no secret, leaves one that does, and deletes one that is not wanted", async () => {
      const [simple, needy] = [randomUUID(), randomUUID()];
      const spec = imageRequest("simple", image).spec;
      const secrets = [{ name: "API_KEY", required: true }];
      await pushAll(space.admin, [
        mutation("server.put", simple, { toolboxId: toolbox.ids.toolbox, spec }),
        mutation("server.put", needy, { toolboxId: toolbox.ids.toolbox, spec: { ...spec, name: "needy", secrets } }),
      ]);
      await toolbox.dtma.seen("simple", ({ serverId, health }) => serverId === simple && health.state === "ready");
      await expect.poll(async () => (await rowOf(space, "server", simple))?.row?.status, inTime).toBe("running");
      expect((await toolbox.dtma.servers()).map(({ spec: { name } }) => name).sort()).toEqual(["plain", "simple"]);
      const left = logsOf(toolbox).filter(({ event }) => event === "wish.left");
      expect(left).toMatchObject([{ serverId: needy, reason: "secrets-needed" }]);

      const { revision } = (await rowOf(space, "server", simple)) ?? { revision: null };
      await pushAll(space.admin, [mutation("server.delete", simple, {}, revision)]);
      await expect
        .poll(async () => (await toolbox.dtma.servers()).map(({ serverId }) => serverId), inTime)
        .toEqual([toolbox.ids.server]);
      await expect.poll(async () => (await rowOf(space, "server", simple))?.row ?? null, inTime).toBeNull();
    });

    it("is refused with a wrong token, without a detail, and tries ever more slowly", async () => {
      const target = onPostgres(space, toolbox, proxy.port);
      await setTarget(toolbox, { ...target, token: "canary-wrong-token-of-this-toolbox" });
      const refusals = () => logsOf(toolbox).filter(({ event, code }) => event === "report.failed" && code === "FORBIDDEN");
      await expect.poll(() => refusals().length, inTime).toBeGreaterThan(2);
      const waits = refusals().map(({ waitMs }) => waitMs as number);
      expect(waits[2]).toBeGreaterThan(waits[0] ?? Number.POSITIVE_INFINITY);
      const { condition } = await stateOf(toolbox);
      expect(condition).toMatchObject({ lastSuccessAt: null, failure: { error: { code: "FORBIDDEN" } } });
      expect(JSON.stringify(condition)).not.toMatch(/canary|wrong/);
      await setTarget(toolbox, target);
      await expect.poll(async () => (await stateOf(toolbox)).condition?.lastSuccessAt ?? null, inTime).not.toBeNull();
    });

    it("keeps its secrets in one file that is its own, and shows and logs none", async () => {
      const target = onPostgres(space, toolbox, proxy.port) as Extract<ReportingTargetInput, { kind: "postgres" }>;
      const shown = await stateOf(toolbox);
      expect(shown.target).toMatchObject({ kind: "postgres", user: target.user, toolboxId: toolbox.ids.toolbox });
      const isCanary = new RegExp(`canary|${target.password}`);
      expect(JSON.stringify(shown)).not.toMatch(isCanary);
      expect(toolbox.dtma.log()).not.toMatch(isCanary);
      const holding: string[] = [];
      // The history of releases holds specs, whose environment is no secret.
      const isSecret = new RegExp(`canary-(?:token|connection|wrong)|${target.password}`);
      for (const file of await readdir(toolbox.data, { recursive: true })) {
        const path = join(toolbox.data, file);
        if ((await stat(path).catch(() => undefined))?.isFile() && isSecret.test(await readFile(path, "latin1")))
          holding.push(file);
      }
      expect(holding).toEqual(["reporting.json"]);
      expect((await stat(join(toolbox.data, "reporting.json"))).mode & 0o777).toBe(0o600);
      const { rows } = await space.owner.query(
        "select string_agg(t::text, ' ') as text from (select to_jsonb(e) from account_tool_environments e union all select to_jsonb(i) - 'spec' from account_tool_instances i union all select to_jsonb(r) from dtma.server_reports r union all select to_jsonb(x) from dtma.toolbox_reports x) t",
      );
      expect(rows[0].text).toContain("running");
      expect(rows[0].text).not.toMatch(isCanary);
    });

    it("refuses a way on which the token would travel in the clear", async () => {
      const { ids, token } = toolbox;
      const clear = { kind: "supabase", url: "http://database.example", publishableKey: "key", toolboxId: ids.toolbox, token };
      expect(await toolbox.dtma.call("PUT", "/v1/reporting", clear)).toMatchObject({
        status: 400,
        body: { error: { field: "url" } },
      });
      const off = { ...onPostgres(space, toolbox), host: "database.example" };
      expect(await toolbox.dtma.call("PUT", "/v1/reporting", off)).toMatchObject({
        status: 400,
        body: { error: { field: "tls" } },
      });
    });

    it("is as before without a database, and stays so after a restart though a file names one", async () => {
      const made = await link(space, toolbox);
      await heard(toolbox, made.id);
      await setTarget(toolbox, null);
      await unlink(space, made.id);
      expect(await stateOf(toolbox)).toEqual({ target: null, condition: null });
      const file = join(await bench.folder(), "reporting.json");
      await writeFile(file, JSON.stringify(onPostgres(space, toolbox)), { mode: 0o600 });
      await toolbox.dtma.kill("SIGTERM");
      toolbox.dtma = await bench.start({ data: toolbox.data, scope: toolbox.scope, env: { DTMA_REPORTING_FILE: file } });
      expect(await stateOf(toolbox)).toEqual({ target: null, condition: null });
      expect(await knock(toolbox, made.token)).toBe(400);
      expect((await toolbox.dtma.call("DELETE", `/v1/access/${made.id}`)).status).toBe(204);
      expect(await knock(toolbox, made.token)).toBe(401);
    });
  });

  describe("over Supabase", () => {
    it("does the same, told by a file it was started with", async () => {
      const space = await supabaseWorkspace(postgres);
      try {
        const toolbox = await furnish(space, "supa");
        const file = join(await bench.folder(), "reporting.json");
        await writeFile(file, JSON.stringify(onSupabase(space.supabase, toolbox)), { mode: 0o600 });
        await toolbox.dtma.kill("SIGTERM");
        toolbox.dtma = await bench.start({ data: toolbox.data, scope: toolbox.scope, flags: [`--reporting-file=${file}`] });
        await expect.poll(async () => (await rowOf(space, "server", toolbox.ids.server))?.row?.status, inTime).toBe("running");
        await seesTheLifeOfALink(space, toolbox);
        await desire(space, toolbox, "stopped");
        await toolbox.dtma.seen(toolbox.name, ({ container }) => container.state === "exited");

        const wrong = { ...onSupabase(space.supabase, toolbox), token: "canary-wrong-token-of-this-toolbox" };
        await setTarget(toolbox, wrong);
        await expect.poll(async () => (await stateOf(toolbox)).condition?.failure?.error.code, inTime).toBe("FORBIDDEN");
        expect(toolbox.dtma.log()).not.toContain("canary");
      } finally {
        await space.close();
      }
    });
  });
});
