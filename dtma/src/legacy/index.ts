import type { DtmaEvent, LogLine } from "../../../shared/dtma-protocol.ts";
import { AppError } from "../../../shared/errors.ts";
import type { DataFolder } from "../data-folder.ts";
import type { ImageView } from "../docker/docker.ts";
import type { SystemMetrics } from "../host/system-metrics.ts";
import type { HostContainers } from "../host-containers.ts";
import type { Scope } from "../labels.ts";
import type { Log } from "../log.ts";
import type { Operations } from "../operations.ts";
import type { LogOptions } from "../server-logs.ts";
import type { Servers } from "../servers.ts";
import { type Groups, openGroups } from "./groups.ts";
import { createInstances, type Instances } from "./instances.ts";
import { toServerName } from "./names.ts";
import { createStatus, type Status } from "./status.ts";

/*
The calls of the agent that ran on toolboxes before this one, in its words, from what is really there. docs/legacy.md lists
them; api/legacy-routes.ts is their edge towards HTTP.
*/

export interface Legacy {
  instances: Instances;
  groups: Groups;
  status: Status;
  metrics(): Promise<SystemMetrics>;
  /** How many servers there are, and how many of them answered the MCP handshake. */
  ready(): { servers: number; ready: number; isSure: boolean };
  /** Last lines of a server. NOT_FOUND. */
  serverLogs(name: string, options: Omit<LogOptions, "follow" | "signal">): Promise<LogLine[]>;
}

type LegacyDeps = {
  data: DataFolder;
  scope: Scope;
  servers: Servers;
  operations: Operations;
  hostContainers: HostContainers;
  metrics(): Promise<SystemMetrics>;
  getImage(reference: string): Promise<ImageView | undefined>;
  listen(listener: (event: DtmaEvent) => void): () => void;
  logs(name: string, options: LogOptions): AsyncIterable<LogLine>;
  version: string;
  hasApiBaseUrl: boolean;
  log: Log;
};

const logsDeadlineMs = 20_000;

export async function openLegacy(deps: LegacyDeps): Promise<Legacy> {
  const { servers } = deps;
  const isSure = () => servers.condition().state === "up";
  const instances = createInstances(deps);
  return {
    instances,
    groups: await openGroups({ data: deps.data, instances, isSure, log: deps.log }),
    status: createStatus({ ...deps, condition: servers.condition }),
    metrics: deps.metrics,
    ready() {
      const all = servers.all();
      return { servers: all.length, ready: all.filter(({ health }) => health.state === "ready").length, isSure: isSure() };
    },
    async serverLogs(name, { tail, sinceMs }) {
      if (instances.get(name) === undefined) {
        throw new AppError("NOT_FOUND", { message: `Tool instance '${name}' not found or not managed by this DTMA.` });
      }
      servers.mustHaveEngine();
      const signal = AbortSignal.timeout(logsDeadlineMs);
      const lines: LogLine[] = [];
      for await (const line of deps.logs(toServerName(name), { tail, sinceMs, follow: false, signal })) lines.push(line);
      return lines;
    },
  };
}
