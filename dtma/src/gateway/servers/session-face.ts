import { statelessCodes } from "../messages/envelope.ts";
import type { Failure } from "../messages/failure.ts";
import { type HeaderParam, learnTools, paramHeaders } from "../messages/header-params.ts";
import { asRequest, readInputRequired, retryMembers } from "../messages/input-required.ts";
import {
  errorAnswer,
  errorCodes,
  type JsonRpcError,
  type Message,
  made,
  memberOf,
  notOffered,
  readMessage,
  stringAt,
  tokenAt,
} from "../messages/json-rpc.ts";
import { ofProgress, type Progress, underToken } from "../messages/progress.ts";
import { withId } from "../messages/splice.ts";
import { errorOf, inWords, isStatelessError } from "../messages/stateless.ts";
import { asStateless, member, object } from "../messages/stateless-request.ts";
import { namingNoTask } from "../messages/tasks.ts";
import { type ClientSaid, metaMembers, type Offer, readDiscovery, readInitialize } from "./discovery.ts";
import { createListening, type Listening } from "./listening.ts";
import { toFailure, type Upstream, UpstreamError, type UpstreamSink } from "./upstream.ts";

/*
A stateless server (MCP 2026-07-28) as a client with a session sees it.

INVARIANTS
- Ids towards the server are ours alone, and so are those of the questions to the client: nobody's can collide. Over HTTP, where
  other callers reach the same server, no two faces use the same id or progress token.
- Every request of the client is answered once: by the server's last answer, by the client's own refusal of a question, or
  by why there is no answer. One that the client has cancelled is answered no more.
- What goes through is edited, never printed again: requests gain members, answers keep everything but their id.
- A server over HTTP, which cannot tell its callers apart, gets no message that names a task or may be read so: the client has
  none.
- The rounds of one request are bounded, and none of its questions and timers outlives it.
*/

/** One request of the client; its id at the server changes with every attempt. */
type Call = {
  request: Message;
  id: string;
  streamId: number | undefined;
  /** Where the server gets a token of ours. */
  progress: Progress | undefined;
  /** Undefined while the client is asked, or while the next attempt waits. */
  attempt: number | undefined;
  rounds: number;
  pauses: number;
  pause: NodeJS.Timeout | undefined;
  /** Questions the client has not answered yet: our id and the server's name for it. */
  asked: Map<string, string>;
  answers: Map<string, Buffer>;
  state: Buffer | undefined;
  hasRefreshed: boolean;
};

type Own = { resolve(answer: Message): void; reject(error: UpstreamError): void };

const maxRounds = 20;
/** A server that wants a request again without asking anything gets it at once, then ever later. */
const pausesMs = [0, 250, 500, 1_000, 2_000];
const overlapMs = 1_000;
const maxPages = 100;

