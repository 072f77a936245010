import type { FastifyInstance } from "fastify";
import type { DtmaEvent, DtmaInfo } from "../../../shared/dtma-protocol.ts";
import type { EventHub } from "../events.ts";
import type { McpGateway } from "../gateway/gateway.ts";
import { expositionType } from "../metrics/exposition.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Operations } from "../operations.ts";
import type { Servers } from "../servers.ts";
import type { Stats } from "../stats.ts";
import { openEventStream } from "./event-stream.ts";
import type { Streams } from "./route.ts";

export type SeeingDeps = {
  servers: Servers;
  operations: Operations;
  gateway: McpGateway;
  hub: EventHub;
  stats: Stats;
  metrics: Metrics;
  info(): DtmaInfo;
};

/** What can be watched from outside. */
export function addSeeingRoutes(fastify: FastifyInstance, deps: SeeingDeps, streams: Streams): void {
  fastify.get("/metrics", async (_request, reply) => reply.type(expositionType).send(await deps.metrics.scrape()));

  // A HEAD of what has no end would be answered never.
  fastify.get("/events", { exposeHeadRoute: false }, (request, reply) => {
    const wantsStats = (request.query as { stats?: string }).stats === "1";
    reply.hijack();
    const end = openEventStream(reply.raw, {
      snapshot: () => ({
        type: "snapshot",
        info: deps.info(),
        servers: deps.servers.observations(),
        operations: deps.operations.all(),
        usage: deps.gateway.usage(),
      }),
      heartbeat: (): DtmaEvent => ({ type: "heartbeat", at: Date.now(), docker: deps.servers.condition() }),
      hub: deps.hub,
      lastEventId: oneHeader(request.headers["last-event-id"]),
      listenToStats: wantsStats ? deps.stats.listen : undefined,
    });
    const letGo = streams.keep(end);
    const unlink = streams.countLink();
    reply.raw.on("close", () => {
      unlink();
      letGo();
    });
  });
}

function oneHeader(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.at(-1) : value;
}
