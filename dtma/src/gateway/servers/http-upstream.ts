import { randomInt } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import type { Dispatcher } from "undici";
import type { Failure } from "../messages/failure.ts";
import {
  elementsAt,
  errorAnswer,
  errorCodes,
  type Message,
  memberOf,
  readMessage,
  stringAt,
  withoutNewlines,
} from "../messages/json-rpc.ts";
import { createSseDecoder } from "../messages/sse.ts";
import { type CallerWall, createCallerWall } from "./caller-wall.ts";
import { type Upstream, UpstreamError, type UpstreamSink } from "./upstream.ts";

/*
INVARIANTS
- Only headers made here reach the server: no token, cookie or hop-by-hop header of the client does.
- The server's session id stays here; the client knows the gateway's own.
- Callers that a server cannot tell apart, because it gives out no session ids, are kept apart here (`caller-wall.ts`).
- Every request that was sent is either answered or reported with `unanswered`; `end` leaves no connection open.
*/

const connectMs = 10_000;
/** A server that answers with JSON sends nothing while it works; beyond this it counts as hung. */
const answerHeadersMs = 3_600_000;
const goodbyeMs = 5_000;
const retryMs = { least: 100, normal: 1_000, most: 30_000 };
const maxFailedResumes = 3;
/** No stream of a client has this number: what comes with it belongs to none of its requests. */
const standaloneStream = 0;

type Body = Dispatcher.ResponseData["body"];

/** Connections to servers in containers. */
export type HttpClient = {
  request(url: string, options: Omit<Dispatcher.RequestOptions, "origin" | "path">): Promise<Dispatcher.ResponseData>;
  destroy(): Promise<void>;
  /** Every id once. */
  nextId(): number;
};

/** undici is loaded late: most toolboxes have no server over HTTP, and it takes several megabytes. */
export async function openHttpClient(): Promise<HttpClient> {
  const { Agent, request } = await import("undici");
  const dispatcher = new Agent({ connect: { timeout: connectMs }, pipelining: 1, connections: null });
  // A DTMA that was restarted, or asks what a server speaks, does not use those of another client.
  let lastId = randomInt(1_000_000_000);
  return {
    request: (url, options) => request(url, { ...options, dispatcher }),
    destroy: () => dispatcher.destroy(),
    nextId() {
      lastId += 1;
      return lastId;
    },
  };
}

