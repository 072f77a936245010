import Fastify, { type FastifyInstance } from "fastify";
import { AppError } from "../../../shared/errors.ts";
import type { AccessList } from "../access.ts";
import type { Certificate } from "../certificate.ts";
import type { McpGateway } from "../gateway/gateway.ts";
import { notFoundBody } from "../legacy/answers.ts";
import type { Log } from "../log.ts";
import { addAccessRoutes } from "./access-routes.ts";
import { toFailure } from "./failures.ts";
import type { Guard } from "./guard.ts";
import { addLegacyRoutes, type LegacyDeps } from "./legacy-routes.ts";
import { addMcpRoute } from "./mcp-route.ts";
import type { RouteConfig, Streams } from "./route.ts";
import { addSeeingRoutes, type SeeingDeps } from "./seeing-routes.ts";
import { addServerRoutes, type ServerDeps } from "./server-routes.ts";
import { addToolboxRoutes, type ToolboxDeps } from "./toolbox-routes.ts";

/*
INVARIANTS
- Every route but `GET /health` asks for the toolbox's token; the MCP endpoint also takes a connection's.
- Input is parsed before anything is done with it; what is wrong is named by its path.
- Answers that are streams end with the request, and all of them when the DTMA stops.
*/

const bodyBytes = 4 * 2 ** 20;
const requestMs = 30_000;

export type ApiDeps = SeeingDeps &
  ServerDeps &
  ToolboxDeps &
  LegacyDeps & {
    certificate: Certificate | undefined;
    guard: Guard;
    access: AccessList;
    gateway: McpGateway;
    log: Log;
  };

export interface Api {
  /** The address it listens on. SettingsError-worthy failures are Node's own (EADDRINUSE, EACCES). */
  listen(host: string, port: number): Promise<{ port: number }>;
  /** Streams of events that are open: control centres that are linked now. */
  linkCount(): number;
  close(): Promise<void>;
}

export function createApi(deps: ApiDeps): Api {
  const { guard, log } = deps;
  const open = new Set<() => void>();
  let links = 0;
  const fastify = createFastify(deps.certificate);

  fastify.setErrorHandler((error, _request, reply) => {
    const { status, body } = toFailure(error, log);
    if (status === 401) void reply.header("www-authenticate", "Bearer");
    if (status === 429) void reply.header("retry-after", "60");
    return reply.status(status).send(body);
  });
  fastify.setNotFoundHandler((request, reply) => {
    if (!isOwnPath(request.url)) return reply.status(404).send(notFoundBody);
    const error = new AppError("NOT_FOUND", { message: "There is no such address here." });
    return reply.status(404).send({ error: error.toShape() });
  });
  fastify.addHook("onRequest", async (request) => {
    guard.checkPlace(request.raw);
    if (request.is404 && !isOwnPath(request.url)) return;
    const { isPublic, isMcp } = request.routeOptions.config as RouteConfig;
    if (isPublic === true || isMcp === true) return;
    const token = guard.bearer(request.raw);
    if (token === undefined || !guard.isToolboxToken(token)) throw guard.refusal(request.raw);
  });

  const streams: Streams = {
    keep(end) {
      open.add(end);
      return () => open.delete(end);
    },
    countLink() {
      links += 1;
      return () => {
        links -= 1;
      };
    },
  };
  addToolboxRoutes(fastify, deps);
  addServerRoutes(fastify, deps, streams);
  addAccessRoutes(fastify, deps.access);
  addSeeingRoutes(fastify, deps, streams);
  addLegacyRoutes(fastify, deps);
  addMcpRoute(fastify, deps);

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

/** What no agent before had; the rest of what does not exist is answered in its words, with or without a token. */
function isOwnPath(url: string): boolean {
  return /^\/v1(?:[/?]|$)/.test(url);
}

/** Plain or with TLS, it has the same face here; Fastify types the two apart by their raw server. */
function createFastify(certificate: Certificate | undefined): FastifyInstance {
  const options = { logger: false, bodyLimit: bodyBytes, requestTimeout: requestMs, forceCloseConnections: true };
  if (certificate === undefined) return Fastify(options);
  const { key, cert } = certificate;
  return Fastify({ ...options, https: { key, cert, minVersion: "TLSv1.2" } }) as unknown as FastifyInstance;
}
