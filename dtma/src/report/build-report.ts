import { createHash } from "node:crypto";
import type {
  ConnectionUsage,
  DockerCondition,
  HostLoad,
  ServerLoad,
  ServerObservation,
} from "../../../shared/dtma-protocol.ts";
import type { ErrorShape } from "../../../shared/errors.ts";
import type { Tool } from "../../../shared/model/tool.ts";
import { type ReportedServer, syncProtocolVersion, type ToolboxReport } from "../../../shared/sync-protocol.ts";

/*
INVARIANTS
- While Docker does not answer, nothing is said of the servers.
- A report holds what was seen, and no spec, environment, token, value of a secret or line that a process printed.
- Text that Postgres cannot keep (NUL, half a surrogate pair) is replaced: one odd character in a tool's description must
  not keep a toolbox from reporting.
- A tool list goes along only when it was asked for; lists and counts together stay well below what the database takes.
*/

const toolsBytes = 6 * 2 ** 20;
const usageBytes = 4 * 2 ** 20;
const maxTools = 2_000;
const maxReasonLength = 500;

export type Sightings = {
  version: string;
  bootId: string;
  docker: DockerCondition;
  hostname: string;
  platform: string;
  hardeningGaps: string[];
  host: HostLoad | null;
  servers: readonly ServerObservation[];
  /** By server name. */
  loads: Readonly<Record<string, ServerLoad>>;
  usage: ConnectionUsage[];
  wantTools: ReadonlySet<string>;
  have: ToolboxReport["have"];
};

/** What a toolbox says about itself now. */
export function buildReport(seen: Sightings): ToolboxReport {
  let bytesLeft = toolsBytes;
  const takes = (tools: readonly Tool[]) => {
    const bytes = JSON.stringify(tools).length;
    if (bytes > bytesLeft) return false;
    bytesLeft -= bytes;
    return true;
  };
  return toStorable({
    protocol: syncProtocolVersion,
    dtmaVersion: seen.version,
    bootId: seen.bootId,
    docker: seen.docker.state === "up" ? seen.docker : { ...seen.docker, reason: seen.docker.reason.slice(0, maxReasonLength) },
    hostname: seen.hostname,
    platform: seen.platform,
    hardeningGaps: seen.hardeningGaps,
    host: seen.host,
    servers:
      seen.docker.state === "up"
        ? seen.servers.map((server) => {
            const tools = server.tools?.slice(0, maxTools);
            const isWanted = tools !== undefined && seen.wantTools.has(server.serverId) && takes(tools);
            return { ...describe(server, seen.loads[server.spec.name] ?? null), ...(isWanted ? { tools } : {}) };
          })
        : null,
    usage: seen.usage,
    have: seen.have,
  });
}

function toStorable<T>(value: T): T {
  if (typeof value === "string") return value.toWellFormed().replaceAll("\0", "\uFFFD") as T;
  if (Array.isArray(value)) return value.map(toStorable) as T;
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [toStorable(key), toStorable(member)])) as T;
}

function describe(server: ServerObservation, load: ServerLoad | null): ReportedServer {
  return { ...visible(server), sessions: server.sessions, load };
}

/** What people see of a server, away from its toolbox: a change of it is reported at once. */
export function visible(server: ServerObservation): Omit<ReportedServer, "sessions" | "load" | "tools"> {
  const { serverId, desired, container, image, health, tools } = server;
  return {
    serverId,
    desired,
    container: {
      id: container.id,
      state: container.state,
      ...(container.startedAt === undefined ? {} : { startedAt: container.startedAt }),
      ...(container.exitCode === undefined ? {} : { exitCode: container.exitCode }),
      restartCount: container.restartCount,
    },
    image: { reference: image.reference, digest: image.digest },
    health:
      health.state === "ready"
        ? { state: "ready", protocolVersion: health.protocolVersion }
        : health.state === "failed"
          ? { state: "failed", error: withoutOutput(health.error) }
          : { state: "unknown" },
    toolsTag: tools === undefined ? null : toolsTag(tools),
  };
}

function withoutOutput({ output: _output, ...error }: ErrorShape): ErrorShape {
  return error;
}

const tags = new WeakMap<readonly Tool[], string>();

/** Changes with the list. */
function toolsTag(tools: readonly Tool[]): string {
  const known = tags.get(tools) ?? createHash("sha256").update(JSON.stringify(tools)).digest("hex");
  tags.set(tools, known);
  return known;
}

/** The counts that the database has not accepted yet; what is too much for one report is left for the next. */
export function unreportedUsage(
  usage: readonly ConnectionUsage[],
  accepted: ReadonlyMap<string, ConnectionUsage>,
): ConnectionUsage[] {
  const news: ConnectionUsage[] = [];
  let bytesLeft = usageBytes;
  for (const now of usage) {
    const before = accepted.get(now.connectionId);
    if (before !== undefined && isSameUsage(before, now)) continue;
    bytesLeft -= JSON.stringify(now).length;
    if (bytesLeft < 0 && news.length > 0) break;
    news.push(now);
  }
  return news;
}

function isSameUsage(a: ConnectionUsage, b: ConnectionUsage): boolean {
  const ended = ({ tools = [] }: ConnectionUsage) => tools.reduce((sum, { calls }) => sum + calls, 0);
  return a.calls === b.calls && a.errors === b.errors && a.lastUsedAt === b.lastUsedAt && ended(a) === ended(b);
}
