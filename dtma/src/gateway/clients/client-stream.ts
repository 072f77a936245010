import type { ServerResponse } from "node:http";
import type { Failure } from "../messages/failure.ts";
import { errorAnswer } from "../messages/json-rpc.ts";
import { eventPieces, namedEventPieces } from "../messages/sse.ts";
import type { ReplayBuffer } from "./replay.ts";

export const sseHeaders = {
  "content-type": "text/event-stream",
  "cache-control": "no-cache, no-transform",
  "x-accel-buffering": "no",
} as const;

/** Answers with one JSON body, unless the client has left or something was sent already. */
export function sendJson(response: ServerResponse, status: number, body: Buffer, headers: Record<string, string> = {}): void {
  if (response.destroyed || response.headersSent) return;
  response.writeHead(status, { "content-type": "application/json", "content-length": body.length, ...headers });
  if (body.length > inlineBytes) response.end(body);
  else response.end(body.toString("latin1"), "latin1");
}

/** Node sends a short text together with the headers in one write, a buffer in a second one. */
const inlineBytes = 16_384;

/**
 * What the client sees of one POST with requests, or of its GET: a logical stream that a connection carries and that
 * another connection can take up again. A POST whose first message is its only answer becomes plain JSON; anything else
 * becomes server-sent events. A client of the HTTP+SSE pair has one stream for everything: it carries what its POSTs would.
 *
 * INVARIANTS
 * - A message is written to one connection at most once; after the last answer the stream is done and carries nothing.
 * - Only a stream whose client has seen an event id is kept for replay: nobody else can ask for it.
 */
export class ClientStream {
  readonly id: number;
  readonly kind: "post" | "standalone" | "pair";
  readonly openedAt: number;
  /** Ids of the requests that wait for their answer here. */
  readonly waiting = new Set<string>();
  /** Sent with the first byte. */
  headers: Record<string, string> = {};
  done = false;
  readonly #replay: ReplayBuffer;
  readonly #jsonPossible: boolean;
  readonly #carrier: ClientStream | undefined;
  readonly #onDetached: (stream: ClientStream) => void;
  #response: ServerResponse | undefined;
  #started = false;
  #sequence = 0;
  #writtenAt: number;
  #saturatedSince: number | undefined;
  #saturation: Promise<void> | undefined;

  constructor(options: {
    id: number;
    kind: "post" | "standalone" | "pair";
    /** The connection to the client, or the stream of its pair. */
    response: ServerResponse | ClientStream;
    jsonPossible: boolean;
    replay: ReplayBuffer;
    onDetached(stream: ClientStream): void;
  }) {
    this.id = options.id;
    this.kind = options.kind;
    this.#jsonPossible = options.jsonPossible;
    this.#replay = options.replay;
    this.#onDetached = options.onDetached;
    this.openedAt = Date.now();
    this.#writtenAt = this.openedAt;
    this.#carrier = options.response instanceof ClientStream ? options.response : undefined;
    if (!(options.response instanceof ClientStream)) this.#carryOn(options.response);
  }

  /** A connection to the client is there. */
  get live(): boolean {
    return this.#carrier?.live ?? this.#response !== undefined;
  }

  /** The client holds an event id of this stream and can come back for the rest. */
  get resumable(): boolean {
    return this.#started && !this.done && this.kind !== "pair";
  }

