import { AppError, type ErrorCode, type ErrorShape } from "../../../shared/errors.ts";
import type { Log } from "../log.ts";

/*
INVARIANTS
- An answer never holds a stack, a path of this machine or the text of an error that nobody here threw on purpose.
*/

const statuses: Partial<Record<ErrorCode, number>> = {
  INVALID_INPUT: 400,
  SECRET_MISSING: 400,
  PERMISSION_REFUSED: 400,
  TOOLBOX_REFUSED: 401,
  CONNECTION_REVOKED: 401,
  FORBIDDEN: 403,
  TOOL_NOT_ALLOWED: 403,
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  CONFLICT: 409,
  SERVER_NOT_RUNNING: 409,
  LIMIT_REACHED: 429,
  DOCKER_UNAVAILABLE: 503,
  DEADLINE_EXCEEDED: 504,
  DISK_FULL: 507,
};

export type Failure = { status: number; body: { error: ErrorShape } };

/** Any error as an answer. What is not an AppError and not a client's fault is logged and becomes INTERNAL. */
export function toFailure(error: unknown, log: Log): Failure {
  if (error instanceof AppError) {
    if (error.code === "INTERNAL") log.error("request.failed", error);
    return { status: statuses[error.code] ?? 500, body: { error: error.toShape() } };
  }
  const { statusCode, code } = error as { statusCode?: number; code?: string };
  if (code === "FST_ERR_HANDLER_TIMEOUT") return toFailure(new AppError("DEADLINE_EXCEEDED"), log);
  if (statusCode === 413) return clientFault(413, "The body is too large.");
  if (statusCode === 415) return clientFault(415, "The body must be JSON.");
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return clientFault(
      statusCode,
      code === "FST_ERR_CTP_EMPTY_JSON_BODY" ? "The body is empty." : "The request cannot be understood.",
    );
  }
  log.error("request.failed", error);
  return { status: 500, body: { error: new AppError("INTERNAL").toShape() } };
}

function clientFault(status: number, message: string): Failure {
  return { status, body: { error: new AppError("INVALID_INPUT", { message }).toShape() } };
}
