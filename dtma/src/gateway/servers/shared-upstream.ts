import { metaKeys } from "../messages/envelope.ts";
import {
  errorAnswer,
  errorCodes,
  type Message,
  made,
  memberOf,
  notOffered,
  progressTokenOf,
  stringAt,
  tokenAt,
} from "../messages/json-rpc.ts";
import { abilityOf, canBeAsked, cannotBeAsked, isAble, quietMethods, toQuestion } from "../messages/questions.ts";
import { sessionRevisions } from "../messages/revisions.ts";
import { spliced, withId } from "../messages/splice.ts";
import { isWithin, maxSubscriptions, tooManySubscriptions } from "../messages/subscriptions.ts";
import { taskMethods, tasksRevision, withoutTasks } from "../messages/tasks.ts";
import type { TaskOwner } from "./task-owners.ts";
import { toFailure, type Upstream, UpstreamError, type UpstreamSink } from "./upstream.ts";
import type { Attention, RunningCall, Worker } from "./worker.ts";
import type { Want, WorkerPool } from "./worker-pool.ts";

/*
Connects a session to the one process that its server has for everybody.

INVARIANTS
- The session hears answers to its own requests, what its own requests cause, and what the server says about itself as a
  whole; never what belongs to another session.
- `end` leaves the process alone and nothing of the session behind in it: no call, no task, no subscription.
*/

