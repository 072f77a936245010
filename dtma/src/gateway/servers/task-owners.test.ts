import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Message, made, membersIn } from "../messages/json-rpc.ts";
import { type OwnedCall, type TaskOwner, TaskOwners } from "./task-owners.ts";
import { UpstreamError } from "./upstream.ts";
import { Worker } from "./worker.ts";

type Said = { id?: unknown; method?: string; params?: Record<string, unknown> };

const message = (value: object): Message => made(JSON.stringify({ jsonrpc: "2.0", ...value }));
const related = (taskId: string) => ({ _meta: { "io.modelcontextprotocol/related-task": { taskId } } });
const start = (tasks: TaskOwners, call: OwnedCall) => tasks.starts(call, membersIn(call.message.text, call.message.params));
const question = (id: string, taskId: string) => message({ id, method: "elicitation/create", params: related(taskId) });

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Owners of tasks in front of a server that knows what it is told to know. */
function open({ hasOneClient = false } = {}) {
  const asked: string[] = [];
  const replies: string[] = [];
  const states = new Map<string, object>();
  const tasks = new TaskOwners({
    hasOneClient,
    async ask(method, taskId) {
      asked.push(`${method} ${taskId}`);
      const result = states.get(taskId);
      return message(result === undefined ? { id: 1, error: { code: -32602, message: "none" } } : { id: 1, result });
    },
    reply: (id, said) => replies.push(`${id} ${String(said).slice(1, 6)}`),
  });
  let lastId = 0;
  const owner = (key: string) => {
    const heard: Said[] = [];
    const questions: Said[] = [];
    const self: TaskOwner = {
      key,
      onNotification: ({ bytes }) => void heard.push(JSON.parse(bytes.toString())),
      onAsk: ({ bytes }) => void questions.push(JSON.parse(bytes.toString())),
    };
    /** Sends a request and hears the answer; the server's id of it. */
    const call = (request: object, answer?: object, progressToken?: string): number => {
      lastId += 1;
      const sent = { message: message({ id: "theirs", ...request }), owner: self, progressToken };
      start(tasks, sent);
      if (answer !== undefined) {
        tasks.answered(lastId, sent, message({ id: lastId, ...answer }));
        tasks.over(sent);
      }
      return lastId;
    };
    const work = (taskId: string, more: object = {}, progressToken?: string): number => {
      const task = { taskId, status: "working", ttl: null, ...more };
      return call({ method: "tools/call", params: { name: "x", task: {} } }, { result: { task } }, progressToken);
    };
    const about = (method: string, taskId: string, answer?: object) => call({ method, params: { taskId } }, answer);
    return { self, heard, questions, call, work, about };
  };
  return { tasks, asked, replies, states, owner };
}

/** The code of the error that a request is refused with. */
function refused(send: () => unknown): number | undefined {
  try {
    send();
    return undefined;
  } catch (error) {
    if (error instanceof UpstreamError) return error.failure.error.code;
    throw error;
  }
}

const finished = { result: { taskId: "-", status: "completed" } };

