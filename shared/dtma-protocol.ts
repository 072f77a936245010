import { z } from "zod";
import { errorShape } from "./errors.ts";
import { connectionId, serverId, timestampMs, toolboxId } from "./model/ids.ts";
import { operation, operationKind, toolChanges } from "./model/operation.ts";
import { secretValues, serverName, serverSpec } from "./model/spec.ts";
import { tool } from "./model/tool.ts";
import { toolUsage } from "./model/usage.ts";

/*
Everything that crosses between the control centre and a DTMA. JSON over HTTP(S), `Authorization: Bearer TOKEN` on
every route but `GET /health` and those that say so.

  GET    /health                          text OK
  GET    /v1/info                         → DtmaInfo
  GET    /v1/servers                      → ServerObservation[]
  PUT    /v1/servers/{name}               DeployRequest → 202 OperationAccepted   (create or replace)
  POST   /v1/servers/{name}/{start|stop|restart}        → 202 OperationAccepted
  DELETE /v1/servers/{name}               → 202 OperationAccepted                 (container, volumes, secrets)
  POST   /v1/servers/{name}/rollback      → 202 OperationAccepted                 (the release before, as it was)
  GET    /v1/servers/{name}/releases      → Release[], newest first
  GET    /v1/servers/{name}/secrets       → SecretState[]
  PUT    /v1/servers/{name}/secrets/{secret}            SecretValue → 202 OperationAccepted (a staged restart)
  DELETE /v1/servers/{name}/secrets/{secret}            → 202 OperationAccepted
  GET    /v1/servers/{name}/logs?tail=&since=&follow=&search=   → application/x-ndjson of LogLine
  GET    /v1/operations/{id}              → Operation
  DELETE /v1/operations/{id}              → 202, cancels
  GET    /v1/access                       → AccessEntry[]
  PUT    /v1/access/{connectionId}        AccessEntry → 204
  DELETE /v1/access/{connectionId}        → 204
  GET    /v1/reporting                    → ReportingState
  PUT    /v1/reporting                    ReportingTarget or null → 204            (null ends the reports)
  GET    /v1/registries                   → RegistryLogin[]
  PUT    /v1/registries/{registry}        RegistryCredentials → 204
  DELETE /v1/registries/{registry}        → 204
  POST   /v1/token                        TokenRotation → 201 NewToken            (the old one works until the overlap ends)
  POST   /v1/enrol                        Enrolment → 201 NewToken                (no token: the single-use key is the proof)
  POST   /v1/certificate                  → 200 CertificateState                  (renewed under the same key)
  GET    /v1/audit?after=&limit=          → AuditEntry[], oldest first; with `newest=1` instead of `after` the newest ones,
                                            newest first. Status 0: not answered yet, or the DTMA ended before
  POST   /v1/shutdown                     ShutdownRequest → 202, then the process drains and ends
  GET    /events[?stats=1]                → text/event-stream of DtmaEvent (`event:` = type, `data:` = the event); with
                                            `Last-Event-ID` it goes on after that event, or starts with a snapshot
  GET    /metrics                         → Prometheus text format
  *      /mcp/servers/{name}/mcp          MCP Streamable HTTP, with a connection's token or the toolbox's own
  GET    /mcp/servers/{name}/sse          the stream of MCP's older HTTP+SSE, whose messages are posted to
  POST   /mcp/servers/{name}/message?sessionId=           both with the same tokens
  GET    /.well-known/oauth-protected-resource[/mcp/servers/{name}/mcp]   RFC 9728, no token

Beside these it answers the calls of the agent that ran on toolboxes before (dtma/src/legacy), in their own words.

Failures have the body `{"error": ErrorShape}`.

INVARIANTS
- A change of any schema here comes with a new `dtmaProtocolVersion`; dtma-protocol.test.ts holds the hash.
- Receivers ignore members they do not know; senders never remove one within a version.
*/

export const dtmaProtocolVersion = 3;

/** The DTMA sends an event at least this often, so a silent stream is a dead one. */
export const heartbeatIntervalMs = 5_000;

export const dockerCondition = z.discriminatedUnion("state", [
  z.object({ state: z.literal("up"), engineVersion: z.string() }),
  z.object({ state: z.literal("down"), since: timestampMs, reason: z.string() }),
]);
export type DockerCondition = z.infer<typeof dockerCondition>;

