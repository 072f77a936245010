import type { FastifyInstance } from "fastify";
import type { DtmaInfo } from "../../../shared/dtma-protocol.ts";
import type { Servers } from "../servers.ts";

/** The calls of the agent that ran on toolboxes before. */
export function addLegacyRoutes(fastify: FastifyInstance, deps: { info(): DtmaInfo; servers: Servers }): void {
  fastify.get("/status", () => legacyStatus(deps.info(), deps.servers));
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
