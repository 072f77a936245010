import type { DockerCondition } from "../../../shared/dtma-protocol.ts";
import type { AppError } from "../../../shared/errors.ts";
import type { ContainerSummary } from "../docker/docker.ts";
import { containerRole, type Scope, scopeLabel, serverIdLabel, serverNameLabel } from "../labels.ts";
import type { LegacyDeploy } from "./deploy.ts";
import { instanceIdLabel, legacyNameLabel } from "./names.ts";

/*
INVARIANTS
- Pure: what was observed, in the words of the agent that ran on toolboxes before. Its members are all there under their
  names; what is unknown is null or absent, never made up.
*/

export type LegacyPort = { ip?: string; private_port: number; public_port?: number; type: string };

export const notFoundBody = { error: "Not Found" };
export const goneSentences = {
  shell: "Gone: this DTMA runs no commands for anybody; nothing here needs a shell on the toolbox.",
  diagnostics: "Gone: ask GET /status, GET /system and GET /logs instead.",
  redeploy: "Gone: the DTMA is upgraded on the toolbox itself, not over its API.",
} as const;

export function toPorts(ports: ContainerSummary["ports"]): LegacyPort[] {
  return ports.map(({ ip, privatePort, publicPort, type }) => ({
    ...(ip === undefined ? {} : { ip }),
    private_port: privatePort,
    ...(publicPort === undefined ? {} : { public_port: publicPort }),
    type,
  }));
}

/** A container as `GET /status` lists it. */
export function toContainer(container: ContainerSummary) {
  return {
    id: container.id,
    names: [`/${container.name}`],
    image: container.image,
    image_id: container.imageId,
    command: container.command,
    created: container.created,
    state: container.state,
    status: container.status,
    ports: toPorts(container.ports),
  };
}

/** A container as `GET /tools/status` lists it; only those that this DTMA manages have an instance's id. */
export function toToolInstance(container: ContainerSummary, scope: Scope) {
  const { labels } = container;
  const isOurs = labels[scopeLabel] === scope.name && containerRole(container.name) === "current";
  const name = isOurs ? (labels[legacyNameLabel] ?? labels[serverNameLabel]) : undefined;
  const id = isOurs ? (labels[instanceIdLabel] ?? labels[serverIdLabel]) : undefined;
  return {
    account_tool_instance_id: id ?? null,
    instance_name_on_toolbox: name ?? container.name,
    container_id: container.id,
    status: container.state,
    image: container.image,
    ports: toPorts(container.ports),
    created: container.created,
  };
}

/** The answer to a deploy: what Docker says now of the container that was made. */
export function toDeployed(deploy: LegacyDeploy, { container, notes }: { container: ContainerSummary; notes: string[] }) {
  return {
    success: true,
    message: [`Tool instance '${deploy.name}' deployed.`, ...notes].join(" "),
    data: {
      container_id: container.id,
      instance_name_on_toolbox: deploy.name,
      account_tool_instance_id: deploy.instanceId,
      image: container.image,
      ports: toPorts(container.ports),
      state: container.state,
    },
  };
}

/** What `GET /status` and `GET /tools/status` say before their lists. */
export function toStatusHead(facts: {
  now: number;
  version: string;
  docker: DockerCondition;
  knownUntil: number | undefined;
  hasApiBaseUrl: boolean;
  port: number | undefined;
}) {
  const { now, docker, knownUntil } = facts;
  const isKnownNow = docker.state === "up" && knownUntil !== undefined && knownUntil >= now;
  return {
    status: isKnownNow ? "healthy" : "degraded",
    timestamp: new Date(now).toISOString(),
    version: facts.version,
    service: "DTMA",
    environment: {
      hasAuthToken: true,
      hasApiKey: false,
      hasApiBaseUrl: facts.hasApiBaseUrl,
      ...(facts.port === undefined ? {} : { port: facts.port }),
    },
    /** Until when the list below is known to be true. */
    observed_at: knownUntil === undefined ? null : new Date(knownUntil).toISOString(),
    ...(docker.state === "up" ? {} : { docker: { state: docker.state, reason: docker.reason } }),
  };
}

export type LegacyFailure = { status: number; body: Record<string, unknown> };

/** A failure in the old agent's words. `hasToken`: whether a token was sent in the form it wants. */
export function toLegacyFailure(error: AppError, hasToken: boolean): LegacyFailure {
  const why = error.output === undefined ? error.message : `${error.message}\n${error.output}`;
  const refused = (status: number) => ({ status, body: { success: false, error: error.message } });
  switch (error.code) {
    case "TOOLBOX_REFUSED":
      return hasToken
        ? { status: 403, body: { error: "Forbidden: Invalid token" } }
        : { status: 401, body: { error: "Unauthorized: Missing or invalid token format" } };
    case "LIMIT_REACHED":
      return { status: 429, body: { error: error.message } };
    case "FORBIDDEN":
      return { status: 403, body: { error: error.message } };
    case "INVALID_INPUT":
    case "PERMISSION_REFUSED":
    case "SECRET_MISSING":
      return refused(400);
    case "NOT_FOUND":
      return refused(404);
    case "ALREADY_EXISTS":
    case "CONFLICT":
      return refused(409);
    default:
      return { status: 500, body: { success: false, message: error.message, error: why } };
  }
}
