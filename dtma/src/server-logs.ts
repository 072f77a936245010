import { StringDecoder } from "node:string_decoder";
import type { LogLine } from "../../shared/dtma-protocol.ts";

/*
What sessions of a server wrote to standard error. Docker's log has only the container's first process, and for a stdio
server the work is done by the others.

INVARIANTS
- Lines are kept in memory only, a bounded number of bounded length for each server.
*/

const keptLines = 1_000;
const maxLineChars = 8_192;

export type LogOptions = { tail: number; sinceMs: number; follow: boolean; signal: AbortSignal };

export interface ServerLogs {
  /** Takes what one process writes; each process gets its own. */
  writer(server: string): (chunk: Buffer) => void;
  /** `container`'s lines and those of the sessions, in the order of their times; then, when followed, as they come. */
  read(
    server: string,
    container: (options: LogOptions) => AsyncIterable<LogLine>,
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

    async *read(server, container, options) {
      const startedAt = now();
      const live = createQueue();
      const stopFollowing = options.follow ? follow(server, live.push) : () => {};
      try {
        const fromSessions = (kept.get(server) ?? []).filter(({ at }) => at >= options.sinceMs);
        const fromContainer: LogLine[] = [];
        for await (const line of container({ ...options, follow: false })) fromContainer.push(line);
        const past = [...fromContainer, ...fromSessions].sort((left, right) => left.at - right.at);
        if (options.tail > 0) yield* past.slice(-options.tail);
        if (!options.follow) return;
        const lastAt = fromContainer.at(-1)?.at ?? startedAt;
        // Docker goes on from a time, not from a line: what it had at that very millisecond comes again.
        let again = fromContainer.filter(({ at }) => at === lastAt).length;
        const following = (async () => {
          for await (const line of container({ ...options, tail: keptLines, sinceMs: lastAt })) {
            if (again > 0 && line.at === lastAt) again -= 1;
            else live.push(line);
          }
        })();
        following.then(live.end, live.end);
        yield* live.lines();
        await following;
      } finally {
        stopFollowing();
      }
    },

    forget(server) {
      kept.delete(server);
    },
  };
}

/** Lines that come in from several sides and are taken by one. A reader that falls far behind loses the oldest. */
function createQueue() {
  const waiting: LogLine[] = [];
  let isOver = false;
  let wake = Promise.withResolvers<void>();
  return {
    push(line: LogLine) {
      waiting.push(line);
      if (waiting.length > 10 * keptLines) waiting.shift();
      wake.resolve();
    },
    end() {
      isOver = true;
      wake.resolve();
    },
    async *lines(): AsyncGenerator<LogLine> {
      for (;;) {
        yield* waiting.splice(0);
        if (isOver) return;
        await wake.promise;
        wake = Promise.withResolvers();
      }
    },
  };
}
