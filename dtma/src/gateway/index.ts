import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AccessEntry } from "../../../shared/dtma-protocol.ts";
import type { AllowedTools } from "./access.ts";
import { type CallAccount, noAccount } from "./account.ts";
import { type Asker, createAdmission, type Slot } from "./admission.ts";
import { sendJson } from "./clients/client-stream.ts";
import { headerFault, readBody, refuse, refuseTooLarge } from "./clients/http-edge.ts";
import { messageAddress, opensPair, otherMethods, type Place, placeOf, sessionIdOf } from "./clients/pair.ts";
import { Session } from "./clients/session.ts";
import { createStatelessFace } from "./clients/stateless-face.ts";
import type { McpCaller, McpGateway, McpGatewayDeps, Visit } from "./gateway.ts";
import { isStateless, statelessRevision } from "./messages/envelope.ts";
import type { Failure } from "./messages/failure.ts";
import { header } from "./messages/header.ts";
import { errorAnswer, errorCodes, type Message, parseClientBody } from "./messages/json-rpc.ts";
import { sessionRevisions } from "./messages/revisions.ts";
import { createRateLimit } from "./rate-limit.ts";
import { closing, flood, refuseClosed, refuseRevoked, refusing, revoked } from "./refusals.ts";
import { createServerSide, silent } from "./server-side.ts";
import { createSpares } from "./servers/spares.ts";
import { toFailure, UpstreamError } from "./servers/upstream.ts";
import { WorkerPool } from "./servers/worker-pool.ts";
import { UsageMeter } from "./usage.ts";

/*
INVARIANTS
- A session is in the table from before its process is opened until it has ended; its slot is held until its process is
  gone, so caps also count what is still ending.
- A session answers only to the caller that made it, on the server it was made for; to anybody else it does not exist.
- A caller's rights are those of the latest `accessChanged`, also for requests that were on their way when it came.
- No timer, process or connection outlives `close`.
*/

/** How long a process of a connection without sessions is kept for its next request. */
const workerIdleMs = 60_000;
/** How often somebody who waits looks for a process that has become idle. */
const roomMs = 250;
/** How long a call waits for what its client has been asked: people answer slowly. */
const answerWithinMs = 600_000;
const tickMs = 1_000;