/** What a client with a session says and a stateless server has no use for. */
const dropped = new Set(["notifications/initialized", "notifications/roots/list_changed", "notifications/progress"]);
const levels = new Set(["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]);

/**
 * Lets a session use a server without sessions, over the upstream that `connect` makes; `isHttp`: what is sent reaches the
 * server in POSTs of their own, so that streams overtake one another and arguments may be wanted in headers; `nextId` gives every
 * id once, for all who use the server.
 */
export function createSessionFace(
  connect: (sink: UpstreamSink) => Upstream,
  sink: UpstreamSink,
  options: { isHttp: boolean; nextId?: (() => number) | undefined },
): Upstream {
  const { isHttp, nextId = () => ++lastId } = options;
  /** By the client's id, by that of the attempt, and by those of the questions. */
  const calls = new Map<string, Call>();
  const attempts = new Map<number, Call>();
  const questions = new Map<string, Call>();
  const own = new Map<number, Own>();
  const repeated = new Map<string, readonly HeaderParam[]>();
  let lastId = 0;
  let lastQuestion = 0;
  let client: ClientSaid = readInitialize(undefined);
  let logLevel: string | undefined;
  let offer: Offer | undefined;
  let listening: Listening | undefined;

  const upstream = connect({ message: fromServer, unanswered, gone: (failure) => sink.gone(failure) });

  function dispatch(request: Message, params: Buffer[], headers?: Record<string, string>): { id: number; sent: Promise<void> } {
    const id = nextId();
    const message = made(asStateless(request, { id: String(id), meta: metaMembers(client, logLevel), params }));
    const sent = upstream.send([message], id, headers).catch((error: unknown) => unanswered(id, toFailure(error)));
    return { id, sent };
  }

  /** A request of our own. Rejects with an UpstreamError when there is no answer. */
  function ask(method: string, params: Buffer[]): { id: number; answer: Promise<Message> } {
    const { promise, resolve, reject } = Promise.withResolvers<Message>();
    const { id } = dispatch(made(object([...envelope(method), member("id", "0")])), params);
    own.set(id, { resolve, reject });
    return { id, answer: promise };
  }

  /** The server need not work on this request any longer. */
  function abandon(id: number, reason?: Buffer): void {
    own.delete(id);
    if (upstream.cancel !== undefined) return upstream.cancel(id);
    upstream.send([cancelling(String(id), reason)], undefined).catch(() => undefined);
  }

  function attempt(call: Call, params: Buffer[]): Promise<void> {
    const tool = isHttp && call.request.method === "tools/call" ? nameOf(call.request) : undefined;
    const wanted = tool === undefined ? undefined : repeated.get(tool);
    const { id, sent } = dispatch(call.request, params, wanted && paramHeaders(call.request, wanted));
    call.attempt = id;
    attempts.set(id, call);
    return sent;
  }

  /** The questions to the client are over, answered or not. */
  function withdraw(call: Call): void {
    for (const id of call.asked.keys()) {
      questions.delete(id);
      void sink.message(cancelling(id).bytes, call.streamId);
    }
    call.asked.clear();
    clearTimeout(call.pause);
  }

  function finish(call: Call, answer: Buffer): Promise<void> | undefined {
    calls.delete(call.id);
    withdraw(call);
    return sink.message(answer, call.streamId);
  }

  const refuse = (call: Call, error: JsonRpcError) => finish(call, errorAnswer(call.id, error));

  function fromServer(bytes: Buffer, attemptId: number | undefined): Promise<void> | undefined {
    const message = readMessage(bytes);
    if (message === undefined) return undefined;
    if (message.kind === "response") return answered(message);
    if (message.kind === "request") return undefined;
    const taken = listening?.take(message, attemptId) ?? (listening === undefined ? "not-ours" : undefined);
    if (taken !== "not-ours") return taken;
    const call = attemptId === undefined ? undefined : attempts.get(attemptId);
    const heard = isHttp && message.method === "notifications/progress" ? ofProgress(message, [call?.progress]) : bytes;
    return heard && sink.message(heard, call?.streamId);
  }

  function answered(message: Message): Promise<void> | undefined {
    const id = Number(message.id);
    const mine = own.get(id);
    if (mine !== undefined) {
      own.delete(id);
      mine.resolve(message);
      return undefined;
    }
    const call = attempts.get(id);
    if (call === undefined) return undefined;
    attempts.delete(id);
    call.attempt = undefined;
    if (message.hasError) return failed(call, message);
    const type = stringAt(message.text, memberOf(message.text, message.result, "resultType"));
    if (type === "input_required") return question(call, message);
    if (type !== undefined && type !== "complete") {
      return refuse(call, {
        code: errorCodes.failed,
        message: `The server answered with "${type.slice(0, 64)}", which this toolbox does not know.`,
      });
    }
    if (!isHttp || call.request.method !== "tools/list") return finish(call, withId(message, call.id));
    const kept = learnTools(message, repeated);
    return finish(call, withId(kept === message.bytes ? message : made(kept), call.id));
  }

  function failed(call: Call, message: Message): Promise<void> | undefined {
    const error = errorOf(message);
    const isMismatch = error?.code === statelessCodes.headerMismatch;
    if (isMismatch && isHttp && call.request.method === "tools/call" && !call.hasRefreshed) {
      call.hasRefreshed = true;
      void refreshTools().then(() => {
        if (calls.get(call.id) === call) void attempt(call, retryMembers(call.answers, call.state));
      });
      return undefined;
    }
    if (error === undefined || !isStatelessError(error.code)) return finish(call, withId(message, call.id));
    return refuse(call, { ...error, code: errorCodes.failed, message: inWords(error) });
  }

  async function refreshTools(): Promise<void> {
    let cursor: Buffer[] = [];
    for (let page = 0; page < maxPages; page += 1) {
      const answer = await ask("tools/list", cursor).answer.catch(() => undefined);
      if (answer?.result === undefined) return;
      learnTools(answer, repeated);
      const next = stringAt(answer.text, memberOf(answer.text, answer.result, "nextCursor"));
      if (next === undefined || next === "") return;
      cursor = [member("cursor", JSON.stringify(next))];
    }
  }

  /** The server wants to know something first. */
  function question(call: Call, message: Message): Promise<void> | undefined {
    const wanted = readInputRequired(message);
    if (wanted === undefined) return refuse(call, nonsense);
    call.rounds += 1;
    if (call.rounds > maxRounds) return refuse(call, endless);
    call.state = wanted.state;
    call.answers = new Map();
    if (wanted.questions.length === 0) {
      const pauseMs = pausesMs[Math.min(call.pauses, pausesMs.length - 1)];
      call.pauses += 1;
      call.pause = setTimeout(() => void attempt(call, retryMembers(call.answers, call.state)), pauseMs);
      return undefined;
    }
    call.pauses = 0;
    const told = wanted.questions.map((one) => {
      lastQuestion += 1;
      const id = JSON.stringify(`dtma-${lastQuestion}`);
      call.asked.set(id, one.key);
      questions.set(id, call);
      return sink.message(asRequest(one, id), call.streamId);
    });
    return told.find((saturated) => saturated !== undefined);
  }

  /** The client has answered a question. */
  async function replied(reply: Message): Promise<void> {
    const id = reply.id ?? "";
    const call = questions.get(id);
    const key = call?.asked.get(id);
    if (call === undefined || key === undefined) return;
    questions.delete(id);
    call.asked.delete(id);
    if (reply.result === undefined) return void finish(call, withId(reply, call.id));
    call.answers.set(key, Buffer.from(reply.bytes.subarray(reply.result.start, reply.result.end)));
    if (call.asked.size === 0) await attempt(call, retryMembers(call.answers, call.state));
  }

  function cancelledByClient({ text, bytes, params }: Message): void {
    const call = calls.get(tokenAt(text, memberOf(text, params, "requestId")) ?? "");
    if (call === undefined) return;
    calls.delete(call.id);
    withdraw(call);
    if (call.attempt === undefined) return;
    attempts.delete(call.attempt);
    const reason = memberOf(text, params, "reason");
    abandon(call.attempt, reason && bytes.subarray(reason.start, reason.end));
  }

  function unanswered(attemptId: number, failure: Failure): void {
    const mine = own.get(attemptId);
    own.delete(attemptId);
    if (mine !== undefined) return mine.reject(new UpstreamError(failure));
    const call = attempts.get(attemptId);
    if (call === undefined) return;
    attempts.delete(attemptId);
    call.attempt = undefined;
    calls.delete(call.id);
    const isAlone = ![...calls.values()].some(({ streamId }) => streamId === call.streamId);
    if (isAlone && call.streamId !== undefined) sink.unanswered(call.streamId, failure);
    else void sink.message(errorAnswer(call.id, failure.error), call.streamId);
  }

  async function initialize(request: Message, streamId: number | undefined): Promise<void> {
    client = readInitialize(request);
    const id = request.id ?? "null";
    try {
      const answer = await ask("server/discover", []).answer;
      const error = answer.hasError ? errorOf(answer) : undefined;
      offer = readDiscovery(answer, client);
      if (offer === undefined) {
        const message = error === undefined ? "The server does not say what it can do." : inWords(error);
        return void sink.message(errorAnswer(id, { code: errorCodes.failed, message }), streamId);
      }
      listening = createListening({
        lists: offer.lists,
        open: listen,
        close: abandon,
        tell: (bytes) => sink.message(bytes, undefined),
        overlapMs: isHttp ? overlapMs : 0,
      });
      void sink.message(resultAnswer(id, JSON.stringify(offer.result)), streamId);
    } catch (error) {
      if (streamId !== undefined) sink.unanswered(streamId, toFailure(error));
    }
  }

  function listen(filter: string): number {
    const { id, answer } = ask("subscriptions/listen", [member("notifications", filter)]);
    answer.then(
      (message) => listening?.ended(id, message.hasError ? (errorOf(message) ?? nonsense) : undefined),
      () => listening?.ended(id, undefined),
    );
    return id;
  }

  async function subscribe(request: Message, streamId: number | undefined): Promise<void> {
    const id = request.id ?? "null";
    const uri = stringAt(request.text, memberOf(request.text, request.params, "uri"));
    const isSubscribing = request.method === "resources/subscribe";
    let error: JsonRpcError | undefined;
    if (offer?.canSubscribe !== true) error = notOffered;
    else if (uri === undefined)
      error = { code: errorCodes.invalidParams, message: `${request.method} needs the URI of a resource.` };
    else error = await (isSubscribing ? listening?.subscribe(uri) : listening?.unsubscribe(uri));
    void sink.message(error === undefined ? resultAnswer(id, "{}") : errorAnswer(id, error), streamId);
  }

  function setLevel({ id = "null", text, params }: Message, streamId: number | undefined): void {
    const level = stringAt(text, memberOf(text, params, "level"));
    let error: JsonRpcError | undefined;
    if (offer?.canLog !== true) error = notOffered;
    else if (level === undefined || !levels.has(level))
      error = { code: errorCodes.invalidParams, message: "This is no level of a log." };
    else logLevel = level;
    void sink.message(error === undefined ? resultAnswer(id, "{}") : errorAnswer(id, error), streamId);
  }

  async function requested(request: Message, streamId: number | undefined): Promise<void> {
    const id = request.id ?? "null";
    switch (request.method) {
      case "initialize":
        return void initialize(request, streamId);
      case "ping":
        return void sink.message(resultAnswer(id, "{}"), streamId);
      case "logging/setLevel":
        return setLevel(request, streamId);
      case "resources/subscribe":
      case "resources/unsubscribe":
        return void subscribe(request, streamId);
    }
    if (request.method?.startsWith("tasks/")) return void sink.message(errorAnswer(id, notOffered), streamId);
    const allowed = isHttp ? namingNoTask(request) : request;
    if ("code" in allowed) return void sink.message(errorAnswer(id, allowed), streamId);
    const tagged = isHttp ? underToken(allowed, nextId) : undefined;
    if (tagged !== undefined && "code" in tagged) return void sink.message(errorAnswer(id, tagged), streamId);
    const call: Call = {
      request: tagged?.message ?? allowed,
      progress: tagged?.progress,
      id,
      streamId,
      attempt: undefined,
      rounds: 0,
      pauses: 0,
      pause: undefined,
      asked: new Map(),
      answers: new Map(),
      state: undefined,
      hasRefreshed: false,
    };
    calls.set(id, call);
    await attempt(call, []);
  }

  async function noted(notification: Message): Promise<void> {
    const { method = "" } = notification;
    if (method === "notifications/cancelled") cancelledByClient(notification);
    else if (method === "notifications/initialized") listening?.start();
    else if (!dropped.has(method)) {
      const allowed = isHttp ? namingNoTask(notification) : notification;
      if ("code" in allowed) throw new UpstreamError({ status: 400, error: allowed });
      await upstream.send([allowed], undefined);
    }
  }

  return {
    async send(messages, streamId) {
      for (const message of messages) {
        if (message.kind === "request") await requested(message, streamId);
        else if (message.kind === "response") await replied(message);
        else await noted(message);
      }
    },
    ready: () => upstream.ready(),
    listen() {},
    setProtocolVersion() {},
    async end() {
      listening?.stop();
      for (const { pause } of calls.values()) clearTimeout(pause);
      await upstream.end();
    },
  };
}

const nonsense: JsonRpcError = { code: errorCodes.failed, message: "The server asked for something that makes no sense." };
const endless: JsonRpcError = {
  code: errorCodes.failed,
  message: `The server still asked for more after ${maxRounds} rounds.`,
};

function envelope(method: string): Buffer[] {
  return [member("jsonrpc", '"2.0"'), member("method", JSON.stringify(method))];
}

/** `id` and `reason` are JSON text. */
function cancelling(id: string, reason?: Buffer): Message {
  const params = [member("requestId", id), ...(reason === undefined ? [] : [member("reason", reason)])];
  return made(object([...envelope("notifications/cancelled"), member("params", object(params))]));
}

function resultAnswer(id: string, result: string): Buffer {
  return Buffer.from(`{"jsonrpc":"2.0","id":${id},"result":${result}}`);
}

function nameOf({ text, params }: Message): string | undefined {
  return stringAt(text, memberOf(text, params, "name"));
}
