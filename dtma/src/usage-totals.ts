import { z } from "zod";
import { type ConnectionUsage, connectionUsage } from "../../shared/dtma-protocol.ts";
import { type DataFolder, readKept } from "./data-folder.ts";
import type { Log } from "./log.ts";

const fileName = "usage.json";
const writeEveryMs = 10_000;

/** Keeps the counts of connections over restarts: on disk within ten seconds, and when the DTMA ends. */
export interface UsageTotals {
  /** As they were when the DTMA ended. */
  kept: ConnectionUsage[];
  noteChange(): void;
  close(): Promise<void>;
}

/** A file that cannot be read starts the counts anew: they are no reason to stand still. */
export async function openUsageTotals(data: DataFolder, current: () => ConnectionUsage[], log: Log): Promise<UsageTotals> {
  const kept = (await readKept(data, fileName, z.array(connectionUsage), log)) ?? [];
  let timer: NodeJS.Timeout | undefined;
  let writing: Promise<void> = Promise.resolve();

  function write(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    writing = writing
      .then(() => data.write(fileName, JSON.stringify(current())))
      .catch((error: unknown) => log.error("usage.not-written", error));
    return writing;
  }

  return {
    kept,
    noteChange() {
      timer ??= setTimeout(() => void write(), writeEveryMs);
      timer.unref();
    },
    close: () => (timer === undefined ? writing : write()),
  };
}
