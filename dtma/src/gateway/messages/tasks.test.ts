import { describe, expect, it } from "vitest";
import { type Message, made, membersIn } from "./json-rpc.ts";
import { spliced } from "./splice.ts";
import * as tasks from "./tasks.ts";
import { createdTask, hearingOf, relatedTask, withoutTask, withoutTasks } from "./tasks.ts";

const message = (value: object): Message => made(JSON.stringify({ jsonrpc: "2.0", ...value }));
const request = (method: string, params?: object): Message => message({ id: 1, method, ...(params && { params }) });
const raw = (params: string, method = '"method":"tasks/get"'): Message =>
  made(`{"jsonrpc":"2.0","id":1,${method},"params":${params}}`);
const namedTasks = (one: Message) => tasks.namedTasks(one, membersIn(one.text, one.params));
const mayMakeTask = (one: Message) => tasks.mayMakeTask(one, membersIn(one.text, one.params));
const related = "io.modelcontextprotocol/related-task";

describe("the tasks that a request names", () => {
  it("are the one that it is about and the one that it belongs to", () => {
    const params = { taskId: "a", _meta: { [related]: { taskId: "b" } } };
    expect(namedTasks(request("tasks/get", params))?.ids).toEqual(["a", "b"]);
    expect(namedTasks(request("tools/call", params))?.ids).toEqual(["b"]);
    expect(namedTasks(request("tools/call", { name: "x" }))?.ids).toEqual([]);
    expect(namedTasks(request("tools/list"))?.ids).toEqual([]);
  });

  it("are nobody's when they are no names", () => {
    for (const params of [undefined, {}, { taskId: 5 }, { taskId: null }, ["a"]]) {
      expect(namedTasks(request("tasks/get", params))?.ids).toEqual([undefined]);
    }
    for (const relation of ["a", null, {}, { taskId: ["a"] }]) {
      expect(namedTasks(request("tools/call", { _meta: { [related]: relation } }))?.ids).toEqual([undefined]);
    }
  });

  it.each([
    ["twice", raw('{"taskId":"a","taskId":"b"}')],
    ["and almost named again", raw('{"taskId":"a","TaskID":"b"}')],
    ["in an escape as well", raw('{"taskId":"a","task\\u0049d":"b"}')],
    ["in members that are named twice", raw('{"taskId":"a"},"params":{"taskId":"b"}')],
    ["in members that are almost named again", raw('{"taskId":"a"},"PARAMS":{"taskId":"b"}')],
    ["for a method that is almost one", raw('{"taskId":"a"}', '"method":"Tasks/get"')],
    ["for two methods", raw('{"taskId":"a"}', '"method":"tools/list","method":"tasks/get"')],
    ["as what two of them belong to", raw(`{"_meta":{"${related}":{"taskId":"a"}},"_meta":{}}`, '"method":"tools/call"')],
    ["as a relation with two names", raw(`{"_meta":{"${related}":{"taskId":"a","taskid":"b"}}}`, '"method":"tools/call"')],
    ["as a relation in other letters", raw(`{"_meta":{"${related.toUpperCase()}":{}}}`, '"method":"tools/call"')],
    ["to be heard of twice", raw('{"notifications":{"taskIds":[],"taskids":["a"]}}', '"method":"subscriptions/listen"')],
  ])("are refused when one is named %s", (_how, ambiguous) => {
    expect(namedTasks(ambiguous)).toBeUndefined();
  });

  it("are not looked for where they decide nothing", () => {
    const almost = { taskID: 7, Task: 1, TASK: 2, Notifications: [], notifications: { taskids: [] } };
    expect(namedTasks(request("acme/jobs", almost))).toEqual({ ids: [], heard: undefined });
    const heard = namedTasks(request("subscriptions/listen", { taskID: 7, Task: 1, notifications: { taskIds: [] } }));
    expect(heard?.heard).toBeDefined();
    expect(namedTasks(request("tasks/get", { taskId: "a", Task: 1, Notifications: 2 }))?.ids).toEqual(["a"]);
  });

  it("are heard of only if they are its own", () => {
    const listen = raw('{"notifications":{"taskIds":["a","ä","b",5],"x":1}}', '"method":"subscriptions/listen"');
    const heard = namedTasks(listen)?.heard;
    if (heard === undefined) throw new Error("nothing is heard");
    const own = JSON.parse(spliced(listen.bytes, [hearingOf(listen, heard, (id) => id !== "b")]).toString());
    expect(own.params).toEqual({ notifications: { taskIds: ["a", "ä"], x: 1 } });
    expect(namedTasks(request("tools/call", { notifications: { taskIds: ["a"] } }))?.heard).toBeUndefined();
  });
});

describe("what a server says of tasks", () => {
  it("is a task instead of an answer, in both eras", () => {
    const task = { taskId: "a", status: "working", ttl: 50 };
    const said = { id: "a", isFinished: false, ttlMs: 50 };
    expect(createdTask(message({ id: 1, result: { task } }))).toEqual(said);
    const flat = { resultType: "task", taskId: "a", status: "working", ttlMs: 50 };
    expect(createdTask(message({ id: 1, result: flat }))).toEqual(said);
    expect(createdTask(message({ id: 1, result: { ...flat, resultType: "complete" } }))).toBeUndefined();
    for (const result of [{ task: "a" }, { task: { taskId: 1 } }, { content: [] }, 5, null]) {
      expect(createdTask(message({ id: 1, result }))).toBeUndefined();
    }
  });

  it("may have no end, and be over", () => {
    for (const ttl of [null, 0, -1, "x", undefined]) {
      const task = { taskId: "a", status: "failed", ...(ttl === undefined ? {} : { ttl }) };
      expect(createdTask(message({ id: 1, result: { task } }))).toEqual({ id: "a", isFinished: true, ttlMs: undefined });
    }
  });

  it("belongs to a task by its metadata", () => {
    expect(relatedTask(request("elicitation/create", { _meta: { [related]: { taskId: "a" } } }))).toBe("a");
    expect(relatedTask(request("elicitation/create", { taskId: "a" }))).toBeUndefined();
    expect(relatedTask(request("roots/list"))).toBeUndefined();
  });
});

describe("a request that may make a task", () => {
  it("asks for one, or is a call of a stateless client that knows them", () => {
    expect(mayMakeTask(request("tools/call", { task: {} }))).toBe(true);
    const capabilities = { extensions: { "io.modelcontextprotocol/tasks": {} } };
    const knowing = { _meta: { "io.modelcontextprotocol/clientCapabilities": capabilities } };
    expect(mayMakeTask(request("tools/call", knowing))).toBe(true);
    expect(mayMakeTask(request("tools/list", knowing))).toBe(false);
    expect(mayMakeTask(request("tools/call", { name: "x" }))).toBe(false);
  });

  it("is one for an answer without its wish", () => {
    const plain = withoutTask(raw('{ "task":{"ttl":1}, "name":"ä","task":null }', '"method":"tools/call"'));
    expect(JSON.parse(plain.toString()).params).toEqual({ name: "ä" });
    const none = request("tools/call", { name: "x" });
    expect(withoutTask(none)).toEqual(none.bytes);
  });

  it("is not offered where the answer to initialize is without tasks", () => {
    const result = { capabilities: { tools: {}, tasks: { list: {} } }, serverInfo: { name: "s" } };
    const bare = JSON.parse(withoutTasks(message({ id: 1, result }).bytes).toString());
    expect(bare.result).toEqual({ capabilities: { tools: {} }, serverInfo: { name: "s" } });
  });
});
