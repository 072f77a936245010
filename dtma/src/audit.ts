import { createReadStream } from "node:fs";
import { appendFile, open, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type AuditEntry, auditEntry } from "../../shared/dtma-protocol.ts";
import type { Log } from "./log.ts";

/*
INVARIANTS
- An answer never waits for the audit; what was noted is written at once, in order, and all of it before `close` settles.
- Calls with a token and calls without one are kept apart: strangers cannot push out what holders of a token did.
- Each of the two keeps between `maxBytes` and twice that, in two files. Ids count up over both and over restarts.
- Whatever is on disk, a torn line of a killed DTMA too, stops neither reading nor writing.
*/

const defaultMaxBytes = 5 * 2 ** 20;
const longestPath = 512;
const kinds = ["known", "strangers"] as const;
type Kind = (typeof kinds)[number];

export interface Audit {
  note(entry: Omit<AuditEntry, "id">): void;
  /** The oldest entries after an id, oldest first. */
  list(options: { after: number; limit: number }): Promise<AuditEntry[]>;
  close(): Promise<void>;
}

export async function openAudit(folder: string, log: Log, maxBytes = defaultMaxBytes): Promise<Audit> {
  const logs = {
    known: await openLines(folder, "audit", maxBytes),
    strangers: await openLines(folder, "audit-refused", maxBytes),
  };
  let lastId = Math.max(logs.known.lastId, logs.strangers.lastId);
  const waiting: Record<Kind, string[]> = { known: [], strangers: [] };
  let writing: Promise<void> | undefined;
  let isFailing = false;

  async function writeAll(): Promise<void> {
    for (;;) {
      const kind = kinds.find((each) => waiting[each].length > 0);
      if (kind === undefined) break;
      try {
        await logs[kind].append(waiting[kind].splice(0));
        isFailing = false;
      } catch (error) {
        // A full disk must not fill the memory as well; the first failure of a row of them is in the log.
        if (!isFailing) log.error("audit.not-written", error);
        isFailing = true;
      }
    }
    writing = undefined;
  }

  return {
    note(entry) {
      lastId += 1;
      const kept: AuditEntry = { ...entry, id: lastId, path: entry.path.slice(0, longestPath) };
      waiting[entry.token === null ? "strangers" : "known"].push(JSON.stringify(kept));
      writing ??= Promise.resolve().then(writeAll);
    },
    async list({ after, limit }) {
      await writing;
      const found = await Promise.all(kinds.map((kind) => logs[kind].read(after, limit)));
      return found
        .flat()
        .sort((one, other) => one.id - other.id)
        .slice(0, limit);
    },
    close: async () => await writing,
  };
}

type Lines = {
  lastId: number;
  append(lines: readonly string[]): Promise<void>;
  read(after: number, limit: number): Promise<AuditEntry[]>;
};

/** One file that is written, and the one before it. */
async function openLines(folder: string, name: string, maxBytes: number): Promise<Lines> {
  const current = join(folder, `${name}.jsonl`);
  const before = join(folder, `${name}.1.jsonl`);
  let bytes = await endLastLine(current);
  let isTorn = false;

  const entries = async function* (): AsyncGenerator<AuditEntry> {
    for (const file of [before, current]) {
      if ((await sizeOf(file)) === 0) continue;
      for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY })) {
        const entry = readLine(line);
        if (entry !== undefined) yield entry;
      }
    }
  };

  let lastId = 0;
  for await (const { id } of entries()) lastId = Math.max(lastId, id);

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
    async read(after, limit) {
      const found: AuditEntry[] = [];
      for await (const entry of entries()) {
        if (entry.id <= after) continue;
        found.push(entry);
        if (found.length === limit) break;
      }
      return found;
    },
  };
}

function readLine(line: string): AuditEntry | undefined {
  try {
    return auditEntry.safeParse(JSON.parse(line)).data;
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
