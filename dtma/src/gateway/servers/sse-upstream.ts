import { errorCodes, type Message, withoutNewlines } from "../messages/json-rpc.ts";
import { createSseDecoder } from "../messages/sse.ts";
import type { HttpClient } from "./http-upstream.ts";
import { type Upstream, UpstreamError, type UpstreamSink } from "./upstream.ts";

/*
The HTTP+SSE pair of MCP 2024-11-05 towards a server: one stream on which everything comes, and an address, told in its first
event, to which every message is posted.

INVARIANTS
- Only headers made here reach the server, and no message goes to another origin than the one the stream came from.
- The stream is the session: when it ends, or does not open, the session is gone. `end` leaves no connection open.
- While the client takes no more, nothing more is read for it.
*/

/** A server says that it has taken a message before it works on it; beyond this it counts as hung. */
const takenMs = 60_000;

/** Connects a session to a server that has the pair only. The stream is opened with the first message. */
export function createSseUpstream(
  url: string,
  sink: UpstreamSink,
  { messageBytes, initializeMs, client }: { messageBytes: number; initializeMs: number; client: HttpClient },
): Upstream {
  const stop = new AbortController();
  const address = Promise.withResolvers<string>();
  address.promise.catch(() => undefined);
  let late: NodeJS.Timeout | undefined;

  function finish(why: UpstreamError): void {
    clearTimeout(late);
    address.reject(why);
    stop.abort();
  }

  function open(): void {
    const fail = (error: unknown): void => {
      if (stop.signal.aborted) return;
      const why = error instanceof UpstreamError ? error : failed("The stream of the server broke off.");
      finish(why);
      sink.gone(why.failure);
    };
    late = setTimeout(() => fail(failed("The server did not say in time where to post to.")), initializeMs);
    read().catch(fail);
  }

  /** Passes messages on until the stream is over; rejects with why it is. */
  async function read(): Promise<never> {
    const accept = { accept: "text/event-stream", "accept-encoding": "identity" };
    const { statusCode, headers, body } = await client
      .request(url, { method: "GET", headers: accept, headersTimeout: initializeMs, bodyTimeout: 0, signal: stop.signal })
      .catch(asUnreachable);
    if (statusCode !== 200 || !String(headers["content-type"]).startsWith("text/event-stream")) {
      await body.dump().catch(() => undefined);
      throw failed(`The server opened no stream of events; its HTTP status was ${statusCode}.`, statusCode);
    }
    const decoder = createSseDecoder(messageBytes);
    const eventsOf = (chunk: Buffer) => {
      try {
        return decoder.push(chunk);
      } catch {
        throw failed(`The server sent a message larger than ${messageBytes} bytes.`);
      }
    };
    for await (const chunk of body) {
      for (const { event, data } of eventsOf(chunk)) {
        if (event === "endpoint") {
          clearTimeout(late);
          address.resolve(addressAt(data.toString("utf8"), url));
        } else if (event === "message" && data.length > 0) await sink.message(withoutNewlines(data), undefined);
      }
    }
    throw failed("The server closed its stream.");
  }

  async function post({ bytes }: Message): Promise<void> {
    const headers = { "content-type": "application/json", "accept-encoding": "identity" };
    const options = { method: "POST" as const, headers, body: bytes, headersTimeout: takenMs, signal: stop.signal };
    const response = await client.request(await address.promise, options).catch(asUnreachable);
    await response.body.dump().catch(() => undefined);
    const { statusCode } = response;
    if (statusCode >= 300) throw failed(`The server refused the message with HTTP status ${statusCode}.`, statusCode);
  }

  /** One by one and in order: servers of that time seldom take batches. */
  async function postAll(messages: Message[]): Promise<void> {
    if (late === undefined) open();
    for (const message of messages) await post(message);
  }

  return {
    async send(messages, streamId) {
      if (streamId === undefined) return postAll(messages);
      void postAll(messages).catch((error: unknown) => {
        if (!stop.signal.aborted) sink.unanswered(streamId, (error as UpstreamError).failure);
      });
    },
    ready: () => undefined,
    listen() {},
    setProtocolVersion() {},
    async end() {
      finish(failed("The session has ended."));
    },
  };
}

/** Where to post to. A server in a container must not send a session's messages anywhere else. */
function addressAt(said: string, stream: string): string {
  const { origin } = new URL(stream);
  const address = URL.parse(said, stream);
  if (address?.origin === origin) return address.href;
  throw failed("The server named another place than its own for the messages.");
}

function failed(message: string, upstreamStatus?: number): UpstreamError {
  const error = { code: errorCodes.failed, message, data: { code: "SERVER_NOT_RUNNING" } };
  return new UpstreamError({ status: 502, error, ...(upstreamStatus === undefined ? {} : { upstreamStatus }) });
}

function asUnreachable(error: unknown): never {
  throw error instanceof UpstreamError ? error : failed("The server could not be reached.");
}
