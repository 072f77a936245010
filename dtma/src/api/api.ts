import { Readable } from "node:stream";
import Fastify, { type FastifyInstance, type FastifyRequest } from "fastify";
import { z } from "zod";
import {
  accessEntry,
  type DtmaEvent,
  type DtmaInfo,
  deployRequest,
  type LogLine,
  reportingTarget,
  type ShutdownRequest,
  shutdownRequest,
} from "../../../shared/dtma-protocol.ts";
import { AppError } from "../../../shared/errors.ts";
import { connectionId } from "../../../shared/model/ids.ts";
import { serverName } from "../../../shared/model/spec.ts";
import type { AccessList } from "../access.ts";
import type { Certificate } from "../certificate.ts";
import type { EventHub } from "../events.ts";
import type { McpGateway } from "../gateway/gateway.ts";
import type { Log } from "../log.ts";
import type { Operations } from "../operations.ts";
import type { Reporter } from "../report/index.ts";
import type { LogOptions } from "../server-logs.ts";
import type { Servers } from "../servers.ts";
import type { Stats } from "../stats.ts";
import { openEventStream } from "./event-stream.ts";
import { toFailure } from "./failures.ts";
import type { Guard } from "./guard.ts";

/*
INVARIANTS
- Every route but `GET /health` asks for the toolbox's token; the MCP endpoint also takes a connection's.
- Input is parsed before anything is done with it; what is wrong is named by its path.
- Answers that are streams end with the request, and all of them when the DTMA stops.
*/

const bodyBytes = 4 * 2 ** 20;
const requestMs = 30_000;
const maxLogTail = 10_000;

type ApiDeps = {
  certificate: Certificate | undefined;
  guard: Guard;
  servers: Servers;
  operations: Operations;
  access: AccessList;
  gateway: McpGateway;
  hub: EventHub;
  stats: Stats;
  reporter: Reporter;
  info(): DtmaInfo;
  logs(name: string, options: LogOptions): AsyncIterable<LogLine>;
  shutdown(request: ShutdownRequest): void;
  log: Log;
};

export interface Api {
  /** The address it listens on. SettingsError-worthy failures are Node's own (EADDRINUSE, EACCES). */
  listen(host: string, port: number): Promise<{ port: number }>;
  /** Streams of events that are open: control centres that are linked now. */
  linkCount(): number;
  close(): Promise<void>;
}

const logQuery = z.object({
  tail: z.coerce.number().int().min(0).max(maxLogTail).default(200),
  since: z.coerce.number().min(0).default(0),
  follow: z.enum(["0", "1", "true", "false"]).default("0"),
});

