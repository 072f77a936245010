import { z } from "zod";
import { errorShape } from "./errors.ts";
import { connectionId, serverId, timestampMs, toolboxId } from "./model/ids.ts";
import { operation } from "./model/operation.ts";
import { secretValues, serverName, serverSpec } from "./model/spec.ts";
import { tool } from "./model/tool.ts";

/*
Everything that crosses between the control centre and a DTMA. JSON over HTTP(S), `Authorization: Bearer TOKEN` on
every route but `GET /health`.

  GET    /health                          text OK
  GET    /v1/info                         → DtmaInfo
  GET    /v1/servers                      → ServerObservation[]
  PUT    /v1/servers/{name}               DeployRequest → 202 OperationAccepted   (create or replace)
  POST   /v1/servers/{name}/{start|stop|restart}        → 202 OperationAccepted
  DELETE /v1/servers/{name}               → 202 OperationAccepted                 (container, volumes, secrets)
  GET    /v1/servers/{name}/logs?tail=&since=&follow=   → application/x-ndjson of LogLine
  GET    /v1/operations/{id}              → Operation
  DELETE /v1/operations/{id}              → 202, cancels
  GET    /v1/access                       → AccessEntry[]
  PUT    /v1/access/{connectionId}        AccessEntry → 204
  DELETE /v1/access/{connectionId}        → 204
  GET    /v1/reporting                    → ReportingState
  PUT    /v1/reporting                    ReportingTarget or null → 204            (null ends the reports)
  POST   /v1/shutdown                     ShutdownRequest → 202, then the process drains and ends
  GET    /events[?stats=1]                → text/event-stream of DtmaEvent (`event:` = type, `data:` = the event)
  *      /mcp/servers/{name}/mcp          MCP Streamable HTTP, with a connection's token or the toolbox's own

Failures have the body `{"error": ErrorShape}`.

INVARIANTS
- A change of any schema here comes with a new `dtmaProtocolVersion`; dtma-protocol.test.ts holds the hash.
- Receivers ignore members they do not know; senders never remove one within a version.
*/

export const dtmaProtocolVersion = 2;

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
  image: z.object({ reference: z.string(), digest: z.string() }),
  /** The MCP handshake's word about the server: the only thing that makes it ready. */
  health: z.discriminatedUnion("state", [
    z.object({ state: z.literal("unknown") }),
    z.object({ state: z.literal("ready"), checkedAt: timestampMs, protocolVersion: z.string() }),
    z.object({ state: z.literal("failed"), checkedAt: timestampMs, error: errorShape }),
  ]),
  tools: z.array(tool).optional(),
  /** Open MCP sessions of all connections. */
  sessions: z.int().nonnegative(),
});
export type ServerObservation = z.infer<typeof serverObservation>;

export const serverLoad = z.object({
  cpuPercent: z.number().nonnegative(),
  memoryBytes: z.int().nonnegative(),
  memoryLimitBytes: z.int().nonnegative(),
  networkRxBytes: z.int().nonnegative(),
  networkTxBytes: z.int().nonnegative(),
  pids: z.int().nonnegative(),
});
export type ServerLoad = z.infer<typeof serverLoad>;

export const hostLoad = z.object({
  cpuPercent: z.number().nonnegative(),
  memoryUsedBytes: z.int().nonnegative(),
  memoryTotalBytes: z.int().nonnegative(),
  diskUsedBytes: z.int().nonnegative(),
  diskTotalBytes: z.int().nonnegative(),
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
});
export type AccessEntry = z.infer<typeof accessEntry>;

/**
 * What a connection did: counts and times, never arguments or results. In events the counts go on over restarts of the
 * DTMA; up to ten seconds of them are lost when it is killed.
 */
export const connectionUsage = z.object({
  connectionId: connectionId,
  calls: z.int().nonnegative(),
  errors: z.int().nonnegative(),
  lastUsedAt: timestampMs,
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
  /** SHA-256 of the certificate, upper-case hex pairs with colons; null for plain HTTP. */
  fingerprint: z.string().nullable(),
  /** Only when the DTMA had to make its own token, and only this once. */
  token: z.string().optional(),
});
export type DtmaReadyLine = z.infer<typeof dtmaReadyLine>;

/** Path of a server's MCP endpoint on its toolbox. */
export function mcpEndpointPath(name: string): string {
  return `/mcp/servers/${name}/mcp`;
}
