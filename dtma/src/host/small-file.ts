import { closeSync, openSync, readSync } from "node:fs";

/** A file of the kernel that is read again and again: it stays open, and one small read gives its present content. */
export interface SmallFile {
  /** Throws what the read throws: ENODEV and the like once the thing the file tells of is gone. */
  read(): string;
  close(): void;
}

const maxBytes = 64 * 1024;
const shortPiece = 3_000;

/** Opens files that share one buffer. Reads do not wait for a disk, so they are done at once. */
export function createSmallFiles(): (path: string) => SmallFile {
  const buffer = Buffer.allocUnsafe(maxBytes);
  return (path) => {
    const descriptor = openSync(path, "r");
    return {
      read() {
        let length = 0;
        for (;;) {
          // Long ones come in pieces of about a page (seq_file), so only a short piece is surely the last.
          const read = readSync(descriptor, buffer, length, maxBytes - length, length);
          length += read;
          if (read < shortPiece || length === maxBytes) return buffer.toString("latin1", 0, length);
        }
      },
      close: () => closeSync(descriptor),
    };
  };
}

/** Bytes received and sent over every interface but loopback, of a `/proc/…/net/dev` (proc_net(5)). */
export function readTraffic(text: string): { rx: number; tx: number } {
  const sum = { rx: 0, tx: 0 };
  for (const line of text.split("\n").slice(2)) {
    const colon = line.indexOf(":");
    if (colon === -1 || line.slice(0, colon).trim() === "lo") continue;
    const numbers = line
      .slice(colon + 1)
      .trim()
      .split(/\s+/);
    sum.rx += Number(numbers[0]);
    sum.tx += Number(numbers[8]);
  }
  return sum;
}

/** The number after `key` and a space, at the start of a line; 0 when there is none. */
export function numberAfter(text: string, key: string): number {
  const start = text.startsWith(`${key} `) ? 0 : text.indexOf(`\n${key} `) + 1;
  if (start === 0 && !text.startsWith(`${key} `)) return 0;
  return Number.parseInt(text.slice(start + key.length + 1, start + key.length + 24), 10) || 0;
}