/** Connects a session to a server that speaks Streamable HTTP by itself. */
export function createHttpUpstream(
  url: string,
  sink: UpstreamSink,
  options: { messageBytes: number; initializeMs: number; client: HttpClient },
): Upstream {
  const { client } = options;
  const stop = new AbortController();
  let upstreamSession: string | undefined;
  let protocolVersion: string | undefined;
  let listening = false;
  let wall: CallerWall | undefined;

  const headers = (extra: Record<string, string>): Record<string, string> => ({
    "accept-encoding": "identity",
    ...(upstreamSession === undefined ? {} : { "mcp-session-id": upstreamSession }),
    ...(protocolVersion === undefined ? {} : { "mcp-protocol-version": protocolVersion }),
    ...extra,
  });

  const call = (method: "POST" | "GET" | "DELETE", extra: Record<string, string>, body?: Buffer, headersMs = answerHeadersMs) =>
    client.request(url, {
      method,
      headers: headers(extra),
      body: body ?? null,
      headersTimeout: headersMs,
      bodyTimeout: 0,
      signal: stop.signal,
    });

  function tell(bytes: Buffer, streamId: number): Promise<void> | undefined {
    const heard = wall === undefined ? bytes : wall.in(bytes, streamId === standaloneStream ? undefined : streamId);
    if (heard === undefined) return undefined;
    if (Buffer.isBuffer(heard)) return sink.message(heard, streamId);
    return post([heard.decline], undefined).catch(() => undefined);
  }

  /** What may be sent; requests that may not are answered here. */
  function sendable(messages: Message[], streamId: number | undefined): Message[] {
    if (wall === undefined) return messages;
    const sent: Message[] = [];
    for (const message of messages) {
      const passed = wall.out(message, streamId);
      if (passed === undefined) continue;
      if ("bytes" in passed) sent.push(passed);
      else if ("answer" in passed) void sink.message(passed.answer, streamId);
      else if (message.kind === "request") void sink.message(errorAnswer(message.id, passed), streamId);
      else if (streamId === undefined) throw new UpstreamError({ status: 400, error: passed });
    }
    return sent;
  }

  async function post(messages: Message[], streamId: number | undefined): Promise<void> {
    const [first] = messages;
    const initializes = first?.method === "initialize";
    const body = messages.length === 1 && first ? first.bytes : asBatch(messages);
    const accept = { "content-type": "application/json", accept: "application/json, text/event-stream" };
    const response = await call("POST", accept, body, initializes ? options.initializeMs : answerHeadersMs).catch(
      asUnreachable,
    );
    if (initializes) {
      upstreamSession = oneHeader(response.headers["mcp-session-id"]);
      if (upstreamSession === undefined) wall = createCallerWall(first, streamId, client.nextId);
    }
    if (response.statusCode >= 300) return refused(response.statusCode, response.body, messages, streamId);
    const type = mediaTypeOf(response);
    if (streamId === undefined) await response.body.dump();
    else if (type === "text/event-stream") await relay(response.body, streamId);
    else if (type === "application/json") await relayJson(response.body, streamId);
    else throw unreachable("The server answered with something that is not MCP.");
    if (streamId !== undefined)
      sink.unanswered(streamId, unreachable("The server closed the stream without an answer.").failure);
  }

  /** An answer of 300 and above: its JSON-RPC error is kept, with the id of the request it is about. */
  async function refused(status: number, body: Body, messages: Message[], streamId: number | undefined): Promise<void> {
    const bytes = await collect(body, 65_536).catch(() => undefined);
    if (status === 404 && upstreamSession !== undefined) {
      upstreamSession = undefined;
      return sink.gone({ status: 404, error: { code: errorCodes.sessionNotFound, message: "The server ended the session." } });
    }
    const said = bytes && readMessage(withoutNewlines(bytes));
    const failure = refusedWith(status, said);
    if (streamId === undefined) throw new UpstreamError(failure);
    const asked = messages.filter((one) => one.kind === "request");
    if (said?.hasError && asked.length === 1 && said.id === asked[0]?.id) await tell(said.bytes, streamId);
    sink.unanswered(streamId, failure);
  }

  async function relayJson(body: Body, streamId: number): Promise<void> {
    const bytes = withoutNewlines(await collect(body, options.messageBytes).catch(asUnreachable));
    const start = bytes.findIndex((byte) => byte !== 0x20 && byte !== 0x09);
    const elements = elementsAt(bytes.toString("latin1"), Math.max(start, 0));
    for (const part of elements?.map((span) => bytes.subarray(span.start, span.end)) ?? [bytes]) await tell(part, streamId);
  }

  /** Passes events on until the stream and all its continuations are over. */
  async function relay(body: Body, streamId: number | undefined): Promise<void> {
    let current: Body | undefined = body;
    let lastEventId: string | undefined;
    let waitMs = retryMs.normal;
    let failures = 0;
    while (current !== undefined) {
      const decoder = createSseDecoder(options.messageBytes);
      let answered = false;
      let broke = false;
      try {
        for await (const chunk of current) {
          for (const event of decoder.push(chunk)) {
            lastEventId = event.id ?? lastEventId;
            waitMs = Math.min(Math.max(event.retryMs ?? waitMs, retryMs.least), retryMs.most);
            failures = 0;
            if (event.data.length === 0 || event.event !== "message") continue;
            const bytes = withoutNewlines(event.data);
            answered ||= streamId !== undefined && readMessage(bytes)?.kind === "response";
            await tell(bytes, streamId ?? standaloneStream);
          }
        }
      } catch (error) {
        if (stop.signal.aborted) return;
        if (error instanceof RangeError)
          throw unreachable(`The server sent a message larger than ${options.messageBytes} bytes.`);
        broke = true;
      }
      if (stop.signal.aborted || answered || (streamId !== undefined && lastEventId === undefined)) return;
      current = undefined;
      while (current === undefined) {
        failures++;
        if (failures > maxFailedResumes) return;
        if (!broke || failures > 1) await pause(waitMs, stop.signal);
        if (stop.signal.aborted) return;
        const accept = { accept: "text/event-stream", ...(lastEventId === undefined ? {} : { "last-event-id": lastEventId }) };
        const response = await call("GET", accept).catch(() => undefined);
        if (response?.statusCode === 200) current = response.body;
        else {
          await response?.body.dump().catch(() => undefined);
          if (streamId !== undefined) return;
        }
      }
    }
  }

  async function listen(): Promise<void> {
    const response = await call("GET", { accept: "text/event-stream" });
    if (response.statusCode === 200) return relay(response.body, undefined);
    await response.body.dump();
  }

  return {
    async send(messages, streamId) {
      const sent = sendable(messages, streamId);
      if (sent.length === 0) return;
      if (streamId === undefined) return post(sent, undefined);
      void post(sent, streamId)
        .catch((error: unknown) => {
          if (stop.signal.aborted) return;
          sink.unanswered(streamId, error instanceof UpstreamError ? error.failure : gone);
        })
        .then(() => wall?.over(streamId));
    },
    ready: () => undefined,
    listen() {
      if (listening) return;
      listening = true;
      void listen()
        .catch(() => undefined)
        .then(() => {
          listening = false;
        });
    },
    setProtocolVersion(version) {
      protocolVersion = version;
    },
    async end() {
      if (stop.signal.aborted) return;
      stop.abort();
      if (upstreamSession === undefined) return;
      const goodbye = { method: "DELETE" as const, headers: headers({}), signal: AbortSignal.timeout(goodbyeMs) };
      await client
        .request(url, goodbye)
        .then((response) => response.body.dump())
        .catch(() => undefined);
    },
  };
}

