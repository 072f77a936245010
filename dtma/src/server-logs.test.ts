import { describe, expect, it } from "vitest";
import type { LogLine } from "../../shared/dtma-protocol.ts";
import { type ContainerLogOptions, createServerLogs, type LogOptions } from "./server-logs.ts";

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
  return async function* ({ follow, sinceMs, tail }: ContainerLogOptions) {
    const wanted = past.filter(({ at }) => at >= sinceMs);
    yield* tail === 0 ? [] : wanted.slice(tail === "all" ? 0 : -tail);
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
    async function* open({ follow }: ContainerLogOptions): AsyncGenerator<LogLine> {
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

  it("is searched as plain text, in upper and lower case, and the tail is of what was found", async () => {
    const logs = createServerLogs(() => 25);
    logs.writer("one")(Buffer.from("session ERROR\nsession fine\n"));
    const past = [line(10, "first error"), line(20, "Error (2.0)"), line(30, "fine"), line(40, "error 2x0")];
    const found = (search: string, more: Partial<LogOptions> = {}) =>
      texts(logs.read("one", container(past, [line(50, "no"), line(60, "an error")]), options({ search, ...more })));
    expect(await found("error")).toEqual(["first error", "Error (2.0)", "session ERROR", "error 2x0"]);
    expect(await found("error", { tail: 2 })).toEqual(["session ERROR", "error 2x0"]);
    expect(await found("(2.0)")).toEqual(["Error (2.0)"]);
    expect(await found("error", { tail: 1, follow: true })).toEqual(["error 2x0", "an error"]);
  });

  it("is not read for a reader that takes nothing", async () => {
    const logs = createServerLogs();
    let read = 0;
    async function* endless({ follow }: ContainerLogOptions): AsyncGenerator<LogLine> {
      for (; follow; read += 1) yield line(read, `line ${read}`);
    }
    const reading = logs.read("one", endless, options({ follow: true }));
    for (let taken = 0; taken < 10; taken += 1) await reading.next();
    for (let turn = 0; turn < 100; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    expect(read).toBeLessThanOrEqual(12);
    await reading.return(undefined);
  });

  it("has a tail of bounded size, of which the newest lines are kept", async () => {
    const logs = createServerLogs();
    const long = "x".repeat(2 ** 20);
    async function* large(): AsyncGenerator<LogLine> {
      for (let index = 0; index < 40; index += 1) yield line(index, `${index} ${long}`);
    }
    const kept = await texts(logs.read("one", large, options()));
    expect(kept.length).toBe(15);
    expect(kept.at(-1)?.slice(0, 3)).toBe("39 ");
  });

  it("fails as its container's log does, also when that happens while the reader is busy", async () => {
    const logs = createServerLogs();
    async function* failing({ follow }: ContainerLogOptions): AsyncGenerator<LogLine> {
      if (!follow) return;
      yield line(1, "last");
      throw new Error("the engine went away");
    }
    const reading = logs.read("one", failing, options({ follow: true }));
    expect((await reading.next()).value).toMatchObject({ text: "last" });
    await new Promise((resolve) => setTimeout(resolve, 10));
    await expect(reading.next()).rejects.toThrow("the engine went away");
  });
});
