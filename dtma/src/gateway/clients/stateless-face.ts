import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { ServerEndpoint } from "../../docker/server-process.ts";
import { calledTool, refusal, withoutHiddenTools } from "../access.ts";
import { type CallAccount, type Call as CountedCall, outcomeOf, outcomeOfFailure } from "../account.ts";
import type { Visit } from "../gateway.ts";
import { type Envelope, parameterHeaders, readEnvelope, statelessCodes, supportedRevisions } from "../messages/envelope.ts";
import type { Failure } from "../messages/failure.ts";
import { type HeaderParam, learnTools, repeats } from "../messages/header-params.ts";
import {
  errorAnswer,
  errorCodeAt,
  errorCodes,
  type Message,
  made,
  memberOf,
  membersAt,
  stringAt,
  tokenAt,
} from "../messages/json-rpc.ts";
import {
  abilityOf,
  askingMethods,
  canBeAsked,
  cannotBeAsked,
  digestOf,
  discovered,
  elicitationsOf,
  inputRequired,
  isAble,
  type Question,
  quietMethods,
  requestState,
  statelessAnswer,
  toQuestion,
} from "../messages/questions.ts";
import { rawMember, spliced, withId } from "../messages/splice.ts";
import { isStatelessError } from "../messages/stateless.ts";
import { keyOfConnection } from "../servers/task-owners.ts";
import { toFailure, UpstreamError } from "../servers/upstream.ts";
import type { Attention, Call, RunningCall, Worker } from "../servers/worker.ts";
import type { Want, WorkerPool } from "../servers/worker-pool.ts";
import { wantOf } from "../wants.ts";
import { AnswerStream } from "./answer-stream.ts";
import { sendJson } from "./client-stream.ts";
import { listenTo } from "./subscriptions.ts";

/*
The stateless revisions (MCP 2026-07-28) towards clients, in front of a server of either era.

INVARIANTS
- A request is answered once, or its client has left; a client that leaves cancels it at the server.
- A server with sessions that asks its client something is answered by the same client, on the same request: the state that
  stands for the waiting call is unguessable, good once, and bound to the connection, the server and the request.
- What waits for a client's answer is given up after `answerWithinMs`.
*/

export type StatelessDeps = {
  pool: WorkerPool;
  endpointOf(server: string): Promise<ServerEndpoint>;
  /** The books of whoever is calling. */
  accountOf(visit: Visit, server: string): CallAccount;
  answerWithinMs: number;
};

export type StatelessFace = {
  /** Serves one POST; resolves when it has been answered. */
  handle(request: IncomingMessage, response: ServerResponse, server: string, visit: Visit, message: Message): Promise<void>;
  /** Ends what a connection has under way: its access was taken away. */
  revoke(connectionId: string, failure: Failure): void;
  /** Called about once a second. */
  tick(now: number): void;
};

type KnownTools = Map<string, readonly HeaderParam[]>;

/** A POST that has not been answered. */
type Open = { connectionId: string | undefined; end(failure: Failure): void };

/** A call that is under way, with or without a client to answer to. */
type Exchange = {
  server: string;
  connectionId: string | undefined;
  digest: string;
  visit: Visit;
  /** The request that is waiting for an answer now; the last one while nobody waits. */
  envelope: Envelope;
  stream: AnswerStream | undefined;
  running: RunningCall | undefined;
  /** Runs the call; knows what its server said about itself. */
  worker: Worker | undefined;
  count: CountedCall | undefined;
  /** Questions of the server nobody has answered yet, by the key the client knows them under. */
  questions: Map<string, Question>;
  /** The progress token the server knows. */
  token: string | undefined;
  /** The server has to be asked once more, because its error said what must come first. */
  startsAgain: boolean;
  isShared: boolean;
  expiresAt: number;
  isAsking: boolean;
};