/** How the reports to the shared database go. Times are the toolbox's clock. */
export const reportingCondition = z.object({
  lastSuccessAt: timestampMs.nullable(),
  /** null since the last report that was accepted. */
  failure: z.object({ since: timestampMs, lastAt: timestampMs, error: errorShape }).nullable(),
});
export type ReportingCondition = z.infer<typeof reportingCondition>;

export const dtmaInfo = z.object({
  protocol: z.int(),
  version: z.string(),
  /** Time on the toolbox, to tell a wrong clock from an old answer. */
  now: timestampMs,
  docker: dockerCondition,
  hostname: z.string(),
  platform: z.string(),
  cpus: z.int(),
  memoryBytes: z.int(),
  /** What of the hardening this host cannot give, as sentences; empty when all of it holds. */
  hardeningGaps: z.array(z.string()),
  /** Absent while no shared database is set. */
  reporting: reportingCondition.optional(),
});
export type DtmaInfo = z.infer<typeof dtmaInfo>;

export const deployRequest = z.object({
  serverId: serverId,
  spec: serverSpec,
  secretValues: secretValues.default({}),
  /** After this long the deploy is undone and fails with DEADLINE_EXCEEDED. */
  deadlineMs: z.int().min(1_000).max(3_600_000).default(600_000),
});
export type DeployRequest = z.infer<typeof deployRequest>;
export type DeployRequestInput = z.input<typeof deployRequest>;

/** `stop` stops the containers and leaves what is desired as it is: the next start of the DTMA brings them back. */
export const shutdownRequest = z.object({ servers: z.enum(["keep", "stop"]) });
export type ShutdownRequest = z.infer<typeof shutdownRequest>;

export const operationAccepted = z.object({ operationId: operation.shape.id });

/** What runs: the image, and the exact package it was made from. */
export const imageRun = z.object({
  reference: z.string(),
  digest: z.string(),
  package: z.object({ name: z.string(), version: z.string(), integrity: z.string() }).optional(),
});
export type ImageRun = z.infer<typeof imageRun>;

/** One server as it was seen by the DTMA. Desired state is what was asked for; `container` is what Docker says. */
export const serverObservation = z.object({
  serverId: serverId,
  spec: serverSpec,
  desired: z.enum(["running", "stopped"]),
  container: z.object({
    id: z.string(),
    /** Docker's word, as it came. */
    state: z.string(),
    startedAt: timestampMs.optional(),
    exitCode: z.int().optional(),
    restartCount: z.int(),
  }),
  image: imageRun,
  /** Counts up with every release of the server; absent on one deployed by an older DTMA. */
  release: z.int().positive().optional(),
  /** Whether a rollback has somewhere to go. */
  previous: imageRun.optional(),
  /** The MCP handshake's word about the server: the only thing that makes it ready. */
  health: z.discriminatedUnion("state", [
    z.object({ state: z.literal("unknown") }),
    z.object({ state: z.literal("ready"), checkedAt: timestampMs, protocolVersion: z.string() }),
    z.object({ state: z.literal("failed"), checkedAt: timestampMs, error: errorShape }),
  ]),
  tools: z.array(tool).optional(),
  /** Open MCP sessions of all connections, those of the release before among them. */
  sessions: z.int().nonnegative(),
});
export type ServerObservation = z.infer<typeof serverObservation>;

export const serverLoad = z.object({
  cpuPercent: z.number().nonnegative(),
  memoryBytes: z.int().nonnegative(),
  memoryLimitBytes: z.int().nonnegative(),
  networkRxBytes: z.int().nonnegative(),
  networkTxBytes: z.int().nonnegative(),
  blockReadBytes: z.int().nonnegative().default(0),
  blockWriteBytes: z.int().nonnegative().default(0),
  pids: z.int().nonnegative(),
});
export type ServerLoad = z.infer<typeof serverLoad>;

