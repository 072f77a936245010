import type { ServerResponse } from "node:http";
import { type AllowedTools, calledTool, refusal, withoutHiddenTools } from "../access.ts";
import { type Call, type CallAccount, type CallOutcome, outcomeOf, outcomeOfFailure } from "../account.ts";
import type { Failure } from "../messages/failure.ts";
import {
  errorAnswer,
  errorCodes,
  type JsonRpcError,
  type Message,
  memberOf,
  progressTokenOf,
  readMessage,
  stringAt,
  tokenAt,
} from "../messages/json-rpc.ts";
import { eventPieces } from "../messages/sse.ts";
import { listChanges } from "../messages/subscriptions.ts";
import { toFailure, type Upstream, type UpstreamSink } from "../servers/upstream.ts";
import { ClientStream, sendJson, sseHeaders } from "./client-stream.ts";
import { refuse } from "./http-edge.ts";
import { ReplayBuffer } from "./replay.ts";

/*
INVARIANTS
- A session has one caller and one server process (or upstream session) for its whole life; `end` ends both sides, once.
- Every request that was accepted is answered exactly once: by the server, by a refusal, or by the failure that ended it.
- Nothing here waits without a bound: undelivered messages, open requests and stalled streams all have limits.
*/

type OpenRequest = {
  stream: ClientStream;
  method: string;
  progressToken: string | undefined;
  /** Of a `tools/call`. */
  call: Call | undefined;
  cancelledAt?: number;
};

export type SessionOptions = {
  id: string;
  server: string;
  /** The connection, or undefined for the holder of the toolbox's own token. */
  connectionId: string | undefined;
  allowed: AllowedTools;
  idleMs: number;
  messageBytes: number;
  account: CallAccount;
  /** Called once, when the session takes no more requests; `ended` settles when its process is gone. */
  onEnd(session: Session, ended: Promise<void>): void;
};

const maxOpenRequests = 1_000;
const maxStandaloneStreams = 8;
const replayBytes = 131_072;
const pendingBytes = 1_048_576;
const pendingMessages = 256;
/** How long a server may take to answer a request that the client has cancelled. */
const cancelGraceMs = 1_000;
/** A POST without an answer becomes an event stream after this long, so that nobody on the way gives up on it. */
const startEventsAfterMs = 1_000;

/** No stream of a POST has this number; what a server says by itself comes with it, too. */
const pairStream = 0;

/** What a server says about itself as a whole, so it never belongs to the request that happens to be open. */
const standaloneMethods = new Set([
  ...listChanges,
  "notifications/resources/updated",
  "notifications/tasks/status",
  "notifications/elicitation/complete",
]);

const toolsChanged = readMessage(Buffer.from('{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'));
const refusedInitialize = failure("The server refused to initialize.");
const clientLeft = failure("The client left before the server had answered initialize.");
const pairClosed = failure("The client closed its stream.");
const idle = failure("The session was idle for too long.");

const cancelled: JsonRpcError = { code: errorCodes.failed, message: "The request was cancelled." };

export class Session implements UpstreamSink {
  readonly id: string;
  readonly server: string;
  readonly connectionId: string | undefined;
  /** The container its process runs in; undefined until that is known. */
  container: string | undefined;
  /** Undefined until `initialize` is answered. */
  protocolVersion: string | undefined;
  /** Settles when `initialize` is answered or the session has ended. */
  readonly initialized: Promise<void>;
  readonly #settleInitialized: () => void;
  readonly #options: SessionOptions;
  readonly #open = new Map<string, OpenRequest>();
  readonly #streams = new Map<number, ClientStream>();
  readonly #replay: ReplayBuffer;
  #allowed: AllowedTools;
  #upstream: Upstream | undefined;
  #ended: Promise<void> | undefined;
  #nextStream = 1;
  #lastActiveAt = Date.now();
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #announcesTools = false;
  #pair: ClientStream | undefined;
  #hasBegun = false;

