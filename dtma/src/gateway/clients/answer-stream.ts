import type { ServerResponse } from "node:http";
import { bareEventPieces } from "../messages/sse.ts";
import { keepAliveMs, keepAlivePiece, maxUnreadBytes, sendJson, sseHeaders, stallMs, takenUp } from "./client-stream.ts";

/**
 * What a stateless client gets for one POST: one JSON answer, or events (MCP 2026-07-28, Streamable HTTP). Such a stream
 * cannot be taken up again, and closing it is how its client cancels.
 *
 * INVARIANTS
 * - Nothing is written after `answer` or after the client has left; `onLeft` is called once, and not after `answer`.
 */
export class AnswerStream {
  /** Resolves when nothing more will be written. */
  readonly closed: Promise<void>;
  /** Somebody works on the answer; until then it can still be a refusal with a status of its own. */
  isAtWork = false;
  #atWorkSince: number | undefined;
  readonly #response: ServerResponse;
  readonly #close: () => void;
  #started = false;
  #isDone = false;
  #writtenAt = Date.now();
  #saturatedSince: number | undefined;

  constructor(response: ServerResponse, onLeft: () => void) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.#close = resolve;
    this.#response = response;
    response.once("close", () => {
      if (!this.#isDone) onLeft();
      this.#isDone = true;
      resolve();
    });
  }

  get hasLeft(): boolean {
    return this.#response.destroyed;
  }

  /** Passes a notification on; a promise is returned while the client takes no more. */
  notify(message: Buffer): Promise<void> | undefined {
    if (this.#isDone) return undefined;
    this.startEvents();
    return this.#write(bareEventPieces(message));
  }

  /** The one answer; `status` counts while nothing was sent yet. */
  answer(message: Buffer, status = 200, headers: Record<string, string> = {}): Promise<void> | undefined {
    if (this.#isDone) return undefined;
    this.#isDone = true;
    if (this.#started) {
      this.#write(bareEventPieces(message));
      this.#response.end();
    } else sendJson(this.#response, status, message, headers);
    this.#close();
    return takenUp(this.#response);
  }

  startEvents(): void {
    if (this.#started || this.#isDone) return;
    this.#started = true;
    this.#response.writeHead(200, sseHeaders);
    this.#response.flushHeaders();
  }

  /** Called about once a second. */
  tick(now: number): void {
    if (this.#isDone) return;
    if (!this.#started) {
      if (!this.isAtWork) return;
      this.#atWorkSince ??= now;
      if (now - this.#atWorkSince > startEventsAfterMs) this.startEvents();
    } else if (this.#saturatedSince !== undefined && now - this.#saturatedSince > stallMs) this.#response.destroy();
    else if (now - this.#writtenAt > keepAliveMs) this.#write([keepAlivePiece]);
  }

  #write(pieces: Buffer[]): Promise<void> | undefined {
    const response = this.#response;
    this.#writtenAt = Date.now();
    response.cork();
    let isFree = true;
    for (const piece of pieces) isFree = response.write(piece);
    response.uncork();
    if (response.writableLength > maxUnreadBytes) response.destroy();
    if (isFree || response.destroyed) return undefined;
    this.#saturatedSince ??= this.#writtenAt;
    return new Promise((resolve) => {
      const settle = (): void => {
        response.off("drain", settle);
        response.off("close", settle);
        this.#saturatedSince = undefined;
        resolve();
      };
      response.once("drain", settle);
      response.once("close", settle);
    });
  }
}

/** A POST without an answer becomes an event stream after this long, so that nobody on the way gives up on it. */
const startEventsAfterMs = 5_000;
