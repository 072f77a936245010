import { describe, expect, it } from "vitest";
import type { LogLine } from "../../../shared/dtma-protocol.ts";
import { emptyLog, findLines, keptLines, pauseLog, resumeLog, takeLines, toText } from "./log-buffer.ts";

function lines(amount: number, from = 0): LogLine[] {
  return Array.from({ length: amount }, (_, index) => ({ at: from + index, stream: "stdout", text: `line ${from + index}` }));
}

describe("the log buffer", () => {
  it("keeps the newest lines and goes on numbering them", () => {
    const buffer = takeLines(takeLines(emptyLog, lines(keptLines)), lines(5, keptLines));
    expect(buffer.lines).toHaveLength(keptLines);
    expect(buffer.lines[0]?.number).toBe(5);
    expect(buffer.lines.at(-1)?.text).toBe(`line ${keptLines + 4}`);
    expect(buffer.taken).toBe(keptLines + 5);
  });

  it("does not move while paused and shows everything that waited afterwards, in order", () => {
    const paused = takeLines(pauseLog(takeLines(emptyLog, lines(3))), lines(4, 3));
    expect(paused.lines.map((line) => line.text)).toEqual(["line 0", "line 1", "line 2"]);
    expect(paused.waiting).toHaveLength(4);
    const resumed = resumeLog(paused);
    expect(resumed.lines.map((line) => line.number)).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(resumed.waiting).toHaveLength(0);
  });

  it("finds lines whatever their case", () => {
    const buffer = takeLines(emptyLog, [
      { at: 0, stream: "stderr", text: "Warning: slow" },
      { at: 1, stream: "stdout", text: "ready" },
    ]);
    expect(findLines(buffer.lines, "WARN").map((line) => line.at)).toEqual([0]);
    expect(findLines(buffer.lines, "  ")).toHaveLength(2);
  });

  it("writes time, stream and text, one line each", () => {
    expect(toText([{ at: 0, stream: "stderr", text: "no" }])).toBe("1970-01-01T00:00:00.000Z stderr no\n");
  });
});
