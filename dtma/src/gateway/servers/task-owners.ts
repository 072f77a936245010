import { ambiguous } from "../messages/ambiguity.ts";
import {
  errorAnswer,
  errorCodeAt,
  errorCodes,
  type JsonRpcError,
  type Member,
  type Message,
  made,
  memberOf,
  stringAt,
  tokenAt,
} from "../messages/json-rpc.ts";
import { nobodyToAsk } from "../messages/questions.ts";
import { type Edit, spliced } from "../messages/splice.ts";
import {
  asksForTask,
  createdTask,
  hearingOf,
  mayMakeTask,
  namedTasks,
  noSuchTask,
  relatedTask,
  type TaskState,
  taskAt,
  taskMethods,
  taskNamed,
  taskNotifications,
} from "../messages/tasks.ts";
import { UpstreamError } from "./upstream.ts";

/*
Which tasks a process has, and whose they are where it serves more than one client.

INVARIANTS
- A task belongs to whoever's request made it, for good; a name that the server gives to tasks of two owners is nobody's. A
  request that names another one's does not reach the server, and is answered as if there were no such task.
- What the server says about a task, or asks for it, goes to its owner or to nobody.
- A task that is forgotten before it was known to be over is cancelled at the server, and so is one that nobody got; at a server
  over HTTP for as long as any worker reaches it.
- What is kept is bounded: tasks per owner by `maxTasks` and their time to live, counted from when the server last spoke of
  them; questions by the tasks that are not over; messages about tasks that are not known yet by `maxHeld`.
*/

export type TaskOwner = {
  /** The same for all whose tasks are one another's. */
  readonly key: unknown;
  /** Undefined for a client without a session: it hears of a task when it asks. */
  onNotification?(message: Message): void;
  /** A question of the server; answer it with `reply`. */
  onAsk?(message: Message): void;
};

/** The key of whoever has no session: all that one connection makes is its own, and so is what the toolbox's own token makes. */
export const keyOfConnection = (connectionId: string | undefined): string => connectionId ?? "";

