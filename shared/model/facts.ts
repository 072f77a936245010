import { z } from "zod";
import { connectionId, timestampMs } from "./ids.ts";
import { syncCondition } from "./sync.ts";

/** What the control centre knows of the machine it runs on. Starts as unknown at every start. */
export const keychainCondition = z.discriminatedUnion("state", [
  z.object({ state: z.literal("unknown") }),
  z.object({ state: z.literal("available") }),
  /** Secrets live in memory until the app quits; the window says so. */
  z.object({ state: z.literal("memory-only"), reason: z.string() }),
]);

export const localDocker = z.discriminatedUnion("state", [
  z.object({ state: z.literal("unknown") }),
  z.object({ state: z.literal("up"), engineVersion: z.string(), checkedAt: timestampMs }),
  z.object({
    state: z.literal("down"),
    checkedAt: timestampMs,
    problem: z.enum(["not-installed", "not-running", "no-permission"]),
    reason: z.string(),
  }),
]);

/** Somebody has to sign in, in the browser, at what stands in front of a toolbox; calls of the connection wait for it. */
export const waitingSignIn = z.object({
  connectionId,
  /** Where. */
  host: z.string(),
  /** The page that was opened. */
  url: z.string(),
});
export type WaitingSignIn = z.infer<typeof waitingSignIn>;

export const facts = z.object({
  keychain: keychainCondition,
  docker: localDocker,
  sync: syncCondition,
  signIns: z.array(waitingSignIn),
});
export type Facts = z.infer<typeof facts>;
