/*
INVARIANTS
- One JSON object a line, on standard error: an event name and fields that are ids, counts, durations and codes.
- A field whose name speaks of a secret is never written, whatever it holds.
*/

const secretField = /token|secret|password|authorization|credential|cookie|bearer/i;

export type LogFields = Record<string, unknown>;
export type Log = {
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  /** The error's code and message go to the log, and its causes' messages; never its payload. */
  error(event: string, error: unknown, fields?: LogFields): void;
};

export function createLog(write: (line: string) => void, now: () => number = Date.now): Log {
  const line = (level: string, event: string, fields: LogFields) =>
    write(`${JSON.stringify({ at: new Date(now()).toISOString(), level, event, ...(redact(fields) as LogFields) })}\n`);
  return {
    info: (event, fields = {}) => line("info", event, fields),
    warn: (event, fields = {}) => line("warn", event, fields),
    error: (event, error, fields = {}) => line("error", event, { ...fields, error: describe(error) }),
  };
}

/** The last lines of the log, kept in memory. */
export interface LogTail {
  add(line: string): void;
  /** Oldest first. */
  last(count: number): string[];
}

export function createLogTail(keptLines = 1_000): LogTail {
  const lines: string[] = [];
  return {
    add(line) {
      lines.push(line.trimEnd());
      if (lines.length > keptLines) lines.shift();
    },
    last: (count) => (count === 0 ? [] : lines.slice(-count)),
  };
}

function redact(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(redact);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [key, secretField.test(key) ? "[removed]" : redact(member)]),
  );
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error).slice(0, 500);
  const code = (error as { code?: unknown }).code;
  const own = `${typeof code === "string" ? `${code}: ` : ""}${error.message}`.slice(0, 500);
  return error.cause === undefined ? own : `${own} ← ${describe(error.cause)}`;
}
