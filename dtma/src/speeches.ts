import { createHash } from "node:crypto";
import { z } from "zod";
import { type DataFolder, readKept } from "./data-folder.ts";
import type { ContainerView } from "./docker/docker.ts";
import type { Speech } from "./docker/server-process.ts";
import type { ServerLabels } from "./labels.ts";
import type { Log } from "./log.ts";

/*
Which eras of MCP the servers of this toolbox speak.

INVARIANTS
- What was found holds for one image started in one way: the same command, arguments and variables. It outlives the
  container, and a restart of the DTMA.
- Nothing of a variable's value can be read from the file.
*/

const fileName = "speeches.json";
/** Of images that nobody has used for the longest the DTMA can find out again. */
const maxKept = 500;

const kept = z.array(
  z.object({
    key: z.string(),
    speech: z.object({ sessions: z.boolean(), stateless: z.boolean(), isOldSse: z.literal(true).optional() }),
  }),
);

export interface Speeches {
  /** undefined until a handshake has found it out. */
  of(container: ContainerView, labels: ServerLabels): Speech | undefined;
  note(container: ContainerView, labels: ServerLabels, speech: Speech): void;
  /** Resolves once what was noted is on disk. */
  close(): Promise<void>;
}

/** A file that cannot be read starts anew: the servers are asked again. */
export async function openSpeeches(data: DataFolder, log: Log): Promise<Speeches> {
  const known = new Map<string, Speech>();
  for (const { key, speech } of (await readKept(data, fileName, kept, log)) ?? []) known.set(key, toSpeech(speech));
  let writing: Promise<void> = Promise.resolve();
  let isChanged = false;

  async function write(): Promise<void> {
    if (!isChanged) return;
    isChanged = false;
    await data.write(fileName, JSON.stringify([...known].map(([key, speech]) => ({ key, speech }))));
  }

  return {
    of: (container, labels) => known.get(keyOf(container, labels)),
    note(container, labels, speech) {
      const key = keyOf(container, labels);
      if (JSON.stringify(known.get(key)) === JSON.stringify(toSpeech(speech))) return;
      known.delete(key);
      known.set(key, toSpeech(speech));
      for (const oldest of [...known.keys()].slice(0, -maxKept)) known.delete(oldest);
      isChanged = true;
      writing = writing.then(write).catch((error: unknown) => log.error("speeches.not-written", error));
    },
    close: () => writing,
  };
}

function toSpeech({ sessions, stateless, isOldSse }: z.infer<typeof kept>[number]["speech"]): Speech {
  return { sessions, stateless, ...(isOldSse === undefined ? {} : { isOldSse }) };
}

function keyOf({ imageId, command }: ContainerView, { spec }: ServerLabels): string {
  const { transport } = spec;
  const where = transport.type === "http" ? transport.path : "stdio";
  const start = JSON.stringify([command, where, Object.entries(spec.environment).sort()]);
  return `${imageId} ${createHash("sha256").update(start).digest("hex")}`;
}
