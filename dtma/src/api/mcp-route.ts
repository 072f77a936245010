import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { AppError } from "../../../shared/errors.ts";
import type { AccessList } from "../access.ts";
import type { McpGateway } from "../gateway/gateway.ts";
import type { Callers } from "./callers.ts";
import type { Guard } from "./guard.ts";
import { nameOf } from "./route.ts";

/** The MCP endpoint: authenticates, then hands the untouched request to the gateway. */
export function addMcpRoute(
  fastify: FastifyInstance,
  { guard, access, gateway }: { guard: Guard; access: AccessList; gateway: McpGateway },
  callers: Callers,
): void {
  void fastify.register(async (mcp) => {
    // The gateway reads the body itself: it streams, and has its own limit.
    mcp.removeAllContentTypeParsers();
    mcp.addContentTypeParser("*", (_request, _payload, done) => done(null));
    const serve = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
      const token = guard.bearer(request.raw);
      if (token === undefined) throw new AppError("CONNECTION_REVOKED", { message: "A token is needed here." });
      const name = nameOf(request);
      const entry = access.find(name, token);
      const tokenId = entry === undefined ? guard.toolboxToken(token, request.raw) : undefined;
      if (entry === undefined && tokenId === undefined) {
        // The toolbox's own token is good here too, so here too it must not be guessed at any speed.
        const refusal = guard.refusal(request.raw);
        throw refusal.code === "LIMIT_REACHED" ? refusal : new AppError("CONNECTION_REVOKED");
      }
      callers.welcome(request, reply, tokenId);
      reply.hijack();
      await gateway.handle(
        request.raw,
        reply.raw,
        name,
        entry === undefined ? { type: "toolbox" } : { type: "connection", entry },
      );
    };
    for (const place of ["mcp", "sse", "message"]) mcp.all(`/mcp/servers/:name/${place}`, { config: { isMcp: true } }, serve);
  });
}
