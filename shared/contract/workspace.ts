import { z } from "zod";
import { errorShape } from "../errors.ts";
import { connectionId, toolboxId } from "../model/ids.ts";
import { databaseTarget } from "../model/sync.ts";
import { auditPage, loads, personRow, workspaceSettings } from "../sync-protocol.ts";
import { route } from "./route.ts";

const password = z.string().min(1).max(1_024);

/** Goes in and never out. `email` is for Supabase; on Postgres the target names the login role. */
export const credential = z.object({ email: z.email().optional(), password });

const attempt = z.object({ target: databaseTarget, credential });

/** The owner of a Postgres database; for Supabase, the database behind the project. */
const owner = z.object({ target: databaseTarget.options[0], password });

export const testStep = z.enum(["address", "encryption", "sign-in", "schema", "membership"]);

export const testReport = z.object({
  /** In their order; after the one that failed they are skipped. */
  steps: z.array(z.object({ id: testStep, state: z.enum(["ok", "failed", "skipped"]), error: errorShape.nullable() })),
  /** null unless every step is ok. */
  who: z
    .object({
      userId: z.uuid(),
      name: z.string(),
      email: z.string().nullable(),
      roles: z.array(z.enum(["admin", "user"])),
      workspaceId: z.uuid(),
      workspaceName: z.string(),
      /** Nothing is in the workspace yet: connecting publishes what is here. */
      isEmpty: z.boolean(),
    })
    .nullable(),
});
export type TestReport = z.infer<typeof testReport>;

export const schemaPlan = z.object({
  /** Version of the newest migration that is there; null for none. */
  installed: z.string().nullable(),
  known: z.string(),
  migrations: z.array(
    z.object({
      version: z.string(),
      name: z.string(),
      /** What it does, in a sentence or two. */
      summary: z.string(),
      /** `changed`: applied once, in another form; it is applied again. */
      state: z.enum(["pending", "applied", "changed"]),
    }),
  ),
  isSupabase: z.boolean(),
  needsFirstAdmin: z.boolean(),
});
export type SchemaPlan = z.infer<typeof schemaPlan>;

const signInId = z.object({ id: z.uuid() });
const byChange = z.object({ id: z.uuid() });
const members = z.record(z.string().max(64), z.unknown());

