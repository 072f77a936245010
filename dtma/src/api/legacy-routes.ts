import type { FastifyInstance } from "fastify";
import type { DtmaInfo } from "../../../shared/dtma-protocol.ts";
import type { Exposure } from "../exposure.ts";
import type { Servers } from "../servers.ts";

export type LegacyDeps = { info(): DtmaInfo; servers: Servers; exposure(): Promise<Exposure> };

/** The calls of the agent that ran on toolboxes before. */
export function addLegacyRoutes(fastify: FastifyInstance, deps: LegacyDeps): void {
  fastify.get("/system", async () => ({ exposure: await deps.exposure() }));
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
