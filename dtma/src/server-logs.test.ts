import { describe, expect, it } from "vitest";
import type { LogLine } from "../../shared/dtma-protocol.ts";
import { createServerLogs, type LogOptions } from "./server-logs.ts";

const line = (at: number, text: string): LogLine => ({ at, stream: "stdout", text });
const options = (more: Partial<LogOptions> = {}): LogOptions => ({
  tail: 100,
  sinceMs: 0,
  follow: false,
  signal: new AbortController().signal,
  ...more,
});

/** A container's log: its past, and what comes once it is followed, both by Docker's rule for `since`. */
function container(past: LogLine[], coming: LogLine[] = []) {
  return async function* ({ follow, sinceMs, tail }: LogOptions) {
    const wanted = past.filter(({ at }) => at >= sinceMs);
    yield* tail === 0 ? [] : wanted.slice(-tail);
    if (follow) yield* coming;
  };
}

async function texts(lines: AsyncIterable<LogLine>): Promise<string[]> {
  const read: string[] = [];
  for await (const { text } of lines) read.push(text);
  return read;
}

describe("a server's log", () => {
  it("puts the lines of the container and of its sessions in order, and the last of them are its tail", async () => {
    let nowMs = 15;
    const logs = createServerLogs(() => nowMs);
    const write = logs.writer("one");
    write(Buffer.from("ses"));
    write(Buffer.from("sion a\nsession b\r\nunfinished"));
    nowMs = 30;
    const past = [line(10, "start"), line(20, "later")];
    expect(await texts(logs.read("one", container(past), options()))).toEqual(["start", "session a", "session b", "later"]);
    expect(await texts(logs.read("one", container(past), options({ tail: 2 })))).toEqual(["session b", "later"]);
    expect(await texts(logs.read("one", container(past), options({ sinceMs: 18 })))).toEqual(["later"]);
    expect(await texts(logs.read("two", container([]), options()))).toEqual([]);
    logs.forget("one");
    expect(await texts(logs.read("one", container([]), options()))).toEqual([]);
  });

  it("goes on without losing or repeating a line, also when several have the same time", async () => {
    const logs = createServerLogs(() => 50);
    const past = [line(10, "a"), line(20, "b"), line(20, "c")];
    const coming = [line(20, "d"), line(30, "e")];
    expect(await texts(logs.read("one", container(past, coming), options({ follow: true })))).toEqual([
      "a",
      "b",
      "c",
      "d",
      "e",
    ]);
  });

  it("brings a session's line to who follows", async () => {
    const logs = createServerLogs();
    const end = Promise.withResolvers<void>();
    async function* open({ follow }: LogOptions): AsyncGenerator<LogLine> {
      if (follow) await end.promise;
      yield* [];
    }
    const reading = logs.read("one", open, options({ follow: true }));
    const first = reading.next();
    await new Promise((resolve) => setImmediate(resolve));
    logs.writer("one")(Buffer.from("hello\n"));
    expect((await first).value).toMatchObject({ stream: "stderr", text: "hello" });
    end.resolve();
    expect((await reading.next()).done).toBe(true);
  });

  it("keeps a bounded number of lines", async () => {
    const logs = createServerLogs(() => 1);
    const write = logs.writer("one");
    for (let index = 0; index < 1_500; index += 1) write(Buffer.from(`${index}\n`));
    const kept = await texts(logs.read("one", container([]), options({ tail: 10_000 })));
    expect([kept.length, kept[0], kept.at(-1)]).toEqual([1_000, "500", "1499"]);
  });
});
