import type { JsonRpcError } from "./json-rpc.ts";

/** Why a request gets no answer of the server; `status` counts only while nothing was sent yet. */
export type Failure = {
  status: number;
  error: JsonRpcError;
  headers?: Record<string, string>;
  /** The HTTP status of the server's own answer; not for the client. */
  upstreamStatus?: number;
};
