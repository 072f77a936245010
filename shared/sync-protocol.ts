import { z } from "zod";
import { connectionUsage, dockerCondition, hostLoad, serverLoad } from "./dtma-protocol.ts";
import { errorShape } from "./errors.ts";
import { agentId, connectionId, serverId, templateId, timestampMs, toolboxId } from "./model/ids.ts";
import { serverName, serverSpec } from "./model/spec.ts";
import { storedStates } from "./model/status.ts";
import { template } from "./model/template.ts";
import { tool } from "./model/tool.ts";
import { fingerprint } from "./model/toolbox.ts";
import { toolUsage } from "./model/usage.ts";

/*
Everything that crosses between a control centre or a DTMA and the shared database: arguments and answers of the SQL
functions in resources/supabase/migrations. Both transports carry the same values: PostgREST `POST /rest/v1/rpc/NAME`
with a JSON object of the arguments, plain Postgres `select NAME($1, …)` with jsonb. docs/database.md says what each
function promises.

  sync_whoami()                                        → WhoAmI
  sync_pull(p_cursor jsonb, p_limit int)               → PullAnswer
  sync_push(p_mutations jsonb)                         → PushAnswer        Mutation[], at most `pushLimit`
  sync_tools(p_hashes jsonb)                           → ToolsAnswer       string[], at most 200
  sync_liveness()                                      → Liveness
  sync_loads(p_toolbox uuid)                           → Loads             admins
  sync_audit(p_before bigint, p_limit int)             → AuditPage         admins: all; users: what they did themselves
  add_person(p_person jsonb)                           → Person            NewPerson; admins
  set_role(p_person uuid, p_role text, p_granted bool) → Person            admins
  set_workspace(p_settings jsonb)                      → WhoAmI            WorkspaceSettings; admins
  make_first_admin(p_person jsonb)                     → Person            NewPerson; owner of the schema, once
  report_toolbox(p_toolbox uuid, p_token text, p_report jsonb) → ReportAnswer    DTMAs, with the toolbox's own token

INVARIANTS
- A change of any schema here comes with a new `syncProtocolVersion`; sync-protocol.test.ts holds the hash.
- Receivers ignore members they do not know; senders never remove one within a version.
- Times are the database's clock, in milliseconds since 1970 UTC, unless their name says otherwise.
- No shape that a control centre can receive holds a token, or the hash of a toolbox's token.
*/

export const syncProtocolVersion = 1;

/** The newest schema this build knows (`WhoAmI.schemaVersion`): the timestamp at the head of the last migration's name. */
export const knownSchemaVersion = "20261127000800";
/** The oldest schema this build can work with; older ones are upgraded first. */
export const oldestSchemaVersion = "20261127000800";

/** Rows per `sync_pull` and mutations per `sync_push`; the database refuses more. */
export const pullLimit = 5_000;
export const pushLimit = 500;

const sha256Hex = z.string().regex(/^[a-f0-9]{64}$/);
const personId = z.uuid();
const revision = z.int().nonnegative();
const roleName = z.enum(["admin", "user"]);

/**
 * Failures of a whole call. The message of the SQL error is `CODE: sentence`, also where a transport drops SQLSTATEs.
 * NOT_SIGNED_IN: no session, or a login role nobody added. NOT_A_MEMBER: signed in, but no admin has given a role yet.
 * FORBIDDEN: this needs a role the person lacks. INVALID_INPUT: the arguments are not as described here.
 * REPORT_REFUSED: unknown toolbox or wrong token, without saying which. FIRST_ADMIN_EXISTS, LAST_ADMIN, ALREADY_EXISTS,
 * NOT_FOUND: as they say. Everything else is the database's own failure and worth another attempt.
 */
export const syncErrorCodes = [
  "NOT_SIGNED_IN",
  "NOT_A_MEMBER",
  "FORBIDDEN",
  "INVALID_INPUT",
  "REPORT_REFUSED",
  "FIRST_ADMIN_EXISTS",
  "LAST_ADMIN",
  "ALREADY_EXISTS",
  "NOT_FOUND",
] as const;
export type SyncErrorCode = (typeof syncErrorCodes)[number];

/** The code in the message of a failed call, or undefined when the failure is the transport's or the database's own. */
export function syncErrorCode(message: string): SyncErrorCode | undefined {
  const word = /(?:^|\s)([A-Z_]+): /.exec(message)?.[1];
  return syncErrorCodes.find((code) => code === word);
}

export const joinPolicy = z.enum(["approval", "open"]);

