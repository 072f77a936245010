import { closeSync, fstatSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";

/*
INVARIANTS
- A value reaches a sink only through `redact`: by key at any depth, by the shape of the text everywhere else.
- Logging never throws and never ends the app: a full disk or a closed pipe costs lines, not work.
- Lines are written synchronously, so that the last ones before a crash are there.
- Stacks go to the file only.
*/

export type LogLevel = "debug" | "info" | "warn" | "error";

export type LogFields = Readonly<Record<string, unknown>>;

/** `event` is a name such as `outbox.pushed`; fields hold ids, counts, durations and codes, never payloads. */
export type Logger = {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  /** Later lines are dropped. */
  close(): void;
};

export type LogOptions = {
  level: LogLevel;
  /** Path of the log file; its folder is made. Undefined writes no file. */
  file?: string;
  /** Receives whole lines, with the newline. */
  stderr?: (line: string) => void;
  now?: () => Date;
  /** The file is set aside as FILE.1, FILE.2 … before it grows beyond this. */
  maxFileBytes?: number;
  /** How many files are kept, the current one included. */
  maxFiles?: number;
};

const severities: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };
const removed = "[redacted]";
const maxDepth = 6;
const maxEntries = 100;
const maxTextLength = 8_192;

/** Writes JSON lines, one per event, with what could be a secret taken out. */
export function createLog(options: LogOptions): Logger {
  const now = options.now ?? (() => new Date());
  const file = options.file === undefined ? undefined : openRotatingFile(options.file, options);
  let open = true;

  function write(level: LogLevel, event: string, fields: LogFields = {}): void {
    if (!open || severities[level] < severities[options.level]) return;
    try {
      const head = { time: now().toISOString(), level, event: redactText(event) };
      options.stderr?.(line({ ...head, ...object(fields, { stacks: false }), ...head }));
      file?.write(line({ ...head, ...object(fields, { stacks: true }), ...head }));
    } catch {
      // A getter that throws, or a sink that is gone.
    }
  }

  return {
    debug: (event, fields) => write("debug", event, fields),
    info: (event, fields) => write("info", event, fields),
    warn: (event, fields) => write("warn", event, fields),
    error: (event, fields) => write("error", event, fields),
    close() {
      open = false;
      file?.close();
    },
  };
}

/** A copy of `value` that is safe to keep: plain JSON, bounded in depth and size, without what could be a secret. */
export function redact(value: unknown, how: { stacks: boolean } = { stacks: false }): unknown {
  return copy(value, how, 0, new Set());
}

type How = { stacks: boolean };

function object(fields: LogFields, how: How): Record<string, unknown> {
  return copy(fields, how, 0, new Set()) as Record<string, unknown>;
}

function copy(value: unknown, how: How, depth: number, above: Set<object>): unknown {
  if (typeof value === "string") return redactText(value);
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "function" || typeof value === "symbol") return `[${typeof value}]`;
  if (typeof value !== "object" || value === null) return value;
  if (above.has(value)) return "[circular]";
  if (depth > maxDepth) return "[too deep]";
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `[${value.byteLength} bytes]`;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "[invalid date]" : value.toISOString();

  above.add(value);
  try {
    if (value instanceof Error) return copyError(value, how, depth, above);
    if (value instanceof URL) return redactText(value.href);
    if (value instanceof Map) return copyEntries([...value].slice(0, maxEntries + 1), how, depth, above);
    if (Array.isArray(value) || value instanceof Set) {
      const items = [...value];
      const kept = items.slice(0, maxEntries).map((item) => copy(item, how, depth + 1, above));
      return items.length > maxEntries ? [...kept, `[${items.length - maxEntries} more]`] : kept;
    }
    return copyEntries(Object.entries(value), how, depth, above);
  } finally {
    above.delete(value);
  }
}

function copyEntries(
  entries: readonly (readonly [unknown, unknown])[],
  how: How,
  depth: number,
  above: Set<object>,
): Record<string, unknown> {
  const kept: Record<string, unknown> = {};
  for (const [key, item] of entries.slice(0, maxEntries)) {
    const name = redactText(String(key));
    kept[name] = isSecretKey(String(key)) && !isHarmless(item) ? removed : copy(item, how, depth + 1, above);
  }
  if (entries.length > maxEntries) kept["…"] = `[${entries.length - maxEntries} more]`;
  return kept;
}