  constructor(options: SessionOptions) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.initialized = promise;
    this.#settleInitialized = resolve;
    this.#options = options;
    this.id = options.id;
    this.server = options.server;
    this.connectionId = options.connectionId;
    this.#allowed = options.allowed;
    this.#replay = new ReplayBuffer({ deliveredBytes: replayBytes, undeliveredBytes: options.messageBytes });
  }

  get isOpen(): boolean {
    return this.#ended === undefined;
  }

  /** Its client speaks the HTTP+SSE pair. */
  get isPair(): boolean {
    return this.#pair !== undefined;
  }

  /** A client of the pair has its stream, and has not sent `initialize` yet. */
  get awaitsInitialize(): boolean {
    return this.#pair !== undefined && !this.#hasBegun;
  }

  /** Makes a connection the one stream of the session; its client posts to `address`. */
  openPair(response: ServerResponse, address: string): void {
    this.#pair = this.#openStream("pair", response, false, pairStream);
    this.#pair.startPair(address);
  }

  /** Opens the stream of the `initialize` request, before there is a server to send it to. */
  begin(response: ServerResponse, initialize: Message): void {
    this.#hasBegun = true;
    const stream = this.#openPost(response, [initialize], true);
    if (this.#pair === undefined) stream.headers = { "mcp-session-id": this.id };
    else response.writeHead(202).end();
  }

  /** Gives the session its server's side and sends the `initialize` request; a session that has ended ends it at once. */
  async attach(upstream: Upstream, initialize: Message): Promise<void> {
    if (this.#ended !== undefined) {
      await upstream.end();
      return;
    }
    this.#upstream = upstream;
    await upstream.send([initialize], 1).catch((error: unknown) => this.end(toFailure(error)));
  }

  setAllowed(allowed: AllowedTools): void {
    this.#allowed = allowed;
    if (this.#announcesTools && this.isOpen && toolsChanged !== undefined) this.#route(toolsChanged, undefined);
  }

  /** A promise while the server takes no more messages. */
  ready(): Promise<void> | undefined {
    return this.#upstream?.ready();
  }

  /** Serves the messages of one POST. Answers everything it is given. */
  async post(response: ServerResponse, messages: Message[], batch: boolean): Promise<void> {
    this.#lastActiveAt = Date.now();
    const requests = messages.filter((message) => message.kind === "request");
    const ids = new Set(requests.map((request) => request.id));
    if (ids.size < requests.length || requests.some(({ id }) => this.#open.has(id ?? ""))) {
      return refuse(response, 400, errorCodes.invalidRequest, "A request with this id is open already.", requests[0]?.id);
    }
    if (this.#open.size + requests.length > maxOpenRequests) {
      return refuse(response, 503, errorCodes.failed, "Too many open requests in this session.", requests[0]?.id);
    }
    const refused = new Map<Message, JsonRpcError>();
    for (const message of messages) {
      const error = refusal(message, this.#allowed);
      if (error !== undefined) refused.set(message, error);
    }
    const stream = requests.length === 0 ? undefined : this.#openPost(response, requests, !batch);
    for (const [message, error] of refused) {
      if (message.id !== undefined && message.kind === "request")
        this.#answer(message.id, errorAnswer(message.id, error), "refused");
      else if (stream === undefined) return refuse(response, 400, error.code, error.message);
    }
    const accepted = refused.size === 0 ? messages : messages.filter((message) => !refused.has(message));
    for (const message of accepted) if (message.method === "notifications/cancelled") this.#noteCancelled(message);
    const isTold = stream === undefined || this.#pair !== undefined;
    try {
      if (accepted.length > 0) await this.#upstream?.send(accepted, stream?.id);
      if (isTold && !response.destroyed) response.writeHead(202).end();
      if (this.#pair !== undefined && accepted.some(isInitialized)) this.#upstream?.listen();
    } catch (error) {
      const failure = toFailure(error);
      if (isTold) sendJson(response, failure.status, errorAnswer(undefined, failure.error));
      if (stream !== undefined) this.unanswered(stream.id, failure);
    }
  }

  /** Serves a GET: a stream for what the server says by itself, or the continuation of a stream that broke off. */
  listen(response: ServerResponse, lastEventId: string | undefined): void {
    this.#lastActiveAt = Date.now();
    if (lastEventId !== undefined) return this.#resume(response, lastEventId);
    if (this.#standalone().length >= maxStandaloneStreams) {
      return refuse(response, 409, errorCodes.failed, "This session has too many open streams.");
    }
    const stream = this.#openStream("standalone", response, false);
    stream.startEvents(this.#primes());
    this.#flush(stream);
    this.#upstream?.listen();
  }

  refused(message: Message): JsonRpcError | undefined {
    return refusal(message, this.#allowed);
  }

  message(bytes: Buffer, streamId: number | undefined): Promise<void> | undefined {
    const message = readMessage(bytes);
    if (message === undefined || this.#ended !== undefined) return undefined;
    if (message.kind !== "response") return this.#route(message, streamId);
    const request = message.id === undefined ? undefined : this.#open.get(message.id);
    if (message.id === undefined || request === undefined) return undefined;
    if (request.method === "initialize") this.#noteInitialized(message, request.stream);
    const outcome = request.call === undefined ? "answered" : outcomeOf(message);
    const saturated = this.#answer(message.id, withoutHiddenTools(message, this.#allowed), outcome);
    if (request.method === "initialize" && message.hasError) void this.end(refusedInitialize);
    return saturated;
  }

  unanswered(streamId: number, failure: Failure): void {
    const stream = this.#streams.get(streamId);
    if (stream === undefined) return;
    if (this.protocolVersion === undefined) void this.end(failure);
    else this.#fail(stream, failure);
  }

  gone(failure: Failure): void {
    void this.end(failure);
  }

  /** Ends both sides. Open requests are answered with the failure; resolves when the server's side is gone for certain. */
  end(failure: Failure): Promise<void> {
    if (this.#ended !== undefined) return this.#ended;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#ended = promise;
    this.#settleInitialized();
    const streams = [...this.#streams.values()];
    for (const stream of streams) this.#fail(stream, failure);
    for (const stream of streams) stream.close();
    this.#streams.clear();
    this.#replay.clear();
    this.#pending = [];
    resolve(this.#upstream?.end());
    this.#options.onEnd(this, promise);
    return promise;
  }

  /** Called about once a second. */
  tick(now: number): void {
    let live = false;
    for (const stream of this.#streams.values()) {
      if (!stream.live) continue;
      live = true;
      if (this.protocolVersion !== undefined && now - stream.openedAt > startEventsAfterMs) stream.startEvents(this.#primes());
      stream.tick(now);
    }
    for (const [id, request] of this.#open) {
      if (request.cancelledAt !== undefined && now - request.cancelledAt > cancelGraceMs) {
        this.#answer(id, errorAnswer(id, cancelled), "ended");
      }
    }
    if (live && !this.awaitsInitialize) this.#lastActiveAt = now;
    else if (now - this.#lastActiveAt > this.#options.idleMs) void this.end(idle);
  }

  #openStream(
    kind: ClientStream["kind"],
    response: ServerResponse | ClientStream,
    jsonPossible: boolean,
    id = this.#nextStream++,
  ): ClientStream {
    const stream = new ClientStream({
      id,
      kind,
      response,
      jsonPossible,
      replay: this.#replay,
      onDetached: (detached) => this.#detached(detached),
    });
    this.#streams.set(stream.id, stream);
    return stream;
  }

  #openPost(response: ServerResponse, requests: Message[], jsonPossible: boolean): ClientStream {
    const stream = this.#openStream("post", this.#pair ?? response, jsonPossible);
    for (const request of requests) {
      const id = request.id ?? "";
      const method = request.method ?? "";
      stream.waiting.add(id);
      const progressToken = progressTokenOf(request);
      const call = method === "tools/call" ? this.#options.account.begin(calledTool(request), request.bytes.length) : undefined;
      this.#open.set(id, { stream, method, progressToken, call });
    }
    if (this.#pending.length > 0 && this.protocolVersion !== undefined) this.#flush(stream);
    return stream;
  }

  #detached(stream: ClientStream): void {
    this.#lastActiveAt = Date.now();
    if (stream.done) this.#streams.delete(stream.id);
    else if (stream.kind === "pair") void this.end(pairClosed);
    else if (this.protocolVersion === undefined) void this.end(clientLeft);
    else if (stream.kind === "standalone") this.#forgetOldStandalone();
  }

  /** A few that broke off are kept, so that their clients can take them up again. */
  #forgetOldStandalone(): void {
    const lost = [...this.#streams.values()].filter((stream) => stream.kind === "standalone" && !stream.live);
    for (const stream of lost.slice(0, -maxStandaloneStreams)) this.#streams.delete(stream.id);
  }

  #answer(id: string, bytes: Buffer, outcome: CallOutcome): Promise<void> | undefined {
    const request = this.#open.get(id);
    if (request === undefined) return undefined;
    this.#open.delete(id);
    request.call?.end(outcome, bytes.length);
    return request.stream.deliver(bytes, id);
  }

  #fail(stream: ClientStream, failure: Failure): void {
    for (const id of stream.waiting) {
      this.#open.get(id)?.call?.end(outcomeOfFailure(failure), 0);
      this.#open.delete(id);
    }
    stream.fail(failure);
  }

  /** Finds the stream for something the server says by itself; the order of preference is the specification's. */
  #route(message: Message, origin: number | undefined): Promise<void> | undefined {
    const related = this.#related(message, origin);
    if (related?.live) return related.deliver(message.bytes);
    const standalone = this.#standalone().at(-1);
    if (standalone !== undefined) return standalone.deliver(message.bytes);
    if (related?.resumable) return related.deliver(message.bytes);
    for (const stream of [...this.#streams.values()].reverse()) if (stream.live) return stream.deliver(message.bytes);
    this.#keep(message);
    return undefined;
  }

  #related(message: Message, origin: number | undefined): ClientStream | undefined {
    if (origin !== undefined) return this.#streams.get(origin);
    if (message.method !== undefined && standaloneMethods.has(message.method)) return undefined;
    if (message.method === "notifications/progress") {
      const token = tokenAt(message.text, memberOf(message.text, message.params, "progressToken"));
      for (const request of this.#open.values())
        if (token !== undefined && request.progressToken === token) return request.stream;
    }
    if (this.#open.size !== 1) return undefined;
    for (const request of this.#open.values()) return request.stream;
    return undefined;
  }

  #standalone(): ClientStream[] {
    return [...this.#streams.values()].filter((stream) => stream.kind !== "post" && stream.live);
  }

  #keep(message: Message): void {
    this.#pending.push(Buffer.from(message.bytes));
    this.#pendingBytes += message.bytes.length;
    while (this.#pending.length > pendingMessages || this.#pendingBytes > pendingBytes) {
      const oldest = this.#pending.shift();
      if (oldest === undefined) return;
      this.#pendingBytes -= oldest.length;
      const dropped = readMessage(oldest);
      if (dropped?.kind === "request") this.#declineForClient(dropped.id);
    }
  }

  /** The server must not wait for an answer to what the client never got. */
  #declineForClient(id: string | undefined): void {
    const answer = readMessage(errorAnswer(id, { code: errorCodes.failed, message: "The client has no open stream." }));
    if (answer !== undefined) this.#upstream?.send([answer], undefined).catch(() => undefined);
  }

  #flush(stream: ClientStream): void {
    const pending = this.#pending;
    this.#pending = [];
    this.#pendingBytes = 0;
    for (const bytes of pending) stream.deliver(bytes);
  }

  #resume(response: ServerResponse, lastEventId: string): void {
    const position = /^(\d{1,9})\.(\d{1,12})$/.exec(lastEventId);
    const streamId = Number(position?.[1]);
    const sequence = Number(position?.[2]);
    const open = this.#streams.get(streamId);
    if (open !== undefined) {
      open.resume(response, sequence);
      if (open.kind === "post") return;
      this.#flush(open);
      this.#upstream?.listen();
      return;
    }
    const missed = this.#replay.after(streamId, sequence);
    if (missed.length === 0) return refuse(response, 400, errorCodes.invalidRequest, "The stream of this event id is over.");
    response.writeHead(200, sseHeaders);
    for (const entry of missed)
      for (const piece of eventPieces(`${streamId}.${entry.sequence}`, entry.message)) response.write(piece);
    response.end();
  }

  #noteCancelled(message: Message): void {
    const id = tokenAt(message.text, memberOf(message.text, message.params, "requestId"));
    const request = id === undefined ? undefined : this.#open.get(id);
    if (request !== undefined && request.method !== "initialize") request.cancelledAt = Date.now();
  }

  #noteInitialized(message: Message, stream: ClientStream): void {
    if (message.hasError) {
      stream.headers = {};
      return;
    }
    this.protocolVersion = stringAt(message.text, memberOf(message.text, message.result, "protocolVersion")) ?? "";
    this.#settleInitialized();
    this.#upstream?.setProtocolVersion(this.protocolVersion);
    const tools = memberOf(message.text, memberOf(message.text, message.result, "capabilities"), "tools");
    const listChanged = memberOf(message.text, tools, "listChanged");
    this.#announcesTools = listChanged !== undefined && message.text.startsWith("true", listChanged.start);
  }

  /** Revisions from 2025-11-25 on know events without data that only carry an id. */
  #primes(): boolean {
    return (this.protocolVersion ?? "") >= "2025-11-25";
  }
}

function failure(message: string): Failure {
  return { status: 200, error: { code: errorCodes.failed, message } };
}

function isInitialized({ method }: Message): boolean {
  return method === "notifications/initialized";
}
