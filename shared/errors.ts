import { z } from "zod";

/**
 * Every failure that a person can meet, in one list.
 * `sentence` says what happened, `nextStep` what to do about it. A code is never reused for another meaning.
 * docs/errors.md is checked against this table by a test.
 */
export const errorCatalogue = {
  INVALID_INPUT: { sentence: "Something in the form is not right.", nextStep: "Correct the marked field and try again." },
  NOT_FOUND: { sentence: "It does not exist any more.", nextStep: "Go back to the list; it may have been deleted elsewhere." },
  ALREADY_EXISTS: { sentence: "Something with this name exists already.", nextStep: "Choose another name." },
  CONFLICT: {
    sentence: "Something else is being done to it right now.",
    nextStep: "Wait until that has ended, or cancel it under Activity.",
  },
  UNAUTHORIZED: { sentence: "This window has no session with the control centre.", nextStep: "Open the control centre again." },
  FORBIDDEN: { sentence: "Only an admin can do this.", nextStep: "Ask an admin of this workspace." },
  TOOLBOX_UNREACHABLE: {
    sentence: "The toolbox does not answer.",
    nextStep: "Check that the machine is on and that its DTMA runs, then try again.",
  },
  TOOLBOX_REFUSED: {
    sentence: "The toolbox refused the token.",
    nextStep: "Enter the token that the DTMA on this toolbox was started with.",
  },
  FINGERPRINT_MISMATCH: {
    sentence: "The certificate of the toolbox is not the one that was pinned.",
    nextStep: "Compare the fingerprint on the toolbox itself before you trust the new one.",
  },
  TOOLBOX_INCOMPATIBLE: {
    sentence: "The DTMA on this toolbox speaks another protocol version.",
    nextStep: "Upgrade the DTMA or the control centre so that both match.",
  },
  DOCKER_UNAVAILABLE: {
    sentence: "Docker does not answer on this toolbox.",
    nextStep: "Start Docker there; the control centre notices by itself.",
  },
  IMAGE_NOT_FOUND: {
    sentence: "The image does not exist, or its registry does not let this toolbox see it.",
    nextStep: "Check the image name and its tag.",
  },
  IMAGE_PULL_FAILED: {
    sentence: "The image could not be pulled.",
    nextStep: "Check the toolbox's connection to the registry, then try again.",
  },
  PACKAGE_NOT_FOUND: {
    sentence: "The package or this version of it does not exist in the registry.",
    nextStep: "Check the package name and its version.",
  },
  PACKAGE_INSTALL_FAILED: {
    sentence: "The package could not be installed.",
    nextStep: "Read the last lines of the installation below.",
  },
  SERVER_EXITED: {
    sentence: "The server ended right after it was started.",
    nextStep: "Read its last lines below; a setting is often missing.",
  },
  SERVER_SILENT: {
    sentence: "The server runs but never answered the MCP handshake.",
    nextStep: "Check that it is an MCP server and that its transport is the chosen one.",
  },
  SECRET_MISSING: { sentence: "A required secret is missing.", nextStep: "Enter the secret that is named below." },
  PERMISSION_REFUSED: {
    sentence: "It asks for a permission that is never given.",
    nextStep: "Remove the permission named below.",
  },
  LIMIT_REACHED: { sentence: "A limit of the toolbox is reached.", nextStep: "Wait a moment, or end what is not needed." },
  DISK_FULL: { sentence: "The disk is full.", nextStep: "Free some space there, then try again." },
  CANCELLED: { sentence: "It was cancelled.", nextStep: "Start it again when you are ready." },
  DEADLINE_EXCEEDED: {
    sentence: "It took longer than allowed and was ended.",
    nextStep: "Try again; if it happens again, look at the logs.",
  },
  TOOL_NOT_ALLOWED: {
    sentence: "This connection is not allowed to use that tool.",
    nextStep: "Allow the tool on the connection first.",
  },
  TOOL_FAILED: { sentence: "The server answered the call with an error.", nextStep: "Read the server's message below." },
  CONNECTION_REVOKED: {
    sentence: "The toolbox does not accept this connection.",
    nextStep: "Disconnect and connect the agent again.",
  },
  SERVER_NOT_RUNNING: { sentence: "The server is not running.", nextStep: "Start it, or ask an admin to start it." },
  WORKSPACE_IN_USE: {
    sentence: "The data folder is in use by another control centre.",
    nextStep: "Close the other one, or start with --data=FOLDER.",
  },
  WORKSPACE_TOO_NEW: {
    sentence: "The data folder was written by a newer version of the control centre.",
    nextStep: "Start the newer version.",
  },
  NETWORK_DOWN: {
    sentence: "This computer has no network.",
    nextStep: "Nothing is lost: changes are sent when the network is back.",
  },
  DATABASE_UNREACHABLE: {
    sentence: "The shared database does not answer.",
    nextStep: "Nothing is lost: it is tried again by itself. Check the address if it never answered.",
  },
  DATABASE_NOT_TRUSTED: {
    sentence: "The certificate of the shared database is not trusted.",
    nextStep: "Enter the certificate of the authority that signed it, or ask whoever runs the database.",
  },
  SIGN_IN_REFUSED: {
    sentence: "The sign-in was not accepted.",
    nextStep: "Sign in again under Settings.",
  },
  GATEWAY_REFUSED: {
    sentence: "What stands in front of this toolbox did not let you in.",
    nextStep: "Try again; what is missing is asked for on the connection's page.",
  },
  NOT_A_MEMBER: {
    sentence: "No admin of the shared workspace has let this person in yet.",
    nextStep: "Ask an admin of that workspace for a role; this is noticed by itself.",
  },
  SCHEMA_MISSING: {
    sentence: "The database has no DTMA workspace in it.",
    nextStep: "Create the schema under Settings, with the database's owner.",
  },
  SCHEMA_TOO_OLD: {
    sentence: "The schema of the shared database is older than this version needs.",
    nextStep: "Upgrade the schema under Settings, with the database's owner.",
  },
  SCHEMA_TOO_NEW: {
    sentence: "The schema of the shared database is newer than this version knows.",
    nextStep: "Update the control centre.",
  },
  CHANGE_REFUSED: {
    sentence: "The shared database refused this change.",
    nextStep: "Edit it and send it again, or discard it.",
  },
  CHANGE_CONFLICT: {
    sentence: "Somebody else changed the same thing.",
    nextStep: "Compare both versions and choose one.",
  },
  CHANGE_UNDER_WAY: {
    sentence: "This change is being sent right now.",
    nextStep: "Wait a moment and look again.",
  },
  QUEUE_NOT_EMPTY: {
    sentence: "There are changes that the shared database does not have yet.",
    nextStep: "Wait until they are sent, or confirm that they may be lost.",
  },
  INTERNAL: { sentence: "Something went wrong that should not have.", nextStep: "Try again; the log file has the details." },
} as const satisfies Record<string, { sentence: string; nextStep: string }>;