/** The workspace's shared database. What it stands at is the fact `sync`; the queue is the entity `queue`. */
export const workspaceContract = {
  /** Tries everything that connecting needs and changes nothing. Failures are in the report. */
  test: route("user").input(attempt).output(testReport),
  /**
   * Shares this workspace. With `bringsLocalRows`, what exists only here is sent after the first pull: to an empty
   * workspace that publishes it, to another it joins it without making anything twice.
   */
  connect: route("user")
    .input(attempt.extend({ bringsLocalRows: z.boolean() }))
    .output(z.void()),
  /** Begins a sign-in in the system's browser: the window opens `url`, then waits with `finishSignIn`. */
  beginSignIn: route("user")
    .input(z.object({ target: databaseTarget.options[1], provider: z.string().regex(/^[a-z_]{2,40}$/) }))
    .output(signInId.extend({ url: z.url() })),
  /** Resolves when the person came back from the browser, and the workspace is then connected. CANCELLED, DEADLINE_EXCEEDED. */
  finishSignIn: route("user")
    .input(signInId.extend({ bringsLocalRows: z.boolean() }))
    .output(z.void()),
  cancelSignIn: route("user").input(signInId).output(z.void()),
  /** The same person signs in again, after the session has ended or the password changed. */
  signIn: route("user").input(z.object({ credential })).output(z.void()),
  /** Forgets the account, its rows and its secrets here. QUEUE_NOT_EMPTY says how much would be lost, unless that is accepted. */
  signOut: route("user")
    .input(z.object({ losesQueue: z.boolean().default(false) }))
    .output(z.void()),
  /** Tries to connect now instead of at the planned time. */
  retryNow: route("user").input(z.void()).output(z.void()),

  /** What creating or upgrading the schema would do. SCHEMA_TOO_NEW, FORBIDDEN, and what keeps the database out of reach. */
  planSchema: route("admin").input(owner).output(schemaPlan),
  /** Applies exactly these, in their order. CONFLICT when the plan is another by now. */
  applySchema: route("admin")
    .input(owner.extend({ versions: z.array(z.string()).max(1_000) }))
    .output(z.object({ applied: z.array(z.string()) })),
  /** Once, while there is no admin. On Supabase by `email` of an account; on Postgres `loginRole`, made with `newPassword`. */
  makeFirstAdmin: route("admin")
    .input(
      owner.extend({
        person: z.object({
          name: z.string().trim().min(1).max(80),
          email: z.email().optional(),
          loginRole: z.string().max(63).optional(),
          newPassword: z.string().max(128).optional(),
        }),
      }),
    )
    .output(personRow),

  /**
   * Plain Postgres: makes a login role with which the toolboxes of this workspace report, and tells them. Answers its
   * name; its password goes to the keychain and to the toolboxes.
   */
  makeReportingLogin: route("admin")
    .input(owner)
    .output(z.object({ user: z.string() })),
  /** Plain Postgres: the same with a login role that somebody made by hand, a member of `dtma_toolbox`. */
  setReportingLogin: route("admin")
    .input(z.object({ user: z.string().min(1).max(63), password }))
    .output(z.void()),

  /** Lets somebody in. On Postgres with `newPassword` the login role is made, too. */
  addPerson: route("admin")
    .input(
      z.object({
        name: z.string().trim().min(1).max(80),
        email: z.email().optional(),
        loginRole: z.string().max(63).optional(),
        newPassword: z.string().max(128).optional(),
        roles: z.array(z.enum(["admin", "user"])).default(["user"]),
      }),
    )
    .output(personRow),
  /** CONFLICT for the last admin. */
  setRole: route("admin")
    .input(z.object({ personId: z.uuid(), role: z.enum(["admin", "user"]), isGranted: z.boolean() }))
    .output(personRow),
  update: route("admin").input(workspaceSettings).output(z.void()),
  /** What a toolbox last reported of its load, for one that this computer has no link to. */
  loads: route("admin")
    .input(z.object({ toolboxId: toolboxId }))
    .output(loads),
  /** Who changed what, newest first: admins all of it, users what they did themselves. */
  audit: route("user")
    .input(z.object({ before: z.int().nullable().default(null), limit: z.int().min(1).max(500).default(100) }))
    .output(auditPage),

  /** Takes a queued or parked change back. CONFLICT counts those that build on it. CHANGE_UNDER_WAY while its outcome is open. */
  discardChange: route("user")
    .input(byChange.extend({ withDependents: z.boolean().default(false) }))
    .output(z.void()),
  retryChange: route("user").input(byChange).output(z.void()),
  /** Sends it with other values for some of its members. */
  editChange: route("user").input(byChange.extend({ members })).output(z.void()),
  /** Ends a conflict. `edited` sends `members` on top of what was changed here. */
  resolveChange: route("user")
    .input(
      byChange.extend({
        choice: z.discriminatedUnion("version", [
          z.object({ version: z.literal("mine") }),
          z.object({ version: z.literal("theirs") }),
          z.object({ version: z.literal("edited"), members }),
        ]),
      }),
    )
    .output(z.void()),
  /** Puts it before another, or at the end with null. CONFLICT when their order matters. */
  moveChange: route("user")
    .input(byChange.extend({ before: z.uuid().nullable() }))
    .output(z.void()),

  /** Makes a new token for a connection whose token is not in this computer's keychain; other computers need it then, too. */
  renewConnection: route("user")
    .input(z.object({ id: connectionId }))
    .output(z.void()),
  /**
   * Gives this computer the token of a host, so that it can link to it: one that came from the shared database, or one of
   * a local workspace whose token was changed or lost. TOOLBOX_REFUSED, TOOLBOX_UNREACHABLE.
   */
  authorizeToolbox: route("admin")
    .input(z.object({ id: toolboxId, token: z.string().min(1).max(4_096) }))
    .output(z.void()),
};
