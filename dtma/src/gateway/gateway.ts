import type { IncomingMessage, ServerResponse } from "node:http";
import type { AccessEntry, ConnectionUsage } from "../../../shared/dtma-protocol.ts";
import type { ServerEndpoint } from "../docker/server-process.ts";
import type { AllowedTools } from "./access.ts";
import type { AdmissionLimits } from "./admission.ts";
import type { SpareLimits } from "./servers/spares.ts";

/** Who is calling the MCP endpoint: a connection with its allow-list, or the holder of the toolbox's own token. */
export type McpCaller = { type: "connection"; entry: AccessEntry } | { type: "toolbox" };

/** A request between its authentication and its answer; `accessChanged` changes it on the way. */
export type Visit = {
  server: string;
  connectionId: AccessEntry["connectionId"] | undefined;
  allowed: AllowedTools;
  revoked: boolean;
  /** Ends its wait for a slot. */
  waiting?: AbortController;
};

export type McpGatewayDeps = {
  /** The endpoint of a server by name. NOT_FOUND, SERVER_NOT_RUNNING, DOCKER_UNAVAILABLE. */
  endpointOf(server: string): Promise<ServerEndpoint>;
  onUsage(usage: ConnectionUsage): void;
  /** Counts of earlier starts, from which the new ones go on. */
  usageTotals?: readonly ConnectionUsage[];
  /** Whether a server lists a tool: only such names, and those that were called successfully, are counted by name. */
  isListed?(server: string, tool: string): boolean;
  /** The number of open sessions of a server changed. */
  onSessions(server: string, count: number): void;
  /** A process could not be ended: it may still be there. */
  onFault?(fault: { server: string; error: unknown }): void;
  /** A request has come. */
  onRequest?(): void;
  /** Whether this machine has memory left for a process that nobody has asked for yet. */
  hasRoom(): boolean;
  limits: AdmissionLimits &
    SpareLimits & {
      idleMs: number;
      answerMs: number;
      messageBytes: number;
      /** Messages of one connection; absent for no limit. */
      calls?: { perSecond: number; burst: number };
    };
};

export interface McpGateway {
  /** Serves one HTTP request to `…/mcp/servers/{server}/{mcp|sse|message}`; the caller is authenticated, the body unread. */
  handle(request: IncomingMessage, response: ServerResponse, server: string, caller: McpCaller): Promise<void>;
  /** The allow-list of a connection changed, or it was revoked (`undefined`): applies to open sessions at once. */
  accessChanged(connectionId: string, entry: AccessEntry | undefined): Promise<void>;
  /** Ends every session of a server, or those in one of its containers, because it stops or goes. */
  closeServer(server: string, container?: string): Promise<void>;
  sessionCount(server: string, container?: string): number;
  usage(): ConnectionUsage[];
  /** Without the counts of earlier starts, and with connections that have no access any more. */
  usageSinceStart(): ConnectionUsage[];
  /** Ends every session; resolves when no process is left. */
  close(): Promise<void>;
}
