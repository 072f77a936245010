import { ambiguous } from "../messages/ambiguity.ts";
import {
  errorAnswer,
  errorCodeAt,
  errorCodes,
  type JsonRpcError,
  type Message,
  made,
  memberOf,
  stringAt,
  tokenAt,
} from "../messages/json-rpc.ts";
import { nobodyToAsk } from "../messages/questions.ts";
import { spliced } from "../messages/splice.ts";
import {
  asksForTask,
  createdTask,
  hearingOf,
  mayMakeTask,
  namedTasks,
  relatedTask,
  type TaskState,
  taskAt,
  taskMethods,
} from "../messages/tasks.ts";
import { UpstreamError } from "./upstream.ts";

/*
Whose the tasks of a process are that serves more than one client.

INVARIANTS
- A task belongs to whoever's request made it, for good. A request that names another one's does not reach the server, and is
  answered as if there were no such task.
- What the server says about a task, or asks for it, goes to its owner or to nobody.
- A task that is forgotten before it was known to be over is cancelled at the server, and so is one that nobody got.
- What is kept is bounded: tasks per owner by `maxTasks` and their time to live, counted from when the server last spoke of
  them; messages about tasks that are not known yet by `maxHeld`.
*/

export type TaskOwner = {
  /** The same for all whose tasks are one another's. */
  readonly key: unknown;
  onNotification?(message: Message): void;
  /** A question of the server; answer it with `reply`. */
  onAsk?(message: Message): void;
};

/** The process behind. */
export type TaskServer = {
  /** Rejects when there is no answer. */
  ask(method: "tasks/get" | "tasks/cancel", taskId: string): Promise<Message>;
  /** `said` is `"result":…` or `"error":…`. */
  reply(id: string, said: string | Buffer): void;
};

export type OwnedCall = { message: Message; owner?: TaskOwner | undefined; progressToken: string | undefined };

type Task = {
  id: string;
  owner: TaskOwner;
  /** Grows from task to task. */
  position: number;
  isFinished: boolean;
  ttlMs: number | undefined;
  expiresAt: number;
  /** Under which the server tells how far it is, and under which the client wants to hear it. */
  progress: { id: number; token: string } | undefined;
};

export class TaskOwners {
  readonly #server: TaskServer;
  /** In the order in which they were made. */
  readonly #tasks = new Map<string, Task>();
  /** By the id of the question. */
  readonly #questions = new Map<string, Task>();
  /** Calls under way of which the server may make a task. */
  readonly #making = new Set<OwnedCall>();
  #held: Message[] = [];
  #lastPosition = 0;

  constructor(server: TaskServer) {
    this.#server = server;
  }