export function createStatelessFace(deps: StatelessDeps): StatelessFace {
  const streams = new Map<AnswerStream, Open>();
  const waiting = new Map<string, Exchange>();
  const learned = new Map<string, { container: string | undefined; tools: KnownTools }>();

  async function handle(
    request: IncomingMessage,
    response: ServerResponse,
    server: string,
    visit: Visit,
    message: Message,
  ): Promise<void> {
    const envelope = readEnvelope(request, message);
    if ("code" in envelope) return sendJson(response, 400, errorAnswer(message.id, envelope));
    const refused = refusal(message, visit.allowed);
    if (refused !== undefined) {
      const answer = errorAnswer(message.id, refused);
      if (envelope.method === "tools/call") countOf(server, visit, message).end("refused", answer.length);
      return sendJson(response, 200, answer);
    }
    const leaving = new AbortController();
    let onLeft = (): void => leaving.abort(left);
    const stream = new AnswerStream(response, () => onLeft());
    streams.set(stream, {
      connectionId: visit.connectionId,
      end(failure) {
        fail(stream, envelope, failure);
        onLeft();
      },
    });
    let count: CountedCall | undefined;
    try {
      if (openOf(visit.connectionId) > maxOpen) throw new UpstreamError(tooManyOpen);
      const endpoint = await deps.endpointOf(server);
      leaving.signal.throwIfAborted();
      const want = wantOf(server, endpoint, visit, envelope);
      const isSession = endpoint.speech?.stateless !== true;
      const given = parameterHeaders(request);
      const tools = isSession || endpoint.type === "stdio" ? toolsOf(server, endpoint.container) : undefined;
      const wanted = tools?.get(stringAt(message.text, memberOf(message.text, message.params, "name")) ?? "");
      if (envelope.method === "tools/call" && wanted !== undefined && !repeats(message, wanted, given)) {
        throw new UpstreamError(notRepeated);
      }
      if (isSession && envelope.method === "server/discover") return await discover(stream, envelope, want, leaving.signal);
      if (isSession && envelope.method === "subscriptions/listen") {
        await listenTo(await deps.pool.ready(want, leaving.signal), stream, envelope, leaving.signal);
        return await stream.closed;
      }
      // Tasks are an extension of another shape in 2026-07-28.
      if (removedMethods.has(envelope.method) || (isSession && envelope.method.startsWith("tasks/"))) {
        const message = `This revision of the protocol has no method ${envelope.method}.`;
        return void stream.answer(errorAnswer(envelope.id, { code: errorCodes.methodNotFound, message }), 404);
      }
      const exchange = isSession ? resume(server, visit, envelope) : undefined;
      const current = exchange ?? begin(server, visit, envelope, want.isShared);
      current.stream = stream;
      count = current.count;
      onLeft = () => {
        leaving.abort(left);
        if (current.stream === stream) giveUp(current);
      };
      if (exchange === undefined || exchange.startsAgain) {
        current.startsAgain = false;
        current.questions.clear();
        const call = callOf(current, isSession, tools);
        const started = await deps.pool.start(want, given === undefined ? call : { ...call, headers: given }, leaving.signal);
        current.running = started.running;
        current.worker = started.worker;
        stream.isAtWork = true;
        if (leaving.signal.aborted) giveUp(current);
      } else {
        // It is asked what is still open, or waits with the call.
        stream.isAtWork = true;
        if (current.questions.size > 0) ask(current);
      }
      await stream.closed;
    } catch (error) {
      if (error === left) {
        count?.end("ended", 0);
        return;
      }
      const failure = toFailure(error);
      count?.end(outcomeOfFailure(failure), 0);
      fail(stream, envelope, failure);
    } finally {
      streams.delete(stream);
    }
  }

  function openOf(connectionId: string | undefined): number {
    let count = 0;
    for (const open of streams.values()) if (open.connectionId === connectionId) count++;
    return count;
  }

  function countOf(server: string, visit: Visit, message: Message): CountedCall {
    return deps.accountOf(visit, server).begin(calledTool(message), message.bytes.length);
  }

  function begin(server: string, visit: Visit, envelope: Envelope, isShared: boolean): Exchange {
    return {
      isShared,
      server,
      connectionId: visit.connectionId,
      digest: digestOf(envelope.message),
      visit,
      envelope,
      stream: undefined,
      running: undefined,
      worker: undefined,
      count: envelope.method === "tools/call" ? countOf(server, visit, envelope.message) : undefined,
      questions: new Map(),
      token: envelope.progressToken,
      startsAgain: false,
      expiresAt: 0,
      isAsking: false,
    };
  }

  /** The call that a retry belongs to. Throws an UpstreamError for a state that stands for none. */
  function resume(server: string, visit: Visit, envelope: Envelope): Exchange | undefined {
    const state = askingMethods.has(envelope.method) ? requestState(envelope.message) : undefined;
    if (state === undefined) return undefined;
    const exchange = waiting.get(state);
    const isTheirs =
      exchange?.server === server &&
      exchange.connectionId === visit.connectionId &&
      exchange.digest === digestOf(envelope.message);
    if (exchange === undefined || !isTheirs) throw new UpstreamError(unknownState);
    waiting.delete(state);
    exchange.envelope = envelope;
    exchange.visit = visit;
    const { message } = envelope;
    const responses = memberOf(message.text, message.params, "inputResponses");
    for (const { key, start, end } of (responses && membersAt(message.text, responses.start)?.members) ?? []) {
      const question = exchange.questions.get(key);
      if (question === undefined) continue;
      exchange.questions.delete(key);
      const said = message.bytes.subarray(start, end);
      if (!exchange.startsAgain) exchange.running?.reply(question.id, Buffer.concat([resultMember, said]));
      else if (!isAccepted(message, { start, end })) {
        exchange.count?.end("ended", 0);
        throw new UpstreamError(declined);
      }
    }
    return exchange;
  }

  /** What the tools of a server want repeated in headers, where nobody behind us looks at these. */
  function toolsOf(server: string, container: string | undefined): KnownTools {
    const known = learned.get(server);
    if (known !== undefined && known.container === container) return known.tools;
    const tools: KnownTools = new Map();
    learned.set(server, { container, tools });
    return tools;
  }

  function callOf(exchange: Exchange, isSession: boolean, tools: KnownTools | undefined): Call {
    const { envelope } = exchange;
    return {
      message: envelope.message,
      progressToken: envelope.progressToken,
      attention: attentionOf(envelope, isSession),
      // Tasks of sessions cannot be carried over.
      owner: isSession ? undefined : { key: keyOfConnection(exchange.connectionId) },
      refused: () => refusal(envelope.message, exchange.visit.allowed),
      logLevel: isSession ? envelope.logLevel : undefined,
      onNotification: (message) => notify(exchange, message, isSession),
      onAsk: (message) => question(exchange, message),
      onAnswer(message) {
        if (tools !== undefined && envelope.method === "tools/list") learnTools(message, tools);
        if (envelope.method === "server/discover") return answer(exchange, withRevisions(message));
        return isSession ? answerOfSession(exchange, message) : answer(exchange, message);
      },
      onFailed: (failure) => failed(exchange, failure),
    };
  }

  function notify(exchange: Exchange, message: Message, isSession: boolean): Promise<void> | undefined {
    if (message.method === "notifications/cancelled") {
      const id = tokenAt(message.text, memberOf(message.text, message.params, "requestId"));
      for (const [key, one] of exchange.questions) if (one.id === id) exchange.questions.delete(key);
      return undefined;
    }
    if (!isSession) return exchange.stream?.notify(message.bytes);
    if (message.method === "notifications/message") {
      return exchange.envelope.logLevel === undefined ? undefined : exchange.stream?.notify(message.bytes);
    }
    if (message.method !== "notifications/progress") return undefined;
    const { progressToken } = exchange.envelope;
    if (progressToken === undefined) return undefined;
    if (progressToken === exchange.token) return exchange.stream?.notify(message.bytes);
    const at = memberOf(message.text, message.params, "progressToken");
    return at && exchange.stream?.notify(spliced(message.bytes, [{ at, text: progressToken }]));
  }

  function question(exchange: Exchange, message: Message): void {
    const asked = toQuestion(message);
    const ability = abilityOf(asked);
    const { message: request, capabilities } = exchange.envelope;
    if (ability === undefined || !isAble(request, capabilities, ability)) {
      exchange.running?.reply(asked.id, cannotBeAsked);
      return;
    }
    const kind = asked.method.split("/", 1)[0] ?? "input";
    exchange.questions.set(`${kind}-${asked.id.replaceAll('"', "")}`, asked);
    // Those that the server asks in one go are passed on in one go.
    if (exchange.stream !== undefined && !exchange.isAsking) {
      exchange.isAsking = true;
      setImmediate(() => {
        exchange.isAsking = false;
        if (exchange.stream !== undefined && exchange.questions.size > 0) ask(exchange);
      });
    }
  }

  /** Answers the client with the questions; the call waits without a client from here on. */
  function ask(exchange: Exchange): void {
    const state = randomUUID();
    // A process for everybody cannot wait for one person as long as one's own.
    const withinMs = exchange.isShared ? Math.min(deps.answerWithinMs, sharedAnswerMs) : deps.answerWithinMs;
    exchange.expiresAt = Date.now() + withinMs;
    waiting.set(state, exchange);
    const theirs = [...waiting].filter(([, { connectionId }]) => connectionId === exchange.connectionId);
    let bytes = 0;
    for (const [index, [key, one]] of theirs.reverse().entries()) {
      bytes += one.envelope.message.bytes.length;
      if (one === exchange || (index < maxWaiting && bytes <= maxWaitingBytes)) continue;
      waiting.delete(key);
      giveUp(one);
    }
    const { stream } = exchange;
    exchange.stream = undefined;
    void stream?.answer(inputRequired(exchange.envelope.id, exchange.questions, state));
  }

  function answer(exchange: Exchange, message: Message): Promise<void> | undefined {
    exchange.count?.end(outcomeOf(message), message.bytes.length);
    exchange.running = undefined;
    return exchange.stream?.answer(withoutHiddenTools(message, exchange.visit.allowed), statusOf(message));
  }

  function answerOfSession(exchange: Exchange, message: Message): Promise<void> | undefined {
    const first = elicitationsOf(message);
    if (first !== undefined && first.length > 0 && first.every((one) => isAbleTo(exchange, one))) {
      exchange.running = undefined;
      exchange.startsAgain = true;
      exchange.questions = new Map(first.map((one, index) => [`elicitation-url-${index + 1}`, one]));
      ask(exchange);
      return undefined;
    }
    const { id } = exchange.envelope;
    const said = made(withId(message, id));
    const welcome = exchange.worker?.welcome;
    const info = welcome && rawMember(welcome.message, welcome.result, "serverInfo");
    const bytes = statelessAnswer(exchange.envelope.method, said, info);
    return answer(exchange, bytes === said.bytes ? said : made(bytes));
  }

  function isAbleTo(exchange: Exchange, asked: Question): boolean {
    const ability = abilityOf(asked);
    return ability !== undefined && isAble(exchange.envelope.message, exchange.envelope.capabilities, ability);
  }

  function failed(exchange: Exchange, failure: Failure): void {
    exchange.count?.end(outcomeOfFailure(failure), 0);
    exchange.running = undefined;
    for (const [state, one] of waiting) if (one === exchange) waiting.delete(state);
    if (exchange.stream !== undefined) fail(exchange.stream, exchange.envelope, failure);
  }

  /** The client has left, or has not answered in time. */
  function giveUp(exchange: Exchange): void {
    exchange.stream = undefined;
    exchange.running?.cancel();
    exchange.running = undefined;
    exchange.count?.end("ended", 0);
  }

  async function discover(stream: AnswerStream, envelope: Envelope, want: Want, signal: AbortSignal): Promise<void> {
    const worker = await deps.pool.ready(want, signal);
    const welcome = worker.welcome?.message;
    if (welcome === undefined) throw new UpstreamError(unknownState);
    await stream.answer(discovered(envelope.id, welcome, supportedRevisions));
  }

  return {
    handle,
    revoke(connectionId, failure) {
      for (const open of streams.values()) if (open.connectionId === connectionId) open.end(failure);
      for (const [state, exchange] of waiting) {
        if (exchange.connectionId !== connectionId) continue;
        waiting.delete(state);
        giveUp(exchange);
      }
    },
    tick(now) {
      for (const stream of streams.keys()) stream.tick(now);
      for (const [state, exchange] of waiting) {
        if (now < exchange.expiresAt) continue;
        waiting.delete(state);
        giveUp(exchange);
      }
    },
  };
}

