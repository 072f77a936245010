import { isDeepStrictEqual } from "node:util";
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
import { AccessNeeded, fetchWithAccess } from "./access.ts";
import type { DtmaClient } from "./dtma.ts";
import type { SignIns } from "./sign-ins.ts";
import { untilAborted } from "./until-aborted.ts";

/*
INVARIANTS
- A session belongs to one connection and its token; a changed token or address makes a new session.
- A connection has at most one session that takes calls: it is in the table before it is opened, so that calls which come
  at the same time share it. One that is taken out of the table ends with its last call.
- A session is idle only while no call is under way in it.
- A call that may have reached the server is never sent twice. Only what is answered before anything reaches a tool is sent
  again: where the toolbox does not know the session any more (404), in a new one; where an argument is not in the headers
  that its tool wants by now, with these.
- A call that needs somebody to sign in waits for that outside of every deadline of its own, and goes on in the same session.
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

type Session = {
  identity: string;
  client: Client;
  transport: StreamableHTTPClientTransport;
  /** Rejects with what kept it from being opened. */
  opened: Promise<void>;
  /** Of the arguments of each tool, as it was listed last: they say which of them go into headers, too. */
  schemas: ReadonlyMap<string, Tool["inputSchema"]>;
  calls: number;
  idle: NodeJS.Timeout | undefined;
  ended: Promise<void> | undefined;
};

/** The start of a server process counts into this. */
const connectTimeoutMs = 30_000;
/** A tool may work for long, as long as it reports progress; without progress it ends here. */
const callTimeoutMs = 120_000;
const callTotalMs = 3_600_000;
const defaultIdleMs = 120_000;
/** A toolbox that is silent must not keep anybody waiting who only takes leave of it. */
const defaultGoodbyeMs = 5_000;

/** The answer to a request whose headers do not fit its body (MCP specification, Streamable HTTP). */
const headerMismatch = -32020;

/** How often one call is sent again after which answer; both the opening of a session and the call in it may need access. */
const tries: readonly (readonly [status: number, times: number])[] = [
  [401, 2],
  [403, 1],
  [404, 1],
];

export type McpSessionsOptions = {
  signIns: Pick<SignIns, "accessToken" | "obtain">;
  idleMs?: number;
  goodbyeMs?: number;
};

