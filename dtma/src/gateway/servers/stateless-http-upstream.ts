import type { Dispatcher } from "undici";
import { type Message, readMessage, withoutNewlines } from "../messages/json-rpc.ts";
import { createSseDecoder } from "../messages/sse.ts";
import { standardHeaders } from "../messages/stateless.ts";
import { asUnreachable, collect, type HttpClient, mediaTypeOf, refusedWith, unreachable } from "./http-upstream.ts";
import { toFailure, type Upstream, UpstreamError, type UpstreamSink } from "./upstream.ts";

/*
INVARIANTS
- Every message is a POST of its own, and every answer belongs to its POST: there is no session, no GET, no resumption.
- Only headers made here and `Mcp-Param-*` reach the server: no token, cookie or hop-by-hop header of the client does.
- Every stream that was sent something is reported with `unanswered` once all its answers are over, unless it was cancelled;
  `end` leaves no connection open.
*/

/** A server that answers with JSON sends nothing while it works; beyond this it counts as hung. */
const answerHeadersMs = 3_600_000;
/** How long a server may keep a stream open after the answer that should have ended it. */
const lingerMs = 1_000;
const refusalBytes = 1_048_576;

type Answered = Dispatcher.ResponseData;

/** Connects to a server over HTTP that knows no sessions (MCP 2026-07-28, Streamable HTTP). */
export function createStatelessHttpUpstream(
  url: string,
  sink: UpstreamSink,
  { messageBytes, client }: { messageBytes: number; client: HttpClient },
): Upstream {
  const stop = new AbortController();
  const streams = new Map<number, AbortController>();

  async function post(message: Message, streamId: number | undefined, extra: Record<string, string>, signal: AbortSignal) {
    const response = await client
      .request(url, {
        method: "POST",
        headers: {
          ...extra,
          "accept-encoding": "identity",
          accept: "application/json, text/event-stream",
          "content-type": "application/json",
          ...standardHeaders(message),
        },
        body: message.bytes,
        headersTimeout: answerHeadersMs,
        bodyTimeout: 0,
        signal,
      })
      .catch(asUnreachable);
    if (response.statusCode >= 300) return refused(response, message, streamId);
    if (message.kind !== "request" || streamId === undefined) return response.body.dump();
    const type = mediaTypeOf(response);
    if (type === "text/event-stream") return relay(response, streamId);
    if (type !== "application/json") throw unreachable("The server answered with something that is not MCP.");
    await sink.message(withoutNewlines(await collect(response.body, messageBytes).catch(asUnreachable)), streamId);
  }

  /** A JSON-RPC error about the request is its answer; anything else says why there is none. */
  async function refused({ statusCode, body }: Answered, message: Message, streamId: number | undefined): Promise<void> {
    const bytes = await collect(body, refusalBytes).catch(() => undefined);
    const said = bytes && readMessage(withoutNewlines(bytes));
    if (said?.hasError && message.kind === "request" && said.id === message.id) await sink.message(said.bytes, streamId);
    throw new UpstreamError(refusedWith(statusCode, said));
  }

  async function relay({ body }: Answered, streamId: number): Promise<void> {
    const decoder = createSseDecoder(messageBytes);
    let linger: NodeJS.Timeout | undefined;
    try {
      for await (const chunk of body) {
        for (const event of decoder.push(chunk)) {
          if (event.data.length === 0 || event.event !== "message") continue;
          const bytes = withoutNewlines(event.data);
          const isAnswer = readMessage(bytes)?.kind === "response";
          await sink.message(bytes, streamId);
          if (isAnswer) linger ??= setTimeout(() => body.destroy(), lingerMs).unref();
        }
      }
    } catch (error) {
      if (error instanceof RangeError) throw unreachable(`The server sent a message larger than ${messageBytes} bytes.`);
      if (linger === undefined) throw unreachable("The connection to the server broke off.");
    } finally {
      clearTimeout(linger);
    }
  }

  async function exchange(messages: Message[], streamId: number, headers: Record<string, string>): Promise<void> {
    const over = new AbortController();
    streams.set(streamId, over);
    const signal = AbortSignal.any([stop.signal, over.signal]);
    const outcomes = await Promise.allSettled(messages.map((message) => post(message, streamId, headers, signal)));
    if (streams.get(streamId) === over) streams.delete(streamId);
    if (signal.aborted) return;
    const failed = outcomes.find((outcome) => outcome.status === "rejected");
    sink.unanswered(streamId, failed === undefined ? silent : toFailure(failed.reason));
  }

  return {
    async send(messages, streamId, headers = {}) {
      const extra = Object.fromEntries(Object.entries(headers).filter(([name]) => /^mcp-param-/i.test(name)));
      // Cancellation is the end of the POST here (`cancel`), never a message.
      const sent = messages.filter(({ method }) => method !== "notifications/cancelled");
      if (streamId === undefined) await Promise.all(sent.map((message) => post(message, undefined, extra, stop.signal)));
      else void exchange(sent, streamId, extra);
    },
    cancel: (streamId) => streams.get(streamId)?.abort(),
    ready: () => undefined,
    listen() {},
    setProtocolVersion() {},
    async end() {
      stop.abort();
    },
  };
}

const silent = unreachable("The server closed the stream without an answer.").failure;
