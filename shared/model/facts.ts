import { z } from "zod";
import { timestampMs } from "./ids.ts";
import { neededClient, waitingSignIn } from "./sign-in.ts";
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

export const facts = z.object({
  keychain: keychainCondition,
  docker: localDocker,
  sync: syncCondition,
  signIns: z.array(waitingSignIn),
  neededClients: z.array(neededClient),
});
export type Facts = z.infer<typeof facts>;
