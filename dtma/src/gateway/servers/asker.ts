import type { Failure } from "../messages/failure.ts";
import { errorCodes, type JsonRpcError, type Message, made } from "../messages/json-rpc.ts";
import type { Upstream, UpstreamSink } from "./upstream.ts";

/*
The DTMA as a client of a server by itself: a few requests, one after another, and no capability of its own.

INVARIANTS
- Every request is settled: by the server's answer, or by why there will be none.
- A server that asks something is answered, so that it does not wait: its ping is, anything else is not known here.
*/

/** The server answered with a JSON-RPC error. */
export class RefusedError extends Error {
  readonly code: number;
  readonly data: unknown;
  readonly status: number | undefined;

  constructor({ code, message, data }: JsonRpcError, status: number | undefined) {
    super(message);
    this.name = "RefusedError";
    this.code = code;
    this.data = data;
    this.status = status;
  }
}

/** There is no answer; `status` is the HTTP status that came in its place. */
export class UnansweredError extends Error {
  readonly status: number | undefined;

  constructor({ error, upstreamStatus }: Failure) {
    super(error.message);
    this.name = "UnansweredError";
    this.status = upstreamStatus;
  }
}

export interface Asker {
  /** The result as it came. Rejects with a RefusedError or an UnansweredError. */
  request(method: string, params: Record<string, unknown>): Promise<unknown>;
  notify(method: string): Promise<void>;
  /** Known once `initialize` is answered. */
  setProtocolVersion(version: string): void;
  end(): Promise<void>;
}

type Pending = { resolve(result: unknown): void; reject(error: Error): void; refusal?: JsonRpcError };

/**
 * Asks over the upstream that `connect` makes. What the server says that is no message goes to `onNoise`. When `waits` is
 * set the upstream tells of each request that its answer is over, and its HTTP status is part of a refusal.
 */
export function createAsker(
  connect: (sink: UpstreamSink) => Upstream,
  { waits, onNoise }: { waits: boolean; onNoise(bytes: Buffer): void },
): Asker {
  const pending = new Map<number, Pending>();
  let lastId = 0;

  const settle = (id: number): Pending | undefined => {
    const found = pending.get(id);
    pending.delete(id);
    return found;
  };

  function take(bytes: Buffer): void {
    const message = parse(bytes);
    if (message === undefined) return onNoise(bytes);
    const { id, method, result, error } = message;
    if (method !== undefined) {
      if (id !== undefined && id !== null) void answer(id, method);
      return;
    }
    const waiting = pending.get(id as number);
    if (waiting === undefined) return;
    if (error === undefined) settle(id as number)?.resolve(result);
    else if (waits) waiting.refusal = error;
    else settle(id as number)?.reject(new RefusedError(error, undefined));
  }

  async function answer(id: unknown, method: string): Promise<void> {
    const said =
      method === "ping"
        ? { result: {} }
        : { error: { code: errorCodes.methodNotFound, message: "This client does not know that method." } };
    await upstream.send([toMessage({ id, ...said })], undefined).catch(() => undefined);
  }

  const upstream = connect({
    message(bytes) {
      take(bytes);
      return undefined;
    },
    unanswered(streamId, failure) {
      const found = settle(streamId);
      if (found === undefined) return;
      found.reject(
        found.refusal === undefined ? new UnansweredError(failure) : new RefusedError(found.refusal, failure.upstreamStatus),
      );
    },
    gone(failure) {
      for (const id of [...pending.keys()]) settle(id)?.reject(new UnansweredError(failure));
    },
  });

  return {
    request(method, params) {
      lastId += 1;
      const id = lastId;
      return new Promise((resolve, reject) => {
        pending.set(id, { resolve, reject });
        upstream.send([toMessage({ id, method, params })], id).catch((error: Error) => settle(id)?.reject(error));
      });
    },
    async notify(method) {
      await upstream.send([toMessage({ method })], undefined);
    },
    setProtocolVersion: (version) => upstream.setProtocolVersion(version),
    end: () => upstream.end(),
  };
}

type Said = { id?: unknown; method?: string; result?: unknown; error?: JsonRpcError };

function parse(bytes: Buffer): Said | undefined {
  try {
    const value = JSON.parse(bytes.toString("utf8")) as (Said & { jsonrpc?: unknown }) | null;
    return value?.jsonrpc === "2.0" ? value : undefined;
  } catch {
    return undefined;
  }
}

function toMessage(body: Record<string, unknown>): Message {
  return made(JSON.stringify({ jsonrpc: "2.0", ...body }));
}