/** The process behind. */
export type TaskServer = {
  /** Whatever that one names is its own, and its tasks are not touched. */
  readonly hasOneClient: boolean;
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
  /** Its owner has neither heard how it ended nor cancelled it. */
  isAwaited: boolean;
  ttlMs: number | undefined;
  /** When the server last spoke of it. */
  heardAt: number;
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

  /**
   * What has to change in the message of a call before it may go to the server; `params` are its members. Throws an
   * UpstreamError when it may not go.
   */
  starts(call: OwnedCall, params: Member[]): Edit[] {
    const { message, owner } = call;
    const mayMake = owner !== undefined && mayMakeTask(message, params);
    if (this.#server.hasOneClient) {
      if (mayMake) this.#making.add(call);
      return [];
    }
    const named = namedTasks(message, params);
    if (named === undefined) throw refusing(ambiguous);
    const { method = "" } = message;
    // The status is for who has no session.
    if (method.startsWith("tasks/") && !taskMethods.has(method)) throw refusing(noSuchMethod, 404);
    const isOwn = (taskId: string | undefined): boolean => taskId !== undefined && this.#named(taskId, owner) !== undefined;
    if (!named.ids.every(isOwn)) throw refusing(noSuchTask);
    if (mayMake) {
      if (asksForTask(params) && !this.#hasRoom(owner)) throw refusing(tooManyTasks);
      this.#making.add(call);
    }
    return named.heard === undefined ? [] : [hearingOf(message, named.heard, isOwn)];
  }

  /**
   * An answer has come that its client does not have yet; `id` is the server's for the call, which is undefined when it waits
   * no more.
   */
  answered(id: number, call: OwnedCall | undefined, answer: Message): void {
    if (call === undefined) {
      const left = this.#server.hasOneClient ? undefined : createdTask(answer);
      if (left !== undefined) this.#clash(left);
      return;
    }
    const { message, owner, progressToken } = call;
    if (owner === undefined) return;
    if (this.#making.has(call)) {
      const state = createdTask(answer);
      if (state !== undefined) this.#add(state, owner, progressToken === undefined ? undefined : { id, token: progressToken });
    } else {
      const task = this.#named(taskNamed(message) ?? "", owner);
      if (task !== undefined) this.#heard(task, message.method ?? "", answer);
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

  reply({ key }: TaskOwner, id: string, said: string | Buffer): void {
    if (this.#questions.get(id)?.owner.key !== key) return;
    this.#questions.delete(id);
    this.#server.reply(id, said);
  }

  /**
   * Takes a notification of the server if it is about a task. Where it is known whom the server told it, `to`, only what is
   * about another one's task is taken.
   */
  told(message: Message, to?: { owner?: TaskOwner | undefined }): boolean {
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
    const isState = taskNotifications.has(method);
    const state = isState ? taskAt(message, params) : undefined;
    const id = state?.id ?? relatedTask(message);
    if (id === undefined) return to === undefined && isState;
    const task = this.#tasks.get(id);
    if (task !== undefined) refresh(task, state);
    if (to !== undefined) return task !== undefined && task.owner.key !== to.owner?.key;
    if (task !== undefined) {
      task.owner.onNotification?.(message);
      if (task.isFinished) this.#withdraw(task);
    } else if (this.#making.size > 0) this.#hold(message);
    return true;
  }

  has(id: string, owner: TaskOwner): boolean {
    return this.#named(id, owner) !== undefined;
  }

  /** Whether somebody else may have a task at work. */
  hasOthers(owner: TaskOwner | undefined): boolean {
    for (const task of this.#tasks.values())
      if (!task.isFinished && task.owner.key !== owner?.key && !this.#isExpired(task)) return true;
    return false;
  }

  /** Whether a client without a session, of which nothing else is seen, may still ask for a task. */
  get areAwaited(): boolean {
    for (const task of this.#tasks.values()) if (this.#isAwaited(task)) return true;
    return false;
  }

  /** The same of one client. */
  areAwaitedBy(key: unknown): boolean {
    for (const task of this.#tasks.values()) if (task.owner.key === key && this.#isAwaited(task)) return true;
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
    if (Date.now() < task.heardAt + (task.ttlMs ?? Number.POSITIVE_INFINITY)) return false;
    this.#forget(task);
    return true;
  }

  #isAwaited(task: Task): boolean {
    if (task.owner.onNotification !== undefined || !task.isAwaited || this.#isExpired(task)) return false;
    return task.ttlMs !== undefined || Date.now() < task.heardAt + silentMs;
  }

  #hasRoom(owner: TaskOwner): boolean {
    const open = this.#of(owner).filter(({ isFinished }) => !isFinished).length;
    const making = [...this.#making].filter((call) => call.owner?.key === owner.key).length;
    return open + making < maxTasks;
  }

  #add(state: TaskState, owner: TaskOwner, progress: Task["progress"]): void {
    for (const task of [...this.#tasks.values()]) this.#isExpired(task);
    const known = this.#tasks.get(state.id);
    if (known?.owner.key === owner.key) this.#tasks.delete(state.id);
    // One that was over has given its name to a new one.
    else if (known?.isFinished === true && !state.isFinished) this.#forget(known);
    else if (known !== undefined) return this.#clash(state);
    const theirs = this.#of(owner);
    const oldest = theirs.find(({ isFinished }) => isFinished) ?? theirs[0];
    if (theirs.length >= maxTasks && oldest !== undefined) this.#forget(oldest);
    this.#lastPosition += 1;
    const position = this.#lastPosition;
    this.#tasks.set(state.id, { ...state, owner, progress, position, isAwaited: true, heardAt: Date.now() });
  }

  /** A task that nobody is to have; if its name is another one's, that cannot be told from it any more. */
  #clash({ id, isFinished }: TaskState): void {
    const known = this.#tasks.get(id);
    if (known !== undefined) this.#forget(known);
    if (!isFinished && known?.isFinished !== false) this.#cancel(id);
  }

  /** What the server has answered to a request about a task. */
  #heard(task: Task, method: string, answer: Message): void {
    if (!answer.hasError) {
      refresh(task, taskAt(answer, answer.result));
      task.isFinished ||= method === "tasks/result";
    } else if (method === "tasks/result") {
      // So ends a task that has failed, and so does a request that is to blame itself.
      this.#server.ask("tasks/get", task.id).then(
        (state) => this.#heard(task, "tasks/get", state),
        () => undefined,
      );
    } else if (method === "tasks/get" || method === "tasks/cancel") {
      const code = errorCodeAt(answer);
      // It is over, or the server does not know it any more.
      task.isFinished ||= code !== undefined && Number(answer.text.slice(code.start, code.end)) === errorCodes.invalidParams;
    }
    if (method === "tasks/cancel" ? !answer.hasError : task.isFinished) task.isAwaited = false;
    if (task.isFinished) this.#withdraw(task);
  }

  #forget(task: Task): void {
    if (!this.#tasks.delete(task.id)) return;
    if (!task.isFinished) this.#cancel(task.id);
    this.#withdraw(task);
  }

  /** Takes back from its owner what it was asked for a task. */
  #withdraw(task: Task): void {
    for (const [id, asked] of this.#questions) {
      if (asked.id !== task.id) continue;
      this.#questions.delete(id);
      this.#server.reply(id, nobodyToAsk);
      task.owner.onNotification?.(made(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":${id}}}`));
    }
  }

  #cancel(taskId: string): void {
    if (this.#server.hasOneClient) return;
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
  task.heardAt = Date.now();
}

const refusing = (error: JsonRpcError, status = 200): UpstreamError => new UpstreamError({ status, error });

/** Of one owner; those that are over are forgotten first. */
const maxTasks = 256;
/** What the server said of tasks while it was making some, and nobody knew yet whose. */
const maxHeld = 256;
const pageSize = 50;
/**
 * How long a task without a time to live is awaited after the server last spoke of it. Who waits for it asks far more often,
 * and a session without requests is ended after as long.
 */
const silentMs = 900_000;
const comma = Buffer.from(",");

const noSuchPage: JsonRpcError = { code: errorCodes.invalidParams, message: "There is no such page of tasks." };
const noSuchMethod: JsonRpcError = { code: errorCodes.methodNotFound, message: "There is no such request about tasks." };
const tooManyTasks: JsonRpcError = {
  code: errorCodes.failed,
  message: `This session has ${maxTasks} tasks that are not over; cancel some, or ask how they are.`,
  data: { code: "LIMIT_REACHED" },
};
