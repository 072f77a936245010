import { AppError, type ErrorCode } from "../../../shared/errors.ts";
import { syncErrorCode } from "../../../shared/sync-protocol.ts";

/*
INVARIANTS
- No message of a failure holds anything of what was sent: no token, no password, no report.
*/

export class ReportFailure extends AppError {
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; retryAfterMs?: number | undefined } = {}) {
    super(code, { message, ...(options.cause === undefined ? {} : { cause: options.cause }) });
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** The failure that `report_toolbox` raised itself, or undefined for any other. */
export function fromDatabaseMessage(message: string): ReportFailure | undefined {
  switch (syncErrorCode(message)) {
    case "REPORT_REFUSED":
      return new ReportFailure("FORBIDDEN", "The shared database does not know this toolbox with its reporting token.");
    case "INVALID_INPUT":
      return new ReportFailure("SCHEMA_TOO_OLD", "The shared database does not understand the reports of this DTMA.");
    default:
      return undefined;
  }
}

/** Node's and OpenSSL's codes for a certificate that is not trusted (Node documentation, "X509 certificate error codes"). */
const certificateCodes =
  /^(UNABLE_TO_|CERT_|CRL_|DEPTH_ZERO_|SELF_SIGNED_|ERROR_IN_CERT|INVALID_|PATH_LENGTH|HOSTNAME_MISMATCH|ERR_TLS_CERT)/;

/** A failure of the network, in words that hold nothing of what was sent. */
export function fromConnection(error: unknown, host: string): ReportFailure {
  if (error instanceof ReportFailure) return error;
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  const code = String((cause as { code?: unknown }).code ?? (error as { code?: unknown }).code ?? "");
  if (certificateCodes.test(code))
    return new ReportFailure("DATABASE_NOT_TRUSTED", `The certificate of ${host} is not trusted (${code}).`);
  if (error instanceof SyntaxError)
    return new ReportFailure("DATABASE_UNREACHABLE", `${host} answered with something that is no JSON.`);
  const why = (error as { name?: unknown }).name === "TimeoutError" ? "in time" : code === "" ? "" : `(${code})`;
  return new ReportFailure("DATABASE_UNREACHABLE", `${host} does not answer ${why}`.trim().concat("."));
}
