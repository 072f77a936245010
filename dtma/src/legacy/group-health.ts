import type { Server } from "../servers.ts";

/*
INVARIANTS
- Pure. What a member's container does is Docker's word, and its health is the MCP handshake's; neither is assumed from the
  fact that it was deployed.
*/

/** What a group remembers of a member, in its caller's words. */
export type Member = {
  name: string;
  serverId: string;
  /** Why it was not deployed; nothing of it belongs to the group then. */
  error?: string;
};

export type CollectiveStatus = "initializing" | "healthy" | "degraded" | "failed";

export type InstanceHealth = {
  status: string;
  healthStatus: "healthy" | "unhealthy" | "unknown";
  containerId: string | null;
  startTime: string | null;
  restartCount: number;
  lastRestartTime?: string;
  errorMessage?: string;
  mcpEndpoint: string;
  transportType: string;
};

/** `find` knows a member's server as it was observed last; `isSure`: whether Docker confirms that now. */
export function groupHealth(members: readonly Member[], find: (member: Member) => Server | undefined, isSure: boolean) {
  const instances = members.map((member) => [member.name, instanceHealth(member, find(member), isSure)] as const);
  const all = instances.map(([, health]) => health);
  const running = all.filter(({ status }) => status === "running").length;
  const healthy = all.filter(({ healthStatus }) => healthStatus === "healthy").length;
  return {
    collectiveStatus: isSure ? collective(all, running, healthy) : ("degraded" as const),
    totalInstances: all.length,
    runningInstances: running,
    healthyInstances: healthy,
    /** Containers never reach one another here, whatever was asked for. */
    sharedNetworking: false,
    instances: Object.fromEntries(instances),
  };
}

function collective(all: readonly InstanceHealth[], running: number, healthy: number): CollectiveStatus {
  if (healthy === all.length) return "healthy";
  if (running === 0) return "failed";
  const isWaiting = ({ status, healthStatus }: InstanceHealth) => status === "running" && healthStatus === "unknown";
  return all.every((health) => health.healthStatus === "healthy" || isWaiting(health)) ? "initializing" : "degraded";
}

function instanceHealth(member: Member, server: Server | undefined, isSure: boolean): InstanceHealth {
  if (server === undefined || member.error !== undefined) {
    return {
      status: "not_found",
      healthStatus: "unhealthy",
      containerId: null,
      startTime: null,
      restartCount: 0,
      errorMessage: member.error ?? "Its container does not exist any more.",
      mcpEndpoint: "",
      transportType: "unknown",
    };
  }
  const { container, health, spec } = server;
  const startTime = container.startedAt === undefined ? null : new Date(container.startedAt).toISOString();
  const word = { ready: "healthy", failed: "unhealthy", unknown: "unknown" } as const;
  const isUp = container.state === "running";
  const errorMessage = whyNot(server, isSure);
  return {
    status: isSure ? container.state : "unknown",
    healthStatus: isSure ? (isUp ? word[health.state] : "unhealthy") : "unknown",
    containerId: container.id,
    startTime,
    restartCount: container.restartCount,
    ...(container.restartCount > 0 && startTime !== null ? { lastRestartTime: startTime } : {}),
    ...(errorMessage === undefined ? {} : { errorMessage }),
    mcpEndpoint: `/mcp/servers/${spec.name}/mcp`,
    transportType: spec.transport.type === "stdio" ? "stdio" : "streamable_http",
  };
}

function whyNot({ container, health }: Server, isSure: boolean): string | undefined {
  if (!isSure) return "Docker does not answer; this was seen before that.";
  if (container.state !== "running") {
    const code = container.exitCode === undefined ? "" : ` with exit code ${container.exitCode}`;
    return `Its container is ${container.state}${code}.`;
  }
  return health.state === "failed" ? health.error.message : undefined;
}
