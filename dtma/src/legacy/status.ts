import type { DockerCondition } from "../../../shared/dtma-protocol.ts";
import type { ContainerSummary } from "../docker/docker.ts";
import type { SystemMetrics } from "../host/system-metrics.ts";
import type { HostContainers } from "../host-containers.ts";
import type { Scope } from "../labels.ts";
import { toContainer, toStatusHead, toToolInstance } from "./answers.ts";

/*
INVARIANTS
- An answer costs no call to Docker, and its list is put into JSON once for every change, not once for every caller.
*/

/** `port` is the one the caller reached. Both are JSON. */
export interface Status {
  service(port: number | undefined): Promise<string>;
  tools(port: number | undefined): Promise<string>;
}

type StatusDeps = {
  hostContainers: HostContainers;
  scope: Scope;
  metrics(): Promise<SystemMetrics>;
  condition(): DockerCondition;
  version: string;
  hasApiBaseUrl: boolean;
};

export function createStatus({ hostContainers, scope, metrics, condition, version, hasApiBaseUrl }: StatusDeps): Status {
  const listed = (list: () => string) => async (port: number | undefined) => {
    const system = JSON.stringify(await metrics());
    const now = Date.now();
    const knownUntil = hostContainers.knownUntil();
    const head = JSON.stringify(toStatusHead({ now, version, docker: condition(), knownUntil, hasApiBaseUrl, port }));
    return `${head.slice(0, -1)},"tool_instances":${list()},"system_metrics":${system}}`;
  };
  return {
    service: listed(kept(hostContainers, toContainer)),
    tools: listed(kept(hostContainers, (container) => toToolInstance(container, scope))),
  };
}

/** The list as JSON, made again only when it is another one. */
function kept(hostContainers: HostContainers, toAnswer: (container: ContainerSummary) => unknown): () => string {
  let of: readonly ContainerSummary[] | undefined;
  let text = "[]";
  return () => {
    const containers = hostContainers.all();
    if (containers !== of) {
      of = containers;
      text = JSON.stringify(containers.map(toAnswer));
    }
    return text;
  };
}