/** Creates the MCP endpoint: Streamable HTTP, and the HTTP+SSE pair before it, in front of stdio and HTTP servers. */
export function createMcpGateway(deps: McpGatewayDeps): McpGateway {
  const { limits } = deps;
  const sessions = new Map<string, Session>();
  const ending = new Map<Session, Promise<void>>();
  const openings = new Map<Session, Promise<void>>();
  const visits = new Set<Visit>();
  const admission = createAdmission(limits);
  const spares = createSpares({
    admission,
    limits,
    hasRoom: deps.hasRoom,
    onFault: (server, error) => deps.onFault?.({ server, error }),
  });
  const meter = new UsageMeter({
    report: deps.onUsage,
    ...(deps.usageTotals === undefined ? {} : { totals: deps.usageTotals }),
    ...(deps.isListed === undefined ? {} : { isListed: deps.isListed }),
  });
  const rate = limits.calls === undefined ? undefined : createRateLimit(limits.calls);
  let closed: Promise<void> | undefined;

  const timer = setInterval(
    () => {
      const now = Date.now();
      for (const session of sessions.values()) session.tick(now);
      face.tick(now);
      pool.tick(now);
      spares.tick(now);
      meter.flush();
    },
    Math.max(50, Math.min(tickMs, limits.idleMs / 4)),
  );
  timer.unref();

  const isIn = (session: Session, server: string, container: string | undefined): boolean =>
    session.server === server && (container === undefined || session.container === container);
  const countOf = (server: string, container?: string): number =>
    [...sessions.values()].filter((session) => isIn(session, server, container)).length + pool.busyCount(server, container);

  const pool = new WorkerPool({
    acquire: ({ server, owner }, signal) => acquire({ server, connectionId: owner, signal }),
    connect: (worker, want) => serverSide.openWorker(worker, want),
    onCount: (server) => deps.onSessions(server, countOf(server)),
    onFault: (server, error) => deps.onFault?.({ server, error }),
    idleMs: Math.min(limits.idleMs, workerIdleMs),
    queueMs: limits.queueMs,
  });
  const serverSide = createServerSide({ endpointOf: deps.endpointOf, spares, pool, limits });
  const face = createStatelessFace({
    pool,
    endpointOf: deps.endpointOf,
    accountOf,
    answerWithinMs: Math.min(limits.idleMs, answerWithinMs),
  });

  function accountOf({ connectionId }: Visit, server: string): CallAccount {
    return connectionId === undefined ? noAccount : meter.accountOf(connectionId, server);
  }

  /** A slot; a process that waits for the next stateless request makes room for one that is wanted now. */
  function acquire(asker: Asker): Promise<Slot> {
    const slot = admission.acquire(asker);
    const { server, connectionId: owner } = asker;
    let timer: NodeJS.Timeout | undefined;
    const makeRoom = (): void => {
      pool.makeRoom({ server, owner, isOwnerFull: admission.isCapped(owner) });
      timer = setTimeout(makeRoom, roomMs).unref();
    };
    // One that comes free at once does not wait.
    const soon = setImmediate(makeRoom);
    const settled = (): void => {
      clearImmediate(soon);
      clearTimeout(timer);
    };
    slot.then(settled, settled);
    return slot;
  }

  function createSession(server: string, visit: Visit, slot: Slot): Session {
    const { connectionId } = visit;
    const session = new Session({
      id: randomUUID(),
      server,
      connectionId,
      allowed: visit.allowed,
      idleMs: limits.idleMs,
      messageBytes: limits.messageBytes,
      account: accountOf(visit, server),
      onEnd(ended, gone) {
        sessions.delete(ended.id);
        // A process that is still being opened comes and goes after its session has ended.
        const left = Promise.allSettled([gone, openings.get(ended)]).then(([{ status }]) => {
          ending.delete(ended);
          slot.release();
          if (status === "rejected") return gone;
        });
        ending.set(ended, left);
        left.catch((error: unknown) => deps.onFault?.({ server, error }));
        deps.onSessions(server, countOf(server));
      },
    });
    sessions.set(session.id, session);
    deps.onSessions(server, countOf(server));
    return session;
  }

  async function openUpstream(session: Session, initialize: Message): Promise<void> {
    const late = setTimeout(() => void session.end(silent(limits.answerMs)), limits.answerMs);
    try {
      const upstream = await serverSide.open(session);
      if (upstream === undefined) return;
      await session.attach(upstream, initialize);
      await session.initialized;
    } catch (error) {
      await session.end(toFailure(error));
    } finally {
      clearTimeout(late);
    }
  }

  /** Resolves with a slot once it is the caller's turn; undefined when there is nobody to serve any more, or it was refused. */
  async function admitted(response: ServerResponse, visit: Visit, id?: string): Promise<Slot | undefined> {
    const leaves = new AbortController();
    const leave = (): void => leaves.abort();
    visit.waiting = leaves;
    response.once("close", leave);
    try {
      // Sessions of one process for everybody hold places of their own: the process has the server's.
      const { isShared = false } = await deps.endpointOf(visit.server);
      const server = isShared ? `${visit.server} sessions` : visit.server;
      leaves.signal.throwIfAborted();
      const slot = await acquire({ ...visit, server, signal: leaves.signal });
      if (closed !== undefined) leaves.abort(new UpstreamError(refusing("The DTMA is going down.")));
      if (!response.destroyed && !leaves.signal.aborted) return slot;
      slot.release();
      throw leaves.signal.reason;
    } catch (error) {
      const { status, error: why, headers } = toFailure(error);
      sendJson(response, status, errorAnswer(id, why), headers);
      return undefined;
    } finally {
      response.off("close", leave);
      delete visit.waiting;
    }
  }

  async function initialize(response: ServerResponse, server: string, visit: Visit, message: Message): Promise<void> {
    const slot = await admitted(response, visit, message.id);
    if (slot === undefined) return;
    if (visit.connectionId !== undefined) meter.seen(visit.connectionId);
    begin(createSession(server, visit, slot), response, message);
  }

  function begin(session: Session, response: ServerResponse, message: Message): void {
    const { server } = session;
    session.begin(response, message);
    const opening = openUpstream(session, message).catch((error: unknown) => deps.onFault?.({ server, error }));
    openings.set(session, opening);
    void opening.then(() => openings.delete(session));
  }

  async function openPair(response: ServerResponse, server: string, visit: Visit): Promise<void> {
    // There is no answer to refuse with later: whoever gets a stream may speak.
    await deps.endpointOf(server);
    if (visit.revoked) return refuseRevoked(response);
    const slot = await admitted(response, visit);
    if (slot === undefined) return;
    if (visit.connectionId !== undefined) meter.seen(visit.connectionId);
    const session = createSession(server, visit, slot);
    session.openPair(response, messageAddress(server, session.id));
  }

  function sessionOf(request: IncomingMessage, server: string, visit: Visit): Session | undefined {
    const place = placeOf(request);
    const session = sessions.get(sessionIdOf(request, place) ?? "");
    if (session === undefined || session.isPair !== (place === "message")) return undefined;
    return session.server === server && session.connectionId === visit.connectionId ? session : undefined;
  }

  /** Whether a message was refused because too many came. */
  function isFlood(response: ServerResponse, { connectionId }: Visit): boolean {
    const waitSeconds = connectionId === undefined ? undefined : rate?.take(connectionId);
    if (connectionId === undefined || waitSeconds === undefined) return false;
    meter.limited(connectionId);
    sendJson(response, 429, errorAnswer(undefined, flood), { "retry-after": String(waitSeconds) });
    return true;
  }

  /** The session a request is for; undefined when the request has been refused. */
  function admit(request: IncomingMessage, response: ServerResponse, server: string, visit: Visit): Session | undefined {
    const place = placeOf(request);
    if (sessionIdOf(request, place) === undefined) {
      const what = place === "message" ? "The sessionId of the address" : "The Mcp-Session-Id header";
      refuse(response, 400, errorCodes.failed, `${what} is missing.`);
      return undefined;
    }
    const session = sessionOf(request, server, visit);
    if (session === undefined) {
      refuse(response, 404, errorCodes.sessionNotFound, "This session does not exist, or not any more.");
      return undefined;
    }
    const version = header(request, "mcp-protocol-version");
    if (version === undefined || version === session.protocolVersion || sessionRevisions.has(version)) return session;
    refuse(response, 400, errorCodes.failed, `The protocol version ${version.slice(0, 32)} is not the one of this session.`);
    return undefined;
  }

  async function post(
    request: IncomingMessage,
    response: ServerResponse,
    server: string,
    visit: Visit,
    place: Place,
  ): Promise<void> {
    await sessionOf(request, server, visit)?.ready();
    const bytes = await readBody(request, limits.messageBytes);
    if (bytes === "aborted") return;
    if (bytes === "too-large") return refuseTooLarge(response, limits.messageBytes);
    const body = parseClientBody(bytes);
    if ("error" in body) return sendJson(response, 400, errorAnswer(undefined, body.error));
    if (visit.revoked) return refuseRevoked(response);
    if (closed !== undefined) return refuseClosed(response);
    if (visit.connectionId !== undefined) rate?.charge(visit.connectionId, body.messages.length - 1);
    const [first] = body.messages;
    const isPair = place === "message";
    if (!isPair && first !== undefined && isStateless(request, first))
      return postStateless(request, response, server, visit, body);
    const initializes = body.messages.some((message) => message.method === "initialize");
    if (initializes && !isPair && header(request, "mcp-session-id") === undefined) {
      if (first?.kind === "request" && !body.batch) return initialize(response, server, visit, first);
      return refuse(response, 400, errorCodes.invalidRequest, "initialize must be a request by itself.");
    }
    const session = admit(request, response, server, visit);
    if (session === undefined) return;
    if (session.awaitsInitialize && first?.method === "initialize" && first.kind === "request" && !body.batch) {
      return begin(session, response, first);
    }
    if (initializes || session.protocolVersion === undefined) {
      return refuse(
        response,
        400,
        errorCodes.invalidRequest,
        "A session is initialized once, before anything else.",
        first?.id,
      );
    }
    if (body.batch && session.protocolVersion > "2025-03-26") {
      return refuse(response, 400, errorCodes.invalidRequest, "This revision of the protocol has no batches.");
    }
    if (visit.connectionId !== undefined) meter.seen(visit.connectionId);
    await session.post(response, body.messages, body.batch);
  }

  async function postStateless(
    request: IncomingMessage,
    response: ServerResponse,
    server: string,
    visit: Visit,
    { messages: [message], batch }: { messages: Message[]; batch: boolean },
  ): Promise<void> {
    if (batch || message === undefined || message.kind === "response") {
      return refuse(response, 400, errorCodes.invalidRequest, "The body must be one request or notification.");
    }
    if (visit.connectionId !== undefined) meter.seen(visit.connectionId);
    if (message.kind === "request") return face.handle(request, response, server, visit, message);
    // This revision defines no notification over HTTP: a client cancels by closing the stream.
    response.writeHead(202).end();
  }

  async function serve(request: IncomingMessage, response: ServerResponse, server: string, visit: Visit): Promise<void> {
    const place = placeOf(request);
    const fault = headerFault(request, place !== "message");
    if (fault !== undefined) return refuse(response, fault.status, errorCodes.invalidRequest, fault.message);
    if (closed !== undefined) return refuseClosed(response);
    const others = otherMethods(place, request.method);
    if (others !== undefined) {
      const allow = others.join(", ");
      return refuse(response, 405, errorCodes.invalidRequest, `The methods here are: ${allow}.`, undefined, { allow });
    }
    if ((request.method === "POST" || opensPair(request, place)) && isFlood(response, visit)) return;
    if (request.method === "POST") return post(request, response, server, visit, place);
    if (opensPair(request, place)) return openPair(response, server, visit);
    if ((header(request, "mcp-protocol-version") ?? "") >= statelessRevision) {
      return refuse(response, 405, errorCodes.invalidRequest, "This revision of the protocol has POST only.", undefined, {
        allow: "POST",
      });
    }
    const session = admit(request, response, server, visit);
    if (session === undefined) return;
    if (request.method === "GET") return session.listen(response, header(request, "last-event-id"));
    await session.end({ status: 404, error: { code: errorCodes.sessionNotFound, message: "The client ended the session." } });
    response.writeHead(204).end();
  }

  /** Ends all of them and waits for their processes; rejects when one could not be ended. */
  async function endAll(those: Session[], failure: Failure): Promise<void> {
    const results = await Promise.allSettled(those.map((session) => session.end(failure)));
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  async function closeAll(): Promise<void> {
    clearInterval(timer);
    for (const visit of visits) visit.waiting?.abort(new UpstreamError(refusing("The DTMA is going down.")));
    const stillEnding = [...ending.values()];
    try {
      const failure = closing("The DTMA is going down.");
      await Promise.all([endAll([...sessions.values()], failure), pool.close(failure)]);
      await Promise.all([...stillEnding, ...openings.values(), spares.close()]);
    } finally {
      meter.flush();
      await serverSide.close();
    }
  }

  return {
    async handle(request, response, server, caller) {
      response.on("error", () => undefined);
      deps.onRequest?.();
      const visit = toVisit(server, caller);
      visits.add(visit);
      try {
        await serve(request, response, server, visit);
      } catch (error) {
        const failure = toFailure(error);
        sendJson(response, failure.status, errorAnswer(undefined, failure.error), failure.headers);
      } finally {
        visits.delete(visit);
      }
    },

    async accessChanged(connectionId, entry) {
      const allowed = entry === undefined ? new Set<string>() : toAllowed(entry);
      for (const visit of visits) {
        if (visit.connectionId !== connectionId) continue;
        visit.allowed = allowed;
        visit.revoked ||= entry === undefined;
        if (entry === undefined) visit.waiting?.abort(new UpstreamError({ ...revoked, status: 401 }));
      }
      const those = [...sessions.values()].filter((session) => session.connectionId === connectionId);
      if (entry !== undefined) {
        meter.remember(connectionId);
        for (const session of those) session.setAllowed(allowed);
        return;
      }
      face.revoke(connectionId, revoked);
      const ended = Promise.all([endAll(those, revoked), pool.closeOwner(connectionId, revoked)]);
      meter.forget(connectionId);
      rate?.forget(connectionId);
      await ended;
    },

    async closeServer(server, container) {
      for (const visit of visits) {
        if (container === undefined && visit.server === server) {
          visit.waiting?.abort(new UpstreamError(refusing("The server is being stopped.")));
        }
      }
      const stillEnding = [...ending].filter(([session]) => isIn(session, server, container)).map(([, gone]) => gone);
      const failure = closing("The server is being stopped.");
      const those = [...sessions.values()].filter((session) => isIn(session, server, container));
      await Promise.all([endAll(those, failure), pool.closeServer(server, container, failure)]);
      await Promise.all([...stillEnding, spares.closeServer(server, container)]);
    },

    sessionCount: countOf,
    usage: () => meter.all(),
    usageSinceStart: () => meter.sinceStart(),

    close() {
      closed ??= closeAll();
      return closed;
    },
  };
}

function toAllowed(entry: AccessEntry): AllowedTools {
  return entry.allowedTools === null ? null : new Set(entry.allowedTools);
}

function toVisit(server: string, caller: McpCaller): Visit {
  if (caller.type === "toolbox") return { server, connectionId: undefined, allowed: null, revoked: false };
  return { server, connectionId: caller.entry.connectionId, allowed: toAllowed(caller.entry), revoked: false };
}
