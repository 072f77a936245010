import { AppError } from "../../../shared/errors.ts";
import type { AccessList } from "../access.ts";
import type { McpGateway } from "../gateway/gateway.ts";
import type { Registries } from "../images/registries.ts";
import { notFoundBody } from "../legacy/answers.ts";
import type { Log } from "../log.ts";
import { addAccessRoutes } from "./access-routes.ts";
import { callerOf } from "./address.ts";
import { createCallers, isChange } from "./callers.ts";
import { createConnections } from "./connections.ts";
import { addCredentialRoutes, type CredentialDeps } from "./credential-routes.ts";
import { toFailure } from "./failures.ts";
import type { Guard } from "./guard.ts";
import { createHttp } from "./http.ts";
import { addLegacyRoutes, type LegacyDeps } from "./legacy-routes.ts";
import type { Limits } from "./limits.ts";
import { addMcpEntrance } from "./mcp-entrance.ts";
import { addMcpRoute } from "./mcp-route.ts";
import { addRegistryRoutes } from "./registry-routes.ts";
import type { RouteConfig, RouteFace, Streams } from "./route.ts";
import { addSeeingRoutes, type SeeingDeps } from "./seeing-routes.ts";
import { addServerRoutes, type ServerDeps } from "./server-routes.ts";
import { addToolboxRoutes, type ToolboxDeps } from "./toolbox-routes.ts";

/*
INVARIANTS
- Every route but `GET /health`, `POST /v1/enrol` and the metadata of the MCP endpoint asks for a token of the toolbox; the
  endpoint also takes a connection's. It has limits and accounts of its own, and is in neither the limits nor the audit of this API.
- Input is parsed before anything is done with it; what is wrong is named by its path.
- Answers that are streams end with the request, and all of them when the DTMA stops.
*/

export type ApiDeps = SeeingDeps &
  ServerDeps &
  ToolboxDeps &
  LegacyDeps &
  CredentialDeps & {
    guard: Guard;
    limits: Limits;
    /** PEM of the authority that clients need a certificate of. */
    clientCa: string | undefined;
    access: AccessList;
    registries: Registries;
    gateway: McpGateway;
    log: Log;
    /** Told of every route there is. */
    onRoute?(route: RouteFace): void;
  };

export interface Api {
  /** The address it listens on. SettingsError-worthy failures are Node's own (EADDRINUSE, EACCES). */
  listen(host: string, port: number): Promise<{ port: number }>;
  /** Streams of events that are open: control centres that are linked now. */
  linkCount(): number;
  close(): Promise<void>;
}

export function createApi(deps: ApiDeps): Api {
  const { guard, limits, log } = deps;
  const open = new Set<() => void>();
  let links = 0;
  const connections = createConnections();
  const callers = createCallers({ ...deps, connections });
  const fastify = createHttp({ ...deps, connections });

  fastify.setErrorHandler((error, _request, reply) => {
    const { status, body } = toFailure(error, log);
    if (status === 401) void reply.header("www-authenticate", "Bearer");
    if (status === 429 && !reply.hasHeader("retry-after")) void reply.header("retry-after", "60");
    return reply.status(status).send(body);
  });
  fastify.setNotFoundHandler((request, reply) => {
    if (!isOwnPath(request.url)) return reply.status(404).send(notFoundBody);
    const error = new AppError("NOT_FOUND", { message: "There is no such address here." });
    return reply.status(404).send({ error: error.toShape() });
  });
  fastify.addHook("onRoute", ({ method, url, config }) => {
    for (const each of [method].flat()) deps.onRoute?.({ method: each, path: url, config: (config ?? {}) as RouteConfig });
  });
  fastify.addHook("onRequest", async (request, reply) => {
    const { isPublic, isMcp } = request.routeOptions.config as RouteConfig;
    if (isMcp === true) return guard.checkPlace(request.raw);
    const changes = isChange(request.method);
    const letIn = changes ? callers.note(request, reply) : undefined;
    guard.checkPlace(request.raw);

    const token = guard.bearer(request.raw);
    const tokenId = token === undefined ? undefined : guard.toolboxToken(token, request.raw);
    if (tokenId !== undefined) callers.welcome(request, reply, tokenId);
    const waitSeconds =
      tokenId === undefined ? limits.stranger(callerOf(request.ip)) : changes ? limits.change(tokenId) : undefined;
    if (waitSeconds !== undefined) {
      void reply.header("retry-after", String(waitSeconds));
      throw new AppError("LIMIT_REACHED", { message: "Too many requests came in the last minute." });
    }
    const isNowhere = request.is404 && !isOwnPath(request.url);
    if (tokenId === undefined && isPublic !== true && !isNowhere) throw guard.refusal(request.raw);
    if (!request.is404) await letIn?.();
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
  addCredentialRoutes(fastify, deps);
  addRegistryRoutes(fastify, deps.registries);
  addSeeingRoutes(fastify, deps, streams);
  addLegacyRoutes(fastify, deps);
  addMcpRoute(fastify, deps, callers);
  addMcpEntrance(fastify.server, { ...deps, connections });

  return {
    async listen(host, port) {
      // Fastify would bind both loopback addresses, and the second server is out of the reach of http.ts.
      await fastify.listen({ host: host === "localhost" ? "127.0.0.1" : host, port });
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