/** Keeps one MCP session open per connection while it is in use, and ends it when it was idle for two minutes. */
export function createMcpSessions(
  clientInfo: { name: string; version: string },
  { signIns, idleMs = defaultIdleMs, goodbyeMs = defaultGoodbyeMs }: McpSessionsOptions,
): McpSessions {
  /** By connection: the session that takes its calls. */
  const sessions = new Map<string, Session>();
  /** Every session that has not ended, also those that take no more calls. */
  const living = new Set<Session>();

  function open(connectionId: string, target: McpTarget, identity: string): Session {
    const transport = new StreamableHTTPClientTransport(target.endpoint.url, {
      fetch: fetchWithAccess(target, () => signIns.accessToken(connectionId, target.endpoint.url)) as never,
    });
    const client = new Client(clientInfo, { versionNegotiation: { mode: "auto" } });
    const opened = client.connect(transport, { timeout: connectTimeoutMs });
    const session: Session = {
      identity,
      client,
      transport,
      opened,
      schemas: new Map(),
      calls: 0,
      idle: undefined,
      ended: undefined,
    };
    sessions.set(connectionId, session);
    living.add(session);
    opened.catch(() => retire(connectionId, session));
    client.onclose = () => retire(connectionId, session);
    return session;
  }

  function sessionFor(connectionId: string, target: McpTarget): Session {
    const identity = `${target.endpoint.url.href} ${target.token}`;
    const known = sessions.get(connectionId);
    if (known?.identity === identity) return known;
    if (known !== undefined) retire(connectionId, known);
    return open(connectionId, target, identity);
  }

  /** Takes no more calls; ends now, or with its last call. */
  function retire(connectionId: string, session: Session): void {
    if (sessions.get(connectionId) === session) sessions.delete(connectionId);
    if (session.calls === 0) void end(session);
  }

  function end(session: Session): Promise<void> {
    session.ended ??= (async () => {
      clearTimeout(session.idle);
      const goodbye = session.transport.terminateSession().catch(() => undefined);
      let timer: NodeJS.Timeout | undefined;
      const enough = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, goodbyeMs);
      });
      await Promise.race([goodbye, enough]);
      clearTimeout(timer);
      await session.client.close().catch(() => undefined);
      living.delete(session);
    })();
    return session.ended;
  }

  async function forget(connectionId: string): Promise<void> {
    const session = sessions.get(connectionId);
    sessions.delete(connectionId);
    if (session !== undefined) await end(session);
  }

  /** Runs `work` in the session, which is not idle meanwhile. A failure that is not the server's own word retires it. */
  async function inSession<T>(
    connectionId: string,
    session: Session,
    signal: AbortSignal | undefined,
    work: (session: Session) => Promise<T>,
  ): Promise<T> {
    session.calls += 1;
    clearTimeout(session.idle);
    try {
      await untilAborted(session.opened, signal);
      return await work(session);
    } catch (error) {
      const needed = error instanceof Error && error.cause instanceof AccessNeeded ? error.cause : error;
      if (!(needed instanceof ProtocolError || needed instanceof AccessNeeded)) retire(connectionId, session);
      throw signal?.aborted === true ? new AppError("CANCELLED", { cause: error }) : needed;
    } finally {
      session.calls -= 1;
      if (session.calls === 0) {
        if (sessions.get(connectionId) === session) {
          session.idle = setTimeout(() => retire(connectionId, session), idleMs);
          session.idle.unref();
        } else void end(session);
      }
    }
  }

  async function withSession<T>(
    connectionId: string,
    target: McpTarget,
    signal: AbortSignal | undefined,
    work: (session: Session) => Promise<T>,
  ): Promise<T> {
    const left = new Map(tries);
    for (;;) {
      try {
        return await inSession(connectionId, sessionFor(connectionId, target), signal, work);
      } catch (error) {
        const isAccess = error instanceof AccessNeeded;
        if (!isAccess && !(error instanceof SdkHttpError && error.status === 404)) throw fromMcpError(error);
        const more = left.get(error.status) ?? 0;
        if (more === 0) throw isAccess ? stillRefused(target, error) : fromMcpError(error);
        left.set(error.status, more - 1);
        if (isAccess && !(await signIns.obtain(connectionId, target.endpoint, error, signal))) throw fromMcpError(error);
      }
    }
  }

  async function list(session: Session, signal: AbortSignal | undefined): Promise<Tool[]> {
    const { tools } = await session.client.listTools(undefined, {
      cacheMode: "bypass",
      ...(signal === undefined ? {} : { signal }),
    });
    const listed = tools.map((each) => tool.parse(each));
    session.schemas = new Map(listed.map(({ name, inputSchema }) => [name, inputSchema]));
    return listed;
  }

  return {
    listTools: (connectionId, target, signal) => withSession(connectionId, target, signal, (session) => list(session, signal)),
    callTool: (connectionId, target, call, { signal, onProgress }) =>
      withSession(connectionId, target, signal, async (session) => {
        const startedAt = performance.now();
        const attempt = () =>
          session.client.callTool(call, {
            signal,
            // A result is shown as it is, whether or not it fits its schema.
            toolDefinition: { name: call.name, inputSchema: { ...session.schemas.get(call.name), type: "object" } },
            timeout: callTimeoutMs,
            maxTotalTimeout: callTotalMs,
            resetTimeoutOnProgress: true,
            onprogress: ({ progress, total, message }) =>
              onProgress({
                progress,
                ...(total === undefined ? {} : { total }),
                ...(message === undefined ? {} : { message }),
              }),
          });
        const result = await attempt().catch(async (error: unknown) => {
          if (!(error instanceof ProtocolError && error.code === headerMismatch)) throw error;
          const before = session.schemas.get(call.name);
          await list(session, signal);
          const wanted = session.schemas.get(call.name);
          // Only then it was refused for its headers; the code may be a server's own.
          if (isDeepStrictEqual(before, wanted) || !(wantsHeaders(before) || wantsHeaders(wanted))) throw error;
          return attempt();
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
    async close() {
      sessions.clear();
      await Promise.all([...living].map(end));
    },
  };
}

function wantsHeaders(schema: Tool["inputSchema"] | undefined): boolean {
  return schema !== undefined && JSON.stringify(schema).includes('"x-mcp-header"');
}

function stillRefused({ endpoint }: McpTarget, cause: AccessNeeded): AppError {
  const message =
    cause.status === 401
      ? `${endpoint.url.host} does not accept who has signed in.`
      : `${endpoint.url.host} does not let who has signed in use this.`;
  return new AppError("GATEWAY_REFUSED", { message, cause });
}

/** Translates what the MCP client throws, once. The endpoint's own words stay readable in the message. */
function fromMcpError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  if (error instanceof Error && error.cause instanceof AppError) return error.cause;
  if (error instanceof AccessNeeded) return new AppError("CONNECTION_REVOKED", { cause: error });
  if (error instanceof SdkHttpError) {
    if (error.status === 401 || error.status === 403) return new AppError("CONNECTION_REVOKED", { cause: error });
    if (error.status === 404)
      return new AppError("NOT_FOUND", { message: "The toolbox does not know this server.", cause: error });
    if (error.status === 409) return new AppError("SERVER_NOT_RUNNING", { cause: error });
    if (error.status === 503 || error.status === 429) return new AppError("LIMIT_REACHED", { cause: error });
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
