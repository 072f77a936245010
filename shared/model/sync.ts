import { z } from "zod";
import { errorShape } from "../errors.ts";
import { mutation, mutationCode, personRow } from "../sync-protocol.ts";
import { timestampMs } from "./ids.ts";
import { tool } from "./tool.ts";

/** A person of the shared workspace; only admins hold these rows. */
export const person = personRow;

/** A list of tools by its hash; many servers share one. `Server.shared.tools.hash` leads here. */
export const toolList = z.object({ id: z.string(), items: z.array(tool) });
export type ToolList = z.infer<typeof toolList>;

export const mutationKinds = mutation.options.map((option) => option.shape.kind.value);

/** Entities of the change feed that the shared database holds, too. */
export const sharedEntityNames = ["people", "toolboxes", "templates", "servers", "agents", "connections"] as const;
export type SharedEntityName = (typeof sharedEntityNames)[number];

/** One member of a row in three versions: when the change was made, as it was changed here, as it is in the database. */
export const conflictField = z.object({ name: z.string(), base: z.unknown(), mine: z.unknown(), theirs: z.unknown() });

export const conflict = z.object({
  code: mutationCode,
  /** Without secrets and hashes. Empty when there is nothing to compare: the row is gone. */
  fields: z.array(conflictField),
  /** The row does not exist in the database any more. */
  isDeleted: z.boolean(),
});
export type Conflict = z.infer<typeof conflict>;

/** A change that was made here and that the shared database does not have yet. */
export const queuedChange = z.object({
  id: z.uuid(),
  kind: z.enum(mutationKinds),
  entity: z.enum(sharedEntityNames),
  entityId: z.string(),
  /** The name of what it changes, as it was when the change was made. */
  title: z.string(),
  /** Names of the members it sets. */
  fields: z.array(z.string()),
  /** The queue is sent in ascending order. */
  position: z.number(),
  condition: z.discriminatedUnion("state", [
    /** `nextAttemptAt` is null unless an attempt failed. */
    z.object({ state: z.literal("queued"), nextAttemptAt: timestampMs.nullable() }),
    z.object({ state: z.literal("sending"), since: timestampMs }),
    /** A person has to decide. With `conflict` both versions are there to compare. */
    z.object({ state: z.literal("parked"), since: timestampMs, reason: errorShape, conflict: conflict.nullable() }),
  ]),
  attempts: z.int().nonnegative(),
  createdAt: timestampMs,
});
export type QueuedChange = z.infer<typeof queuedChange>;

/** How the control centre reaches the shared database. Holds no secret: the password or session is in the vault. */
export const databaseTarget = z.discriminatedUnion("transport", [
  z.object({
    transport: z.literal("postgres"),
    host: z.string().trim().min(1).max(253),
    port: z.int().min(1).max(65_535).default(5_432),
    database: z.string().min(1).max(63),
    user: z.string().min(1).max(63),
    /** `off` is for loopback only; `encrypt` takes any certificate; `verify` checks name and issuer. */
    tls: z.enum(["off", "encrypt", "verify"]).default("verify"),
    /** PEM of an own certificate authority; null takes the system's. */
    ca: z.string().max(65_536).nullable().default(null),
  }),
  z.object({
    transport: z.literal("supabase"),
    url: z.url({ protocol: /^https?$/, error: "Use the address of the project, such as https://example.supabase.co." }),
    /** The publishable (anon) key, which is no secret. */
    publishableKey: z.string().min(1).max(4_096),
  }),
]);
export type DatabaseTarget = z.infer<typeof databaseTarget>;

/** Who this computer is to the shared database. */
export const syncAccount = z.object({
  target: databaseTarget,
  /** null until the database has answered for the first time. */
  who: z
    .object({
      userId: z.uuid(),
      name: z.string(),
      email: z.string().nullable(),
      roles: z.array(z.enum(["admin", "user"])),
      workspaceId: z.uuid(),
      workspaceName: z.string(),
    })
    .nullable(),
});
export type SyncAccount = z.infer<typeof syncAccount>;

/** Where the workspace stands with its shared database. A state carries only what is true in it. */
export const syncLink = z.discriminatedUnion("state", [
  /** No shared database: everything is here. */
  z.object({ state: z.literal("local") }),
  /** The database does not accept the session or password any more; a person has to sign in. */
  z.object({ state: z.literal("signed-out"), since: timestampMs, error: errorShape }),
  z.object({ state: z.literal("connecting"), since: timestampMs }),
  z.object({ state: z.literal("online"), since: timestampMs }),
  /** Offline since `since`; tried again at `until`. `reason` tells this computer's network from the service. */
  z.object({
    state: z.literal("waiting"),
    since: timestampMs,
    until: timestampMs,
    reason: z.enum(["my-network", "service"]),
    error: errorShape,
  }),
  /** Trying again helps only after somebody did something elsewhere: schema, membership, address. Looked at again at `until`. */
  z.object({ state: z.literal("blocked"), since: timestampMs, until: timestampMs, error: errorShape }),
]);
export type SyncLink = z.infer<typeof syncLink>;

/** The fact the window gets about the shared workspace. */
export const syncCondition = z.object({
  link: syncLink,
  /** null while the workspace is local. */
  account: syncAccount.nullable(),
  /** True until the first pull has ended; rows arrive in the meantime. */
  isFirstPull: z.boolean(),
  /** When the rows here were last known to be all there is. */
  lastPullAt: timestampMs.nullable(),
  queued: z.int().nonnegative(),
  parked: z.int().nonnegative(),
});
export type SyncCondition = z.infer<typeof syncCondition>;

export const localCondition: SyncCondition = {
  link: { state: "local" },
  account: null,
  isFirstPull: false,
  lastPullAt: null,
  queued: 0,
  parked: 0,
};