  /** The message of a call as it may go to the server. Throws an UpstreamError when it may not. */
  starts(call: OwnedCall, message = call.message): Message {
    const { owner } = call;
    const named = namedTasks(message);
    if (named === undefined) throw refusing(ambiguous);
    const { method = "" } = message;
    if (method.startsWith("tasks/") && !taskMethods.has(method)) throw refusing(noSuchMethod);
    const isOwn = (taskId: string | undefined): boolean => taskId !== undefined && this.#named(taskId, owner) !== undefined;
    if (!named.ids.every(isOwn)) throw refusing(noSuchTask);
    if (owner !== undefined && mayMakeTask(message)) {
      if (asksForTask(message) && !this.#hasRoom(owner)) throw refusing(tooManyTasks);
      this.#making.add(call);
    }
    return named.heard === undefined ? message : made(hearingOf(message, named.heard, isOwn));
  }

  /**
   * An answer has come that its client does not have yet; `id` is the server's for the call, which is undefined when it waits
   * no more.
   */
  answered(id: number, call: OwnedCall | undefined, answer: Message): void {
    if (call === undefined) {
      const left = createdTask(answer);
      if (left !== undefined && !left.isFinished && !this.#tasks.has(left.id)) this.#cancel(left.id);
      return;
    }
    const { message, owner, progressToken } = call;
    if (owner === undefined) return;
    if (this.#making.has(call)) {
      const state = createdTask(answer);
      if (state !== undefined) this.#add(state, owner, progressToken === undefined ? undefined : { id, token: progressToken });
    } else if (message.method !== undefined && taskMethods.has(message.method)) {
      const task = this.#named(stringAt(message.text, memberOf(message.text, message.params, "taskId")) ?? "", owner);
      if (task !== undefined) this.#heard(task, message.method, answer);
    }
  }

  /** A call is over, and its client knows. */
  over(call: OwnedCall): void {
    if (!this.#making.delete(call)) return;
    const held = this.#held;
    this.#held = [];
    for (const message of held)
      if (message.kind === "request") this.asked(message);
      else this.told(message);
  }

  /** Takes a question of the server if it is one for a task. */
  asked(message: Message): boolean {
    const related = relatedTask(message);
    if (related === undefined) return false;
    const id = message.id ?? "null";
    const task = this.#tasks.get(related);
    if (task?.owner.onAsk !== undefined) {
      refresh(task);
      this.#questions.set(id, task);
      task.owner.onAsk(message);
    } else if (task === undefined && this.#making.size > 0) this.#hold(message);
    else this.#server.reply(id, nobodyToAsk);
    return true;
  }

  reply(id: string, said: string | Buffer): void {
    if (this.#questions.delete(id)) this.#server.reply(id, said);
  }

  /** Takes a notification of the server if it is about a task. */
  told(message: Message): boolean {
    const { method, text, params } = message;
    if (method === "notifications/progress") return this.#toldProgress(message);
    if (method === "notifications/cancelled") {
      const id = tokenAt(text, memberOf(text, params, "requestId")) ?? "null";
      const asked = this.#questions.get(id);
      if (asked !== undefined) {
        this.#questions.delete(id);
        asked.owner.onNotification?.(message);
        return true;
      }
    }
    const state = method === "notifications/tasks/status" ? taskAt(message, params) : undefined;
    const id = state?.id ?? relatedTask(message);
    if (id === undefined) return method === "notifications/tasks/status";
    const task = this.#tasks.get(id);
    if (task !== undefined) {
      refresh(task, state);
      task.owner.onNotification?.(message);
    } else if (this.#making.size > 0) this.#hold(message);
    return true;
  }

  /** Whether somebody else may have a task at work. */
  hasOthers(owner: TaskOwner | undefined): boolean {
    for (const task of this.#tasks.values()) if (!task.isFinished && task.owner.key !== owner?.key) return true;
    return false;
  }

  /** The answer to `tasks/list`, made of what the server says about each of the owner's tasks. */
  async list(request: Message, owner: TaskOwner): Promise<Buffer> {
    const cursor = memberOf(request.text, request.params, "cursor");
    const after = cursor === undefined ? "0" : (stringAt(request.text, cursor) ?? "");
    if (!/^\d{1,15}$/.test(after)) return errorAnswer(request.id, noSuchPage);
    const rest = this.#of(owner).filter(({ position }) => position > Number(after));
    const page = rest.slice(0, pageSize);
    const states = await Promise.all(
      page.map(async (task) => {
        const answer = await this.#server.ask("tasks/get", task.id);
        this.#heard(task, "tasks/get", answer);
        return answer.result === undefined ? [] : [answer.bytes.subarray(answer.result.start, answer.result.end)];
      }),
    );
    const tasks = states.flat().flatMap((state, index) => (index === 0 ? [state] : [comma, state]));
    const last = page.at(-1);
    const next = last === undefined || rest.length <= page.length ? "" : `,"nextCursor":"${last.position}"`;
    const head = Buffer.from(`{"jsonrpc":"2.0","id":${request.id ?? "null"},"result":{"tasks":[`);
    return Buffer.concat([head, ...tasks, Buffer.from(`]${next}}}`)]);
  }

  /** Nobody has that key any more. */
  end(key: unknown): void {
    for (const task of [...this.#tasks.values()]) if (task.owner.key === key) this.#forget(task);
  }

  #toldProgress(message: Message): boolean {
    const at = memberOf(message.text, message.params, "progressToken");
    const token = Number(tokenAt(message.text, at));
    for (const task of this.#tasks.values()) {
      if (at === undefined || task.progress?.id !== token) continue;
      refresh(task);
      task.owner.onNotification?.(made(spliced(message.bytes, [{ at, text: task.progress.token }])));
      return true;
    }
    return false;
  }

  #hold(message: Message): void {
    this.#held.push(message);
    const oldest = this.#held.length > maxHeld ? this.#held.shift() : undefined;
    if (oldest?.kind === "request") this.#server.reply(oldest.id ?? "null", nobodyToAsk);
  }

  #of(owner: TaskOwner): Task[] {
    return [...this.#tasks.values()].filter((task) => task.owner.key === owner.key && !this.#isExpired(task));
  }

  /** The task that its owner means. */
  #named(id: string, owner: TaskOwner | undefined): Task | undefined {
    const task = this.#tasks.get(id);
    return task === undefined || task.owner.key !== owner?.key || this.#isExpired(task) ? undefined : task;
  }

  /** Forgets it if it is. */
  #isExpired(task: Task): boolean {
    if (Date.now() < task.expiresAt) return false;
    this.#forget(task);
    return true;
  }

  #hasRoom(owner: TaskOwner): boolean {
    const open = this.#of(owner).filter(({ isFinished }) => !isFinished).length;
    const making = [...this.#making].filter((call) => call.owner?.key === owner.key).length;
    return open + making < maxTasks;
  }

  #add(state: TaskState, owner: TaskOwner, progress: Task["progress"]): void {
    for (const task of [...this.#tasks.values()]) this.#isExpired(task);
    const known = this.#tasks.get(state.id);
    if (known !== undefined) return;
    const theirs = this.#of(owner);
    const oldest = theirs.find(({ isFinished }) => isFinished) ?? theirs[0];
    if (theirs.length >= maxTasks && oldest !== undefined) this.#forget(oldest);
    this.#lastPosition += 1;
    const task: Task = { ...state, owner, progress, position: this.#lastPosition, expiresAt: 0 };
    refresh(task, state);
    this.#tasks.set(state.id, task);
  }

  /** What the server has answered to a request about a task. */
  #heard(task: Task, method: string, answer: Message): void {
    if (answer.hasError) {
      const code = errorCodeAt(answer);
      const isRefused = code !== undefined && Number(answer.text.slice(code.start, code.end)) === errorCodes.invalidParams;
      // It is over, or the server does not know it any more.
      if (isRefused && (method === "tasks/get" || method === "tasks/cancel")) task.isFinished = true;
    } else if (method === "tasks/result") {
      task.isFinished = true;
      refresh(task);
    } else refresh(task, taskAt(answer, answer.result));
  }

  #forget(task: Task): void {
    if (!this.#tasks.delete(task.id)) return;
    if (!task.isFinished) this.#cancel(task.id);
    for (const [id, asked] of this.#questions) {
      if (asked !== task) continue;
      this.#questions.delete(id);
      this.#server.reply(id, nobodyToAsk);
    }
  }

  #cancel(taskId: string): void {
    // A server without cancellation goes on; nobody is told.
    this.#server.ask("tasks/cancel", taskId).catch(() => undefined);
  }
}

/** The server has spoken of it. */
function refresh(task: Task, state?: TaskState): void {
  if (state?.id === task.id) {
    task.isFinished ||= state.isFinished;
    task.ttlMs = state.ttlMs;
  }
  task.expiresAt = Date.now() + (task.ttlMs ?? Number.POSITIVE_INFINITY);
}

const refusing = (error: JsonRpcError): UpstreamError => new UpstreamError({ status: 200, error });

/** Of one owner; those that are over are forgotten first. */
const maxTasks = 256;
/** What the server said of tasks while it was making some, and nobody knew yet whose. */
const maxHeld = 256;
const pageSize = 50;
const comma = Buffer.from(",");

const noSuchTask: JsonRpcError = { code: errorCodes.invalidParams, message: "There is no such task." };
const noSuchPage: JsonRpcError = { code: errorCodes.invalidParams, message: "There is no such page of tasks." };
const noSuchMethod: JsonRpcError = { code: -32601, message: "There is no such request about tasks." };
const tooManyTasks: JsonRpcError = {
  code: errorCodes.failed,
  message: `This session has ${maxTasks} tasks that are not over; cancel some, or ask how they are.`,
  data: { code: "LIMIT_REACHED" },
};
