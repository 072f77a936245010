import { z } from "zod";
import { dockerCondition, hostLoad } from "../dtma-protocol.ts";
import { errorShape } from "../errors.ts";
import { timestampMs, toolboxId } from "./ids.ts";

/** SHA-256 of a certificate as people compare it: upper-case hex pairs with colons. */
export const fingerprint = z.string().regex(/^(?:[0-9A-F]{2}:){31}[0-9A-F]{2}$/, "A fingerprint has 32 hex pairs with colons.");

export const toolboxName = z.string().trim().min(1, "Give it a name.").max(64);

/** What the control centre knows of a toolbox from its own link to the DTMA there. */
export const toolboxLink = z.discriminatedUnion("state", [
  /** Nothing was tried since the control centre started. */
  z.object({ state: z.literal("unknown") }),
  z.object({ state: z.literal("connecting"), since: timestampMs }),
  z.object({ state: z.literal("connected"), since: timestampMs }),
  z.object({ state: z.literal("lost"), since: timestampMs, error: errorShape, nextAttemptAt: timestampMs.nullable() }),
]);
export type ToolboxLink = z.infer<typeof toolboxLink>;

export const toolbox = z.object({
  id: toolboxId,
  name: toolboxName,
  kind: z.enum(["this-computer", "host"]),
  /** null until this computer's DTMA has started for the first time. */
  url: z.url({ protocol: /^https?$/ }).nullable(),
  /** Pinned certificate; null for plain HTTP on loopback. */
  fingerprint: fingerprint.nullable(),
  /** this-computer only: what happens to its servers when the control centre quits. */
  serversOnQuit: z.enum(["keep", "stop"]),
  link: toolboxLink,
  /** When the DTMA last said, with Docker answering, that its servers are as shown. null: never. */
  confirmedAt: timestampMs.nullable(),
  docker: dockerCondition.nullable(),
  dtmaVersion: z.string().nullable(),
  hostname: z.string().nullable(),
  platform: z.string().nullable(),
  hardeningGaps: z.array(z.string()),
  load: hostLoad.extend({ at: timestampMs }).nullable(),
  createdAt: timestampMs,
  /** What the shared database says of it; absent while only this computer knows it. */
  shared: z
    .object({
      /** A `this-computer` of somebody else is a `host` here, and out of reach. */
      kind: z.enum(["this-computer", "host", "droplet"]),
      description: z.string(),
      status: z.string(),
      canReport: z.boolean(),
      /** When it last reported to the database, on this computer's clock. null: never. */
      reportedAt: timestampMs.nullable(),
      /** Set when its reports have stopped; on this computer's clock. */
      unresponsiveSince: timestampMs.nullable(),
    })
    .optional(),
});
export type Toolbox = z.infer<typeof toolbox>;