export const whoAmI = z.object({
  protocol: z.int(),
  schemaVersion: z.string(),
  /** Made once with the schema: two control centres with the same id share one truth. */
  workspaceId: z.uuid(),
  workspaceName: z.string(),
  joinPolicy,
  userId: personId,
  name: z.string(),
  email: z.string().nullable(),
  /** Empty while no admin has let this person in; every other function then answers NOT_A_MEMBER. */
  roles: z.array(roleName),
  now: timestampMs,
});
export type WhoAmI = z.infer<typeof whoAmI>;

export const workspaceSettings = z.object({ name: z.string().trim().min(1).max(80), joinPolicy }).partial();
export type WorkspaceSettings = z.infer<typeof workspaceSettings>;

/* Rows, as the reader may see them. */

export const personRow = z.object({
  id: personId,
  name: z.string(),
  email: z.string().nullable(),
  /** Plain Postgres only. */
  loginRole: z.string().nullable(),
  roles: z.array(roleName),
  createdAt: timestampMs,
});
export type PersonRow = z.infer<typeof personRow>;

/** Admins only. Reported load and the time of the last report are not in rows: see `Loads` and `Liveness`. */
export const toolboxRow = z.object({
  id: toolboxId,
  name: z.string(),
  kind: z.enum(["this-computer", "host", "droplet"]),
  description: z.string(),
  url: z.string().nullable(),
  fingerprint: fingerprint.nullable(),
  /** Whether a token's hash is there, so that the toolbox can report. */
  canReport: z.boolean(),
  status: z.string(),
  dtmaVersion: z.string().nullable(),
  health: z
    .object({ docker: dockerCondition, hostname: z.string(), platform: z.string(), hardeningGaps: z.array(z.string()) })
    .partial()
    .nullable(),
  droplet: z
    .object({
      id: z.string(),
      name: z.string().nullable(),
      address: z.string().nullable(),
      region: z.string().nullable(),
      size: z.string().nullable(),
      image: z.string().nullable(),
    })
    .nullable(),
  createdBy: personId.nullable(),
  createdAt: timestampMs,
  updatedAt: timestampMs,
});
export type ToolboxRow = z.infer<typeof toolboxRow>;

/** What a toolbox last reported about a server. `checkedAt` of the health is not kept: see `Liveness`. */
export const reportedState = z.discriminatedUnion("state", [
  z.object({ state: z.literal("never") }),
  z.object({ state: z.literal("gone"), changedAt: timestampMs }),
  z.object({
    state: z.literal("present"),
    /** When it last became different, not when it was last seen. */
    changedAt: timestampMs,
    desired: z.enum(["running", "stopped"]),
    container: z.object({
      id: z.string(),
      state: z.string(),
      startedAt: timestampMs.nullish(),
      exitCode: z.int().nullish(),
      restartCount: z.int(),
    }),
    image: z.object({ reference: z.string(), digest: z.string() }),
    health: z.discriminatedUnion("state", [
      z.object({ state: z.literal("unknown") }),
      z.object({ state: z.literal("ready"), protocolVersion: z.string() }),
      z.object({ state: z.literal("failed"), error: errorShape }),
    ]),
  }),
]);
export type ReportedState = z.infer<typeof reportedState>;

export const serverRow = z.object({
  id: serverId,
  toolboxId: toolboxId,
  toolboxName: z.string(),
  name: serverName,
  templateId: templateId.nullable(),
  templateTitle: z.string().nullable(),
  description: z.string(),
  transport: z.enum(["stdio", "sse", "websocket", "streamable_http"]),
  version: z.string().nullable(),
  status: z.enum(storedStates),
  /** The list itself is read once per hash with `sync_tools`; many servers share one. */
  tools: z.object({ hash: z.string(), count: z.int(), at: timestampMs }).nullable(),
  createdAt: timestampMs,
  updatedAt: timestampMs,
  /** Admins only; null for everyone else. */
  admin: z
    .object({
      spec: serverSpec.nullable(),
      desired: z.enum(["running", "stopped", "deleted"]),
      reported: reportedState,
    })
    .nullable(),
});
export type ServerRow = z.infer<typeof serverRow>;

export const templateRow = z.object({
  id: templateId,
  definition: template,
  /** Users see public templates that are not archived. */
  isPublic: z.boolean(),
  status: z.enum(["available", "beta", "experimental", "deprecated", "archived"]),
  createdAt: timestampMs,
  updatedAt: timestampMs,
});
export type TemplateRow = z.infer<typeof templateRow>;