const gone: Failure = unreachable("The server could not be reached.").failure;

/** There is no answer, and the server is to blame. */
export function unreachable(message: string): UpstreamError {
  return new UpstreamError({ status: 502, error: { code: errorCodes.failed, message, data: { code: "SERVER_NOT_RUNNING" } } });
}

export function asUnreachable(): never {
  throw unreachable("The server could not be reached.");
}

/** What a client is told about an answer of 300 and above; `said` is the message in its body, if there is one. */
export function refusedWith(status: number, said: Message | undefined): Failure {
  const text = said?.hasError ? stringAt(said.text, memberOf(said.text, said.members.findLast(isError), "message")) : undefined;
  const passedOn = status >= 400 && status < 500 && ![401, 403, 407].includes(status) ? status : 502;
  const message = text ?? `The server refused the message with HTTP status ${status}.`;
  return { status: passedOn, error: { code: errorCodes.failed, message }, upstreamStatus: status };
}

function asBatch(messages: Message[]): Buffer {
  const comma = Buffer.from(",");
  const pieces = messages.flatMap(({ bytes }, index) => (index === 0 ? [bytes] : [comma, bytes]));
  return Buffer.concat([Buffer.from("["), ...pieces, Buffer.from("]")]);
}

function isError(member: { key: string }): boolean {
  return member.key === "error";
}

/** The media type of an answer, without parameters. */
export function mediaTypeOf({ headers }: Dispatcher.ResponseData): string | undefined {
  return oneHeader(headers["content-type"])?.split(";", 1)[0]?.trim().toLowerCase();
}

function oneHeader(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}

/** The whole body; rejects with an UpstreamError beyond `maxBytes`. */
export async function collect(body: Body, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > maxBytes) throw unreachable(`The server sent a message larger than ${maxBytes} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Ends early, without an error, when the signal fires. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await setTimeout(ms, undefined, { signal }).catch(() => undefined);
}