export type ErrorCode = keyof typeof errorCatalogue;

export const errorCodes = Object.keys(errorCatalogue) as [ErrorCode, ...ErrorCode[]];

/** The form in which a failure crosses a process boundary or is kept in a row. Never holds a secret or a stack. */
export const errorShape = z.object({
  code: z.enum(errorCodes),
  /** One sentence about this very case, for people. */
  message: z.string(),
  nextStep: z.string(),
  /** The input the failure is about, as a path such as `settings.API_KEY`. */
  field: z.string().optional(),
  /** The last lines a process printed, when they explain the failure. Secrets are removed before. */
  output: z.string().optional(),
});
export type ErrorShape = z.infer<typeof errorShape>;

type AppErrorOptions = { message?: string; field?: string; output?: string; cause?: unknown };

/** The one error type that modules throw on purpose. Edges (HTTP, RPC, rows) translate it with `toShape`. */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly field: string | undefined;
  readonly output: string | undefined;

  constructor(code: ErrorCode, options: AppErrorOptions = {}) {
    super(options.message ?? errorCatalogue[code].sentence, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "AppError";
    this.code = code;
    this.field = options.field;
    this.output = options.output;
  }

  /** The shape for the wire and for rows; drops the cause and the stack. */
  toShape(): ErrorShape {
    return {
      code: this.code,
      message: this.message,
      nextStep: errorCatalogue[this.code].nextStep,
      ...(this.field === undefined ? {} : { field: this.field }),
      ...(this.output === undefined ? {} : { output: this.output }),
    };
  }

  static fromShape(shape: ErrorShape): AppError {
    return new AppError(shape.code, {
      message: shape.message,
      ...(shape.field === undefined ? {} : { field: shape.field }),
      ...(shape.output === undefined ? {} : { output: shape.output }),
    });
  }
}

/** An `AppError` stays what it is; anything else becomes INTERNAL and keeps its text only as the cause. */
export function toAppError(error: unknown): AppError {
  return error instanceof AppError ? error : new AppError("INTERNAL", { cause: error });
}