describe("a task", () => {
  it("is its maker's alone", () => {
    const { owner } = open();
    const [a, b] = [owner("a"), owner("b")];
    a.work("1");
    for (const method of ["tasks/get", "tasks/result", "tasks/cancel", "tasks/update"]) {
      expect(refused(() => a.about(method, "1"))).toBeUndefined();
      expect(refused(() => b.about(method, "1"))).toBe(-32602);
      expect(refused(() => a.about(method, "2"))).toBe(-32602);
    }
    expect(refused(() => b.call({ method: "tools/call", params: related("1") }))).toBe(-32602);
    expect(refused(() => a.call({ method: "tools/call", params: related("1") }))).toBeUndefined();
    expect(refused(() => a.about("tasks/steal", "1"))).toBe(-32601);
  });

  it("is nobody's when the server gives its name to another one, and cancelled", () => {
    const { owner, asked } = open();
    const [a, b] = [owner("a"), owner("b")];
    a.work("1");
    b.work("1");
    for (const one of [a, b]) expect(refused(() => one.about("tasks/get", "1"))).toBe(-32602);
    expect(asked).toEqual(["tasks/cancel 1"]);
  });

  it("that is over gives its name to a new one, but not to another one that is over", () => {
    const { owner, asked } = open();
    const [a, b] = [owner("a"), owner("b")];
    for (const id of ["1", "2"]) {
      a.work(id);
      a.about("tasks/get", id, { result: { taskId: id, status: "completed" } });
    }
    b.work("1");
    b.work("2", { status: "completed" });
    for (const id of ["1", "2"]) expect(refused(() => a.about("tasks/get", id))).toBe(-32602);
    expect(refused(() => b.about("tasks/get", "1"))).toBeUndefined();
    expect(refused(() => b.about("tasks/get", "2"))).toBe(-32602);
    b.work("1", { ttl: 10 });
    vi.advanceTimersByTime(10);
    a.work("1");
    expect(refused(() => a.about("tasks/get", "1"))).toBeUndefined();
    expect(asked).toEqual(["tasks/cancel 1"]);
  });

  it("comes only of an answer to a request for one", () => {
    const { owner } = open();
    const a = owner("a");
    a.call({ method: "tools/call", params: { name: "x" } }, { result: { task: { taskId: "1", status: "working" } } });
    a.call({ method: "tools/call", params: { name: "x", task: {} } }, { error: { code: 1, message: "no" } });
    expect(refused(() => a.about("tasks/get", "1"))).toBe(-32602);
  });

  it("is cancelled when nobody waits for the answer that names it", () => {
    const { tasks, owner, asked } = open();
    const a = owner("a");
    a.work("1");
    tasks.answered(99, undefined, message({ id: 99, result: { task: { taskId: "1", status: "working" } } }));
    tasks.answered(98, undefined, message({ id: 98, result: { task: { taskId: "2", status: "working" } } }));
    tasks.answered(97, undefined, message({ id: 97, result: { task: { taskId: "3", status: "completed" } } }));
    tasks.answered(96, undefined, message({ id: 96, result: {} }));
    expect(asked).toEqual(["tasks/cancel 1", "tasks/cancel 2"]);
    // Its name is also that of one that nobody got.
    expect(refused(() => a.about("tasks/get", "1"))).toBe(-32602);
  });

  it("is forgotten with its owner, and cancelled unless it is known to be over", () => {
    const { tasks, owner, asked } = open();
    const [a, b] = [owner("a"), owner("b")];
    for (const id of ["open", "told", "got", "cancelled", "unknown", "had"]) a.work(id);
    b.work("of b");
    tasks.told(message({ method: "notifications/tasks/status", params: { taskId: "told", status: "failed" } }));
    a.about("tasks/get", "got", { result: { taskId: "got", status: "completed" } });
    a.about("tasks/cancel", "cancelled", { result: { taskId: "cancelled", status: "cancelled" } });
    a.about("tasks/get", "unknown", { error: { code: -32602, message: "none" } });
    a.about("tasks/result", "had", { result: {} });
    // None of these says that it is over.
    a.about("tasks/get", "open", { error: { code: -32603, message: "later" } });
    a.about("tasks/update", "open", { error: { code: -32602, message: "bad answer" } });
    a.about("tasks/get", "open", finished);
    tasks.end("a");
    expect(asked).toEqual(["tasks/cancel open"]);
    expect(refused(() => a.about("tasks/get", "open"))).toBe(-32602);
    expect(refused(() => b.about("tasks/get", "of b"))).toBeUndefined();
  });

  it("is forgotten once the server has said nothing of it for its time to live", () => {
    const { tasks, owner, asked } = open();
    const a = owner("a");
    a.work("1", { ttl: 1_000 });
    a.work("for ever");
    vi.advanceTimersByTime(900);
    a.about("tasks/get", "1", { result: { taskId: "1", status: "working", ttl: 2_000 } });
    vi.advanceTimersByTime(1_900);
    tasks.told(message({ method: "notifications/message", params: related("1") }));
    vi.advanceTimersByTime(1_900);
    expect(refused(() => a.about("tasks/get", "1"))).toBeUndefined();
    vi.advanceTimersByTime(100);
    expect(refused(() => a.about("tasks/get", "1"))).toBe(-32602);
    expect(asked).toEqual(["tasks/cancel 1"]);
    expect(refused(() => a.about("tasks/get", "for ever"))).toBeUndefined();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("finds room while fewer than 256 of its owner are at work; the oldest that are over make it", () => {
    const { owner, asked } = open();
    const [a, b] = [owner("a"), owner("b")];
    for (let index = 0; index < 255; index += 1) a.work(`${index}`);
    const wish = { method: "tools/call", params: { name: "x", task: {} } };
    a.call(wish);
    // The one that is being made counts.
    expect(refused(() => a.call(wish))).toBe(-32000);
    expect(refused(() => a.call({ method: "tools/call", params: { name: "x" } }))).toBeUndefined();
    expect(refused(() => b.work("of b"))).toBeUndefined();
    for (const id of ["7", "5"]) a.about("tasks/get", id, { result: { taskId: id, status: "completed" } });
    for (const id of ["new", "newer"]) a.work(id);
    expect(refused(() => a.about("tasks/get", "5"))).toBe(-32602);
    expect(refused(() => a.about("tasks/get", "7"))).toBeUndefined();
    expect(asked).toEqual([]);
  });

  it("of a server that makes them unasked takes the place of the oldest when there is no room", () => {
    const { owner, asked } = open();
    const a = owner("a");
    const capabilities = { extensions: { "io.modelcontextprotocol/tasks": {} } };
    const params = { _meta: { "io.modelcontextprotocol/clientCapabilities": capabilities } };
    for (let index = 0; index < 258; index += 1) {
      const result = { resultType: "task", taskId: `${index}`, status: "working", ttlMs: null };
      a.call({ method: "tools/call", params }, { result });
    }
    expect(asked).toEqual(["tasks/cancel 0", "tasks/cancel 1"]);
    expect(refused(() => a.about("tasks/get", "257"))).toBeUndefined();
  });
});

describe("what the server says of a task", () => {
  it("goes to its owner, or to nobody", () => {
    const { tasks, owner, replies } = open();
    const [a, b] = [owner("a"), owner("b")];
    const id = a.work("1", {}, '"mine"');
    const said = [
      { method: "notifications/tasks/status", params: { taskId: "1", status: "working" } },
      { method: "notifications/message", params: related("1") },
      { method: "notifications/progress", params: { progressToken: id, progress: 1 } },
    ];
    for (const one of said) expect(tasks.told(message(one))).toBe(true);
    expect(tasks.asked(question("q", "1"))).toBe(true);
    expect(a.heard.map(({ method }) => method)).toEqual(said.map(({ method }) => method));
    expect(a.heard.at(-1)?.params?.progressToken).toBe("mine");
    expect(a.questions).toHaveLength(1);

    expect(tasks.told(message({ method: "notifications/tasks/status", params: { taskId: "2", status: "working" } }))).toBe(
      true,
    );
    expect(tasks.told(message({ method: "notifications/tasks/status", params: {} }))).toBe(true);
    expect(tasks.told(message({ method: "notifications/message", params: related("2") }))).toBe(true);
    expect(tasks.asked(question("p", "2"))).toBe(true);
    expect(replies).toEqual(['"p" error']);
    expect(a.heard).toHaveLength(3);
    expect([...b.heard, ...b.questions]).toEqual([]);
  });

  it("is no matter of tasks without a task", () => {
    const { tasks, owner } = open();
    owner("a").work("1");
    expect(tasks.asked(message({ id: 1, method: "elicitation/create", params: {} }))).toBe(false);
    expect(tasks.told(message({ method: "notifications/message", params: {} }))).toBe(false);
    expect(tasks.told(message({ method: "notifications/progress", params: { progressToken: 99 } }))).toBe(false);
    expect(tasks.told(message({ method: "notifications/cancelled", params: { requestId: "q" } }))).toBe(false);
  });

  it("waits while it may be of a task that is being made, and comes after the answer", () => {
    const { tasks, owner, replies } = open();
    const [a, b] = [owner("a"), owner("b")];
    const wish = { message: message({ id: "t", method: "tools/call", params: { task: {} } }), progressToken: undefined };
    const [ofA, ofB] = [
      { ...wish, owner: a.self },
      { ...wish, owner: b.self },
    ];
    const made = (taskId: string) => message({ id: 1, result: { task: { taskId, status: "working" } } });
    for (const call of [ofA, ofB]) start(tasks, call);
    tasks.told(message({ method: "notifications/tasks/status", params: { taskId: "1", status: "working" } }));
    tasks.asked(question("q", "1"));
    tasks.asked(question("nobody's", "3"));
    // Calls in two workers have the same id.
    tasks.answered(1, ofB, made("2"));
    tasks.over(ofB);
    tasks.answered(1, ofA, made("1"));
    expect([a.heard, a.questions, b.heard, b.questions]).toEqual([[], [], [], []]);
    expect(replies).toEqual([]);
    tasks.over(ofA);
    expect([a.heard.length, a.questions.length]).toEqual([1, 1]);
    expect([...b.heard, ...b.questions]).toEqual([]);
    expect(replies).toEqual(['"nobody\'s" error']);
    for (const [one, taskId] of [
      [a, "1"],
      [b, "2"],
    ] as const) {
      expect(refused(() => one.about("tasks/get", taskId))).toBeUndefined();
    }
  });

  it("waits no more for a call whose worker has ended", async () => {
    const { tasks, owner, replies } = open();
    const nothing = () => undefined;
    const options = { key: "k", server: "s", owner: "a", isShared: false, tasks, onEnd: nothing, onIdle: nothing };
    const worker = new Worker(options);
    worker.start({
      message: message({ id: 1, method: "tools/call", params: { task: {} } }),
      progressToken: undefined,
      attention: "silent",
      owner: owner("a").self,
      refused: nothing,
      onNotification: nothing,
      onAsk: nothing,
      onAnswer: nothing,
      onFailed: nothing,
    });
    tasks.asked(question("q", "1"));
    expect(replies).toEqual([]);
    await worker.end({ status: 502, error: { code: -32000, message: "gone" } });
    expect(replies).toEqual(['"q" error']);
  });

  it("waits in a bounded number", () => {
    const { tasks, owner, replies } = open();
    owner("a").call({ method: "tools/call", params: { task: {} } });
    for (let index = 0; index < 258; index += 1) tasks.asked(question(`${index}`, "1"));
    expect(replies).toEqual(['"0" error', '"1" error']);
  });

  it("may be another one's while somebody else has a task at work", () => {
    const { tasks, owner } = open();
    const [a, b] = [owner("a"), owner("b")];
    expect(tasks.hasOthers(undefined)).toBe(false);
    a.work("1");
    expect([tasks.hasOthers(a.self), tasks.hasOthers(b.self), tasks.hasOthers(undefined)]).toEqual([false, true, true]);
    a.about("tasks/result", "1", { result: {} });
    expect(tasks.hasOthers(b.self)).toBe(false);
  });

  it("is nobody else's once the task has expired, or has failed as its result says", async () => {
    const { tasks, owner, states, asked } = open();
    const [a, b] = [owner("a"), owner("b")];
    a.work("expired", { ttl: 10 });
    vi.advanceTimersByTime(10);
    expect(tasks.hasOthers(b.self)).toBe(false);
    expect(asked).toEqual(["tasks/cancel expired"]);

    for (const id of ["failed", "at work"]) a.work(id);
    states.set("at work", { taskId: "at work", status: "working", ttl: null });
    states.set("failed", { taskId: "failed", status: "failed", ttl: null });
    a.about("tasks/result", "at work", { error: { code: -32603, message: "later" } });
    a.about("tasks/result", "failed", { error: { code: -32603, message: "the tool failed" } });
    await vi.runAllTimersAsync();
    expect(asked.slice(1)).toEqual(["tasks/get at work", "tasks/get failed"]);
    expect(tasks.hasOthers(b.self)).toBe(true);
    a.about("tasks/get", "at work", { result: { taskId: "at work", status: "completed" } });
    expect(tasks.hasOthers(b.self)).toBe(false);
  });

  it("is taken from the stream of a call only if the task is another one's", () => {
    const { tasks, owner } = open();
    const [a, b] = [owner("a"), owner("b")];
    a.work("1");
    const told = (to: object, params: object, method = "notifications/message") => tasks.told(message({ method, params }), to);
    const status = { taskId: "1", status: "working", ttl: null };
    for (const to of [{ owner: b.self }, {}]) {
      expect(told(to, related("1"))).toBe(true);
      expect(told(to, related("2"))).toBe(false);
      for (const method of ["notifications/tasks/status", "notifications/tasks"]) {
        expect(told(to, status, method)).toBe(true);
        expect(told(to, {}, method)).toBe(false);
      }
    }
    expect(told({ owner: a.self }, related("1"))).toBe(false);
    expect(told({ owner: a.self }, status, "notifications/tasks/status")).toBe(false);
    expect([...a.heard, ...b.heard]).toEqual([]);
  });
});

describe("a question for a task", () => {
  it("is answered once, by its owner", () => {
    const { tasks, owner, replies } = open();
    const [a, b] = [owner("a"), owner("b")];
    a.work("1");
    tasks.asked(question("q", "1"));
    tasks.reply(a.self, '"other"', '"result":{}');
    tasks.reply(b.self, '"q"', '"result":{}');
    expect(replies).toEqual([]);
    tasks.reply(a.self, '"q"', '"result":{}');
    tasks.reply(a.self, '"q"', '"result":{}');
    expect(replies).toEqual(['"q" resul']);
  });

  it("is taken back from its owner when the task is over", () => {
    const { tasks, owner, replies } = open();
    const a = owner("a");
    for (const id of ["got", "told", "forgotten"]) {
      a.work(id, { ttl: 10 });
      tasks.asked(question(id, id));
    }
    a.about("tasks/get", "got", { result: { taskId: "got", status: "completed" } });
    tasks.told(message({ method: "notifications/tasks/status", params: { taskId: "told", status: "failed" } }));
    vi.advanceTimersByTime(10);
    expect(refused(() => a.about("tasks/get", "forgotten"))).toBe(-32602);
    const taken = a.heard.filter(({ method }) => method === "notifications/cancelled");
    expect(taken.map(({ params }) => params?.requestId)).toEqual(["got", "told", "forgotten"]);
    expect(replies).toEqual(['"got" error', '"told" error', '"forgotten" error']);
    tasks.reply(a.self, '"got"', '"result":{}');
    expect(replies).toHaveLength(3);
  });

  it("is refused when its owner has gone, before or after it was asked, or can be asked nothing", () => {
    const { tasks, owner, replies, asked } = open();
    const a = owner("a");
    a.work("1");
    tasks.asked(question("q", "1"));
    tasks.end("a");
    expect(asked).toEqual(["tasks/cancel 1"]);
    tasks.asked(question("p", "1"));
    tasks.reply(a.self, '"q"', '"result":{}');
    expect(replies).toEqual(['"q" error', '"p" error']);

    const wish = { message: message({ id: "t", method: "tools/call", params: { task: {} } }), progressToken: undefined };
    const silent = { ...wish, owner: { key: "silent" } };
    start(tasks, silent);
    tasks.answered(101, silent, message({ id: 101, result: { task: { taskId: "2", status: "working" } } }));
    tasks.asked(question("o", "2"));
    expect(replies.at(-1)).toBe('"o" error');
  });

  it("that the server takes back is taken back from its owner", () => {
    const { tasks, owner, replies } = open();
    const a = owner("a");
    a.work("1");
    tasks.asked(question("q", "1"));
    expect(tasks.told(message({ method: "notifications/cancelled", params: { requestId: "q" } }))).toBe(true);
    expect(a.heard).toHaveLength(1);
    tasks.end("a");
    expect(replies).toEqual([]);
  });
});

describe("a task without a session", () => {
  const stateless = { extensions: { "io.modelcontextprotocol/tasks": {} } };
  const params = { _meta: { "io.modelcontextprotocol/clientCapabilities": stateless } };
  function make({ hasOneClient = false, ...more }: { hasOneClient?: boolean; ttlMs?: number; status?: string } = {}) {
    const { tasks, asked } = open({ hasOneClient });
    const self: TaskOwner = { key: "a" };
    const ask = (request: object, result: object) => {
      const call = { message: message({ id: 1, ...request }), owner: self, progressToken: undefined };
      start(tasks, call);
      tasks.answered(1, call, message({ id: 1, ...result }));
      tasks.over(call);
    };
    const state = { taskId: "1", status: "working", ttlMs: null, ...more };
    ask({ method: "tools/call", params }, { result: { ...state, resultType: "task" } });
    const about = (method: string, answer: object) => ask({ method, params: { taskId: "1" } }, answer);
    return { tasks, asked, about, state, status: (status: string) => about("tasks/get", { result: { ...state, status } }) };
  }

  it.each([true, false])("is awaited until its owner knows how it ended (a process of its own: %s)", (hasOneClient) => {
    for (const first of ["working", "completed"]) {
      const { tasks, asked, status } = make({ hasOneClient, status: first });
      expect(tasks.areAwaited).toBe(true);
      if (first === "working") status("input_required");
      expect(tasks.areAwaited).toBe(true);
      status("completed");
      expect(tasks.areAwaited).toBe(false);
      expect(asked).toEqual([]);
    }
  });

  it("is awaited even though the server has told nobody that it is over", () => {
    const { tasks, state } = make();
    tasks.told(message({ method: "notifications/tasks/status", params: { ...state, status: "completed" } }));
    expect(tasks.areAwaited).toBe(true);
  });

  it("is awaited for its time to live, or for a quarter of an hour after the server last spoke of it", () => {
    const endless = make();
    vi.advanceTimersByTime(800_000);
    endless.status("working");
    vi.advanceTimersByTime(899_999);
    expect(endless.tasks.areAwaited).toBe(true);
    vi.advanceTimersByTime(1);
    expect(endless.tasks.areAwaited).toBe(false);
    expect(endless.asked).toEqual([]);

    const mortal = make({ ttlMs: 3_600_000 });
    vi.advanceTimersByTime(3_599_999);
    expect(mortal.tasks.areAwaited).toBe(true);
    vi.advanceTimersByTime(1);
    expect(mortal.tasks.areAwaited).toBe(false);
    expect(mortal.asked).toEqual(["tasks/cancel 1"]);
  });

  it("is not awaited once it was cancelled, or is unknown to the server", () => {
    const cancelled = make();
    cancelled.about("tasks/cancel", { error: { code: -32602, message: "not now" } });
    expect(cancelled.tasks.areAwaited).toBe(true);
    cancelled.about("tasks/cancel", { result: {} });
    expect(cancelled.tasks.areAwaited).toBe(false);
    const lost = make();
    lost.about("tasks/get", { error: { code: -32602, message: "none" } });
    expect(lost.tasks.areAwaited).toBe(false);
  });

  it("is awaited by nobody where there is a session, which is seen itself", () => {
    const { tasks, owner } = open();
    owner("a").work("1");
    expect(tasks.areAwaited).toBe(false);
  });

  it("of the only client is left to the server", () => {
    const { tasks, asked } = make({ hasOneClient: true, ttlMs: 10 });
    const foreign = {
      message: message({ id: 1, method: "tasks/get", params: { taskId: "of old" } }),
      progressToken: undefined,
    };
    expect(refused(() => start(tasks, { ...foreign, owner: { key: "a" } }))).toBeUndefined();
    tasks.answered(9, undefined, message({ id: 9, result: { task: { taskId: "2", status: "working" } } }));
    vi.advanceTimersByTime(10);
    expect(tasks.areAwaited).toBe(false);
    expect(asked).toEqual([]);
  });
});

describe("the list of tasks", () => {
  const list = (cursor?: unknown) => message({ id: "l", method: "tasks/list", params: { cursor } });
  const read = (bytes: Buffer) => JSON.parse(bytes.toString());

  it("is made of what the server says of each of its owner's", async () => {
    const { tasks, owner, states } = open();
    const [a, b] = [owner("a"), owner("b")];
    a.work("1");
    a.work("gone");
    b.work("2");
    states.set("1", { taskId: "1", status: "working", ttl: null, more: "ä" });
    states.set("2", { taskId: "2", status: "working", ttl: null });
    expect(read(await tasks.list(list(), a.self))).toEqual({
      jsonrpc: "2.0",
      id: "l",
      result: { tasks: [states.get("1")] },
    });
  });

  it("has pages that go on where the one before has ended, whatever was forgotten meanwhile", async () => {
    const { tasks, owner, states } = open();
    const a = owner("a");
    for (let index = 0; index < 120; index += 1) {
      a.work(`${index}`, index === 49 ? { ttl: 10 } : {});
      states.set(`${index}`, { taskId: `${index}`, status: "working", ttl: index === 49 ? 10 : null });
    }
    const ids: string[] = [];
    let cursor: string | undefined;
    do {
      const { result } = read(await tasks.list(list(cursor), a.self));
      ids.push(...result.tasks.map(({ taskId }: { taskId: string }) => taskId));
      cursor = result.nextCursor;
      vi.advanceTimersByTime(20);
    } while (cursor !== undefined);
    expect(ids).toEqual(Array.from({ length: 120 }, (_, index) => `${index}`));
  });

  it("has no page that nobody was told of", async () => {
    const { tasks, owner } = open();
    for (const cursor of ["x", "-1", "", 5, null, "1e3"]) {
      expect(read(await tasks.list(list(cursor), owner("a").self)).error.code).toBe(-32602);
    }
    expect(read(await tasks.list(list("999"), owner("a").self)).result).toEqual({ tasks: [] });
  });
});