const left = new Error("The client has left.");
/** Requests of one connection that wait for their answers, streams of notifications among them. */
const maxOpen = 500;
/** Calls of one connection that wait for what their client was asked; the oldest are given up first. */
const maxWaiting = 64;
const maxWaitingBytes = 8_388_608;
const sharedAnswerMs = 60_000;
const resultMember = Buffer.from('"result":');

/** What 2026-07-28 took out of the protocol; a server that knows sessions would still answer. */
const removedMethods: ReadonlySet<string> = new Set([
  "initialize",
  "ping",
  "logging/setLevel",
  "resources/subscribe",
  "resources/unsubscribe",
]);

const unknownState: Failure = {
  status: 200,
  error: {
    code: errorCodes.invalidParams,
    message: "The server does not wait for this answer, or not any more; make the request again without requestState.",
    data: { code: "NOT_FOUND" },
  },
};
const notRepeated: Failure = {
  status: 400,
  error: {
    code: statelessCodes.headerMismatch,
    message: "The headers Mcp-Param-* do not match the arguments; list the tools again and repeat them as their schemas say.",
  },
};
const tooManyOpen: Failure = {
  status: 503,
  error: {
    code: errorCodes.failed,
    message: "This connection has too many open requests.",
    data: { code: "LIMIT_REACHED" },
  },
  headers: { "retry-after": "5" },
};
const declined: Failure = {
  status: 200,
  error: {
    code: errorCodes.invalidParams,
    message: "What the server needs first was not accepted.",
    data: { code: "CANCELLED" },
  },
};

