import type { FastifyInstance, FastifyRequest } from "fastify";
import { registryCredentials, registryHost } from "../../../shared/dtma-protocol.ts";
import { canonicalRegistry } from "../docker/image-name.ts";
import type { Registries } from "../images/registries.ts";
import { paramOf, parse } from "./route.ts";

/** Credentials of private registries: in by password, out without it. */
export function addRegistryRoutes(fastify: FastifyInstance, registries: Registries): void {
  fastify.get("/v1/registries", () => registries.all());
  fastify.put("/v1/registries/:registry", async (request, reply) => {
    await registries.put(registryIn(request), parse(registryCredentials, request.body));
    return reply.status(204).send();
  });
  fastify.delete("/v1/registries/:registry", async (request, reply) => {
    await registries.remove(registryIn(request));
    return reply.status(204).send();
  });
}

function registryIn(request: FastifyRequest): string {
  return parse(registryHost, canonicalRegistry(paramOf(request, "registry") ?? ""), "registry");
}
