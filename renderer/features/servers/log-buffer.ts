import type { LogLine } from "../../../shared/dtma-protocol.ts";

/*
The lines of a server's log that the window keeps. Pure.

INVARIANTS
- At most `keptLines` are kept; what is dropped is counted, never silently lost.
- While paused, what is shown does not move; new lines wait and are counted.
*/

export const keptLines = 10_000;

export type NumberedLine = LogLine & { number: number };

export type LogBuffer = {
  readonly lines: readonly NumberedLine[];
  readonly waiting: readonly NumberedLine[];
  readonly isPaused: boolean;
  /** Lines ever taken; numbers the next one. */
  readonly taken: number;
};

export const emptyLog: LogBuffer = { lines: [], waiting: [], isPaused: false, taken: 0 };

/** The buffer with further lines at its end. */
export function takeLines(buffer: LogBuffer, lines: readonly LogLine[]): LogBuffer {
  const numbered = lines.map((line, index) => ({ ...line, number: buffer.taken + index }));
  const taken = buffer.taken + lines.length;
  return buffer.isPaused
    ? { ...buffer, taken, waiting: last([...buffer.waiting, ...numbered]) }
    : { ...buffer, taken, lines: last([...buffer.lines, ...numbered]) };
}

export function pauseLog(buffer: LogBuffer): LogBuffer {
  return { ...buffer, isPaused: true };
}

/** Shows what has waited. */
export function resumeLog(buffer: LogBuffer): LogBuffer {
  return { ...buffer, isPaused: false, waiting: [], lines: last([...buffer.lines, ...buffer.waiting]) };
}

function last(lines: readonly NumberedLine[]): readonly NumberedLine[] {
  return lines.length <= keptLines ? lines : lines.slice(-keptLines);
}

/** Lines that hold the words of the query, case aside. */
export function findLines(lines: readonly NumberedLine[], query: string): readonly NumberedLine[] {
  const needle = query.trim().toLowerCase();
  return needle === "" ? lines : lines.filter((line) => line.text.toLowerCase().includes(needle));
}

/** Lines as a text file holds them. */
export function toText(lines: readonly LogLine[]): string {
  return lines.map((line) => `${new Date(line.at).toISOString()} ${line.stream} ${line.text}\n`).join("");
}