export const agentRow = z.object({
  id: agentId,
  ownerId: personId,
  name: z.string(),
  description: z.string(),
  isActive: z.boolean(),
  metadata: z.record(z.string(), z.unknown()),
  createdAt: timestampMs,
  updatedAt: timestampMs,
});
export type AgentRow = z.infer<typeof agentRow>;

export const connectionRow = z.object({
  id: connectionId,
  agentId: agentId,
  ownerId: personId,
  serverId: serverId,
  serverName: serverName,
  serverStatus: z.enum(storedStates),
  toolboxId: toolboxId,
  toolboxName: z.string(),
  allowedTools: z.array(z.string()).nullable(),
  /** When its token ends; null for never, absent from a schema that knows of no end. */
  expiresAt: timestampMs.nullish(),
  isActive: z.boolean(),
  /** Owner only: where the agent calls, and the certificate to expect there; null before the toolbox has an address. */
  endpoint: z.object({ url: z.string(), fingerprint: fingerprint.nullable() }).nullable(),
  /** Owner only: `tokenTag(hash)` of the token that is valid now, to tell whether the one in this vault still is. */
  tokenTag: z.string().nullable(),
  /** Totals over all starts of the DTMA; published at most once a minute per connection. */
  calls: z.int().nonnegative(),
  errors: z.int().nonnegative(),
  lastUsedAt: timestampMs.nullable(),
  /** Owner only: the same tool by tool, published with the totals. */
  tools: z.array(toolUsage).nullish(),
  createdAt: timestampMs,
  updatedAt: timestampMs,
});
export type ConnectionRow = z.infer<typeof connectionRow>;

const rowSchemas = {
  person: personRow,
  toolbox: toolboxRow,
  template: templateRow,
  server: serverRow,
  agent: agentRow,
  connection: connectionRow,
} as const;

export const syncEntities = Object.keys(rowSchemas) as [SyncEntity, ...SyncEntity[]];
export type SyncEntity = keyof typeof rowSchemas;

function rowOrTombstone<Entity extends string, Row extends z.ZodType>(entity: Entity, row: Row) {
  return z.object({ entity: z.literal(entity), id: z.string(), revision, row: row.nullable() });
}

/** One row as it is now; `row: null` says that it is gone, or may not be seen any more. */
export const syncChange = z.discriminatedUnion("entity", [
  rowOrTombstone("person", personRow),
  rowOrTombstone("toolbox", toolboxRow),
  rowOrTombstone("template", templateRow),
  rowOrTombstone("server", serverRow),
  rowOrTombstone("agent", agentRow),
  rowOrTombstone("connection", connectionRow),
]);
export type SyncChange = z.infer<typeof syncChange>;

/** Kept and sent back as it came; null asks for everything. */
export const pullCursor = z.object({
  feed: z.string(),
  reader: z.string(),
  view: z.enum(["admin", "user"]),
  base: z.string(),
  xid: z.string(),
  seq: z.string(),
});
export type PullCursor = z.infer<typeof pullCursor>;

export const pullAnswer = z.object({
  cursor: pullCursor,
  changes: z.array(syncChange),
  /** Ask again at once. */
  more: z.boolean(),
  /**
   * The pull starts from nothing: first pull, another role, another person, or a database restored from a backup. Rows
   * that have not come by the time `more` is false are to be forgotten.
   */
  reset: z.boolean(),
  /** Changes exist that become readable when an older transaction ends; ask again after about 100 ms without a nudge. */
  heldBack: z.boolean(),
});
export type PullAnswer = z.infer<typeof pullAnswer>;

/*
Mutations. A put carries the members it sets; absent members stay as they are. `baseRevision` is the revision the person
saw; null creates. Members nobody else changed since then are merged; the same value twice is no conflict.
*/

export const agentPut = z
  .object({
    name: z.string(),
    description: z.string(),
    isActive: z.boolean(),
    metadata: z.record(z.string(), z.unknown()),
  })
  .partial();

export const connectionPut = z.object({
  agentId: agentId,
  serverId: serverId,
  allowedTools: z.array(z.string().min(1).max(256)).max(2_000).nullable().optional(),
  /** null for never. */
  expiresAt: timestampMs.nullable().optional(),
  /** SHA-256 (hex) of the connection's token; required to create, a new one replaces the token. */
  tokenHash: sha256Hex.optional(),
});