export const hostLoad = z.object({
  cpuPercent: z.number().nonnegative(),
  memoryUsedBytes: z.int().nonnegative(),
  memoryTotalBytes: z.int().nonnegative(),
  diskUsedBytes: z.int().nonnegative(),
  diskTotalBytes: z.int().nonnegative(),
  /** Since the host started, over all its network interfaces but loopback and all its disks. */
  networkRxBytes: z.int().nonnegative().default(0),
  networkTxBytes: z.int().nonnegative().default(0),
  blockReadBytes: z.int().nonnegative().default(0),
  blockWriteBytes: z.int().nonnegative().default(0),
  processes: z.int().nonnegative().default(0),
});
export type HostLoad = z.infer<typeof hostLoad>;

export const logLine = z.object({ at: timestampMs, stream: z.enum(["stdout", "stderr"]), text: z.string() });
export type LogLine = z.infer<typeof logLine>;

/** Who may reach a server through the MCP endpoint. The toolbox knows the token by its SHA-256 (hex) only. */
export const accessEntry = z.object({
  connectionId: connectionId,
  server: serverName,
  tokenHash: z.string().regex(/^[a-f0-9]{64}$/),
  /** null allows every tool the server has. */
  allowedTools: z.array(z.string().max(256)).max(2_000).nullable(),
  /** From this moment on the token is refused, and what is open with it ends; absent for ever. The toolbox's clock. */
  expiresAt: timestampMs.optional(),
});
export type AccessEntry = z.infer<typeof accessEntry>;

/**
 * What a connection did: counts and times, never arguments or results. In events the counts go on over restarts of the
 * DTMA; up to ten seconds of them are lost when it is killed.
 */
export const connectionUsage = z.object({
  connectionId: connectionId,
  calls: z.int().nonnegative(),
  /** Calls that failed; one that was cancelled, or whose session ended first, is none of them. */
  errors: z.int().nonnegative(),
  lastUsedAt: timestampMs,
  /** In an `usage` event those that changed since the one before, elsewhere all; absent from an older DTMA. */
  tools: z.array(toolUsage).optional(),
});
export type ConnectionUsage = z.infer<typeof connectionUsage>;

const postgresReporting = z.object({
  kind: z.literal("postgres"),
  host: z.string().trim().min(1).max(253),
  port: z.int().min(1).max(65_535).default(5_432),
  database: z.string().min(1).max(63),
  /** A login role that is a member of `dtma_toolbox` and of nothing else. */
  user: z.string().min(1).max(63),
  /** `off` is for loopback only; `encrypt` takes any certificate; `verify` checks name and issuer. */
  tls: z.enum(["off", "encrypt", "verify"]).default("verify"),
  /** PEM of an own certificate authority; null takes the system's. */
  ca: z.string().max(65_536).nullable().default(null),
  toolboxId: toolboxId,
});
const supabaseReporting = z.object({
  kind: z.literal("supabase"),
  /** Plain HTTP is for loopback only. */
  url: z.url({ protocol: /^https?$/ }),
  /** The publishable (anon) key, which is no secret. */
  publishableKey: z.string().regex(/^[\x21-\x7e]{1,4096}$/, "Use the key as the project shows it."),
  ca: postgresReporting.shape.ca,
  toolboxId: toolboxId,
});
/** The toolbox's own token towards the shared database, which keeps its SHA-256 (`toolbox.put` with `tokenHash`). */
const reportingToken = z.string().regex(/^[\x21-\x7e]{16,256}$/, "Use 16 to 256 printable ASCII characters without spaces.");

/** Where a toolbox reports to, and with what. Only ever on the way in. */
export const reportingTarget = z.discriminatedUnion("kind", [
  supabaseReporting.extend({ token: reportingToken }),
  postgresReporting.extend({ token: reportingToken, password: z.string().min(1).max(1_024) }),
]);
export type ReportingTarget = z.infer<typeof reportingTarget>;
export type ReportingTargetInput = z.input<typeof reportingTarget>;

export const reportingState = z.object({
  /** Without token and password. */
  target: z.discriminatedUnion("kind", [supabaseReporting, postgresReporting]).nullable(),
  condition: reportingCondition.nullable(),
});
export type ReportingState = z.infer<typeof reportingState>;

/** One release of a server: what was deployed, and how that went. */
export const release = z.object({
  number: z.int().positive(),
  at: timestampMs,
  kind: operationKind,
  spec: serverSpec,
  image: imageRun.nullable(),
  outcome: z.enum(["current", "replaced", "failed"]),
  error: errorShape.optional(),
  toolChanges: toolChanges.optional(),
});
export type Release = z.infer<typeof release>;

