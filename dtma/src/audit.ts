import { createReadStream } from "node:fs";
import { appendFile, open, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type AuditEntry, auditEntry } from "../../shared/dtma-protocol.ts";
import { linesFromEnd } from "./lines-from-end.ts";
import type { Log } from "./log.ts";

/*
INVARIANTS
- A call that is let in is written down before its work begins, and again with its answer: the later line counts. Of one that
  a kill ended there is the first line only, with status 0. A disk that cannot be written holds up no call.
- An answer never waits for the audit; what was noted is written at once, in order, and all of it before `close` settles.
- Calls with a token and calls without one are kept apart: strangers cannot push out what holders of a token did.
- Each of the two keeps between `maxBytes` and twice that, in two files. Ids count up over both and over restarts.
- Whatever is on disk, a torn line of a killed DTMA too, stops neither reading nor writing.
*/

const defaultMaxBytes = 5 * 2 ** 20;
const longestPath = 512;
const kinds = ["known", "strangers"] as const;
type Kind = (typeof kinds)[number];

export type Call = Pick<AuditEntry, "at" | "address" | "token" | "method" | "path">;
export type Answered = Call & Pick<AuditEntry, "status" | "durationMs">;

export interface Audit {
  /** A call begins. `written` settles, and never rejects, once that is on disk or cannot be. */
  begin(call: Call): { id: number; written: Promise<void> };
  /** A call is over; `id` is that of its beginning. */
  note(call: Answered, id?: number): void;
  /** The oldest entries after an id, oldest first. */
  list(options: { after: number; limit: number }): Promise<AuditEntry[]>;
  /** Newest first. */
  newest(limit: number): Promise<AuditEntry[]>;
  close(): Promise<void>;
}

export async function openAudit(folder: string, log: Log, maxBytes = defaultMaxBytes): Promise<Audit> {
  const logs = {
    known: await openLines(folder, "audit", maxBytes),
    strangers: await openLines(folder, "audit-refused", maxBytes),
  };
  let lastId = Math.max(logs.known.lastId, logs.strangers.lastId);
  const waiting: Record<Kind, Waiting[]> = { known: [], strangers: [] };
  let writing: Promise<void> | undefined;
  let isFailing = false;

  async function writeAll(): Promise<void> {
    for (;;) {
      const kind = kinds.find((each) => waiting[each].length > 0);
      if (kind === undefined) break;
      const batch = waiting[kind].splice(0);
      try {
        await logs[kind].append(batch.map(({ line }) => line));
        isFailing = false;
      } catch (error) {
        // A full disk must not fill the memory as well; the first failure of a row of them is in the log.
        if (!isFailing) log.error("audit.not-written", error);
        isFailing = true;
      }
      for (const { written } of batch) written();
    }
    writing = undefined;
  }

  function add(entry: AuditEntry & Pick<Line, "isEnd">, written = () => {}): void {
    const line = JSON.stringify({ ...entry, path: entry.path.slice(0, longestPath) });
    waiting[entry.token === null ? "strangers" : "known"].push({ line, written });
    writing ??= Promise.resolve().then(writeAll);
  }

  return {
    begin(call) {
      lastId += 1;
      const { promise, resolve } = Promise.withResolvers<void>();
      add({ ...call, id: lastId, status: 0, durationMs: 0 }, resolve);
      return { id: lastId, written: promise };
    },
    note(call, id) {
      if (id !== undefined) return add({ ...call, id, isEnd: true });
      lastId += 1;
      add({ ...call, id: lastId });
    },
    async list({ after, limit }) {
      await writing;
      const found = await Promise.all(kinds.map((kind) => logs[kind].read(after)));
      return firstEntries(
        found.flat().sort((one, other) => one.id - other.id),
        limit,
      );
    },
    async newest(limit) {
      await writing;
      const found = await Promise.all(kinds.map((kind) => logs[kind].readNewest(limit)));
      return firstEntries(
        found.flat().sort((one, other) => other.id - one.id),
        limit,
      );
    },
    close: async () => await writing,
  };
}

type Waiting = { line: string; written(): void };
/** What a line holds, of which only this was looked at. `isEnd`: there is a line of its beginning before it. */
type Line = { id: number; isEnd?: boolean };

type Lines = {
  lastId: number;
  append(lines: readonly string[]): Promise<void>;
  /** One for every id after this one. */
  read(after: number): Promise<Line[]>;
  /** One for every id, at least for the `limit` newest. */
  readNewest(limit: number): Promise<Line[]>;
};

/** One file that is written, and the one before it. */
async function openLines(folder: string, name: string, maxBytes: number): Promise<Lines> {
  const current = join(folder, `${name}.jsonl`);
  const before = join(folder, `${name}.1.jsonl`);
  let bytes = await endLastLine(current);
  let isTorn = false;

  const found = async function* (): AsyncGenerator<Line> {
    for (const file of [before, current]) {
      if ((await sizeOf(file)) === 0) continue;
      for await (const text of createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY })) {
        const line = readLine(text);
        if (line !== undefined) yield line;
      }
    }
  };

  let lastId = 0;
  for await (const { id } of found()) lastId = Math.max(lastId, id);

  return {
    lastId,
    async append(lines) {
      const text = Buffer.from(`${isTorn ? "\n" : ""}${lines.join("\n")}\n`);
      if (bytes > 0 && bytes + text.length > maxBytes) {
        await rename(current, before);
        bytes = 0;
      }
      isTorn = true;
      await appendFile(current, text, { mode: 0o600 });
      isTorn = false;
      bytes += text.length;
    },
    async read(after) {
      const byId = new Map<number, Line>();
      for await (const line of found()) if (line.id > after) byId.set(line.id, line);
      return [...byId.values()];
    },
    async readNewest(limit) {
      const byId = new Map<number, Line>();
      let beginnings = 0;
      for (const file of [current, before]) {
        for await (const text of linesFromEnd(file)) {
          const line = readLine(text);
          if (line === undefined) continue;
          if (!byId.has(line.id)) byId.set(line.id, line);
          // Calls begin in the order of their ids, but end in any.
          if (line.isEnd !== true) beginnings += 1;
          if (beginnings === limit) return [...byId.values()];
        }
      }
      return [...byId.values()];
    },
  };
}

function firstEntries(lines: readonly Line[], limit: number): AuditEntry[] {
  const entries: AuditEntry[] = [];
  for (const line of lines) {
    const { data } = auditEntry.safeParse(line);
    if (data !== undefined) entries.push(data);
    if (entries.length === limit) break;
  }
  return entries;
}

function readLine(text: string): Line | undefined {
  try {
    const line = JSON.parse(text) as Line | null;
    return Number.isSafeInteger(line?.id) ? (line as Line) : undefined;
  } catch {
    return undefined;
  }
}

async function sizeOf(file: string): Promise<number> {
  return await stat(file).then(
    ({ size }) => size,
    () => 0,
  );
}

/** Ends a line that a killed DTMA left open; answers the size of the file. */
async function endLastLine(file: string): Promise<number> {
  const size = await sizeOf(file);
  if (size === 0) return 0;
  const handle = await open(file, "r+");
  try {
    const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, size - 1);
    if (buffer.toString() === "\n") return size;
    await handle.write("\n", size);
    return size + 1;
  } finally {
    await handle.close();
  }
}
