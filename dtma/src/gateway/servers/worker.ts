import { metaKeys, statelessRevision } from "../messages/envelope.ts";
import type { Failure } from "../messages/failure.ts";
import {
  errorCodes,
  type JsonRpcError,
  type Member,
  type Message,
  made,
  memberOf,
  membersIn,
  readMessage,
  type Span,
  stringAt,
  tokenAt,
} from "../messages/json-rpc.ts";
import { nobodyToAsk } from "../messages/questions.ts";
import { type Edit, spliced, withId } from "../messages/splice.ts";
import { listChanges } from "../messages/subscriptions.ts";
import { asksForTask, tasksExtension, withoutTask } from "../messages/tasks.ts";
import { keyOfConnection, type TaskOwner, TaskOwners, type TaskServer } from "./task-owners.ts";
import { toFailure, type Upstream, UpstreamError, type UpstreamSink } from "./upstream.ts";

/*
One process of a server (or one upstream session) that takes calls of several clients' requests.

INVARIANTS
- A call goes under an id and a progress token of the worker's own, and what comes back has the client's: those of clients
  never meet.
- What the server asks or says goes to the call that caused it, or to nobody. Where the transport does not say which one
  that was (stdio), a call that may lead to questions runs alone among its like; a cancelled one of these spoils the worker.
- Every call ends once: with its answer, a failure, or its cancellation; nothing is said to it afterwards.
*/

/**
 * What the server may say to the client while it works on a call: `asks`: it may ask or log; `silent`: it might, but this
 * client can do nothing with it; `none`: calls of this kind (lists) never lead to a question.
 */
export type Attention = "asks" | "silent" | "none";

/** A request of a client on its way through a worker. */
export type Call = {
  message: Message;
  headers?: Record<string, string>;
  progressToken: string | undefined;
  attention: Attention;
  /** Whose the task is that may come of it; undefined for a client that cannot have any. */
  owner?: TaskOwner | undefined;
  /** Why its client may not make it, asked when it starts; undefined when it may. */
  refused(): JsonRpcError | undefined;
  /** What its client wants to be logged, on a server with sessions. */
  logLevel?: string | undefined;
  /** About this call; returns a promise while its client takes no more. */
  onNotification(message: Message): Promise<void> | undefined;
  /** A request of the server; answer it with `reply`. */
  onAsk(message: Message): void;
  /** The answer, under the client's id. */
  onAnswer(message: Message): Promise<void> | undefined;
  onFailed(failure: Failure): void;
};

export type RunningCall = {
  /** The client wants it no more. */
  cancel(): void;
  /** Answers a request of the server; `said` is `"result":…` or `"error":…`. */
  reply(id: string, said: string | Buffer): void;
};

/** Who hears what the server says about itself as a whole. */
export type Listener = {
  wants(method: string, uri: string | undefined): boolean;
  onNotification(message: Message): Promise<void> | undefined;
  onGone(failure: Failure): void;
};

/** What a server with sessions said about itself, and where it offers tasks. */
export type Welcome = { message: Message; result: Span; tasks: Span | undefined };

type Own = { resolve(message: Message): void; reject(error: UpstreamError): void };

const broadcasts = new Set([...listChanges, "notifications/resources/updated"]);

export class Worker implements UpstreamSink {
  /** What it was opened for; only calls for the same come here. */
  readonly key: string;
  readonly server: string;
  readonly owner: string | undefined;
  readonly isShared: boolean;
  /** Of its process, or of the one that it reaches with others. */
  readonly tasks: TaskOwners;
  container: string | undefined;
  /** The answer to `initialize`; undefined for a server without sessions. */
  welcome: Welcome | undefined;
  /** Calls may start. */
  isReady = false;
  /** Takes no new calls and goes once it is idle. */
  isRetired = false;
  lastUsedAt = Date.now();
  readonly #isCommon: boolean;
  readonly #onEnd: (worker: Worker, gone: Promise<void>) => void;
  readonly #onIdle: (worker: Worker) => void;
  readonly #calls = new Map<number, Call>();
  readonly #own = new Map<number, Own>();
  readonly #listeners = new Set<Listener>();
  /** Whose person goes to a page for the server, by what it calls that; in a process for everybody. */
  readonly #elicitations = new Map<string, Call>();
  readonly #subscribers = new Map<string, { count: number; granted: Promise<boolean> }>();
  #upstream: Upstream | undefined;
  #separates = false;
  #lastId = 0;
  #nextId = (): number => ++this.#lastId;
  #asking: number | undefined;
  #silent = 0;
  #deafUntil = 0;
  #logLevel: string | undefined;
  #ended: Promise<void> | undefined;

