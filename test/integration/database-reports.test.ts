import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { dockerStates, fromDockerState, fromStoredState, serverStates, toStoredState } from "../../shared/model/status.ts";
import { liveness, loads, reportAnswer, toolboxReport, toolsAnswer } from "../../shared/sync-protocol.ts";
import { type Postgres, startPostgres } from "../fixtures/database.ts";
import {
  furnish,
  mutation,
  type PlainCaller,
  plainWorkspace,
  pull,
  pushAll,
  reportOf,
  type SeenServer,
  seen,
  sha256,
  toolboxToken,
  type Workspace,
} from "../fixtures/database-people.ts";
import { parts } from "../setup/parts.ts";

describe.skipIf(!parts.postgres)("reports of a toolbox", () => {
  let postgres: Postgres;
  let space: Workspace<PlainCaller>;
  let ids: Awaited<ReturnType<typeof furnish>>;

  beforeAll(async () => {
    postgres = await startPostgres();
  });
  afterAll(() => postgres?.stop());
  beforeEach(async () => {
    space = await plainWorkspace(postgres);
    ids = await furnish(space);
    return () => space.close();
  });

  const both = (running: Partial<SeenServer> = {}) => [
    { ...seen(ids.running), ...running },
    seen(ids.stopped, { desired: "stopped", state: "exited" }),
  ];
  const report = async (servers: object[] | null, more: object = {}) => {
    const sent = reportOf(servers, more);
    toolboxReport.parse(sent);
    return reportAnswer.parse(
      await space.dtma.call("report_toolbox", { p_toolbox: ids.toolbox, p_token: toolboxToken, p_report: sent }),
    );
  };
  const rowOf = async (entity: string, id: string, who = space.admin) =>
    (await pull(who)).changes.find((change) => change.entity === entity && change.id === id)?.row;

  it("are refused with a wrong token, an unknown toolbox and a toolbox without a token, all in the same words", async () => {
    const without = randomUUID();
    await pushAll(space.admin, [mutation("toolbox.put", without, { name: "No token" })]);
    const attempts = [
      { p_toolbox: ids.toolbox, p_token: "wrong" },
      { p_toolbox: ids.toolbox, p_token: sha256(toolboxToken) },
      { p_toolbox: ids.toolbox, p_token: null },
      { p_toolbox: randomUUID(), p_token: toolboxToken },
      { p_toolbox: null, p_token: toolboxToken },
      { p_toolbox: without, p_token: "" },
      { p_toolbox: without, p_token: null },
    ];
    for (const attempt of attempts) {
      expect(await space.dtma.attempt("report_toolbox", { ...attempt, p_report: reportOf([]) })).toEqual({
        ok: false,
        message: "REPORT_REFUSED: The report was refused.",
      });
    }
    expect(await rowOf("server", ids.running)).toMatchObject({ status: "running" });
  });

  it("stop being accepted with the old token when it is replaced", async () => {
    await pushAll(space.admin, [mutation("toolbox.put", ids.toolbox, { tokenHash: sha256("new") }, 1)]);
    await expect(report(both())).rejects.toThrow("REPORT_REFUSED");
  });

  it("bring back who has access, and a revoked connection is gone from the next one", async () => {
    const first = await report(both());
    expect(first.access?.map(({ connectionId }) => connectionId).sort()).toEqual([ids.connection, ids.otherConnection].sort());
    expect(first.access?.find(({ connectionId }) => connectionId === ids.connection)).toEqual({
      connectionId: ids.connection,
      server: "running",
      tokenHash: sha256(ids.connection),
      allowedTools: null,
    });
    const put = { agentId: ids.agent, serverId: ids.running, allowedTools: ["echo"] };
    await pushAll(space.user, [
      mutation("connection.put", ids.connection, put, 1),
      mutation("connection.delete", ids.connection),
    ]);
    await pushAll(space.other, [
      mutation("connection.put", ids.otherConnection, { ...put, agentId: ids.otherAgent, tokenHash: sha256("replaced") }, 1),
    ]);
    const second = await report(both());
    expect(second.access).toEqual([
      { connectionId: ids.otherConnection, server: "running", tokenHash: sha256("replaced"), allowedTools: ["echo"] },
    ]);
  });

  it("bring back when access ends, as its owner said last", async () => {
    const put = (expiresAt: number | null, base: number) =>
      pushAll(space.user, [
        mutation("connection.put", ids.connection, { agentId: ids.agent, serverId: ids.running, expiresAt }, base),
      ]);
    const ofIt = async () => (await report(both())).access?.find(({ connectionId }) => connectionId === ids.connection);
    await put(1_900_000_000_123, 1);
    expect(await ofIt()).toMatchObject({ allowedTools: null, expiresAt: 1_900_000_000_123 });
    expect(await rowOf("connection", ids.connection, space.user)).toMatchObject({ expiresAt: 1_900_000_000_123 });
    await put(null, 2);
    expect(await ofIt()).not.toHaveProperty("expiresAt");
    expect(await rowOf("connection", ids.connection, space.user)).toMatchObject({ expiresAt: null });
  });

  it("send a list only while the toolbox does not have it", async () => {
    const { accessHash, desiredHash } = await report(both());
    expect(await report(both(), { have: { accessHash, desiredHash } })).toMatchObject({ access: null, desired: null });
    await pushAll(space.user, [mutation("connection.delete", ids.connection)]);
    const changed = await report(both(), { have: { accessHash, desiredHash } });
    expect(changed.access).toHaveLength(1);
    expect(changed.desired).toBeNull();
  });

  it("take access away from people who are no longer let in, and from agents that were switched off", async () => {
    await space.admin.call("set_role", { p_person: space.other.id, p_role: "user", p_granted: false });
    await pushAll(space.user, [mutation("agent.put", ids.agent, { isActive: false }, 1)]);
    expect((await report(both())).access).toEqual([]);
  });

  it("bring back what admins want of the servers", async () => {
    await pushAll(space.admin, [
      mutation("server.put", ids.running, { toolboxId: ids.toolbox, desired: "stopped" }, 1),
      mutation("server.delete", ids.stopped, {}, 1),
    ]);
    const { desired } = await report(both());
    expect(desired?.map(({ serverId, desired: wish, name }) => [serverId, wish, name]).sort()).toEqual(
      [
        [ids.running, "stopped", "running"],
        [ids.stopped, "deleted", "stopped"],
      ].sort(),
    );
  });

  it("tell of a wish that has not come true yet, and then of what came true", async () => {
    const put = (desired: string, base: number) =>
      pushAll(space.admin, [mutation("server.put", ids.running, { toolboxId: ids.toolbox, desired }, base)]);
    await put("stopped", 1);
    expect(await rowOf("server", ids.running)).toMatchObject({ status: "stopping" });
    await report(both());
    expect(await rowOf("server", ids.running)).toMatchObject({ status: "stopping" });
    await report(both(seen(ids.running, { desired: "stopped", state: "exited" })));
    expect(await rowOf("server", ids.running)).toMatchObject({ status: "stopped" });
    await put("running", 2);
    expect(await rowOf("server", ids.running)).toMatchObject({ status: "starting" });
    await report(both(seen(ids.running, { desired: "stopped", state: "exited" })));
    expect(await rowOf("server", ids.running)).toMatchObject({ status: "starting" });
    await report(both());
    expect(await rowOf("server", ids.running)).toMatchObject({ status: "running" });
  });

  it("do not touch the feed with what nobody sees", async () => {
    await report(both());
    const { cursor } = await pull(space.admin);
    const load = {
      cpuPercent: 12.5,
      memoryBytes: 1,
      memoryLimitBytes: 2,
      networkRxBytes: 3,
      networkTxBytes: 4,
      pids: 5,
    };
    const host = { cpuPercent: 1, memoryUsedBytes: 2, memoryTotalBytes: 3, diskUsedBytes: 4, diskTotalBytes: 5 };
    const health = { state: "ready", checkedAt: 99, protocolVersion: "2025-11-25" };
    await report(both({ load, sessions: 3, health }), { host });
    expect((await pull(space.admin, cursor)).changes).toEqual([]);
    const answer = loads.parse(await space.admin.call("sync_loads", { p_toolbox: ids.toolbox }));
    expect(answer).toMatchObject({ host, servers: { [ids.running]: { ...load, sessions: 3 } } });
  });

  it("ask for a tool list once, keep it once for all servers that share it, and show it to those who see one of them", async () => {
    const tools = [{ name: "echo", inputSchema: { type: "object" } }];
    expect((await report(both({ toolsTag: "a" }))).wantTools).toEqual([ids.running]);
    expect((await report(both({ toolsTag: "a", tools }))).wantTools).toEqual([]);
    expect((await report(both({ toolsTag: "a" }))).wantTools).toEqual([]);
    expect((await report(both({ toolsTag: "b" }))).wantTools).toEqual([ids.running]);
    const row = await rowOf("server", ids.running, space.user);
    const hash = (row?.tools as { hash: string } | undefined)?.hash ?? "";
    expect(row).toMatchObject({ tools: { count: 1 } });
    expect(toolsAnswer.parse(await space.user.call("sync_tools", { p_hashes: [hash, "unknown"] })).tools).toEqual({
      [hash]: tools,
    });
    await report(both({ ...seen(ids.running, { state: "exited" }), toolsTag: "a" }));
    expect(toolsAnswer.parse(await space.user.call("sync_tools", { p_hashes: [hash] })).tools).toEqual({});
    expect(Object.keys(toolsAnswer.parse(await space.admin.call("sync_tools", { p_hashes: [hash] })).tools)).toEqual([hash]);
  });

  it("count calls over restarts of the DTMA, and once when a report comes twice", async () => {
    const usage = (calls: number, errors: number) => [{ connectionId: ids.connection, calls, errors, lastUsedAt: 1_000 }];
    const counted = async () => {
      const { rows } = await space.owner.query("select calls::int, errors::int from dtma.connection_usage");
      return rows;
    };
    await report(both(), { bootId: "one", usage: usage(3, 1) });
    expect(await rowOf("connection", ids.connection, space.user)).toMatchObject({ calls: 3, errors: 1, lastUsedAt: 1_000 });
    await report(both(), { bootId: "one", usage: usage(3, 1) });
    await report(both(), { bootId: "one", usage: usage(5, 1) });
    expect(await counted()).toEqual([{ calls: 5, errors: 1 }]);
    await report(both(), { bootId: "two", usage: usage(2, 2) });
    expect(await counted()).toEqual([{ calls: 7, errors: 3 }]);
  });

  it("count by tool over restarts, for the owner alone, and keep nothing they do not know", async () => {
    const tool = (name: string, calls: number, more: object = {}) => ({
      tool: name,
      calls,
      errors: { tool: calls },
      latency: [0, calls],
      latencySumMs: 2 * calls,
      bytesIn: 10 * calls,
      bytesOut: 100 * calls,
      lastUsedAt: 1_000,
      ...more,
    });
    const usage = (tools: object[] | undefined, calls = 3) => [
      { connectionId: ids.connection, calls, errors: 0, lastUsedAt: 1_000, ...(tools === undefined ? {} : { tools }) },
    ];
    const books = async () => (await rowOf("connection", ids.connection, space.user))?.tools;
    await report(both(), { bootId: "one", usage: usage([tool("echo", 3, { secret: "canary", errors: { tool: 3, odd: 9 } })]) });
    expect(await books()).toEqual([tool("echo", 3)]);
    expect((await rowOf("connection", ids.connection, space.admin))?.tools).toBeNull();
    await report(both(), { bootId: "one", usage: usage([tool("echo", 3)]) });
    await report(both(), { bootId: "one", usage: usage([tool("echo", 4), tool("add", 1, { latency: [0, 0, 0, 1] })], 5) });
    expect(await books()).toEqual([tool("add", 1, { latency: [0, 0, 0, 1] }), tool("echo", 4)]);
    await report(both(), { bootId: "two", usage: usage([tool("echo", 2, { errors: { died: 1 } })], 2) });
    expect(await books()).toEqual([
      tool("add", 1, { latency: [0, 0, 0, 1] }),
      tool("echo", 6, { errors: { tool: 4, died: 1 } }),
    ]);
    // One that does not count by tool yet takes nothing away.
    await report(both(), { bootId: "three", usage: usage(undefined, 1) });
    expect(await books()).toHaveLength(2);
    const many = Array.from({ length: 300 }, (_, index) => tool(`t${index}`, 1));
    await report(both(), { bootId: "four", usage: usage(many, 300) });
    expect(await books()).toHaveLength(101);
    const { rows } = await space.owner.query("select tools::text || boot_tools::text as kept from dtma.connection_usage");
    expect(rows[0].kept).not.toContain("canary");
  });

  it("publish the first call at once, and later ones at most once a minute", async () => {
    const usage = (calls: number) => ({ usage: [{ connectionId: ids.connection, calls, errors: 0, lastUsedAt: 1_000 }] });
    const start = (await pull(space.user)).cursor;
    await report(both(), usage(1));
    const first = await pull(space.user, start);
    expect(first.changes).toMatchObject([{ entity: "connection", revision: 1, row: { calls: 1 } }]);
    await report(both(), usage(2));
    expect((await pull(space.user, first.cursor)).changes).toEqual([]);
    await space.owner.query("update dtma.connection_usage set published_at = now() - interval '61 seconds'");
    // The last call is published by a report that tells of no new one.
    await report(both());
    expect((await pull(space.user, first.cursor)).changes).toMatchObject([{ entity: "connection", row: { calls: 2 } }]);
  });

  it("are believed about the toolbox's own servers and connections, and no others", async () => {
    const evil = randomUUID();
    await pushAll(space.admin, [mutation("toolbox.put", evil, { name: "Evil", tokenHash: sha256("evil") })]);
    const answer = reportAnswer.parse(
      await space.dtma.call("report_toolbox", {
        p_toolbox: evil,
        p_token: "evil",
        p_report: reportOf([seen(ids.running, { state: "exited" })], {
          usage: [{ connectionId: ids.connection, calls: 1_000, errors: 0, lastUsedAt: 1 }],
        }),
      }),
    );
    expect(answer).toMatchObject({ access: [], desired: [], wantTools: [] });
    expect(await rowOf("server", ids.running)).toMatchObject({ status: "running" });
    expect(await rowOf("connection", ids.connection)).toMatchObject({ calls: 0 });
  });

  it("say nothing of servers while Docker does not answer", async () => {
    await report(null, { docker: { state: "down", since: 5_000, reason: "no answer" } });
    expect(await rowOf("server", ids.running)).toMatchObject({ status: "running" });
    const { toolboxes } = liveness.parse(await space.user.call("sync_liveness"));
    expect(toolboxes).toMatchObject([{ id: ids.toolbox, dockerDownSince: 5_000 }]);
  });

  it("show a server that is gone from its toolbox as gone", async () => {
    await report([seen(ids.stopped, { desired: "stopped", state: "exited" })]);
    expect(await rowOf("server", ids.running)).toMatchObject({ status: "uninstalled", admin: { reported: { state: "gone" } } });
    expect(await rowOf("server", ids.running, space.user)).toBeUndefined();
  });

  it("that stop coming make a toolbox unresponsive by the passing of time alone", async () => {
    const silentFor = async (seconds: number) => {
      await space.owner.query("update account_tool_environments set last_heartbeat_at = now() - make_interval(secs => $1)", [
        seconds,
      ]);
      const answer = liveness.parse(await space.user.call("sync_liveness"));
      return answer.toolboxes[0];
    };
    await report(both());
    const { cursor } = await pull(space.admin);
    // The interval is 5 s: 2 × 5 s + 20 s.
    expect(await silentFor(25)).toMatchObject({ id: ids.toolbox, unresponsiveSince: null });
    const silent = await silentFor(40);
    expect(silent?.unresponsiveSince).toBe((silent?.lastReportAt ?? 0) + 30_000);
    expect((await pull(space.admin, cursor)).changes).toEqual([]);
    await report(both());
    expect(liveness.parse(await space.user.call("sync_liveness")).toolboxes).toMatchObject([{ unresponsiveSince: null }]);
  });

  it("make a new toolbox active, and leave one that is being removed as it is", async () => {
    expect(await rowOf("toolbox", ids.toolbox)).toMatchObject({ status: "active", dtmaVersion: "1.0.0" });
    await pushAll(space.admin, [mutation("toolbox.put", ids.toolbox, { status: "deleting" }, 1)]);
    await report(both());
    expect(await rowOf("toolbox", ids.toolbox)).toMatchObject({ status: "deleting" });
  });

  it("that are no reports are refused before they change anything", async () => {
    for (const p_report of [[], { protocol: 2 }, { ...reportOf([]), servers: "all" }, { ...reportOf([]), usage: {} }]) {
      const answer = await space.dtma.attempt("report_toolbox", { p_toolbox: ids.toolbox, p_token: toolboxToken, p_report });
      expect(answer).toMatchObject({ ok: false, message: expect.stringMatching(/^INVALID_INPUT: /) });
    }
  });

  describe("translate Docker's words", () => {
    const wordFor = async (
      desired: string,
      reportedDesired: string,
      container: string,
      health: string,
      current = "running",
    ) => {
      const { rows } = await space.owner.query("select dtma.reported_status($1, $2, $3, $4, $5) as word", [
        current,
        desired,
        reportedDesired,
        container,
        health,
      ]);
      return rows[0].word as string;
    };

    it("as the window does, for every state of a container", async () => {
      for (const state of dockerStates.filter((word) => word !== "gone")) {
        for (const [health, ready] of [
          ["ready", "running"],
          ["unknown", "starting"],
          ["failed", "failed"],
        ] as const) {
          const shown = fromDockerState(state);
          const expected = shown === "running" ? ready : shown === "stopped" ? "failed" : shown;
          expect(await wordFor("running", "running", state, health), `${state}, ${health}`).toBe(toStoredState(expected));
        }
        const stopped = fromDockerState(state) === "running" ? "stopping" : fromDockerState(state);
        expect(await wordFor("stopped", "stopped", state, "ready"), state).toBe(toStoredState(stopped));
        expect(fromStoredState(await wordFor("deleted", "running", state, "ready"))).toBe("deleting");
      }
    });

    it("and leave the stored word alone for one that nobody knows", async () => {
      expect(await wordFor("running", "running", "hibernating", "ready", "starting")).toBe("starting");
      expect(serverStates).toContain(fromStoredState("starting"));
    });
  });
});
