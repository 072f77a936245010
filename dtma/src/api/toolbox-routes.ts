import type { FastifyInstance } from "fastify";
import { type DtmaInfo, reportingTarget, type ShutdownRequest, shutdownRequest } from "../../../shared/dtma-protocol.ts";
import type { Reporter } from "../report/index.ts";
import { parse } from "./route.ts";

export type ToolboxDeps = {
  reporter: Reporter;
  info(): DtmaInfo;
  shutdown(request: ShutdownRequest): void;
};

/** The toolbox as a whole. */
export function addToolboxRoutes(fastify: FastifyInstance, deps: ToolboxDeps): void {
  fastify.get("/health", { config: { isPublic: true } }, (_request, reply) => reply.type("text/plain").send("OK"));
  fastify.get("/v1/info", () => deps.info());

  fastify.get("/v1/reporting", () => deps.reporter.state());
  fastify.put("/v1/reporting", { config: { body: reportingTarget.nullable() } }, async (request, reply) => {
    await deps.reporter.setTarget(parse(reportingTarget.nullable(), request.body));
    return reply.status(204).send();
  });

  fastify.post("/v1/shutdown", { config: { body: shutdownRequest } }, (request, reply) => {
    const asked = parse(shutdownRequest, request.body);
    reply.raw.once("close", () => deps.shutdown(asked));
    return reply.status(202).send({});
  });
}
