import { Readable } from "node:stream";
import type { FastifyInstance } from "fastify";
import { z } from "zod";
import { deployRequest, type LogLine, type SecretState, secretValue } from "../../../shared/dtma-protocol.ts";
import { AppError } from "../../../shared/errors.ts";
import { environmentName } from "../../../shared/model/spec.ts";
import type { Log } from "../log.ts";
import type { Operations } from "../operations.ts";
import { checkRefused } from "../refused.ts";
import type { Releases } from "../releases.ts";
import type { LogOptions } from "../server-logs.ts";
import type { Server, Servers } from "../servers.ts";
import { nameOf, paramOf, parse, type Streams } from "./route.ts";

const maxLogTail = 10_000;

export type ServerDeps = {
  servers: Servers;
  operations: Operations;
  releases: Releases;
  secretsOf(server: Server): Promise<SecretState[]>;
  logs(name: string, options: LogOptions): AsyncIterable<LogLine>;
  log: Log;
};

const logQuery = z.object({
  tail: z.coerce.number().int().min(0).max(maxLogTail).default(200),
  since: z.coerce.number().min(0).default(0),
  follow: z.enum(["0", "1", "true", "false"]).default("0"),
  search: z.string().min(1).max(256).optional(),
});

/** Servers, what is done to them, and what they write. */
export function addServerRoutes(fastify: FastifyInstance, deps: ServerDeps, streams: Streams): void {
  const { servers, operations, log } = deps;

  fastify.get("/v1/servers", () => servers.observations());
  fastify.put("/v1/servers/:name", { config: { body: deployRequest } }, async (request, reply) => {
    checkRefused(request.body);
    const operationId = await operations.deploy(nameOf(request), parse(deployRequest, request.body));
    return reply.status(202).send({ operationId });
  });
  for (const kind of ["start", "stop", "restart"] as const) {
    fastify.post(`/v1/servers/:name/${kind}`, async (request, reply) =>
      reply.status(202).send({ operationId: await operations.begin(kind, nameOf(request)) }),
    );
  }
  fastify.delete("/v1/servers/:name", async (request, reply) =>
    reply.status(202).send({ operationId: await operations.begin("delete", nameOf(request)) }),
  );

  const mustHave = (name: string): Server => {
    const server = servers.get(name);
    if (server === undefined) throw new AppError("NOT_FOUND", { message: `This toolbox has no server named ${name}.` });
    return server;
  };
  fastify.post("/v1/servers/:name/rollback", async (request, reply) =>
    reply.status(202).send({ operationId: await operations.rollback(nameOf(request)) }),
  );
  fastify.get("/v1/servers/:name/releases", (request) => deps.releases.list(mustHave(nameOf(request)).spec.name));

  fastify.get("/v1/servers/:name/secrets", (request) => deps.secretsOf(mustHave(nameOf(request))));
  fastify.put("/v1/servers/:name/secrets/:secret", { config: { body: secretValue } }, async (request, reply) => {
    const secret = parse(environmentName, paramOf(request, "secret"), "secret");
    const { value } = parse(secretValue, request.body);
    const operationId = await operations.rotate(nameOf(request), { values: { [secret]: value } });
    return reply.status(202).send({ operationId });
  });
  fastify.delete("/v1/servers/:name/secrets/:secret", async (request, reply) => {
    const secret = parse(environmentName, paramOf(request, "secret"), "secret");
    return reply.status(202).send({ operationId: await operations.rotate(nameOf(request), { removed: [secret] }) });
  });

  fastify.get("/v1/servers/:name/logs", { exposeHeadRoute: false, config: { query: logQuery } }, (request, reply) => {
    const name = nameOf(request);
    const { tail, since, follow, search } = parse(logQuery, request.query);
    mustHave(name);
    servers.mustHaveEngine();
    const isFollowing = follow === "1" || follow === "true";
    reply.hijack();
    const { raw } = reply;
    raw.writeHead(200, { "content-type": "application/x-ndjson", "cache-control": "no-store" });
    raw.flushHeaders();
    const stop = new AbortController();
    const end = () => stop.abort();
    const letGo = streams.keep(end);
    raw.on("close", end);
    const lines = deps.logs(name, { tail, sinceMs: since, follow: isFollowing, search, signal: stop.signal });
    Readable.from(toNdjson(lines))
      .on("error", (error) => {
        if (!stop.signal.aborted) log.error("logs.stream-failed", error, { server: name });
        raw.destroy();
      })
      .pipe(raw)
      .on("close", letGo);
  });

  fastify.get("/v1/operations/:id", (request) => {
    const operation = operations.get(paramOf(request, "id") ?? "");
    if (operation === undefined) throw new AppError("NOT_FOUND", { message: "There is no such operation." });
    return operation;
  });
  fastify.delete("/v1/operations/:id", (request, reply) => {
    operations.cancel(paramOf(request, "id") ?? "");
    return reply.status(202).send({});
  });
}

async function* toNdjson(lines: AsyncIterable<LogLine>): AsyncGenerator<string> {
  for await (const line of lines) yield `${JSON.stringify(line)}\n`;
}
