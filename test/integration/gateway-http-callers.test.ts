import { randomUUID } from "node:crypto";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { describe, expect, onTestFinished, test } from "vitest";
import type { ServerEndpoint } from "../../dtma/src/docker/server-process.ts";
import {
  type CarelessSession,
  carelessSession,
  heard,
  type Received,
  statelessRequest,
} from "../fixtures/mcp-servers/careless.ts";
import { connection, type GatewayHost, openRaw, startGateway, until } from "../fixtures/mcp-servers/gateway-host.ts";

/*
Servers over HTTP that cannot tell their callers apart: whatever of one connection another one could name there.
*/

type Asked = {
  id?: number | string;
  method?: string;
  params: {
    taskId?: string;
    uri?: string;
    requestId?: unknown;
    name?: string;
    arguments?: { who?: string };
    task?: object;
    _meta?: { progressToken?: unknown };
  };
};

/** A server that takes member names in any case, as Go's encoding/json does, and the last one of them. */
function asGoReads(raw: string): Asked {
  const members = Object.entries(JSON.parse(raw) as object);
  return { params: {}, ...Object.fromEntries(members.map(([key, value]) => [key.toLowerCase(), value])) };
}

type Server = {
  host: GatewayHost;
  got: Asked[];
  /** Waits for a call that is held and says how the server knows it. */
  held(who: string): Promise<{ id: Asked["id"]; token: unknown }>;
  /** Says something to whoever made a request, by its id or progress token. */
  say(name: string, message: object): void;
};