  constructor(options: {
    key: string;
    server: string;
    owner: string | undefined;
    isShared: boolean;
    /** Of a process that other workers reach, too. */
    tasks?: TaskOwners | undefined;
    onEnd(worker: Worker, gone: Promise<void>): void;
    /** A call or listener went. */
    onIdle(worker: Worker): void;
  }) {
    this.key = options.key;
    this.server = options.server;
    this.owner = options.owner;
    this.isShared = options.isShared;
    this.#isCommon = options.tasks !== undefined;
    this.tasks = options.tasks ?? new TaskOwners(this.#asTaskServer());
    this.#onEnd = options.onEnd;
    this.#onIdle = options.onIdle;
  }

  get isOpen(): boolean {
    return this.#ended === undefined;
  }

  /** Calls are under way, or tasks that end with its process. */
  get isAtWork(): boolean {
    return this.#calls.size > 0 || (!this.#isCommon && this.tasks.areAwaited);
  }

  /** Its client may still ask for a task, which only the process that it reaches with others has. */
  get leadsToTasks(): boolean {
    return this.#isCommon && this.tasks.areAwaitedBy(keyOfConnection(this.owner));
  }

  get isIdle(): boolean {
    return this.#listeners.size === 0 && !this.isAtWork;
  }

  /**
   * `separates`: each message of the server names the call it belongs to; `nextId` gives every id once, where others use the
   * same process.
   */
  async attach(upstream: Upstream, separates: boolean, nextId?: () => number): Promise<void> {
    if (this.#ended !== undefined) return upstream.end();
    this.#upstream = upstream;
    this.#separates = separates;
    if (nextId !== undefined) this.#nextId = nextId;
  }

  /** Initializes a server with sessions; `params` is JSON text. Rejects with an UpstreamError. */
  async initialize(params: string): Promise<void> {
    const answer = await this.ask("initialize", params);
    if (answer.result === undefined) throw refusedToInitialize;
    const capabilities = memberOf(answer.text, answer.result, "capabilities");
    this.welcome = { message: answer, result: answer.result, tasks: memberOf(answer.text, capabilities, "tasks") };
    const version = stringAt(answer.text, memberOf(answer.text, answer.result, "protocolVersion"));
    this.#upstream?.setProtocolVersion(version ?? "");
    await this.#upstream?.send([made('{"jsonrpc":"2.0","method":"notifications/initialized"}')], undefined);
  }

  /** Whether a call can start now without being mixed up with another one. */
  takes({ attention }: Pick<Call, "attention">): boolean {
    if (this.isRetired || this.#ended !== undefined) return false;
    if (this.#separates || attention === "none") return true;
    if (this.#asking !== undefined) return false;
    return attention === "silent" || (this.#silent === 0 && !this.#isDeaf());
  }

  /** Starts a call that `takes` has agreed to. Throws an UpstreamError when it is about another client's task. */
  start(call: Call): RunningCall {
    const { text, params: at, method } = call.message;
    const inSession = this.welcome !== undefined;
    // Whether a stateless server makes any shows in its answers only.
    const hasTasks = !inSession || this.welcome?.tasks !== undefined;
    // They may be megabytes: they are read once, or not at all.
    const params = hasTasks || call.progressToken !== undefined ? membersIn(text, at) : [];
    if (hasTasks && inSession && call.owner === undefined && method === "tools/call" && asksForTask(params)) {
      // A client that knows no tasks of sessions is to get its answer.
      return this.start({ ...call, message: made(withoutTask(call.message)) });
    }
    const edits = hasTasks ? this.tasks.starts(call, params) : [];
    const id = this.#nextId();
    const message = made(asOurs(call, params, id, edits));
    this.#calls.set(id, call);
    if (call.attention === "asks") this.#asking = id;
    if (call.attention === "silent") this.#silent++;
    this.lastUsedAt = Date.now();
    const send = (): void => {
      if (this.#calls.get(id) !== call) return;
      const sent = this.#upstream?.send([message], id, call.headers) ?? Promise.reject(new UpstreamError(goneAlready));
      sent.catch((error: unknown) => this.unanswered(id, toFailure(error)));
    };
    if (call.logLevel === undefined || call.logLevel === this.#logLevel) send();
    else {
      this.#logLevel = call.logLevel;
      this.ask("logging/setLevel", JSON.stringify({ level: call.logLevel })).then(send, send);
    }
    return {
      cancel: () => this.#cancel(id, call),
      reply: (askId, said) => this.#reply(askId, said),
    };
  }

  /** A request of the gateway's own. Rejects with an UpstreamError. */
  ask(method: string, params: string): Promise<Message> {
    const upstream = this.#upstream;
    if (upstream === undefined || this.#ended !== undefined) return Promise.reject(new UpstreamError(goneAlready));
    const id = this.#nextId();
    const { promise, resolve, reject } = Promise.withResolvers<Message>();
    this.#own.set(id, { resolve, reject });
    const message = made(`{"jsonrpc":"2.0","id":${id},"method":${JSON.stringify(method)},"params":${params}}`);
    upstream.send([message], id).catch((error: unknown) => this.unanswered(id, toFailure(error)));
    return promise;
  }

  /** The same about a task. */
  askAbout(method: string, taskId: string): Promise<Message> {
    return this.ask(method, JSON.stringify({ taskId, ...(this.welcome === undefined ? ofOurs : {}) }));
  }

  notify(text: string): void {
    this.#upstream?.send([made(text)], undefined).catch(() => undefined);
  }

  /** Adds a listener until the returned function is called. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    this.#upstream?.listen();
    return () => {
      if (!this.#listeners.delete(listener)) return;
      this.lastUsedAt = Date.now();
      this.#onIdle(this);
    };
  }

  /** Subscribes to a resource for one more listener; false when the server refuses. Undone by `unsubscribe`, in both cases. */
  subscribe(uri: string): Promise<boolean> {
    const known = this.#subscribers.get(uri);
    if (known !== undefined) {
      known.count++;
      return known.granted;
    }
    const granted = this.ask("resources/subscribe", JSON.stringify({ uri })).then(
      (answer) => answer.result !== undefined,
      () => false,
    );
    this.#subscribers.set(uri, { count: 1, granted });
    return granted;
  }

  unsubscribe(uri: string): void {
    const known = this.#subscribers.get(uri);
    if (known === undefined || --known.count > 0) return;
    this.#subscribers.delete(uri);
    if (this.isOpen) void this.ask("resources/unsubscribe", JSON.stringify({ uri })).catch(() => undefined);
  }

  message(bytes: Buffer, streamId: number | undefined): Promise<void> | undefined {
    const message = readMessage(bytes);
    if (message === undefined || this.#ended !== undefined) return undefined;
    if (message.kind === "response") return this.#answered(message);
    if (message.kind === "request") return this.#asked(message, streamId);
    return this.#held(this.#told(message, streamId));
  }

  unanswered(streamId: number, failure: Failure): void {
    const own = this.#own.get(streamId);
    if (own !== undefined) {
      this.#own.delete(streamId);
      own.reject(new UpstreamError(failure));
      return;
    }
    this.#finish(streamId)?.onFailed(failure);
  }

  gone(failure: Failure): void {
    void this.end(failure);
  }

  /** Ends the process and every call with the failure; resolves when it is gone for certain. */
  end(failure: Failure): Promise<void> {
    if (this.#ended !== undefined) return this.#ended;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#ended = promise;
    for (const { reject } of this.#own.values()) reject(new UpstreamError(failure));
    for (const call of this.#calls.values()) {
      call.onFailed(failure);
      // Others may go on with the same tasks.
      if (this.#isCommon) this.tasks.over(call);
    }
    for (const listener of this.#listeners) listener.onGone(failure);
    this.#own.clear();
    this.#calls.clear();
    this.#listeners.clear();
    resolve(this.#upstream?.end());
    this.#onEnd(this, promise);
    return promise;
  }

  /** A cancelled call may still ask something: until that is unlikely, nobody answers what this process asks. */
  #isDeaf(): boolean {
    return Date.now() < this.#deafUntil;
  }

  #answered(message: Message): Promise<void> | undefined {
    const id = Number(message.id);
    const own = this.#own.get(id);
    if (own !== undefined) {
      this.#own.delete(id);
      own.resolve(message);
      return undefined;
    }
    const call = this.#calls.get(id);
    this.tasks.answered(id, call, message);
    this.#finish(id);
    return this.#held(call?.onAnswer(made(withId(message, call.message.id ?? "null"))));
  }

  /** In a process for everybody no client holds the others up: one that does not read is cut off by its own stream. */
  #held(taken: Promise<void> | undefined): Promise<void> | undefined {
    return this.isShared ? undefined : taken;
  }

  #asked(message: Message, streamId: number | undefined): undefined {
    const id = message.id ?? "null";
    if (message.method === "ping") this.#reply(id, '"result":{}');
    else if (!this.isShared || !this.tasks.asked(message)) {
      const call = this.#isDeaf() ? undefined : this.#causeOf(streamId);
      if (call === undefined) this.#reply(id, nobodyToAsk);
      else {
        const elicitation = this.isShared ? elicitationOf(message) : undefined;
        if (elicitation !== undefined) this.#elicitations.set(elicitation, call);
        call.onAsk(message);
      }
    }
    return undefined;
  }

  #told(message: Message, streamId: number | undefined): Promise<void> | undefined {
    const method = message.method ?? "";
    const meta = memberOf(message.text, message.params, "_meta");
    const subscription = memberOf(message.text, meta, metaKeys.subscription);
    if (subscription !== undefined) {
      const call = this.#calls.get(Number(tokenAt(message.text, subscription)));
      if (call !== undefined && this.tasks.told(message, call)) return undefined;
      const bytes = spliced(message.bytes, [{ at: subscription, text: call?.message.id ?? "null" }]);
      return call?.onNotification(made(bytes));
    }
    if (broadcasts.has(method)) {
      const uri = stringAt(message.text, memberOf(message.text, message.params, "uri"));
      const waits = [...this.#listeners].flatMap((listener) => {
        const wait = listener.wants(method, uri) ? listener.onNotification(message) : undefined;
        return wait === undefined ? [] : [wait];
      });
      return waits.length === 0 ? undefined : Promise.race(waits);
    }
    if (method === "notifications/progress") {
      const at = memberOf(message.text, message.params, "progressToken");
      const call = this.#calls.get(Number(tokenAt(message.text, at)));
      if (call === undefined && !this.#separates) this.tasks.told(message);
      if (at === undefined || call?.progressToken === undefined) return undefined;
      return call.onNotification(made(spliced(message.bytes, [{ at, text: call.progressToken }])));
    }
    if (method === "notifications/cancelled" && this.welcome === undefined) {
      // A stateless server ends a stream of notifications that way.
      const id = Number(tokenAt(message.text, memberOf(message.text, message.params, "requestId")));
      this.#finish(id)?.onFailed(endedByServer);
      return undefined;
    }
    const cause = this.#causeOf(streamId);
    if (!this.isShared) return this.tasks.told(message, cause ?? {}) ? undefined : cause?.onNotification(message);
    if (this.tasks.told(message)) return undefined;
    const elicitation = elicitationOf(message);
    if (elicitation !== undefined) return this.#elicitations.get(elicitation)?.onNotification(message);
    // What a list or a task makes the server say must not be taken for what another client's call did.
    const isUncertain = this.#calls.size > 1 || this.#isDeaf() || this.tasks.hasOthers(cause?.owner);
    return isUncertain ? undefined : cause?.onNotification(message);
  }

  /** The call that the server can only mean. */
  #causeOf(streamId: number | undefined): Call | undefined {
    if (!this.#separates) return this.#asking === undefined ? undefined : this.#calls.get(this.#asking);
    const named = streamId === undefined ? undefined : this.#calls.get(streamId);
    const [only] = this.#calls.values();
    const call = named ?? (this.#calls.size === 1 ? only : undefined);
    return call?.attention === "asks" ? call : undefined;
  }

  #asTaskServer(): TaskServer {
    return {
      hasOneClient: !this.isShared,
      ask: (method, taskId) => this.askAbout(method, taskId),
      reply: (id, said) => this.#reply(id, said),
    };
  }

  #reply(id: string, said: string | Buffer): void {
    const text = Buffer.concat([Buffer.from(`{"jsonrpc":"2.0","id":${id},`), Buffer.from(said), Buffer.from("}")]);
    const message = readMessage(text);
    if (message !== undefined) this.#upstream?.send([message], undefined).catch(() => undefined);
  }

  #cancel(id: number, call: Call): void {
    if (this.#calls.get(id) !== call) return;
    const params = JSON.stringify({ requestId: id, reason: "The client wants no answer any more." });
    this.notify(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":${params}}`);
    this.#upstream?.cancel?.(id);
    if (!this.#separates && this.isShared && call.attention !== "none") {
      // Others need this process, and it was told of every ability: what it still asks for this call finds nobody.
      this.#deafUntil = Date.now() + lateQuestionsMs;
      setTimeout(() => this.#onIdle(this), lateQuestionsMs + 1).unref();
    } else if (!this.#separates && call.attention === "asks") this.isRetired = true;
    this.#finish(id);
  }

  #finish(id: number): Call | undefined {
    const call = this.#calls.get(id);
    if (call === undefined) return undefined;
    this.#calls.delete(id);
    if (this.#asking === id) this.#asking = undefined;
    if (call.attention === "silent") this.#silent--;
    for (const [elicitation, asked] of this.#elicitations) if (asked === call) this.#elicitations.delete(elicitation);
    this.lastUsedAt = Date.now();
    // Whoever ends it tells its client first.
    queueMicrotask(() => this.tasks.over(call));
    this.#onIdle(this);
    return call;
  }
}

/** What the server calls a page that a person is to go to, or has been at (MCP 2025-11-25, "Elicitation"). */
function elicitationOf({ text, params, method }: Message): string | undefined {
  if (method !== "elicitation/create" && method !== "notifications/elicitation/complete") return undefined;
  return stringAt(text, memberOf(text, params, "elicitationId"));
}

const lateQuestionsMs = 5_000;
const goneAlready: Failure = {
  status: 502,
  error: { code: errorCodes.failed, message: "The server's process has ended.", data: { code: "SERVER_EXITED" } },
};
const endedByServer: Failure = {
  status: 200,
  error: { code: errorCodes.failed, message: "The server has ended this stream." },
};
const refusedToInitialize = new UpstreamError({
  status: 502,
  error: { code: errorCodes.failed, message: "The server refused to initialize.", data: { code: "SERVER_SILENT" } },
});
/** What a stateless server wants to know of whoever asks about a task. */
const ofOurs = {
  _meta: { [metaKeys.version]: statelessRevision, [metaKeys.capabilities]: { extensions: { [tasksExtension]: {} } } },
};

/** The request of a call, whose params have these members, under the worker's own id and progress token, with more edits. */
function asOurs({ message, progressToken }: Call, params: Member[], id: number, edits: Edit[]): Buffer {
  const ids = message.members.flatMap((member) => (member.key === "id" ? [{ at: member, text: String(id) }] : []));
  const meta = params.findLast(({ key }) => key === "_meta");
  const token = progressToken === undefined ? undefined : memberOf(message.text, meta, "progressToken");
  return spliced(message.bytes, [...edits, ...ids, ...(token === undefined ? [] : [{ at: token, text: String(id) }])]);
}
