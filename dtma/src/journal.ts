import { z } from "zod";
import { operation } from "../../shared/model/operation.ts";
import { type DataFolder, readKept } from "./data-folder.ts";
import type { Log } from "./log.ts";

/*
INVARIANTS
- An operation is on disk before its first step and off it after its last, so that the next start of a DTMA that was
  killed knows what was under way, finishes or undoes it, and can say how it ended.
*/

const fileName = "journal.json";

const entry = operation.pick({ id: true, kind: true, server: true, startedAt: true, steps: true }).extend({
  /** Of a deploy, rollback or rotation: the number its container carries. */
  release: z.int().positive().optional(),
});
export type JournalEntry = z.infer<typeof entry>;

export interface Journal {
  /** What an earlier DTMA had under way when it ended. */
  readonly interrupted: readonly JournalEntry[];
  begin(entry: JournalEntry): Promise<void>;
  end(id: JournalEntry["id"]): Promise<void>;
  /** The interrupted ones are dealt with. */
  settle(): Promise<void>;
}

/** An entry that a newer DTMA wrote and this one does not know is nothing it can finish; the names of containers still are. */
export async function openJournal(data: DataFolder, log: Log): Promise<Journal> {
  const kept = (await readKept(data, fileName, z.array(z.unknown()), log)) ?? [];
  let interrupted = kept.map((each) => entry.safeParse(each)).flatMap(({ data: known }) => known ?? []);
  const open = new Map<string, JournalEntry>();
  let writing: Promise<void> = Promise.resolve();

  function save(): Promise<void> {
    writing = writing.catch(() => {}).then(() => data.write(fileName, JSON.stringify([...interrupted, ...open.values()])));
    return writing;
  }

  return {
    get interrupted() {
      return interrupted;
    },
    async begin(started) {
      open.set(started.id, started);
      try {
        await save();
      } catch (error) {
        open.delete(started.id);
        throw error;
      }
    },
    async end(id) {
      if (open.delete(id)) await save();
    },
    async settle() {
      if (interrupted.length === 0) return;
      interrupted = [];
      await save();
    },
  };
}
