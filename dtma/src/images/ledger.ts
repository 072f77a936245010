import { z } from "zod";
import { type DataFolder, readKept } from "../data-folder.ts";
import type { Log } from "../log.ts";

/*
What this DTMA has pulled: under which digest, so that the one that runs can be told among several of one image, and
whether it was not on the toolbox before, so that it can go again when nothing needs it. Docker has no label for either.
*/

const fileName = "images.json";
const entry = z.object({
  reference: z.string(),
  id: z.string(),
  digest: z.string(),
  /** It came with our pull; one that somebody else had brought stays. */
  isOurs: z.boolean(),
});
const content = z.object({
  pulled: z.array(entry).default([]),
  /** When each base image was last asked for at its registry. */
  bases: z.record(z.string(), z.object({ askedAt: z.number() })).default({}),
});
export type PulledEntry = z.infer<typeof entry>;

export interface Ledger {
  pulled(): Promise<readonly PulledEntry[]>;
  /** The digest under which this image was pulled by this reference. */
  digestOf(reference: string, id: string): Promise<string | undefined>;
  notePulled(pulled: PulledEntry): Promise<void>;
  strikeOut(gone: readonly PulledEntry[]): Promise<void>;
  /** undefined when never. */
  baseAskedAt(reference: string): Promise<number | undefined>;
  noteBaseAsked(reference: string, at: number): Promise<void>;
}

/** Read when it is first needed. */
export function createLedger(data: DataFolder, log: Log): Ledger {
  let opened: Promise<z.infer<typeof content>> | undefined;
  let saved: Promise<void> = Promise.resolve();

  function open(): Promise<z.infer<typeof content>> {
    opened ??= readKept(data, fileName, content, log).then((kept) => kept ?? { pulled: [], bases: {} });
    return opened;
  }

  async function change(edit: (ledger: z.infer<typeof content>) => void): Promise<void> {
    const ledger = await open();
    edit(ledger);
    saved = saved.catch(() => {}).then(() => data.write(fileName, JSON.stringify(ledger)));
    await saved;
  }

  const same = (reference: string, id: string) => (other: PulledEntry) => other.reference === reference && other.id === id;

  return {
    pulled: async () => [...(await open()).pulled],
    digestOf: async (reference, id) => (await open()).pulled.find(same(reference, id))?.digest,
    async notePulled(noted) {
      await change((ledger) => {
        const before = ledger.pulled.find(same(noted.reference, noted.id));
        ledger.pulled = ledger.pulled.filter((other) => other !== before);
        ledger.pulled.push({ ...noted, isOurs: noted.isOurs || before?.isOurs === true });
      });
    },
    async strikeOut(gone) {
      if (gone.length === 0) return;
      await change((ledger) => {
        ledger.pulled = ledger.pulled.filter(({ reference, id }) => !gone.some(same(reference, id)));
      });
    },
    baseAskedAt: async (reference) => (await open()).bases[reference]?.askedAt,
    noteBaseAsked: (reference, askedAt) =>
      change(({ bases }) => {
        bases[reference] = { askedAt };
      }),
  };
}
