import { createHash, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import type { ServerEndpoint } from "../../dtma/src/docker/server-process.ts";
import { type AccessEntry, mcpEndpointPath } from "../../shared/dtma-protocol.ts";
import { type Bench, createBench, type DtmaProcess, imageRequest } from "../fixtures/dtma.ts";
import {
  answered,
  type Careless,
  type CarelessSession,
  careless,
  carelessSession,
  type Heard,
  heard,
  isQuestion,
  moment,
  type Received,
  statelessRequest,
} from "../fixtures/mcp-servers/careless.ts";
import { connection, startGateway, until } from "../fixtures/mcp-servers/gateway-host.ts";
import { everythingServer } from "../fixtures/mcp-servers/local-process.ts";
import { parts } from "../setup/parts.ts";

/*
Tasks in processes that serve more than one client, in front of a server that calls its tasks by names which can be guessed,
lists everybody's, speaks of them when it likes and goes on with what was cancelled.
*/

const asking = { elicitation: { form: {} } };
const accepted = { action: "accept", content: {} };
const cancel = (requestId: number) => ({ method: "notifications/cancelled", params: { requestId } });
const last = async ({ done }: Heard): Promise<Received | undefined> => (await done).messages.at(-1);
const codeOf = async (answer: Heard) => (await last(answer))?.error?.code;
const statusOf = async (answer: Heard) => (await last(answer))?.result?.status;
const idsOf = (list: Received | undefined) => list?.result?.tasks?.map(({ taskId }) => taskId);
const is = (method: string) => (message: Received) => message.method === method;

describe("sessions of one process", () => {
  type Opened = Careless & {
    a: CarelessSession;
    b: CarelessSession;
    /** All that belongs to no request of theirs. */
    ofA: Heard;
    ofB: Heard;
    /** What the task does next. */
    go(who: string, what: string): Promise<void>;
  };

  async function open(abilitiesOfA: object = asking): Promise<Opened> {
    const gateway = await careless({ endpoint: { isShared: true } });
    const a = await gateway.session("1", abilitiesOfA);
    const [b, other] = [await gateway.session("2", asking), await gateway.session("3")];
    const [ofA, ofB] = [a.listen(), b.listen()];
    let lastId = 0;
    return {
      ...gateway,
      a,
      b,
      ofA,
      ofB,
      async go(who, what) {
        expect(await answered(other.call(++lastId, "go", { who, what }))).toBe("gone");
      },
    };
  }

  test("are offered the tasks of the server, unless their revision has none", async () => {
    const { session, a, did } = await open();
    expect(a.welcome?.result?.capabilities).toMatchObject({ tasks: { list: {}, cancel: {} } });
    const older = await session("3", {}, undefined, "2025-06-18");
    expect(older.welcome?.result?.capabilities).toMatchObject({ tools: {} });
    expect(older.welcome?.result?.capabilities).not.toHaveProperty("tasks");
    expect(await answered(older.work(1, "A"))).toBe("no task for A");
    for (const method of ["tasks/list", "tasks/get"]) expect(await codeOf(older.about(2, method, "task of A"))).toBe(-32601);
    expect(did("tasks/list") + did("tasks/get")).toBe(0);
  });

  test("use their own tasks; those of others are like none, and the server hears nothing of it", async () => {
    const { host, a, b, did, go } = await open();
    expect((await last(a.work(1, "A")))?.result?.task?.taskId).toBe("task of A");
    expect((await last(b.work(1, "B")))?.result?.task?.taskId).toBe("task of B");
    for (const method of ["tasks/get", "tasks/result", "tasks/cancel"]) {
      const [foreign, none] = [await last(b.about(2, method, "task of A")), await last(b.about(2, method, "task of nobody"))];
      expect(foreign?.error?.code).toBe(-32602);
      expect(foreign).toEqual(none);
    }
    const relation = { "io.modelcontextprotocol/related-task": { taskId: "task of A" } };
    expect(await codeOf(b.work(3, "C", { _meta: relation }))).toBe(-32602);
    for (const params of [`{"taskId":"task of A","taskId":"task of B"}`, `{"taskId":"task of B","TASKID":"task of A"}`]) {
      const body = `{"jsonrpc":"2.0","id":4,"method":"tasks/get","params":${params}}`;
      const answer = await fetch(host.url, { method: "POST", headers: b.headers, body });
      expect(await answer.text()).toContain("-32600");
    }
    expect(did("tasks/get task of A") + did("tasks/cancel task of A") + did("waits for A") + did("work C")).toBe(0);

    expect(await statusOf(a.about(5, "tasks/get", "task of A"))).toBe("working");
    expect(await statusOf(b.about(5, "tasks/cancel", "task of B"))).toBe("cancelled");
    await go("A", "finish");
    expect(await answered(a.about(6, "tasks/result", "task of A"))).toContain("done for A");
  });

  test("list their own tasks, page by page", async () => {
    const { a, b, did } = await open();
    const names = Array.from({ length: 60 }, (_, index) => `A${index}`);
    for (const [index, who] of names.entries()) {
      await last(a.work(1, who));
      if (index % 20 === 0) await last(b.work(1, `B${index}`));
    }
    const list = (one: CarelessSession, params: object) => last(one.send({ id: 2, method: "tasks/list", params }));
    const first = await list(a, {});
    const second = await list(a, { cursor: first?.result?.nextCursor });
    expect([...(idsOf(first) ?? []), ...(idsOf(second) ?? [])]).toEqual(names.map((who) => `task of ${who}`));
    expect(second?.result).not.toHaveProperty("nextCursor");
    expect(idsOf(await list(b, {}))).toEqual(["task of B0", "task of B20", "task of B40"]);
    expect((await list(b, { cursor: "task of A1" }))?.error?.code).toBe(-32602);
    expect(did("tasks/list")).toBe(0);
  });

  test("hear of their own tasks alone, from before the answer that names them", async () => {
    const { a, b, ofA, ofB, go } = await open();
    const made = [a.work(1, "A", { _meta: { progressToken: "same" } }), b.work(1, "B", { _meta: { progressToken: "same" } })];
    await Promise.all(made.map(last));
    await heard(ofA, is("notifications/tasks/status"));
    for (const what of ["log", "progress", "status"]) await go("A", what);
    const step = await heard(ofA, is("notifications/progress"));
    expect(step?.params).toMatchObject({ progressToken: "same", message: "SECRET of A" });
    await heard(ofA, is("notifications/message"));
    await until(() => ofA.messages().filter(is("notifications/tasks/status")).length === 2);
    for (const one of [ofB, made[1] as Heard]) expect(one.text()).not.toContain("SECRET of A");
    await heard(ofB, is("notifications/tasks/status"));
    expect(ofA.text()).not.toContain("SECRET of B");
  });

  test("are asked what their own task needs, while another one's call that may ask is under way", async () => {
    const { a, b, ofA, ofB, did, go, release } = await open();
    await last(a.work(1, "A"));
    const waits = a.about(2, "tasks/result", "task of A");
    await until(() => did("waits for A") === 1);
    await go("A", "hold-ask");
    const call = b.call(2, "hold-ask", { who: "B" });
    await until(() => did("hold-ask B") === 1);
    release();
    const question = await Promise.race([heard(waits, isQuestion), heard(ofA, isQuestion)]);
    expect(question?.params?.message).toBe("SECRET of A");
    // One that is answered is not waited for by the other.
    await b.reply(await Promise.race([heard(call, isQuestion), heard(ofB, isQuestion)]), accepted);
    expect(await answered(call)).toContain("B got");
    await a.reply(question, accepted);
    await until(() => did("answered A") === 1);
    await go("A", "finish");
    expect(await answered(waits)).toBe(`done for A, who said A got ${JSON.stringify(accepted)}`);
    for (const one of [call, ofB]) expect(one.text()).not.toContain("SECRET of A");
    for (const one of [waits, ofA]) expect(one.text()).not.toContain("SECRET of B");
  });

  test("are asked what their task needs while nobody is asked what a call needs, and it can be taken back", async () => {
    const { session, a, b, ofA, ofB, did, go, release } = await open();
    const c = await session("3");
    await last(a.work(1, "A"));
    await go("A", "hold-ask");
    const left = c.call(9, "hold", { who: "C" });
    await until(() => did("hold C") === 1);
    await c.send(cancel(9)).done;
    await until(() => did("notifications/cancelled") === 1);
    const call = b.call(2, "ask", { who: "B" });
    release();
    const question = await heard(ofA, isQuestion);
    expect(did("ask B")).toBe(0);
    await b.reply(await Promise.race([heard(call, isQuestion), heard(ofB, isQuestion)]));
    await call.done;
    await go("A", "take-back");
    const taken = await heard(ofA, is("notifications/cancelled"));
    expect(taken?.params?.requestId).toBe(question?.id);
    for (const one of [call, ofB, left]) expect(one.text()).not.toContain("SECRET of A");
  });

  test("that cannot be asked are not asked for their tasks, nor is anybody else", async () => {
    const { a, ofA, ofB, did, go } = await open({});
    await last(a.work(1, "A"));
    await go("A", "ask");
    await until(() => did("refused A") === 1);
    for (const one of [ofA, ofB]) expect(one.messages().filter(isQuestion)).toEqual([]);
  });

  test("hear nothing that may be another one's task speaking", async () => {
    const { a, b, ofA, ofB, did, go, release } = await open();
    await b.send({ id: 1, method: "logging/setLevel", params: { level: "debug" } }).done;
    await last(a.work(1, "A"));
    await go("A", "hold-log-to-anybody");
    const call = b.call(2, "hold", { who: "B" });
    await until(() => did("hold B") === 1);
    release();
    expect(await answered(call)).toBe("held for B");
    for (const one of [ofA, ofB, call]) expect(one.messages().filter(is("notifications/message"))).toEqual([]);
  });

  test("that end leave no task at work, no question open and nothing for others to hear", async () => {
    const { host, a, b, ofA, ofB, did, go, release } = await open();
    for (const [index, who] of ["A", "finished A"].entries()) await last(a.work(index, who));
    await last(b.work(1, "B"));
    await go("finished A", "finish");
    await until(async () => (await statusOf(a.about(2, "tasks/get", "task of finished A"))) === "completed");
    await go("A", "ask");
    await heard(ofA, isQuestion);
    const making = [a.work(3, "late A", { name: "hold-work" }), b.work(3, "cancelled B", { name: "hold-work" })];
    await until(() => did("hold-work late A") === 1);
    expect((await fetch(host.url, { method: "DELETE", headers: a.headers })).status).toBe(204);
    await until(() => did("cancels A") === 1 && did("refused A") === 1);
    await until(() => did("hold-work cancelled B") === 1);
    await b.send(cancel(3)).done;
    await until(() => did("notifications/cancelled") === 2);
    release();
    await until(() => did("cancels late A") === 1 && did("cancels cancelled B") === 1);

    await go("A", "ask");
    await until(() => did("refused A") === 2);
    await go("A", "status");
    expect(await codeOf(b.about(4, "tasks/get", "task of A"))).toBe(-32602);
    expect(await statusOf(b.about(5, "tasks/get", "task of B"))).toBe("working");
    expect(did("cancels B") + did("tasks/cancel task of finished A")).toBe(0);
    await moment();
    for (const one of [ofB, ...making]) expect(one.text()).not.toContain("SECRET of A");
  });

  test("lose a task when the server has said nothing of it for its time to live", async () => {
    const { a, did } = await open();
    await last(a.work(1, "A", { args: { ttl: 100 } }));
    await moment();
    expect(await codeOf(a.about(2, "tasks/get", "task of A"))).toBe(-32602);
    await until(() => did("cancels A") === 1);
    expect(did("tasks/get")).toBe(0);
  });
});

test("two sessions of the reference server have a task each, are asked for their own and get its result", async () => {
  const local = everythingServer();
  const host = await startGateway({ probe: { ...local.endpoint, isShared: true } }, { queueMs: 10_000 });
  onTestFinished(async () => {
    await host.close();
    expect(local.alive()).toEqual([]);
  });
  const research = async (number: number, topic: string, interpretation: string) => {
    host.tokens.set(`${number}`, { type: "connection", entry: connection(number) });
    const session = await carelessSession(host.url, host.headers(`${number}`), { capabilities: asking });
    const params = { name: "simulate-research-query", arguments: { topic, ambiguous: true }, task: { ttl: 60_000 } };
    const made = await last(session.send({ id: 1, method: "tools/call", params }));
    const waits = session.about(2, "tasks/result", made?.result?.task?.taskId ?? "");
    const question = await heard(waits, isQuestion);
    expect(question?.params?.message).toContain(`"${topic}"`);
    await session.reply(question, { action: "accept", content: { interpretation } });
    expect(await answered(waits)).toContain(`Research Report: ${topic} (${interpretation})`);
  };
  await Promise.all([research(1, "python", "snake"), research(2, "quarks", "general")]);
  expect(local.started()).toBe(1);
});

test.each([true, false])(
  "a stateless caller of a server with sessions gets an answer, no task (shared: %s)",
  async (isShared) => {
    const { ask, did } = await careless({ endpoint: { isShared } });
    const params = { name: "work", arguments: { who: "A" }, task: {} };
    expect(await answered(ask("1", "tools/call", params))).toBe("no task for A");
    expect(did("work A")).toBe(1);
    for (const method of ["tasks/list", "tasks/get", "tasks/result", "tasks/cancel", "tasks/update"]) {
      expect(await codeOf(ask("1", method, { taskId: "task of A" }))).toBe(-32601);
      expect(did(method)).toBe(0);
    }
  },
);

const extension = { extensions: { "io.modelcontextprotocol/tasks": {} } };

describe("callers of one stateless process", () => {
  const options = { flags: ["--stateless"], endpoint: { isShared: true, speech: { sessions: false, stateless: true } } };

  test("use the tasks of their own connection only", async () => {
    const { host, ask, call, did } = await careless(options);
    const about = (token: string, method: string, taskId: string) => ask(token, method, { taskId }, extension);
    expect((await last(call("1", "work", { who: "A" }, extension)))?.result).toMatchObject({ taskId: "task of A" });
    expect(await answered(call("2", "work", { who: "B" }))).toBe("no task for B");
    for (const method of ["tasks/get", "tasks/update", "tasks/cancel"]) {
      const [foreign, none] = [await last(about("2", method, "task of A")), await last(about("2", method, "task of nobody"))];
      expect(foreign?.error?.code).toBe(-32602);
      expect(foreign).toEqual(none);
    }
    expect(await codeOf(about("2", "tasks/list", "task of A"))).toBe(-32601);
    expect(["get", "update", "cancel"].map((what) => did(`tasks/${what}`))).toEqual([0, 0, 0]);
    expect(await statusOf(about("1", "tasks/get", "task of A"))).toBe("working");

    for (const [token, own] of [
      ["1", "task of A"],
      ["2", ""],
    ] as const) {
      const notifications = { taskIds: ["task of A", "task of nobody"] };
      await ask(token, "subscriptions/listen", { notifications }, extension).done;
      expect(did(`listens to ${own}`)).toBe(1);
    }
    const params = { name: "echo", arguments: {}, _meta: { "io.modelcontextprotocol/related-task": { taskId: "task of A" } } };
    expect(await codeOf(ask("2", "tools/call", params))).toBe(-32602);

    expect(await last(about("1", "tasks/cancel", "task of A"))).toMatchObject({ result: {} });
    await last(call("1", "work", { who: "C" }, extension));
    await host.gateway.accessChanged(connection(1).connectionId, undefined);
    await until(() => did("cancels C") === 1);
  });

  test("with a session have no tasks, which could not be carried over", async () => {
    const { call, session, did } = await careless(options);
    await last(call("1", "work", { who: "A" }, extension));
    const a = await session("1", extension);
    expect(a.welcome?.result?.capabilities).not.toHaveProperty("extensions");
    expect(await answered(a.call(1, "work", { who: "B" }))).toBe("no task for B");
    expect(await codeOf(a.about(2, "tasks/get", "task of A"))).toBe(-32601);
    expect(did("tasks/get")).toBe(0);
  });
});

test.each([true, false])(
  "a stateless caller's task keeps its process, until it is over or its client gone (shared: %s)",
  async (isShared) => {
    const speech = { sessions: false, stateless: true };
    const { host, local, ask, call, did } = await careless({
      flags: ["--stateless"],
      endpoint: { isShared, speech },
      limits: { idleMs: 200, sessionsPerServer: 1, queueMs: 500 },
    });
    const about = (method: string, who: string) => ask("1", method, { taskId: `task of ${who}` }, extension);
    const logs = { _meta: { "io.modelcontextprotocol/logLevel": "debug" } };
    await last(call("1", "work", { who: "A", ttl: 60_000 }, extension));
    await last(call("1", "work", { who: "B" }, extension));
    await moment();
    await moment();
    // Neither idleness nor somebody who wants its place ends it.
    if (!isShared) expect((await call("2", "echo", { who: "C" }).done).status).toBe(503);
    expect([local.alive().length, local.started(), host.gateway.sessionCount("probe")]).toEqual([1, 1, 1]);
    expect(await statusOf(about("tasks/get", "A"))).toBe("working");

    if (!isShared) {
      // A process that is not used again is asked about its tasks all the same.
      const leaves = new AbortController();
      const left = ask("1", "tools/call", { name: "hold", arguments: { who: "D" }, ...logs }, {}, leaves.signal);
      await until(() => did("hold D") === 1);
      expect(await statusOf(about("tasks/get", "A"))).toBe("working");
      leaves.abort();
      await expect(left.done).rejects.toThrow();
      await until(() => did("notifications/cancelled") === 1);
      expect(await statusOf(about("tasks/get", "A"))).toBe("working");
      expect(local.started()).toBe(1);
    }
    await last(about("tasks/cancel", "A"));
    await moment();
    expect(local.alive()).toHaveLength(1);
    await last(about("tasks/cancel", "B"));
    await until(() => local.alive().length === 0 && host.gateway.sessionCount("probe") === 0);

    await last(call("1", "work", { who: "E" }, extension));
    await host.gateway.accessChanged(connection(1).connectionId, undefined);
    if (!isShared) expect(local.alive()).toEqual([]);
    await until(() => local.alive().length === 0);
  },
);

test.each([true, false])("a release drains while a stateless caller's task is at work in it (shared: %s)", async (isShared) => {
  const speech = { sessions: false, stateless: true };
  const { host, local, endpoint, ask, call } = await careless({
    flags: ["--stateless"],
    endpoint: { isShared, speech, container: "old" },
  });
  const about = (token: string, method: string) => ask(token, method, { taskId: "task of A" }, extension);
  await last(call("1", "work", { who: "A" }, extension));
  endpoint.container = "new";
  expect(await answered(call("1", "echo", { who: "B" }))).toBe("echo of B");
  expect(await codeOf(about("2", "tasks/get"))).toBe(-32602);
  const counted = () => ["old", "new"].map((container) => host.gateway.sessionCount("probe", container));
  expect(counted()).toEqual([1, 0]);
  const started = local.started();
  expect(await statusOf(about("1", "tasks/get"))).toBe("working");
  await last(about("1", "tasks/cancel"));
  await until(() => counted()[0] === 0);
  expect(local.started()).toBe(started);
});

describe("a stateless server over HTTP", () => {
  const logs = { _meta: { "io.modelcontextprotocol/logLevel": "debug" } };
  const relation = { "io.modelcontextprotocol/related-task": { taskId: "task of 1" } };

  /** A server whose tools are `work`, which makes a task of the name that is given, and `log`, which speaks of "task of 1". */
  async function open(limits: Parameters<typeof startGateway>[1] = {}) {
    const got: string[] = [];
    const server = createServer(async (request, response) => {
      const { id, method, params } = (await json(request)) as {
        id: number;
        method: string;
        params: { taskId?: string; name?: string; arguments?: { taskId: string; ttlMs?: number } };
      };
      got.push(`${method} ${request.headers["mcp-name"] ?? ""}`.trim());
      if (params.name === "log") {
        response.setHeader("content-type", "text/event-stream");
        const say = (said: object) => response.write(`data: ${JSON.stringify({ jsonrpc: "2.0", ...said })}\n\n`);
        say({ method: "notifications/message", params: { level: "info", data: "plain" } });
        say({ method: "notifications/message", params: { level: "info", data: "of a task", _meta: relation } });
        say({ method: "notifications/tasks/status", params: { taskId: "task of 1", status: "working" } });
        say({ id, result: { resultType: "complete", content: [] } });
        return void response.end();
      }
      const { taskId = params.taskId, ttlMs = null } = params.arguments ?? {};
      const task = { resultType: method === "tools/call" ? "task" : "complete", taskId, status: "working", ttlMs };
      response.setHeader("content-type", "application/json").end(JSON.stringify({ jsonrpc: "2.0", id, result: task }));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
    const speech = { sessions: false, stateless: true };
    const endpoint: ServerEndpoint = { type: "http", url, speech, container: "old" };
    const host = await startGateway({ probe: endpoint }, limits);
    onTestFinished(async () => {
      await host.close();
      server.closeAllConnections();
      server.close();
    });
    for (const number of [1, 2]) host.tokens.set(`${number}`, { type: "connection", entry: connection(number) });
    const ask = async (token: string, method: string, params: Parameters<typeof statelessRequest>[3], name?: string) => {
      const { headers, body } = statelessRequest(host, token, method, params, extension);
      const answer = await fetch(host.url, {
        method: "POST",
        headers: name === undefined ? headers : { ...headers, "mcp-name": name },
        body: JSON.stringify(body),
      });
      const text = await answer.text();
      const lines = text.startsWith("{") ? [text] : text.split("\n").flatMap((line) => /^data: (.+)/.exec(line)?.[1] ?? []);
      const messages = lines.map((line): Received => JSON.parse(line));
      return { status: answer.status, messages, last: messages.at(-1) };
    };
    const work = (token: string, taskId: string, ttlMs?: number) =>
      ask(token, "tools/call", { name: "work", arguments: { taskId, ttlMs } });
    return { host, endpoint, got, ask, work };
  }

  test("has tasks that only the connection of their maker uses", async () => {
    const { got, ask, work } = await open();
    expect((await work("1", "task of 1")).last?.result?.taskId).toBe("task of 1");
    for (const method of ["tasks/get", "tasks/update", "tasks/cancel"]) {
      const params = { taskId: "task of 1" };
      expect((await ask("2", method, params)).last?.error?.code).toBe(-32602);
      expect((await ask("1", method, params)).last?.result?.taskId).toBe("task of 1");
      expect((await ask("1", method, params, "task of 1")).last?.result?.taskId).toBe("task of 1");
      // A header that contradicts the body is refused.
      expect(await ask("1", method, params, "task of 2")).toMatchObject({ status: 400, last: { error: { code: -32020 } } });
    }
    const twice = ["tasks/get", "tasks/update", "tasks/cancel"].flatMap((method) => Array(2).fill(`${method} task of 1`));
    expect(got).toEqual(["tools/call work", ...twice]);
  });

  test("says on the stream of a call what it has to say of its maker's task, and of nobody else's", async () => {
    const { ask, work } = await open();
    const log = async (token: string) => {
      const { messages } = await ask(token, "tools/call", { name: "log", ...logs });
      return messages.map(({ method }) => method);
    };
    const [said, status] = ["notifications/message", "notifications/tasks/status"];
    // A task that nobody made here is nobody else's.
    expect(await log("2")).toEqual([said, said, status, undefined]);
    await work("1", "task of 1");
    expect(await log("1")).toEqual([said, said, status, undefined]);
    expect(await log("2")).toEqual([said, undefined]);
  });

  test("gets what is not about tasks as it is, and is not asked for a list of everybody's", async () => {
    const { got, ask } = await open();
    for (const params of [{ taskID: 7 }, { Task: 7 }, { Notifications: {} }]) {
      expect((await ask("1", "acme/jobs", params)).status).toBe(200);
    }
    expect(await ask("1", "tasks/list", {})).toMatchObject({ status: 404, last: { error: { code: -32601 } } });
    expect(got).toEqual(Array(3).fill("acme/jobs"));
  });

  test("is told to cancel what is forgotten: the oldest beyond 256, and those of a connection that has gone", async () => {
    const { host, got, work } = await open();
    await work("2", "task of 2");
    for (let index = 0; index < 257; index += 1) await work("1", `${index}`);
    await until(() => got.includes("tasks/cancel 0"));
    expect(got.filter((line) => line.startsWith("tasks/cancel"))).toHaveLength(1);
    await host.gateway.accessChanged(connection(1).connectionId, undefined);
    await until(() => got.filter((line) => line.startsWith("tasks/cancel")).length === 257);
    expect(got).not.toContain("tasks/cancel task of 2");
  });

  test("keeps the release that has a task until its client has cancelled it, however long it is silent", async () => {
    const { host, endpoint, ask, work } = await open({ idleMs: 100 });
    const counted = () => ["old", "new"].map((container) => host.gateway.sessionCount("probe", container));
    const about = async (method: string) => (await ask("1", method, { taskId: "task of 1" })).last;
    await work("1", "task of 1");
    endpoint.container = "new";
    // Whoever is idle is looked for once a second.
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    expect(counted()).toEqual([1, 0]);
    expect((await about("tasks/get"))?.result?.taskId).toBe("task of 1");
    expect((await about("tasks/cancel"))?.error).toBeUndefined();
    expect(counted()).toEqual([0, 0]);
    // The DTMA looks whether the release is needed whenever it is told a count.
    const told = host.sessionCounts.length;
    await until(() => host.sessionCounts.length > told);
  });
});

describe.skipIf(!parts.docker)("a container whose template wants one process for everybody", () => {
  let bench: Bench;
  let dtma: DtmaProcess;
  beforeAll(async () => {
    bench = createBench();
    dtma = await bench.start();
    const image = await bench.serverImage("careless.mjs", { args: ["--journal=/dev/null"] });
    const request = imageRequest("app", image, { transport: { type: "stdio", isolation: "shared" } });
    expect((await dtma.perform("PUT", "/v1/servers/app", request)).error).toBeUndefined();
  }, 120_000);
  afterAll(() => bench.close());

  async function session(capabilities: object = {}): Promise<CarelessSession> {
    const token = randomUUID();
    const entry: AccessEntry = {
      connectionId: randomUUID() as AccessEntry["connectionId"],
      server: "app",
      tokenHash: createHash("sha256").update(token).digest("hex"),
      allowedTools: null,
    };
    expect((await dtma.call("PUT", `/v1/access/${entry.connectionId}`, entry)).status).toBe(204);
    const headers = {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
    };
    return carelessSession(new URL(mcpEndpointPath("app"), dtma.ready.url), headers, { capabilities });
  }

  test("gives two connections tasks of their own: to use, to list, to be asked for, to cancel, until they leave", async () => {
    const [a, b, other] = [await session(asking), await session(asking), await session()];
    const [ofA, ofB] = [a.listen(), b.listen()];
    const go = (who: string, what: string) => answered(other.call(1, "go", { who, what }));
    const did = async (what: string) => Number(await answered(other.call(2, "did", { what })));
    for (const round of [1, 2]) {
      for (const [one, who] of [
        [a, "A"],
        [b, "B"],
      ] as const) {
        expect((await last(one.work(round, `${who}${round}`)))?.result?.task?.taskId).toBe(`task of ${who}${round}`);
      }
    }
    for (const method of ["tasks/get", "tasks/result", "tasks/cancel"]) {
      expect(await codeOf(b.about(3, method, "task of A1"))).toBe(-32602);
      expect(await codeOf(a.about(3, method, "task of B1"))).toBe(-32602);
    }
    expect(idsOf(await last(a.send({ id: 4, method: "tasks/list" })))).toEqual(["task of A1", "task of A2"]);
    expect(idsOf(await last(b.send({ id: 4, method: "tasks/list" })))).toEqual(["task of B1", "task of B2"]);

    const waits = a.about(5, "tasks/result", "task of A1");
    await go("A1", "ask");
    const question = await Promise.race([heard(waits, isQuestion), heard(ofA, isQuestion)]);
    const call = b.call(5, "ask", { who: "B" });
    await b.reply(await Promise.race([heard(call, isQuestion), heard(ofB, isQuestion)]), accepted);
    expect(await answered(call)).toContain("B got");
    await a.reply(question, accepted);
    await until(async () => (await did("answered A1")) === 1);
    await go("A1", "finish");
    expect(await answered(waits)).toContain(`A1 got ${JSON.stringify(accepted)}`);

    expect(await statusOf(b.about(6, "tasks/cancel", "task of B1"))).toBe("cancelled");
    const url = new URL(mcpEndpointPath("app"), dtma.ready.url);
    expect((await fetch(url, { method: "DELETE", headers: a.headers })).status).toBe(204);
    await until(async () => (await did("cancels A2")) === 1);
    expect(await did("cancels A1")).toBe(0);
    expect(await statusOf(b.about(7, "tasks/get", "task of B2"))).toBe("working");
    for (const one of [ofB, call]) expect(one.text()).not.toContain("SECRET of A");
    for (const one of [ofA, waits]) expect(one.text()).not.toContain("SECRET of B1");
  });
});