export const toolboxPut = z
  .object({
    name: z.string(),
    kind: toolboxRow.shape.kind,
    description: z.string(),
    url: z.url({ protocol: /^https?$/ }).nullable(),
    fingerprint: fingerprint.nullable(),
    /** SHA-256 (hex) of the toolbox's own token, with which it reports; null ends its right to report. */
    tokenHash: sha256Hex.nullable(),
    droplet: z
      .object({
        id: z.string().regex(/^\d{1,18}$/),
        name: z.string(),
        address: z.string(),
        region: z.string(),
        size: z.string(),
        image: z.string(),
      })
      .partial()
      .nullable(),
    status: z.string(),
  })
  .partial();

export const serverPut = z.object({
  toolboxId: toolboxId,
  templateId: templateId.nullable().optional(),
  description: z.string().optional(),
  spec: serverSpec.optional(),
  desired: z.enum(["running", "stopped"]).optional(),
});

export const templatePut = z.object({
  definition: template.optional(),
  isPublic: z.boolean().optional(),
  status: templateRow.shape.status.optional(),
});

/** A server's row goes when its toolbox reports it gone; `force` removes it at once. */
export const deletePayload = z.object({ force: z.boolean().optional() });

function mutationOf<Kind extends string, Id extends z.ZodType, Payload extends z.ZodType>(
  kind: Kind,
  entityId: Id,
  payload: Payload,
) {
  return z.object({
    /** Idempotency key: made once with the change, kept over every attempt; an edit or a knowing retry takes a new one. */
    id: z.uuid(),
    kind: z.literal(kind),
    entityId,
    baseRevision: revision.nullable(),
    /**
     * The mutation of the same row that this one was made on top of, when its revision was not known yet: once that is
     * applied, its revision counts as `baseRevision`.
     */
    after: z.uuid().optional(),
    payload,
  });
}

export const mutation = z.discriminatedUnion("kind", [
  mutationOf("agent.put", agentId, agentPut),
  mutationOf("agent.delete", agentId, deletePayload),
  mutationOf("connection.put", connectionId, connectionPut),
  mutationOf("connection.delete", connectionId, deletePayload),
  mutationOf("toolbox.put", toolboxId, toolboxPut),
  mutationOf("toolbox.delete", toolboxId, deletePayload),
  mutationOf("server.put", serverId, serverPut),
  mutationOf("server.delete", serverId, deletePayload),
  mutationOf("template.put", templateId, templatePut),
  mutationOf("template.delete", templateId, deletePayload),
]);
export type Mutation = z.infer<typeof mutation>;
export type MutationKind = Mutation["kind"];

/**
 * Why a mutation was not applied. STALE, DELETED, EXISTS and ALREADY_CONNECTED come with `conflict`: `row` is the row to
 * compare with. The others come with `rejected` and stay as they are until a person changes something, but for
 * PREDECESSOR: the mutation named by `after` was not applied; this one may be sent again under its id.
 */
export const mutationCodes = [
  "STALE",
  "DELETED",
  "EXISTS",
  "ALREADY_CONNECTED",
  "FORBIDDEN",
  "NOT_FOUND",
  "NAME_TAKEN",
  "IN_USE",
  "SERVER_NOT_AVAILABLE",
  "INVALID_INPUT",
  "ID_REUSED",
  "PREDECESSOR",
  "INTERNAL",
] as const;
export const mutationCode = z.enum(mutationCodes);
export type MutationCode = z.infer<typeof mutationCode>;

export const mutationResult = z.object({
  id: z.string(),
  /** `duplicate`: an earlier push with this id was applied. A repeated conflict or rejection answers what it answered. */
  status: z.enum(["applied", "duplicate", "conflict", "rejected"]),
  /** Of the row after this mutation; with a conflict, of the row as it is now. null when there is no row. */
  revision: revision.nullable(),
  /** Only with a conflict. */
  row: z.union(Object.values(rowSchemas) as [typeof agentRow, ...z.ZodType[]]).nullable(),
  code: mutationCode.nullable(),
  message: z.string().nullable(),
});
export type MutationResult = z.infer<typeof mutationResult>;

/** One result per mutation, in the order in which they were sent. */
export const pushAnswer = z.object({ results: z.array(mutationResult) });
export type PushAnswer = z.infer<typeof pushAnswer>;

export const toolsAnswer = z.object({ tools: z.record(z.string(), z.array(tool)) });
export type ToolsAnswer = z.infer<typeof toolsAnswer>;

/** Evaluated when it is read: silence becomes "unresponsive" by the passing of time, not by a write. */
export const liveness = z.object({
  now: timestampMs,
  toolboxes: z.array(
    z.object({
      id: toolboxId,
      lastReportAt: timestampMs.nullable(),
      /** Last report + 2 × interval + 20 s, once that has passed. null: it answers, or never did. */
      unresponsiveSince: timestampMs.nullable(),
      /** While Docker does not answer there, nothing is known of its servers. The toolbox's clock. */
      dockerDownSince: timestampMs.nullable(),
    }),
  ),
});
export type Liveness = z.infer<typeof liveness>;