/** `isRaw`: the server is stateless, and everything goes through as it is. */
export function createSharedUpstream(
  { pool, want, isRaw }: { pool: WorkerPool; want: Want; isRaw: boolean },
  sink: UpstreamSink,
): Upstream {
  const stop = new AbortController();
  const running = new Map<string, RunningCall>();
  /** Who passes the answer to a question of the server on. */
  const questions = new Map<string, Pick<RunningCall, "reply">>();
  const uris = new Set<string>();
  let worker: Worker | undefined;
  let stopListening: (() => void) | undefined;
  let initialize: Message | undefined;
  let logLevel: string | undefined;
  /** Has the session's tasks; undefined where it has none, because its revision does not know them or its server. */
  let owner: TaskOwner | undefined;

  const tell = (text: string | Buffer, streamId: number | undefined): Promise<void> | undefined =>
    sink.message(typeof text === "string" ? Buffer.from(text) : text, streamId);
  const nothing = (id: string | undefined): string => `{"jsonrpc":"2.0","id":${id ?? "null"},"result":{}}`;
  const abilities = (): { message: Message; capabilities: { start: number; end: number } } | undefined => {
    const capabilities = initialize && memberOf(initialize.text, initialize.params, "capabilities");
    return initialize && capabilities && { message: initialize, capabilities };
  };

  async function start(message: Message, streamId: number | undefined, headers?: Record<string, string>): Promise<void> {
    const id = message.id ?? "null";
    const call = {
      message,
      ...(headers === undefined ? {} : { headers }),
      progressToken: progressTokenOf(message),
      attention: attentionOf(message),
      owner,
      refused: () => sink.refused?.(message),
      logLevel: isRaw ? undefined : logLevel,
      onNotification: (told: Message) => tell(told.bytes, streamId),
      onAsk: (asked: Message) => ask(asked, running.get(id), streamId),
      onAnswer(answer: Message) {
        forget(id);
        return tell(answer.bytes, streamId);
      },
      onFailed(failure: ReturnType<typeof toFailure>): void {
        forget(id);
        if (streamId !== undefined) sink.unanswered(streamId, failure);
      },
    };
    try {
      const cancel = new AbortController();
      const early: RunningCall = { cancel: () => cancel.abort(cancelled), reply: () => undefined };
      running.set(id, early);
      const started = await pool.start(want, call, AbortSignal.any([stop.signal, cancel.signal]));
      if (running.get(id) === early) running.set(id, started.running);
      else if (cancel.signal.aborted || stop.signal.aborted) started.running.cancel();
    } catch (error) {
      running.delete(id);
      if (stop.signal.aborted || streamId === undefined) return;
      const failure = error === cancelled ? cancelled.failure : toFailure(error);
      await tell(errorAnswer(message.id, failure.error), streamId);
    }
  }

  /** Passes a question of the server on, if the client can be asked that. */
  function ask(asked: Message, from: Pick<RunningCall, "reply"> | undefined, streamId: number | undefined): void {
    const id = asked.id ?? "null";
    const known = abilities();
    const ability = abilityOf(toQuestion(asked));
    if (ability === undefined || known === undefined || !isAble(known.message, known.capabilities, ability)) {
      from?.reply(id, cannotBeAsked);
    } else if (from !== undefined) {
      questions.set(id, from);
      void tell(asked.bytes, streamId);
    }
  }

  function forget(id: string): void {
    const call = running.get(id);
    running.delete(id);
    for (const [question, from] of questions) if (from === call) questions.delete(question);
  }

  function attentionOf(message: Message): Attention {
    if (isRaw) return isLogged(message) ? "asks" : "silent";
    // What a task wants to know names the task, so whoever waits for one holds nobody up.
    if (quietMethods.has(message.method ?? "") || taskMethods.has(message.method ?? "")) return "none";
    const known = abilities();
    const asks = known !== undefined && canBeAsked(known.message, known.capabilities);
    return asks || logLevel !== undefined ? "asks" : "silent";
  }

  async function welcome(message: Message, streamId: number | undefined): Promise<void> {
    initialize = message;
    worker = await pool.ready(want, stop.signal);
    if (stop.signal.aborted) return;
    const said = worker.welcome;
    if (said === undefined) throw new UpstreamError(notReady);
    stopListening = worker.listen({
      wants: (method, uri) => method !== "notifications/resources/updated" || isWithin(uri, uris),
      onNotification: (told) => tell(told.bytes, undefined),
      onGone: (failure) => sink.gone(failure),
    });
    const answer = made(withId(said.message, message.id ?? "null"));
    const asked = stringAt(message.text, memberOf(message.text, message.params, "protocolVersion"));
    const at = memberOf(answer.text, answer.result, "protocolVersion");
    const own = stringAt(answer.text, at) ?? "";
    const isOlder = asked !== undefined && at !== undefined && sessionRevisions.has(asked) && asked < own;
    const bytes = isOlder ? spliced(answer.bytes, [{ at, text: JSON.stringify(asked) }]) : answer.bytes;
    const hasTasks = (isOlder ? asked : own) >= tasksRevision;
    if (hasTasks && said.tasks !== undefined) owner = ownerOf(worker);
    await tell(hasTasks ? bytes : withoutTasks(bytes), streamId);
  }

  function ownerOf({ tasks }: Worker): TaskOwner {
    const self: TaskOwner = {
      key: stop,
      onNotification(told) {
        if (told.method === "notifications/cancelled") {
          questions.delete(tokenAt(told.text, memberOf(told.text, told.params, "requestId")) ?? "null");
        }
        void tell(told.bytes, undefined);
      },
      onAsk: (asked) => ask(asked, { reply: (id, said) => tasks.reply(self, id, said) }, undefined),
    };
    return self;
  }

  /** Its tasks only, whatever the server would list. */
  async function listTasks(message: Message, streamId: number | undefined): Promise<void> {
    const canList = memberOf(worker?.welcome?.message.text ?? "", worker?.welcome?.tasks, "list") !== undefined;
    const list = canList && owner !== undefined ? await worker?.tasks.list(message, owner) : undefined;
    await tell(list ?? errorAnswer(message.id, notOffered), streamId);
  }

  async function subscribe(message: Message, streamId: number | undefined): Promise<void> {
    const uri = stringAt(message.text, memberOf(message.text, message.params, "uri"));
    if (uri === undefined || worker === undefined) return start(message, streamId);
    if (message.method === "resources/unsubscribe") {
      if (uris.delete(uri)) worker.unsubscribe(uri);
    } else if (!uris.has(uri)) {
      if (uris.size >= maxSubscriptions) throw new UpstreamError({ status: 503, error: tooManySubscriptions });
      uris.add(uri);
      const isGranted = await worker.subscribe(uri);
      if (stop.signal.aborted || !isGranted) {
        // What `end` has given back already is not given back twice.
        if (uris.delete(uri)) worker.unsubscribe(uri);
        if (!stop.signal.aborted) return start(message, streamId);
        return;
      }
    }
    await tell(nothing(message.id), streamId);
  }

  async function request(message: Message, streamId: number | undefined, headers?: Record<string, string>): Promise<void> {
    if (isRaw) return start(message, streamId, headers);
    switch (message.method) {
      case "initialize":
        return welcome(message, streamId);
      case "ping":
        return void (await tell(nothing(message.id), streamId));
      case "logging/setLevel":
        logLevel = stringAt(message.text, memberOf(message.text, message.params, "level"));
        return void (await tell(nothing(message.id), streamId));
      case "resources/subscribe":
      case "resources/unsubscribe":
        return subscribe(message, streamId);
      case "tasks/list":
        return listTasks(message, streamId);
      default:
        if (owner !== undefined || !message.method?.startsWith("tasks/")) return start(message, streamId);
        return void (await tell(errorAnswer(message.id, notOffered), streamId));
    }
  }

  return {
    async send(messages, streamId, headers) {
      for (const message of messages) {
        if (message.kind === "request") {
          const sent = request(message, streamId, headers);
          if (message.method === "initialize") await sent;
          else
            sent.catch((error: unknown) => {
              if (streamId !== undefined) sink.unanswered(streamId, toFailure(error));
            });
        } else if (message.kind === "response") {
          const id = message.id ?? "null";
          const [said] = message.members.filter(({ key }) => key === "result" || key === "error");
          if (said === undefined) continue;
          const raw = message.bytes.subarray(said.start, said.end);
          questions.get(id)?.reply(id, Buffer.concat([Buffer.from(`${JSON.stringify(said.key)}:`), raw]));
          questions.delete(id);
        } else if (message.method === "notifications/cancelled") {
          const id = tokenAt(message.text, memberOf(message.text, message.params, "requestId"));
          running.get(id ?? "null")?.cancel();
          forget(id ?? "null");
        }
      }
    },
    ready: () => undefined,
    listen() {},
    setProtocolVersion() {},
    async end() {
      if (stop.signal.aborted) return;
      stop.abort(cancelled);
      for (const call of running.values()) call.cancel();
      running.clear();
      if (owner !== undefined) worker?.tasks.end(owner.key);
      stopListening?.();
      for (const uri of uris) worker?.unsubscribe(uri);
      uris.clear();
    },
  };
}

const cancelled = new UpstreamError({ status: 200, error: { code: errorCodes.failed, message: "The request was cancelled." } });
const notReady = { status: 502, error: { code: errorCodes.failed, message: "The server's process is not ready." } };

/** Wants what the server logs meanwhile. */
function isLogged(message: Message): boolean {
  return memberOf(message.text, memberOf(message.text, message.params, "_meta"), metaKeys.logLevel) !== undefined;
}