function attentionOf(envelope: Envelope, isSession: boolean): Attention {
  if (envelope.logLevel !== undefined) return "asks";
  if (quietMethods.has(envelope.method)) return "none";
  // A stateless server asks in its answer only.
  if (!isSession) return "silent";
  const { message, capabilities } = envelope;
  return canBeAsked(message, capabilities) ? "asks" : "silent";
}

/** Through this endpoint a server can be used in every revision, whatever it speaks. */
function withRevisions(message: Message): Message {
  const at = memberOf(message.text, message.result, "supportedVersions");
  return at === undefined ? message : made(spliced(message.bytes, [{ at, text: JSON.stringify(supportedRevisions) }]));
}

function fail(stream: AnswerStream, envelope: Envelope, failure: Failure): void {
  void stream.answer(errorAnswer(envelope.id, failure.error), failure.status, failure.headers);
}

/** The HTTP status that goes with an answer (MCP 2026-07-28, "Request Metadata"). */
function statusOf(answer: Message): number {
  if (!answer.hasError) return 200;
  const at = errorCodeAt(answer);
  const code = at === undefined ? 0 : Number(answer.text.slice(at.start, at.end));
  if (code === errorCodes.methodNotFound) return 404;
  return isStatelessError(code) ? 400 : 200;
}

function isAccepted(message: Message, response: { start: number; end: number }): boolean {
  return stringAt(message.text, memberOf(message.text, response, "action")) === "accept";
}