function copyError(error: Error, how: How, depth: number, above: Set<object>): Record<string, unknown> {
  const code = "code" in error && typeof error.code === "string" ? error.code : undefined;
  return {
    name: error.name,
    ...(code === undefined ? {} : { code }),
    message: redactText(error.message),
    ...(how.stacks && error.stack !== undefined ? { stack: redactText(error.stack) } : {}),
    ...(error.cause === undefined ? {} : { cause: copy(error.cause, how, depth + 1, above) }),
  };
}

const secretWords =
  /token|secret|passw|passphrase|passcode|authorization|cookie|apikey|accesskey|privatekey|credential|sessionid|^auth$|^env$|^environment$|^arguments$/;

function isSecretKey(key: string): boolean {
  return secretWords.test(key.toLowerCase().replace(/[^a-z0-9]/g, ""));
}

/** Whether a secret was there is worth knowing and gives nothing away. */
function isHarmless(value: unknown): boolean {
  return value === undefined || value === null || typeof value === "boolean";
}

const secretShapes: readonly [RegExp, string][] = [
  [/\b(Bearer|Basic)\s+[\w.~+/=-]{4,}/gi, `$1 ${removed}`],
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g, removed],
  // Tokens of our own (`dtma_…`, `dtmac_…`) and of services that give theirs a prefix.
  [
    /\b(?:dtma[a-z]*_[\w-]{20,}|(?:dop_v1|doo_v1|gh[opsur]|github_pat|npm|sbp|sb_secret)_\w{16,}|(?:sk|pk|glpat|xox[a-z])-[\w-]{16,})/g,
    removed,
  ],
  [/\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*/g, removed],
  [/(\b[a-z][a-z0-9+.-]*:\/\/)[^\s/?#@]+@/gi, `$1${removed}@`],
  [/([?&#](?:code|state|signature|sig|key|auth)=)[^\s"'&#]+/gi, `$1${removed}`],
  [
    /((?:token|secret|password|passwd|passphrase|api[_-]?key|access[_-]?key|authorization|cookie)["']?\s*[=:]\s*["']?)[^\s"'&,;)}\]]{3,}/gi,
    `$1${removed}`,
  ],
];

function redactText(text: string): string {
  // Cut first: a pattern must not be made to walk through megabytes.
  const bounded = text.length > maxTextLength ? `${text.slice(0, maxTextLength)}… [${text.length - maxTextLength} more]` : text;
  let clean = bounded;
  for (const [shape, replacement] of secretShapes) clean = clean.replace(shape, replacement);
  return clean;
}

function line(entry: Record<string, unknown>): string {
  return `${JSON.stringify(entry)}\n`;
}

function openRotatingFile(path: string, { maxFileBytes = 5 * 1024 * 1024, maxFiles = 5 }: LogOptions) {
  let descriptor: number | undefined;
  let bytes = 0;

  function open(): void {
    descriptor = openSync(path, "a", 0o600);
    bytes = fstatSync(descriptor).size;
  }

  function rotate(): void {
    closeCurrent();
    rmSync(`${path}.${maxFiles - 1}`, { force: true });
    for (let index = maxFiles - 2; index >= 0; index -= 1) {
      const from = index === 0 ? path : `${path}.${index}`;
      try {
        renameSync(from, `${path}.${index + 1}`);
      } catch (error) {
        if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
      }
    }
    open();
  }

  function closeCurrent(): void {
    if (descriptor !== undefined) closeSync(descriptor);
    descriptor = undefined;
  }

  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  open();

  return {
    write(text: string): void {
      const size = Buffer.byteLength(text);
      try {
        if (bytes > 0 && bytes + size > maxFileBytes) rotate();
        if (descriptor === undefined) open();
        if (descriptor !== undefined) writeSync(descriptor, text);
        bytes += size;
      } catch {
        // A full disk: the next line tries again.
        bytes = 0;
      }
    },
    close: closeCurrent,
  };
}
