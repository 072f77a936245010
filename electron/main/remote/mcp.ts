import {
  Client,
  ProtocolError,
  SdkError,
  SdkErrorCode,
  SdkHttpError,
  StreamableHTTPClientTransport,
} from "@modelcontextprotocol/client";
import type { ToolCallEvent } from "../../../shared/contract/connections.ts";
import { AppError } from "../../../shared/errors.ts";
import { type Tool, tool } from "../../../shared/model/tool.ts";
import type { DtmaClient } from "./dtma.ts";

/*
INVARIANTS
- A session belongs to one connection and its token; a changed token or address makes a new session.
- A call that may have reached the server is never sent twice. Only a session the toolbox does not know any more
  (404, which is answered before anything reaches a server) is replaced and the call sent again.
*/

export type McpTarget = { endpoint: ReturnType<DtmaClient["mcpEndpoint"]>; token: string };

export interface McpSessions {
  listTools(connectionId: string, target: McpTarget, signal?: AbortSignal): Promise<Tool[]>;
  callTool(
    connectionId: string,
    target: McpTarget,
    call: { name: string; arguments: Record<string, unknown> },
    options: { signal: AbortSignal; onProgress(progress: Omit<Extract<ToolCallEvent, { type: "progress" }>, "type">): void },
  ): Promise<Extract<ToolCallEvent, { type: "result" }>>;
  /** Ends the session of a connection, if there is one. */
  forget(connectionId: string): Promise<void>;
  close(): Promise<void>;
}

type Session = { client: Client; transport: StreamableHTTPClientTransport; identity: string; idle: NodeJS.Timeout };

/** The start of a server process counts into this. */
const connectTimeoutMs = 30_000;
/** A tool may work for long, as long as it reports progress; without progress it ends here. */
const callTimeoutMs = 120_000;
const callTotalMs = 3_600_000;
const idleMs = 120_000;

/** Keeps one MCP session open per connection while it is in use, and ends it when it was idle for two minutes. */
export function createMcpSessions(clientInfo: { name: string; version: string }): McpSessions {
  const sessions = new Map<string, Promise<Session>>();

  async function open(connectionId: string, target: McpTarget, identity: string): Promise<Session> {
    const transport = new StreamableHTTPClientTransport(target.endpoint.url, {
      fetch: target.endpoint.fetch as never,
      requestInit: { headers: { authorization: `Bearer ${target.token}` } },
    });
    const client = new Client(clientInfo);
    await client.connect(transport, { timeout: connectTimeoutMs });
    const session: Session = { client, transport, identity, idle: setTimeout(() => void forget(connectionId), idleMs) };
    session.idle.unref();
    client.onclose = () => {
      if (sessions.get(connectionId) !== undefined) sessions.delete(connectionId);
    };
    return session;
  }

  async function sessionFor(connectionId: string, target: McpTarget): Promise<Session> {
    const identity = `${target.endpoint.url.href} ${target.token}`;
    const known = await sessions.get(connectionId)?.catch(() => undefined);
    if (known?.identity === identity) {
      known.idle.refresh();
      return known;
    }
    await forget(connectionId);
    const opening = open(connectionId, target, identity);
    sessions.set(connectionId, opening);
    try {
      return await opening;
    } catch (error) {
      if (sessions.get(connectionId) === opening) sessions.delete(connectionId);
      throw error;
    }
  }

  async function forget(connectionId: string): Promise<void> {
    const pending = sessions.get(connectionId);
    sessions.delete(connectionId);
    const session = await pending?.catch(() => undefined);
    if (session === undefined) return;
    clearTimeout(session.idle);
    await session.transport.terminateSession().catch(() => undefined);
    await session.client.close().catch(() => undefined);
  }

  async function withSession<T>(connectionId: string, target: McpTarget, work: (client: Client) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await work((await sessionFor(connectionId, target)).client);
      } catch (error) {
        const isUnknownSession = error instanceof SdkHttpError && error.status === 404;
        if (!(error instanceof ProtocolError)) await forget(connectionId);
        if (!isUnknownSession || attempt > 1) throw fromMcpError(error);
      }
    }
  }

  return {
    listTools: (connectionId, target, signal) =>
      withSession(connectionId, target, async (client) => {
        const { tools } = await client.listTools(undefined, {
          cacheMode: "bypass",
          ...(signal === undefined ? {} : { signal }),
        });
        return tools.map((each) => tool.parse(each));
      }),
    callTool: (connectionId, target, call, { signal, onProgress }) =>
      withSession(connectionId, target, async (client) => {
        const startedAt = performance.now();
        const result = await client.callTool(call, {
          signal,
          timeout: callTimeoutMs,
          maxTotalTimeout: callTotalMs,
          resetTimeoutOnProgress: true,
          onprogress: ({ progress, total, message }) =>
            onProgress({ progress, ...(total === undefined ? {} : { total }), ...(message === undefined ? {} : { message }) }),
        });
        return {
          type: "result",
          content: result.content,
          ...(result.structuredContent === undefined ? {} : { structuredContent: result.structuredContent }),
          isError: result.isError === true,
          durationMs: performance.now() - startedAt,
        };
      }),
    forget,
    close: async () => void (await Promise.all([...sessions.keys()].map(forget))),
  };
}

/** Translates what the MCP client throws, once. The endpoint's own words stay readable in the message. */
function fromMcpError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  if (error instanceof Error && error.cause instanceof AppError) return error.cause;
  if (error instanceof SdkHttpError) {
    if (error.status === 401 || error.status === 403) return new AppError("CONNECTION_REVOKED", { cause: error });
    if (error.status === 404)
      return new AppError("NOT_FOUND", { message: "The toolbox does not know this server.", cause: error });
    if (error.status === 409) return new AppError("SERVER_NOT_RUNNING", { cause: error });
    if (error.status === 503) return new AppError("LIMIT_REACHED", { cause: error });
    return new AppError("TOOLBOX_INCOMPATIBLE", {
      message: `The MCP endpoint answered with status ${error.status}.`,
      cause: error,
    });
  }
  if (error instanceof SdkError && error.code === SdkErrorCode.RequestTimeout)
    return new AppError("DEADLINE_EXCEEDED", { cause: error });
  if (error instanceof ProtocolError) return new AppError("TOOL_FAILED", { message: error.message, cause: error });
  if (error instanceof Error && error.name === "AbortError") return new AppError("CANCELLED", { cause: error });
  const message = error instanceof Error ? error.message : String(error);
  return new AppError("TOOL_FAILED", { message, cause: error });
}
