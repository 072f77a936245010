import type { ServerResponse } from "node:http";
import { sendJson } from "./clients/client-stream.ts";
import { refuse } from "./clients/http-edge.ts";
import type { Failure } from "./messages/failure.ts";
import { errorAnswer, errorCodes, type JsonRpcError } from "./messages/json-rpc.ts";

/*
What clients are told that get nothing of a server.
*/

const retryAfter = { "retry-after": "5" };

export const revoked: Failure = {
  status: 200,
  error: {
    code: errorCodes.failed,
    message: "The toolbox does not accept this connection any more.",
    data: { code: "CONNECTION_REVOKED" },
  },
};

export const flood: JsonRpcError = {
  code: errorCodes.failed,
  message: "Too many calls came from this connection. Wait a moment.",
  data: { code: "LIMIT_REACHED" },
};

export function closing(message: string): Failure {
  return { status: 200, error: { code: errorCodes.failed, message, data: { code: "SERVER_NOT_RUNNING" } } };
}

/** For those who have no session yet. */
export function refusing(message: string): Failure {
  return { ...closing(message), status: 503, headers: retryAfter };
}

export function refuseClosed(response: ServerResponse): void {
  refuse(response, 503, errorCodes.failed, "The DTMA is going down.", undefined, retryAfter);
}

export function refuseRevoked(response: ServerResponse): void {
  sendJson(response, 401, errorAnswer(undefined, revoked.error));
}