export function createApi(deps: ApiDeps): Api {
  const { guard, servers, operations, access, gateway, log } = deps;
  const open = new Set<() => void>();
  let links = 0;
  const fastify = createFastify(deps.certificate);

  fastify.setErrorHandler((error, _request, reply) => {
    const { status, body } = toFailure(error, log);
    if (status === 401) void reply.header("www-authenticate", "Bearer");
    if (status === 429) void reply.header("retry-after", "60");
    return reply.status(status).send(body);
  });
  fastify.setNotFoundHandler((_request, reply) => {
    const error = new AppError("NOT_FOUND", { message: "There is no such address here." });
    return reply.status(404).send({ error: error.toShape() });
  });
  fastify.addHook("onRequest", async (request) => {
    guard.checkPlace(request.raw);
    const { isPublic, isMcp } = request.routeOptions.config as { isPublic?: boolean; isMcp?: boolean };
    if (isPublic === true || isMcp === true) return;
    const token = guard.bearer(request.raw);
    if (token === undefined || !guard.isToolboxToken(token)) throw guard.refusal(request.raw);
  });

  fastify.get("/health", { config: { isPublic: true } }, (_request, reply) => reply.type("text/plain").send("OK"));
  fastify.get("/status", () => legacyStatus(deps.info(), servers));

  fastify.get("/v1/info", () => deps.info());
  fastify.get("/v1/servers", () => servers.observations());
  fastify.put("/v1/servers/:name", async (request, reply) => {
    const operationId = await operations.deploy(nameOf(request), parse(deployRequest, request.body, ""));
    return reply.status(202).send({ operationId });
  });
  for (const kind of ["start", "stop", "restart"] as const) {
    fastify.post(`/v1/servers/:name/${kind}`, async (request, reply) =>
      reply.status(202).send({ operationId: await operations.begin(kind, nameOf(request)) }),
    );
  }
  fastify.delete("/v1/servers/:name", async (request, reply) =>
    reply.status(202).send({ operationId: await operations.begin("delete", nameOf(request)) }),
  );

  fastify.get("/v1/servers/:name/logs", (request, reply) => {
    const name = nameOf(request);
    const { tail, since, follow } = parse(logQuery, request.query, "");
    if (servers.get(name) === undefined)
      throw new AppError("NOT_FOUND", { message: `This toolbox has no server named ${name}.` });
    servers.mustHaveEngine();
    const isFollowing = follow === "1" || follow === "true";
    reply.hijack();
    const { raw } = reply;
    raw.writeHead(200, { "content-type": "application/x-ndjson", "cache-control": "no-store" });
    raw.flushHeaders();
    const stop = new AbortController();
    const end = () => stop.abort();
    open.add(end);
    raw.on("close", end);
    const lines = deps.logs(name, { tail, sinceMs: since, follow: isFollowing, signal: stop.signal });
    Readable.from(toNdjson(lines))
      .on("error", (error) => {
        if (!stop.signal.aborted) log.error("logs.stream-failed", error, { server: name });
        raw.destroy();
      })
      .pipe(raw)
      .on("close", () => open.delete(end));
  });

  fastify.get("/v1/operations/:id", (request) => {
    const operation = operations.get((request.params as { id: string }).id);
    if (operation === undefined) throw new AppError("NOT_FOUND", { message: "There is no such operation." });
    return operation;
  });
  fastify.delete("/v1/operations/:id", (request, reply) => {
    operations.cancel((request.params as { id: string }).id);
    return reply.status(202).send({});
  });

  fastify.get("/v1/access", () => access.all());
  fastify.put("/v1/access/:connectionId", async (request, reply) => {
    const entry = parse(accessEntry, request.body, "");
    if (entry.connectionId !== (request.params as { connectionId: string }).connectionId) {
      throw new AppError("INVALID_INPUT", {
        message: "The connection in the address and the one in the body differ.",
        field: "connectionId",
      });
    }
    await access.put(entry);
    return reply.status(204).send();
  });
  fastify.delete("/v1/access/:connectionId", async (request, reply) => {
    await access.remove(parse(connectionId, (request.params as { connectionId: string }).connectionId, "connectionId"));
    return reply.status(204).send();
  });

  fastify.get("/v1/reporting", () => deps.reporter.state());
  fastify.put("/v1/reporting", async (request, reply) => {
    await deps.reporter.setTarget(parse(reportingTarget.nullable(), request.body, ""));
    return reply.status(204).send();
  });

  fastify.post("/v1/shutdown", (request, reply) => {
    const asked = parse(shutdownRequest, request.body, "");
    reply.raw.once("close", () => deps.shutdown(asked));
    return reply.status(202).send({});
  });

  fastify.get("/events", (request, reply) => {
    const wantsStats = (request.query as { stats?: string }).stats === "1";
    reply.hijack();
    const end = openEventStream(reply.raw, {
      snapshot: () => ({
        type: "snapshot",
        info: deps.info(),
        servers: servers.observations(),
        operations: operations.all(),
        usage: gateway.usage(),
      }),
      heartbeat: (): DtmaEvent => ({ type: "heartbeat", at: Date.now(), docker: servers.condition() }),
      listen: deps.hub.listen,
      listenToStats: wantsStats ? deps.stats.listen : undefined,
    });
    open.add(end);
    links += 1;
    reply.raw.on("close", () => {
      links -= 1;
      open.delete(end);
    });
  });

  void fastify.register(async (mcp) => {
    // The gateway reads the body itself: it streams, and has its own limit.
    mcp.removeAllContentTypeParsers();
    mcp.addContentTypeParser("*", (_request, _payload, done) => done(null));
    mcp.all("/mcp/servers/:name/mcp", { config: { isMcp: true } }, async (request, reply) => {
      const name = nameOf(request);
      const token = guard.bearer(request.raw);
      if (token === undefined) throw new AppError("CONNECTION_REVOKED", { message: "A token is needed here." });
      const entry = access.find(name, token);
      if (entry === undefined && !guard.isToolboxToken(token)) {
        // The toolbox's own token is good here too, so here too it must not be guessed at any speed.
        const refusal = guard.refusal(request.raw);
        throw refusal.code === "LIMIT_REACHED" ? refusal : new AppError("CONNECTION_REVOKED");
      }
      reply.hijack();
      await gateway.handle(
        request.raw,
        reply.raw,
        name,
        entry === undefined ? { type: "toolbox" } : { type: "connection", entry },
      );
    });
  });

  return {
    async listen(host, port) {
      await fastify.listen({ host, port });
      const address = fastify.server.address();
      return { port: typeof address === "object" && address !== null ? address.port : port };
    },
    linkCount: () => links,
    async close() {
      for (const end of open) end();
      await fastify.close();
    },
  };
}

/** Plain or with TLS, it has the same face here; Fastify types the two apart by their raw server. */
function createFastify(certificate: Certificate | undefined): FastifyInstance {
  const options = { logger: false, bodyLimit: bodyBytes, requestTimeout: requestMs, forceCloseConnections: true };
  if (certificate === undefined) return Fastify(options);
  const { key, cert } = certificate;
  return Fastify({ ...options, https: { key, cert, minVersion: "TLSv1.2" } }) as unknown as FastifyInstance;
}

function nameOf(request: FastifyRequest): string {
  return parse(serverName, (request.params as { name: string }).name, "name");
}

/** INVALID_INPUT with the path of the first thing that is wrong. */
export function parse<T>(schema: z.ZodType<T>, value: unknown, root: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const field = [root, ...(issue?.path ?? [])]
    .map(String)
    .filter((part) => part !== "")
    .join(".");
  throw new AppError("INVALID_INPUT", {
    message: `${field === "" ? "The body" : field}: ${issue?.message ?? "not valid"}`,
    ...(field === "" ? {} : { field }),
  });
}

async function* toNdjson(lines: AsyncIterable<LogLine>): AsyncGenerator<string> {
  for await (const line of lines) yield `${JSON.stringify(line)}\n`;
}

/** The shape of the agent that ran on toolboxes before, for callers that only look whether it is well. */
function legacyStatus(info: DtmaInfo, servers: Servers) {
  return {
    status: info.docker.state === "up" ? "healthy" : "degraded",
    timestamp: new Date(info.now).toISOString(),
    version: info.version,
    service: "DTMA",
    environment: { hasAuthToken: true },
    tool_instances: servers.observations().map(({ container, spec, image }) => ({
      id: container.id,
      names: [spec.name],
      image: image.reference,
      image_id: image.digest,
      state: container.state,
      status: container.state,
    })),
  };
}