/** A server that finds everything by the name that its callers gave it, whoever they are; the gateway has two connections. */
async function serverOf(
  speech: ServerEndpoint["speech"],
  answer: (asked: Asked, response: ServerResponse) => object | "later" | undefined,
): Promise<Server> {
  const got: Asked[] = [];
  const streams = new Map<string, (message: object) => void>();
  const path = `/${randomUUID()}/mcp`;
  const server = createServer(async (request, response) => {
    // Somebody who still waits for whoever had this port before is none of its callers.
    if (request.url !== path) return void response.writeHead(404).end();
    const asked = request.method === "GET" ? { method: "GET", params: {} } : asGoReads(await text(request));
    got.push(asked);
    if (asked.params.name === "hold") {
      const say = startEvents(response);
      streams.set(`request ${asked.id}`, say);
      streams.set(`progress ${asked.params._meta?.progressToken}`, say);
      return;
    }
    const said = answer(asked, response);
    if (said === "later") return;
    if (asked.id === undefined) return void response.writeHead(202).end();
    const result = said ?? { error: { code: -32601, message: "There is no such method." } };
    response.setHeader("content-type", "application/json").end(JSON.stringify({ jsonrpc: "2.0", id: asked.id, ...result }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`;
  const host = await startGateway({ probe: { type: "http", url, ...(speech === undefined ? {} : { speech }) } });
  onTestFinished(async () => {
    await host.close();
    server.closeAllConnections();
    server.close();
    expect(host.faults).toEqual([]);
  });
  for (const number of [1, 2]) host.tokens.set(`${number}`, { type: "connection", entry: connection(number) });
  return {
    host,
    got,
    async held(who) {
      const is = ({ params }: Asked) => params.name === "hold" && params.arguments?.who === who;
      await until(() => got.some(is));
      const { id, params } = got.find(is) as Asked;
      return { id, token: params._meta?.progressToken };
    },
    say: (name, message) => streams.get(name)?.(message),
  };
}

function startEvents(response: ServerResponse): (message: object) => void {
  response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
  return (message) => response.write(`data: ${JSON.stringify({ jsonrpc: "2.0", ...message })}\n\n`);
}

/** Two calls under the same id and progress token, of which each gets its own progress and answer. */
async function areKeptApart({ held, say }: Server, a: CarelessSession, b: CarelessSession): Promise<void> {
  const calls = [a.call(1, "hold", { who: "A" }, "same"), b.call(1, "hold", { who: "B" }, "same")];
  const known = [await held("A"), await held("B")];
  for (const [index, who] of ["A", "B"].entries()) {
    const { id, token } = known[index] ?? {};
    say(`progress ${token}`, { method: "notifications/progress", params: { progressToken: token, progress: 1, message: who } });
    say(`request ${id}`, { id, result: { content: [{ type: "text", text: who }] } });
    expect((await calls[index]?.done)?.messages).toMatchObject([
      { params: { progressToken: "same", message: who } },
      { id: 1, result: { content: [{ text: who }] } },
    ]);
  }
}

const extension = { extensions: { "io.modelcontextprotocol/tasks": {} } };
const relatedTask = { "io.modelcontextprotocol/related-task": { taskId: "the task" } };

/** What a client says that wants another one's task, in all ways that some reader understands. */
const strange = [
  `"method":"resources/templates/list","Method":"tasks/get","params":{"taskId":"the task"}`,
  `"METHOD":"tasks/get","method":"tools/list","params":{"taskId":"the task"}`,
  `"method":"Tasks/get","params":{"taskId":"the task"}`,
  `"method":"tools/list","method":"tasks/get","params":{"taskId":"the task"}`,
  `"method":"tools/call","params":{"name":"x","_meta":{},"_META":${JSON.stringify(relatedTask)}}`,
];

describe("sessions in front of a stateless server", () => {
  const speech = { sessions: false, stateless: true };

  async function opened() {
    const server = await serverOf(speech, ({ method, params: { taskId } }) => {
      const task = { taskId: "the task", status: "working", ttlMs: null };
      if (method === "server/discover") {
        return { result: { supportedVersions: ["2026-07-28"], capabilities: { tools: {}, ...extension } } };
      }
      if (method === "tools/call") return { result: { resultType: "task", ...task } };
      return { result: { resultType: "complete", ...task, taskId, secret: "SECRET of A" } };
    });
    const { host, got } = server;
    const { headers, body } = statelessRequest(host, "1", "tools/call", { name: "work" }, extension);
    const made = await fetch(host.url, { method: "POST", headers, body: JSON.stringify(body) });
    expect(await made.text()).toContain('"taskId":"the task"');
    const b = await openRaw(host, "2");
    got.length = 0;
    return { server, got, b };
  }

  test("reach no task of another connection, however they name it", async () => {
    const { got, b } = await opened();
    const errorOf = async (rest: string) => {
      const answer = await b.post(`{"jsonrpc":"2.0","id":1,${rest}}`);
      return ((await answer.json()) as { error?: { code: number } }).error?.code;
    };
    for (const method of ["tasks/get", "tasks/result", "tasks/cancel", "tasks/update", "tasks/list"]) {
      expect(await errorOf(`"method":"${method}","params":{"taskId":"the task"}`)).toBe(-32601);
    }
    for (const rest of strange) expect(await errorOf(rest), rest).toBeOneOf([-32600, -32601]);
    const meta = JSON.stringify(relatedTask);
    expect(await errorOf(`"method":"tools/call","params":{"name":"x","_meta":${meta}}`)).toBe(-32602);
    expect(got).toEqual([]);
  });

  test("cannot do to it what needs no answer", async () => {
    const { got, b } = await opened();
    const cancelling = `"method":"notifications/mine","Method":"tasks/cancel","Id":1,"params":{"taskId":"the task"}`;
    expect((await b.post(`{"jsonrpc":"2.0",${cancelling}}`)).status).toBe(400);
    expect((await b.post({ jsonrpc: "2.0", method: "tasks/cancel", params: { taskId: "the task" } })).status).toBe(400);
    expect(got).toEqual([]);
    expect((await b.post({ jsonrpc: "2.0", method: "notifications/mine" })).status).toBe(202);
    expect(got).toMatchObject([{ method: "notifications/mine" }]);
  });

  test("hear of no task of another connection", async () => {
    const { got, b } = await opened();
    const notifications = { taskIds: ["the task"], toolsListChanged: true };
    await (await b.post({ jsonrpc: "2.0", id: 1, method: "subscriptions/listen", params: { notifications } })).text();
    expect(got).toMatchObject([{ params: { notifications: { taskIds: [], toolsListChanged: true } } }]);
  });

  test("get the answers and the progress of their own calls, whatever ids and tokens they give them", async () => {
    const { server } = await opened();
    const { url, headers } = server.host;
    await areKeptApart(server, await carelessSession(url, headers("1")), await carelessSession(url, headers("2")));
  });
});

describe("callers of a server that gives out no session ids", () => {
  const speech = { sessions: true, stateless: false };

  async function opened() {
    const everybody: ((message: object) => void)[] = [];
    const answer = (asked: Asked, response: ServerResponse) => {
      const { method, params } = asked;
      if (method === "GET") {
        everybody.push(startEvents(response));
        return "later";
      }
      if (method === "initialize") {
        const capabilities = { tools: {}, logging: {}, resources: { subscribe: true }, tasks: { list: {}, cancel: {} } };
        return { result: { protocolVersion: "2025-11-25", capabilities, serverInfo: { name: "s", version: "1" } } };
      }
      if (method === "tools/call" && params.task !== undefined) return { result: { task: { taskId: "the task" } } };
      if (method === "tools/call") return { result: { content: [{ type: "text", text: `for ${params.arguments?.who}` }] } };
      if (method?.startsWith("resources/")) return { result: {} };
      return method?.startsWith("tasks/") ? { result: { tasks: [], secret: "SECRET of A" } } : undefined;
    };
    const server = await serverOf(speech, answer);
    const { host, got } = server;
    const abilities = { capabilities: { elicitation: { form: {} } } };
    const a = await carelessSession(host.url, host.headers("1"), abilities);
    const b = await carelessSession(host.url, host.headers("2"), abilities);
    /** What the server has been sent since. */
    const since = got.length;
    return {
      ...server,
      server,
      a,
      b,
      got: () => got.slice(since),
      sayToEverybody(message: object) {
        for (const say of everybody) say(message);
      },
      listeners: () => everybody.length,
    };
  }

  const last = (messages: Received[]) => messages.at(-1);
  const question = { id: 7, method: "elicitation/create", params: { message: "SECRET of A", requestedSchema: {} } };

  test("have no tasks there, and reach none, however they name it", async () => {
    const { host, b, got } = await opened();
    expect(b.welcome?.result?.capabilities).toEqual({ tools: {}, logging: {}, resources: { subscribe: true } });
    for (const method of ["tasks/list", "tasks/get", "tasks/result", "tasks/cancel", "tasks/update"]) {
      expect(last((await b.about(1, method, "the task").done).messages)?.error?.code).toBe(-32601);
      const { headers, body } = statelessRequest(host, "1", method, { taskId: "the task" });
      expect((await fetch(host.url, { method: "POST", headers, body: JSON.stringify(body) })).status).toBe(404);
    }
    const said = (rest: string) =>
      fetch(host.url, { method: "POST", headers: b.headers, body: `{"jsonrpc":"2.0",${rest}}` }).then((answer) =>
        answer.text(),
      );
    for (const rest of strange) expect(await said(`"id":1,${rest}`), rest).toMatch(/-3260[01]/);
    expect((await b.work(2, "B", { _meta: relatedTask }).done).text).toContain("-32602");
    for (const rest of [`"method":"tasks/cancel"`, `"method":"notifications/mine","Method":"tasks/cancel","Id":1`]) {
      expect(await said(`${rest},"params":{"taskId":"the task"}`)).toContain('"error"');
    }
    expect(got()).toEqual([]);
    expect((await b.work(3, "B").done).text).toContain("for B");
    expect(got().map(({ params }) => params)).toEqual([{ name: "work", arguments: { who: "B" } }]);
  });

  test("of 2026-07-28 reach none either, however they name it", async () => {
    const { host, got } = await opened();
    for (const rest of [`"METHOD":"tasks/get"`, `"Method":"tasks/list"`]) {
      const { headers, body } = statelessRequest(host, "2", "tools/list", {});
      const more = JSON.stringify(body).replace(/^\{/, `{${rest},`);
      expect(await (await fetch(host.url, { method: "POST", headers, body: more })).text()).toContain("-32600");
    }
    expect(got().filter(({ method }) => method !== "initialize" && method !== "notifications/initialized")).toEqual([]);
  });

  test("get the answers and the progress of their own calls, whatever ids and tokens they give them", async () => {
    const { server, a, b } = await opened();
    await areKeptApart(server, a, b);
  });

  test("cancel their own requests only", async () => {
    const { a, b, got, held } = await opened();
    const call = a.call(1, "hold", { who: "A" });
    const { id } = await held("A");
    for (const requestId of [1, id]) {
      expect((await b.send({ method: "notifications/cancelled", params: { requestId } }).done).status).toBe(202);
    }
    const twice = { requestId: "mine", REQUESTID: id };
    expect((await b.send({ method: "notifications/cancelled", params: twice }).done).status).toBe(400);
    expect(got()).toHaveLength(1);
    await a.send({ method: "notifications/cancelled", params: { requestId: 1 } }).done;
    expect(got()[1]).toMatchObject({ method: "notifications/cancelled", params: { requestId: id } });
    await call.done;
  });

  test("answer only what they were asked themselves, once", async () => {
    const { a, b, got, held, say } = await opened();
    const call = a.call(1, "hold", { who: "A" });
    const { id } = await held("A");
    say(`request ${id}`, { ...question, params: { ...question.params, _meta: { progressToken: "far" } } });
    await heard(call, (message) => message.id === 7);
    const progress = { method: "notifications/progress", params: { progressToken: "far", progress: 1 } };
    await b.reply({ id: 7 });
    await b.send(progress).done;
    expect(got()).toHaveLength(1);
    await a.send(progress).done;
    for (const _ of [1, 2]) await a.reply({ id: 7 });
    expect(got().slice(1)).toMatchObject([{ method: "notifications/progress" }, { id: 7, result: { action: "decline" } }]);
    say(`request ${id}`, { id, result: {} });
    await call.done;
  });

  test("hear of what belongs to no request only what is said of the server as a whole, and of their own resources", async () => {
    const { a, b, got, listeners, sayToEverybody } = await opened();
    await a.send({ id: 1, method: "resources/subscribe", params: { uri: "test://a" } }).done;
    await b.send({ id: 1, method: "resources/subscribe", params: { uri: "test://b" } }).done;
    expect((await b.send({ id: 2, method: "resources/unsubscribe", params: { uri: "test://a" } }).done).text).toContain(
      "result",
    );
    const [ofA, ofB] = [a.listen(), b.listen()];
    await until(() => listeners() === 2);
    sayToEverybody({ method: "notifications/message", params: { level: "info", data: "SECRET of A" } });
    sayToEverybody(question);
    sayToEverybody({ method: "notifications/tasks/status", params: { taskId: "SECRET of A" } });
    for (const uri of ["test://a", "test://b"]) sayToEverybody({ method: "notifications/resources/updated", params: { uri } });
    sayToEverybody({ method: "notifications/tools/list_changed" });
    for (const [stream, uri] of [
      [ofA, "test://a"],
      [ofB, "test://b"],
    ] as const) {
      await heard(stream, ({ method }) => method === "notifications/tools/list_changed");
      expect(stream.messages()).toMatchObject([{ params: { uri } }, { method: "notifications/tools/list_changed" }]);
    }
    await until(() => got().filter(({ id }) => id === 7).length === 2);
    expect(got().some(({ method }) => method === "resources/unsubscribe")).toBe(false);
  });
});