  /** Sends headers, and an event id to come back with when the revision of the protocol knows such empty events. */
  startEvents(prime: boolean): void {
    if (this.#started || this.#response === undefined) return;
    this.#started = true;
    this.#response.writeHead(200, { ...sseHeaders, ...this.headers });
    this.#response.flushHeaders();
    if (prime) this.#write([Buffer.from(`id: ${this.id}.${this.#sequence}\ndata: \n\n`)]);
  }

  /** The first event of a pair: where its client posts. */
  startPair(address: string): void {
    this.startEvents(false);
    this.#write(namedEventPieces("endpoint", Buffer.from(address)));
  }

  /**
   * Passes one message on; `answered` is the id of the request it answers. Returns a promise while the connection cannot
   * take more: the sender should wait for it.
   */
  deliver(message: Buffer, answered?: string): Promise<void> | undefined {
    if (answered !== undefined) this.waiting.delete(answered);
    const last = this.kind === "post" && this.waiting.size === 0;
    if (this.#carrier !== undefined) {
      if (last) this.#finish();
      return this.#carrier.deliver(message);
    }
    if (this.kind === "pair") {
      this.#write(namedEventPieces("message", message));
      return this.#saturation;
    }
    const response = this.#response;
    if (!this.#started && last && this.#jsonPossible) {
      if (response !== undefined) sendJson(response, 200, message, this.headers);
      this.#finish();
      return response && takenUp(response);
    }
    this.startEvents(false);
    if (this.#started) {
      this.#sequence++;
      this.#replay.push(this.id, this.#sequence, message, this.live);
      this.#write(eventPieces(`${this.id}.${this.#sequence}`, message));
    }
    if (!last) return this.#saturation;
    response?.end();
    this.#finish();
    return response && takenUp(response);
  }

  /** Answers every request that waits with the failure. */
  fail(failure: Failure): void {
    this.headers = {};
    for (const id of [...this.waiting]) {
      const body = errorAnswer(id, failure.error);
      if (!this.#started && this.#jsonPossible && this.#response !== undefined) {
        this.waiting.delete(id);
        sendJson(this.#response, failure.status, body, failure.headers);
        this.#finish();
      } else this.deliver(body, id);
    }
  }

  /** Lets another connection carry the stream on, after everything it missed since `sequence`. */
  resume(response: ServerResponse, sequence: number): void {
    const former = this.#response;
    this.#response = undefined;
    former?.end();
    response.writeHead(200, sseHeaders);
    response.flushHeaders();
    this.#carryOn(response);
    for (const missed of this.#replay.after(this.id, sequence)) {
      this.#write(eventPieces(`${this.id}.${missed.sequence}`, missed.message));
    }
  }

  /** Keeps proxies from cutting a quiet stream, and cuts one whose client has stopped reading. */
  tick(now: number): void {
    const response = this.#response;
    if (response === undefined || !this.#started) return;
    if (this.#saturatedSince !== undefined && now - this.#saturatedSince > stallMs) response.destroy();
    else if (now - this.#writtenAt > keepAliveMs) this.#write([keepAlivePiece]);
  }

  /** Ends the connection without a word. */
  close(): void {
    const response = this.#response;
    this.#finish();
    if (response === undefined) return;
    if (response.headersSent) response.end();
    else response.destroy();
  }

  #carryOn(response: ServerResponse): void {
    if (response.destroyed) {
      queueMicrotask(() => this.#onDetached(this));
      return;
    }
    this.#response = response;
    response.once("close", () => {
      if (this.#response !== response) return;
      this.#response = undefined;
      this.#onDetached(this);
    });
  }

  #write(pieces: Buffer[]): void {
    const response = this.#response;
    if (response === undefined || response.destroyed) return;
    this.#writtenAt = Date.now();
    let free = true;
    if (pieces.length > 1) response.cork();
    for (const piece of pieces) free = response.write(piece);
    if (pieces.length > 1) response.uncork();
    if (response.writableLength > maxUnreadBytes) response.destroy();
    if (free || this.#saturation !== undefined) return;
    this.#saturatedSince = this.#writtenAt;
    this.#saturation = new Promise((resolve) => {
      const settle = () => {
        response.off("drain", settle);
        response.off("close", settle);
        this.#saturation = undefined;
        this.#saturatedSince = undefined;
        resolve();
      };
      response.once("drain", settle);
      response.once("close", settle);
    });
  }

  #finish(): void {
    this.done = true;
    this.#response = undefined;
    this.#onDetached(this);
  }
}

/** A promise while the client has much of an ended answer still to read; one that stops reading is cut off. */
export function takenUp(response: ServerResponse): Promise<void> | undefined {
  if (response.destroyed || response.writableLength < unreadBytes) return undefined;
  return new Promise((resolve) => {
    const timer = setTimeout(() => response.destroy(), stallMs).unref();
    const settle = (): void => {
      clearTimeout(timer);
      response.off("finish", settle);
      response.off("close", settle);
      resolve();
    };
    response.once("finish", settle);
    response.once("close", settle);
  });
}

const unreadBytes = 262_144;
/** A client that leaves more than this unread is cut off. */
export const maxUnreadBytes = 134_217_728;
/** How long a stream may be quiet before a comment keeps proxies from cutting it. */
export const keepAliveMs = 15_000;
/** How long a client may stop reading before it is cut off. */
export const stallMs = 30_000;
export const keepAlivePiece = Buffer.from(": keep-alive\n\n");
