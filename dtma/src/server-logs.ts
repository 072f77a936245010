import { StringDecoder } from "node:string_decoder";
import type { LogLine } from "../../shared/dtma-protocol.ts";

/*
What sessions of a server wrote to standard error. Docker's log has only the container's first process, and for a stdio
server the work is done by the others.

INVARIANTS
- Lines are kept in memory only, a bounded number of bounded length for each server.
- Nothing is read for a reader that does not take it: Docker's log waits where it is, and of the lines of sessions, which
  cannot wait, the oldest are lost.
- A search is for plain text. An expression from outside could take a process of ours for minutes with a few characters.
*/

const keptLines = 1_000;
const maxLineChars = 8_192;
/** Of one reader's tail; beyond it the oldest lines are left out. */
const tailChars = 16 * 2 ** 20;

export type LogOptions = {
  tail: number;
  sinceMs: number;
  follow: boolean;
  /** Only lines that hold this text, in upper or lower case; the tail is then of such lines. */
  search?: string | undefined;
  signal: AbortSignal;
};

/** What is asked of Docker's log of the container. */
export type ContainerLogOptions = Pick<LogOptions, "sinceMs" | "follow" | "signal"> & { tail: number | "all" };

export interface ServerLogs {
  /** Takes what one process writes; each process gets its own. */
  writer(server: string): (chunk: Buffer) => void;
  /** `container`'s lines and those of the sessions, in the order of their times; then, when followed, as they come. */
  read(
    server: string,
    container: (options: ContainerLogOptions) => AsyncIterable<LogLine>,
    options: LogOptions,
  ): AsyncGenerator<LogLine>;
  forget(server: string): void;
}

export function createServerLogs(now: () => number = Date.now): ServerLogs {
  const kept = new Map<string, LogLine[]>();
  const followers = new Map<string, Set<(line: LogLine) => void>>();

  function add(server: string, text: string): void {
    const line: LogLine = { at: now(), stream: "stderr", text: text.replace(/\r$/, "").slice(0, maxLineChars) };
    const lines = kept.get(server) ?? [];
    lines.push(line);
    if (lines.length > keptLines) lines.shift();
    kept.set(server, lines);
    for (const follower of followers.get(server) ?? []) follower(line);
  }

  function follow(server: string, push: (line: LogLine) => void): () => void {
    const own = followers.get(server) ?? new Set();
    followers.set(server, own.add(push));
    return () => {
      own.delete(push);
      if (own.size === 0 && followers.get(server) === own) followers.delete(server);
    };
  }

  return {
    writer(server) {
      const decoder = new StringDecoder("utf8");
      let rest = "";
      return (chunk) => {
        const parts = (rest + decoder.write(chunk)).split("\n");
        rest = (parts.pop() ?? "").slice(0, maxLineChars);
        for (const part of parts) add(server, part);
      };
    },

    async *read(server, container, { tail, sinceMs, follow: isFollowing, search, signal }) {
      const startedAt = now();
      const matches = createMatch(search);
      const live = createQueue();
      const stopFollowing = isFollowing ? follow(server, (line) => matches(line) && live.push(line)) : () => {};
      try {
        const past = createTail(tail);
        let lastAt: number | undefined;
        let sameTime = 0;
        const dockerTail = search === undefined || tail === 0 ? tail : "all";
        for await (const line of container({ tail: dockerTail, sinceMs, follow: false, signal })) {
          sameTime = line.at === lastAt ? sameTime + 1 : 1;
          lastAt = line.at;
          if (matches(line)) past.add(line);
        }
        const fromSessions = (kept.get(server) ?? []).filter((line) => line.at >= sinceMs && matches(line));
        yield* past.with(fromSessions);
        if (!isFollowing) return;
        // Docker goes on from a time, not from a line: what it had at that very millisecond comes again.
        let again = lastAt === undefined ? 0 : sameTime;
        const coming = container({ tail: "all", sinceMs: lastAt ?? startedAt, follow: true, signal });
        for await (const line of merge(coming, live, signal)) {
          if ("session" in line) yield line.session;
          else if (again > 0 && line.container.at === lastAt) again -= 1;
          else if (matches(line.container)) yield line.container;
        }
      } finally {
        stopFollowing();
      }
    },

    forget(server) {
      kept.delete(server);
    },
  };
}

function createMatch(search: string | undefined): (line: LogLine) => boolean {
  if (search === undefined) return () => true;
  const wanted = search.toLowerCase();
  return ({ text }) => text.toLowerCase().includes(wanted);
}

/** The newest lines of a log that is read from its beginning. */
function createTail(count: number) {
  const lines: LogLine[] = [];
  let first = 0;
  let chars = 0;
  return {
    add(line: LogLine) {
      lines.push(line);
      chars += line.text.length;
      while (lines.length - first > count || chars > tailChars) {
        chars -= lines[first]?.text.length ?? 0;
        first += 1;
      }
      // Now and then, because moving all lines for each one that goes would cost more than what is kept.
      if (first <= keptLines) return;
      lines.splice(0, first);
      first = 0;
    },
    /** The newest of these and those, in the order of their times. */
    with(others: readonly LogLine[]): LogLine[] {
      const all = [...lines.slice(first), ...others].sort((left, right) => left.at - right.at);
      return count === 0 ? [] : all.slice(-count);
    },
  };
}

type Queue = ReturnType<typeof createQueue>;

/** Lines of sessions that wait for the reader. */
function createQueue() {
  const waiting: LogLine[] = [];
  let wake = Promise.withResolvers<void>();
  return {
    push(line: LogLine) {
      waiting.push(line);
      if (waiting.length > keptLines) waiting.shift();
      wake.resolve();
    },
    take: () => waiting.shift(),
    /** Settles once there is a line to take. */
    filled(): Promise<void> {
      if (waiting.length === 0) wake = Promise.withResolvers();
      return wake.promise;
    },
  };
}

/** Both as they come, until the container's log is over; of that, one line is read ahead of the reader and no more. */
async function* merge(
  container: AsyncIterable<LogLine>,
  sessions: Queue,
  signal: AbortSignal,
): AsyncGenerator<{ container: LogLine } | { session: LogLine }> {
  const lines = container[Symbol.asyncIterator]();
  let isOver = false;
  const ahead = () => {
    const next = lines.next();
    // It may fail while the reader is still busy with the line before; it is awaited after that.
    next.catch(() => {});
    return next;
  };
  try {
    let next = ahead();
    for (;;) {
      const arrived = await Promise.race([next, sessions.filled()]);
      for (let line = sessions.take(); line !== undefined; line = sessions.take()) yield { session: line };
      if (arrived === undefined) continue;
      if (arrived.done === true) {
        isOver = true;
        return;
      }
      next = ahead();
      yield { container: arrived.value };
    }
  } finally {
    // A log that is quiet ends only with the signal, which is its owner's to give.
    const ending = lines.return?.();
    if (!isOver && signal.aborted) await ending;
    else void ending?.catch(() => {});
  }
}
