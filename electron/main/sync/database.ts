import { z } from "zod";
import { AppError, type ErrorCode } from "../../../shared/errors.ts";
import {
  type AuditPage,
  auditPage,
  type Liveness,
  type Loads,
  liveness,
  loads,
  type Mutation,
  type NewPerson,
  type PersonRow,
  type PullAnswer,
  type PullCursor,
  type PushAnswer,
  personRow,
  pullAnswer,
  pushAnswer,
  syncErrorCode,
  type ToolsAnswer,
  toolsAnswer,
  type WhoAmI,
  type WorkspaceSettings,
  whoAmI,
} from "../../../shared/sync-protocol.ts";

/*
INVARIANTS
- Both transports carry the same calls and fail with the same AppErrors; what differs ends here.
- Every call has a deadline. A call that failed may have been done: whoever sends mutations sends the same keys again.
*/

/** A page whose rows are not looked at yet: that is done one by one, so that one that is not understood stops no other. */
export type PulledPage = Omit<PullAnswer, "changes"> & { changes: unknown[] };
const pulledPage = pullAnswer.extend({ changes: z.array(z.unknown()) });

/** The shared database, whatever is in front of it. Every method fails with an AppError, often a `DatabaseError`. */
export interface SharedDatabase {
  whoAmI(): Promise<WhoAmI>;
  pull(cursor: PullCursor | null, limit: number): Promise<PulledPage>;
  push(mutations: Mutation[]): Promise<PushAnswer>;
  tools(hashes: string[]): Promise<ToolsAnswer>;
  liveness(): Promise<Liveness>;
  loads(toolboxId: string): Promise<Loads>;
  audit(before: number | null, limit: number): Promise<AuditPage>;
  addPerson(person: NewPerson): Promise<PersonRow>;
  setRole(personId: string, role: "admin" | "user", isGranted: boolean): Promise<PersonRow>;
  setWorkspace(settings: WorkspaceSettings): Promise<WhoAmI>;
  /** Calls back when something may have changed, and when that way of hearing is lost. Returns the unsubscriber. */
  onNudge(listener: () => void): () => void;
  /** Whether nudges arrive now; without them, ask from time to time. */
  hasNudges(): boolean;
  close(): Promise<void>;
}

/** How functions of the database are called: `rpc` of Supabase, `select` of Postgres. */
export interface Transport {
  call(name: string, args: Readonly<Record<string, unknown>>): Promise<unknown>;
  onNudge: SharedDatabase["onNudge"];
  hasNudges: SharedDatabase["hasNudges"];
  close(): Promise<void>;
}

/** A failure of the database or the way to it, with what its service said about when to come back. */
export class DatabaseError extends AppError {
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, options: { message?: string; cause?: unknown; retryAfterMs?: number; field?: string } = {}) {
    super(code, options);
    this.retryAfterMs = options.retryAfterMs;
  }
}

export function createSharedDatabase(transport: Transport): SharedDatabase {
  const ask = async <T>(schema: z.ZodType<T>, name: string, args: Record<string, unknown> = {}): Promise<T> => {
    const answer = schema.safeParse(await transport.call(name, args));
    if (answer.success) return answer.data;
    const where = answer.error.issues[0]?.path.join(".") ?? "";
    throw new DatabaseError("SCHEMA_TOO_NEW", {
      message: `The shared database answered ${name} in a form that is not known (at ${where || "the top"}).`,
      cause: new Error(z.prettifyError(answer.error).slice(0, 500)),
    });
  };
  return {
    whoAmI: () => ask(whoAmI, "sync_whoami"),
    pull: (cursor, limit) => ask(pulledPage, "sync_pull", { p_cursor: cursor, p_limit: limit }),
    push: (mutations) => ask(pushAnswer, "sync_push", { p_mutations: mutations }),
    tools: (hashes) => ask(toolsAnswer, "sync_tools", { p_hashes: hashes }),
    liveness: () => ask(liveness, "sync_liveness"),
    loads: (toolboxId) => ask(loads, "sync_loads", { p_toolbox: toolboxId }),
    audit: (before, limit) => ask(auditPage, "sync_audit", { p_before: before, p_limit: limit }),
    addPerson: (person) => ask(personRow, "add_person", { p_person: person }),
    setRole: (personId, role, isGranted) =>
      ask(personRow, "set_role", { p_person: personId, p_role: role, p_granted: isGranted }),
    setWorkspace: (settings) => ask(whoAmI, "set_workspace", { p_settings: settings }),
    onNudge: transport.onNudge,
    hasNudges: transport.hasNudges,
    close: transport.close,
  };
}

/** The failure that a function of the database itself raised, from `CODE: sentence`; undefined for any other failure. */
export function fromDatabaseMessage(message: string, cause: unknown): DatabaseError | undefined {
  const code = syncErrorCode(message);
  const sentence = message.replace(/^.*?[A-Z_]+: /, "");
  switch (code) {
    case undefined:
      return undefined;
    case "NOT_SIGNED_IN":
      return new DatabaseError("SIGN_IN_REFUSED", { message: sentence, cause });
    case "NOT_A_MEMBER":
      return new DatabaseError("NOT_A_MEMBER", { message: sentence, cause });
    case "REPORT_REFUSED":
      return new DatabaseError("FORBIDDEN", { message: sentence, cause });
    case "FIRST_ADMIN_EXISTS":
      return new DatabaseError("ALREADY_EXISTS", { message: sentence, cause });
    case "LAST_ADMIN":
      return new DatabaseError("CONFLICT", { message: sentence, cause });
    default:
      return new DatabaseError(code, { message: sentence, cause });
  }
}

const networkCodes = new Set(["ENETUNREACH", "ENETDOWN", "EHOSTUNREACH", "EADDRNOTAVAIL", "EAI_AGAIN"]);

/** Translates a failure of the network on the way to `host`. `isOnline` says whether this computer has any network. */
export function fromNetworkFailure(code: string, host: string, isOnline: boolean, cause: unknown): DatabaseError {
  if (!isOnline || networkCodes.has(code))
    return new DatabaseError("NETWORK_DOWN", { message: networkSentence(code, host), cause });
  return new DatabaseError("DATABASE_UNREACHABLE", { message: `${host} ${reasonOf(code)}.`, cause });
}

function networkSentence(code: string, host: string): string {
  if (code === "EAI_AGAIN") return `This computer cannot look up names at the moment, so ${host} was not found.`;
  return `This computer's network has no way to ${host}.`;
}

function reasonOf(code: string): string {
  switch (code) {
    case "ECONNREFUSED":
      return "refuses connections; nothing listens there";
    case "ENOTFOUND":
      return "is not a name that exists";
    case "ETIMEDOUT":
    case "UND_ERR_CONNECT_TIMEOUT":
      return "did not answer in time";
    case "ECONNRESET":
    case "EPIPE":
    case "UND_ERR_SOCKET":
      return "closed the connection";
    default:
      return code === "" ? "does not answer" : `does not answer (${code})`;
  }
}

/** Codes of Node's TLS for a certificate that is not accepted. */
export const certificateCodes = new Set([
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "CERT_HAS_EXPIRED",
  "CERT_NOT_YET_VALID",
  "CERT_SIGNATURE_FAILURE",
  "CERT_UNTRUSTED",
  "ERR_TLS_CERT_ALTNAME_INVALID",
]);