export const loads = z.object({
  at: timestampMs.nullable(),
  host: hostLoad.nullable(),
  servers: z.record(z.string(), serverLoad.extend({ sessions: z.int().nonnegative() }).partial()),
});
export type Loads = z.infer<typeof loads>;

export const auditEntry = z.object({
  id: z.int(),
  at: timestampMs,
  actorId: personId.nullable(),
  /** A person, a toolbox's report, or somebody with the owner's rights working in SQL. */
  actorKind: z.enum(["person", "toolbox", "owner"]),
  action: z.enum(["created", "changed", "deleted"]),
  entity: z.string(),
  entityId: z.string(),
  /** Names of what changed, with values where they are no secret: `{name: [before, after]}`. */
  changes: z.record(z.string(), z.unknown()),
});
export const auditPage = z.object({ entries: z.array(auditEntry), more: z.boolean() });
export type AuditPage = z.infer<typeof auditPage>;

/** On Supabase a person is one of its users (`userId`, or `email` of one); on plain Postgres a login role. */
export const newPerson = z.object({
  name: z.string().trim().min(1).max(80),
  email: z.email().optional(),
  userId: personId.optional(),
  loginRole: z
    .string()
    .regex(/^[a-z_][a-z0-9_]{0,62}$/)
    .optional(),
  /** SCRAM-SHA-256 verifier made by the caller, so that no password crosses; the login role is then created. */
  passwordVerifier: z.string().startsWith("SCRAM-SHA-256$").optional(),
  roles: z.array(roleName).optional(),
});
export type NewPerson = z.infer<typeof newPerson>;

/* Reports of a toolbox. */

export const reportedServer = z.object({
  serverId: serverId,
  desired: z.enum(["running", "stopped"]),
  container: reportedState.options[2].shape.container,
  image: z.object({ reference: z.string(), digest: z.string() }),
  health: reportedState.options[2].shape.health,
  sessions: z.int().nonnegative(),
  load: serverLoad.nullable(),
  /** Any text that changes with the tool list, null while there is none. The list follows when the answer asks for it. */
  toolsTag: z.string().max(128).nullable(),
  tools: z.array(tool).max(2_000).optional(),
});
export type ReportedServer = z.infer<typeof reportedServer>;

export const toolboxReport = z.object({
  protocol: z.int(),
  dtmaVersion: z.string(),
  /** Changes with every start of the DTMA; `usage` counts from there. */
  bootId: z.string().min(1).max(64),
  docker: dockerCondition,
  hostname: z.string(),
  platform: z.string(),
  hardeningGaps: z.array(z.string()),
  host: hostLoad.nullable(),
  /** All of them; what is not in it does not exist on the toolbox. null while Docker does not answer: nothing is known. */
  servers: z.array(reportedServer).nullable(),
  /** All connections used since the start, or those that changed since the last accepted report. */
  usage: z.array(connectionUsage),
  /** Hashes of the last answer's lists; a list that is still the same comes back as null. */
  have: z.object({ accessHash: z.string().nullable(), desiredHash: z.string().nullable() }),
});
export type ToolboxReport = z.infer<typeof toolboxReport>;

export const reportAnswer = z.object({
  now: timestampMs,
  /** The whole list; who is not in it has no access. null: as before. */
  access: z
    .array(
      z.object({
        connectionId: connectionId,
        server: serverName,
        tokenHash: sha256Hex,
        allowedTools: z.array(z.string()).nullable(),
        /** Absent for never. */
        expiresAt: timestampMs.optional(),
      }),
    )
    .nullable(),
  accessHash: z.string(),
  /** What admins want of the servers here. null: as before. A server that is not in it is left alone. */
  desired: z
    .array(
      z.object({
        serverId: serverId,
        name: serverName,
        desired: z.enum(["running", "stopped", "deleted"]),
        spec: serverSpec.nullable(),
        revision,
      }),
    )
    .nullable(),
  desiredHash: z.string(),
  /** Servers whose tool list the next report should carry. */
  wantTools: z.array(serverId),
  nextReportInMs: z.int().positive(),
});
export type ReportAnswer = z.infer<typeof reportAnswer>;

/** Channel of `LISTEN` on plain Postgres; on Supabase the table whose inserts realtime announces. Both only mean: pull. */
export const nudgeChannel = "dtma_sync";
export const nudgeTable = "sync_nudges";
