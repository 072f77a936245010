import type { FastifyInstance } from "fastify";
import { accessEntry } from "../../../shared/dtma-protocol.ts";
import { AppError } from "../../../shared/errors.ts";
import { connectionId } from "../../../shared/model/ids.ts";
import type { AccessList } from "../access.ts";
import { paramOf, parse } from "./route.ts";

/** Who may reach servers through the MCP endpoint. */
export function addAccessRoutes(fastify: FastifyInstance, access: AccessList): void {
  fastify.get("/v1/access", () => access.all());
  fastify.put("/v1/access/:connectionId", { config: { body: accessEntry } }, async (request, reply) => {
    const entry = parse(accessEntry, request.body);
    if (entry.connectionId !== paramOf(request, "connectionId")) {
      throw new AppError("INVALID_INPUT", {
        message: "The connection in the address and the one in the body differ.",
        field: "connectionId",
      });
    }
    await access.put(entry);
    return reply.status(204).send();
  });
  fastify.delete("/v1/access/:connectionId", async (request, reply) => {
    await access.remove(parse(connectionId, paramOf(request, "connectionId"), "connectionId"));
    return reply.status(204).send();
  });
}
