import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { ErrorCode } from "../../../shared/errors.ts";
import type { AccessList } from "../access.ts";
import type { McpGateway } from "../gateway/gateway.ts";
import { errorAnswer, errorCodes } from "../gateway/messages/json-rpc.ts";
import type { Log } from "../log.ts";
import type { Callers } from "./callers.ts";
import { challenge, metadataPathOf, type Refusal, resourceMetadata } from "./challenge.ts";
import { toFailure } from "./failures.ts";
import type { Guard } from "./guard.ts";
import { nameOf } from "./route.ts";

/** Streamable HTTP, and the two of the older HTTP+SSE. */
const places = ["mcp", "sse", "message"];

/** The MCP endpoint: authenticates, then hands the untouched request to the gateway. What it refuses is JSON-RPC too. */
export function addMcpRoute(
  fastify: FastifyInstance,
  { guard, access, gateway, log }: { guard: Guard; access: AccessList; gateway: McpGateway; log: Log },
  callers: Callers,
): void {
  void fastify.register(async (mcp) => {
    // The gateway reads the body itself: it streams, and has its own limit.
    mcp.removeAllContentTypeParsers();
    mcp.addContentTypeParser("*", (_request, _payload, done) => done(null));
    mcp.setErrorHandler((error, _request, reply) => {
      const { status, body } = toFailure(error, log);
      if (status === 429) void reply.header("retry-after", "60");
      const { code, message } = body.error;
      return sendError(reply, status, { code: errorCodes.failed, message, data: { code } });
    });
    const serve = async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
      const name = nameOf(request);
      const token = guard.connectionToken(request.raw);
      if (token === undefined) return refuse(request, reply, 401, { description: "A token is needed here." });
      const entry = access.find(name, token);
      const tokenId = entry === undefined ? guard.toolboxToken(token, request.raw) : undefined;
      if (entry === undefined && tokenId === undefined) {
        if (access.isKnown(token)) return refuse(request, reply, 403, otherServer);
        // The toolbox's own token is good here too, so here too it must not be guessed at any speed.
        const refusal = guard.refusal(request.raw);
        if (refusal.code === "LIMIT_REACHED") throw refusal;
        return refuse(request, reply, 401, noLonger);
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
    for (const place of places) mcp.all(`/mcp/servers/:name/${place}`, { config: { isMcp: true } }, serve);
  });

  fastify.get(metadataPathOf(""), { config: { isPublic: true } }, (request) => resourceMetadata(request.raw, ""));
  for (const place of places) {
    fastify.get(metadataPathOf(`/mcp/servers/:name/${place}`), { config: { isPublic: true } }, (request) =>
      resourceMetadata(request.raw, `/mcp/servers/${nameOf(request)}/${place}`),
    );
  }
}

const noLonger: Refusal = {
  error: "invalid_token",
  description: "The toolbox does not accept this token: it is unknown, was revoked or has ended.",
};
const otherServer: Refusal = { error: "insufficient_scope", description: "This token is for another server." };

function refuse(request: FastifyRequest, reply: FastifyReply, status: 401 | 403, refusal: Refusal): FastifyReply {
  void reply.header("www-authenticate", challenge(request.raw, pathOf(request), refusal));
  const code: ErrorCode = status === 401 ? "CONNECTION_REVOKED" : "FORBIDDEN";
  return sendError(reply, status, { code: errorCodes.failed, message: refusal.description, data: { code } });
}

/** The path that was called, made of what is known of it. */
function pathOf(request: FastifyRequest): string {
  return request.routeOptions.url?.replace(":name", nameOf(request)) ?? "";
}

function sendError(reply: FastifyReply, status: number, error: Parameters<typeof errorAnswer>[1]): FastifyReply {
  return reply.status(status).type("application/json").send(errorAnswer(undefined, error));
}
