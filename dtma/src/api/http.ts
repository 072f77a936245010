import type { ServerOptions, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import Fastify, { type FastifyInstance, type FastifyServerOptions } from "fastify";
import { AppError } from "../../../shared/errors.ts";
import type { Certificate, KeyAndCertificate } from "../certificate.ts";
import type { Log } from "../log.ts";
import type { Connections } from "./connections.ts";
import { toFailure } from "./failures.ts";

/*
The HTTP server below the routes.

INVARIANTS
- Nobody holds a connection by being slow: handshake, headers and the whole request have a deadline each, and so has every
  answer that is not a stream (504). Calls of the agent before last as long as what they ask for, so theirs is longer.
- What the parser refuses is answered in the same form as everything else.
- A renewed certificate is served from the next connection on; those that are open stay.
*/

const bodyBytes = 4 * 2 ** 20;
const answerMs = 60_000;
const longAnswerMs = 60 * 60_000;
const requestMs = 30_000;
/** Longer than the pauses of a client that keeps its connections, so that it does not meet a closing one. */
const idleMs = 30_000;
const socketOptions: ServerOptions = {
  maxHeaderSize: 16_384,
  headersTimeout: 15_000,
  // How often the two deadlines are looked at.
  connectionsCheckingInterval: 5_000,
};
const maxHeaders = 100;
const handshakeMs = 10_000;

/** Input is parsed with the schemas of shared/; without these two, fastify loads its own kind of schemas and their compilers. */
const noSchemas = {
  buildValidator: () => () => () => true,
  buildSerializer: () => () => (value: unknown) => JSON.stringify(value),
} as unknown as NonNullable<NonNullable<FastifyServerOptions["schemaController"]>["compilersFactory"]>;

type HttpDeps = {
  certificate: Certificate | undefined;
  clientCa: string | undefined;
  connections: Connections;
  log: Log;
};

/** Plain or with TLS, it has the same face here; Fastify types the two apart by their raw server. */
export function createHttp({ certificate, clientCa, connections, log }: HttpDeps): FastifyInstance {
  const options = {
    logger: false,
    bodyLimit: bodyBytes,
    requestTimeout: requestMs,
    keepAliveTimeout: idleMs,
    forceCloseConnections: true,
    schemaController: { compilersFactory: noSchemas },
    clientErrorHandler: refuseUnreadable,
    frameworkErrors: (error, _request, reply) => {
      setHeaders(reply.raw);
      const { status, body } = toFailure(error, log);
      void reply.status(status as never).send(body as never);
    },
  } satisfies FastifyServerOptions;
  let fastify: FastifyInstance;
  if (certificate === undefined) fastify = Fastify({ ...options, http: socketOptions });
  else {
    const context = ({ key, cert }: KeyAndCertificate) => ({
      key,
      cert,
      minVersion: "TLSv1.2" as const,
      ...(clientCa === undefined ? {} : { ca: clientCa }),
    });
    const https = {
      ...socketOptions,
      ...context(certificate.current()),
      handshakeTimeout: handshakeMs,
      requestCert: clientCa !== undefined,
      rejectUnauthorized: clientCa !== undefined,
    };
    const secure = Fastify({ ...options, https });
    certificate.onRenewed((renewed) => secure.server.setSecureContext(context(renewed)));
    fastify = secure as unknown as FastifyInstance;
  }
  fastify.server.maxHeadersCount = maxHeaders;
  connections.watch(fastify.server);
  fastify.addHook("onRoute", (route) => {
    const isOwn = /^\/(v1\/|events$|metrics$|health$)/.test(route.url);
    route.handlerTimeout ??= isOwn ? answerMs : longAnswerMs;
  });
  fastify.addHook("onRequest", async (_request, reply) => setHeaders(reply.raw));
  return fastify;
}

/** On the raw answer, so that streams carry them too; one that has a word of its own about caching says it. */
export function setHeaders(response: ServerResponse): void {
  response.setHeader("x-content-type-options", "nosniff");
  response.setHeader("cache-control", "no-store");
}

const statuses: Record<string, [number, string]> = {
  HPE_HEADER_OVERFLOW: [431, "Request Header Fields Too Large"],
  ERR_HTTP_REQUEST_TIMEOUT: [408, "Request Timeout"],
};

/** Only on a connection that has carried nothing yet: elsewhere it could get into the middle of an answer. */
function refuseUnreadable(error: NodeJS.ErrnoException, socket: Socket): void {
  if (socket.writable && socket.bytesWritten === 0 && error.code !== "ECONNRESET") {
    const [status, reason] = statuses[error.code ?? ""] ?? [400, "Bad Request"];
    const shape = new AppError("INVALID_INPUT", { message: "The request cannot be understood." }).toShape();
    const body = JSON.stringify({ error: shape });
    const head = `HTTP/1.1 ${status} ${reason}\r\ncontent-type: application/json; charset=utf-8\r\nconnection: close`;
    socket.end(`${head}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  }
  socket.destroySoon();
}