/** A declared secret of a server, by name; its value never leaves the toolbox. */
export const secretState = z.object({
  name: z.string(),
  variable: z.string().optional(),
  required: z.boolean(),
  isSet: z.boolean(),
  changedAt: timestampMs.nullable(),
});
export type SecretState = z.infer<typeof secretState>;
export const secretValue = z.object({ value: z.string().min(1, "A secret is not empty; remove it instead.").max(65_536) });

/** The host of a registry, with its port when it has one. */
export const registryHost = z
  .string()
  .max(260)
  .regex(/^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d{1,5})?$/, "Use the registry's host such as ghcr.io.");
export const registryCredentials = z.object({
  username: z.string().min(1).max(256),
  password: z.string().min(1).max(16_384),
});
export const registryLogin = z.object({ registry: registryHost, username: z.string(), changedAt: timestampMs });
export type RegistryLogin = z.infer<typeof registryLogin>;

/** The token before stays good for the overlap, so that whoever else uses it can change over. */
export const tokenRotation = z.object({ overlapSeconds: z.int().min(0).max(604_800).default(3_600) });
export const enrolment = z.object({ key: z.string().min(16).max(256) });
/** The one time a token is told. */
export const newToken = z.object({ token: z.string(), fingerprint: z.string().nullable() });
export type NewToken = z.infer<typeof newToken>;

export const certificateState = z.object({ fingerprint: z.string(), notAfter: timestampMs });
export type CertificateState = z.infer<typeof certificateState>;

/** One changing call: who asked for what, and how it was answered. Never what was sent. */
export const auditEntry = z.object({
  /** Counts up; `after` of the next call. */
  id: z.int().positive(),
  at: timestampMs,
  address: z.string(),
  /** First eight hex digits of the token's SHA-256; null without a valid one. */
  token: z.string().nullable(),
  method: z.string(),
  path: z.string(),
  status: z.int(),
  durationMs: z.number().nonnegative(),
});
export type AuditEntry = z.infer<typeof auditEntry>;

export const dtmaEvent = z.discriminatedUnion("type", [
  /** First event of every stream: all there is. What is not in it does not exist on the toolbox. */
  z.object({
    type: z.literal("snapshot"),
    info: dtmaInfo,
    servers: z.array(serverObservation),
    operations: z.array(operation),
    usage: z.array(connectionUsage),
  }),
  z.object({ type: z.literal("server"), server: serverObservation }),
  z.object({ type: z.literal("server-removed"), serverId: serverId, name: serverName }),
  z.object({ type: z.literal("operation"), operation: operation }),
  z.object({ type: z.literal("usage"), usage: connectionUsage }),
  z.object({ type: z.literal("stats"), at: timestampMs, host: hostLoad, servers: z.record(z.string(), serverLoad) }),
  z.object({ type: z.literal("heartbeat"), at: timestampMs, docker: dockerCondition }),
]);
export type DtmaEvent = z.infer<typeof dtmaEvent>;

/** What `dtma` prints on standard output once it listens; nothing else is ever printed there. */
export const dtmaReadyLine = z.object({
  event: z.literal("ready"),
  url: z.url(),
  /** SHA-256 of the certificate's public key (SPKI), upper-case hex pairs with colons; null for plain HTTP. */
  fingerprint: z.string().nullable(),
  /** Only when the DTMA had to make its own token, and only this once. */
  token: z.string().optional(),
});
export type DtmaReadyLine = z.infer<typeof dtmaReadyLine>;

/** Path of a server's MCP endpoint on its toolbox. */
export function mcpEndpointPath(name: string): string {
  return `/mcp/servers/${name}/mcp`;
}

/**
 * Carries the token of a connection to the MCP endpoint where `Authorization` belongs to somebody who stands in front of the
 * toolbox; it then counts instead (docs/decisions/0027). In lower case, as Node reads it.
 */
export const connectionTokenHeader = "dtma-connection-token";

/** The realm of a DTMA's own challenges: nobody signs in there, whatever metadata a gateway in front of it shows. */
export const dtmaRealm = "dtma";
