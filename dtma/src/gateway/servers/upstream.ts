import { AppError } from "../../../../shared/errors.ts";
import type { Failure } from "../messages/failure.ts";
import { errorCodes, type JsonRpcError, type Message } from "../messages/json-rpc.ts";

/** The server's side of one session. */
export interface Upstream {
  /**
   * Sends the messages of one POST, in order; resolves once the server has taken them. `streamId` names the stream on
   * which their answers are awaited, undefined when there are no requests. `headers` (of the client, `Mcp-Param-*` only)
   * go on to a stateless server over HTTP. Rejects with an `UpstreamError`.
   */
  send(messages: Message[], streamId: number | undefined, headers?: Record<string, string>): Promise<void>;
  /** Stops waiting for the answers on a stream, where the transport has a way to say so: a stateless server over HTTP. */
  cancel?(streamId: number): void;
  /** A promise while the server takes no more; wait for it before more is read from the client. */
  ready(): Promise<void> | undefined;
  /** The client listens for messages that belong to no request of its own. */
  listen(): void;
  /** Known once `initialize` is answered. */
  setProtocolVersion(version: string): void;
  /** Ends the server's side; resolves when nothing of it is left. */
  end(): Promise<void>;
}

export type UpstreamSink = {
  /** Why a message of its client may not go to the server any more; undefined when it may. */
  refused?(message: Message): JsonRpcError | undefined;
  /** A message of the server, free of newlines; a promise is returned when no more should be read until it settles. */
  message(bytes: Buffer, streamId: number | undefined): Promise<void> | undefined;
  /** The requests that still wait on this stream will never be answered. */
  unanswered(streamId: number, failure: Failure): void;
  /** The server's side is gone, and the session with it. */
  gone(failure: Failure): void;
};

export class UpstreamError extends Error {
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.error.message);
    this.name = "UpstreamError";
    this.failure = failure;
  }
}

const statusOf: Partial<Record<AppError["code"], number>> = {
  NOT_FOUND: 404,
  SERVER_NOT_RUNNING: 503,
  DOCKER_UNAVAILABLE: 503,
  LIMIT_REACHED: 503,
};

/** What a client is told about an error; the text of an unexpected one stays here. */
export function toFailure(error: unknown): Failure {
  if (error instanceof UpstreamError) return error.failure;
  if (!(error instanceof AppError)) {
    return { status: 502, error: { code: errorCodes.internal, message: "The server could not be reached." } };
  }
  const status = statusOf[error.code] ?? 502;
  return {
    status,
    error: { code: errorCodes.failed, message: error.message, data: { code: error.code } },
    ...(status === 503 ? { headers: { "retry-after": "5" } } : {}),
  };
}
