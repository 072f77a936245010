import type { ServerEndpoint } from "../docker/server-process.ts";
import type { Session } from "./clients/session.ts";
import type { Failure } from "./messages/failure.ts";
import { errorCodes } from "./messages/json-rpc.ts";
import { createHttpUpstream, type HttpClient, openHttpClient } from "./servers/http-upstream.ts";
import { createSessionFace } from "./servers/session-face.ts";
import { createSharedUpstream } from "./servers/shared-upstream.ts";
import { createProcessUpstream } from "./servers/spare-upstream.ts";
import type { Spares } from "./servers/spares.ts";
import { createSseUpstream } from "./servers/sse-upstream.ts";
import { createStatelessHttpUpstream } from "./servers/stateless-http-upstream.ts";
import type { Upstream, UpstreamSink } from "./servers/upstream.ts";
import type { Worker } from "./servers/worker.ts";
import type { Want, WorkerPool } from "./servers/worker-pool.ts";
import { sharedWant } from "./wants.ts";

/** Opens the server's side of sessions and workers, whatever a server speaks and over whichever transport. */
export type ServerSide = {
  /** Of a session; undefined when the session has ended meanwhile. */
  open(session: Session): Promise<Upstream | undefined>;
  /** Makes a worker ready for calls. */
  openWorker(worker: Worker, want: Want): Promise<void>;
  close(): Promise<void>;
};

export function createServerSide(deps: {
  endpointOf(server: string): Promise<ServerEndpoint>;
  spares: Pick<Spares, "open">;
  pool: WorkerPool;
  limits: { answerMs: number; messageBytes: number };
}): ServerSide {
  const { limits, spares, pool } = deps;
  let client: Promise<HttpClient> | undefined;

  async function connect(
    server: string,
    endpoint: ServerEndpoint,
    isStateless: boolean,
  ): Promise<(sink: UpstreamSink) => Upstream> {
    if (endpoint.type === "stdio") {
      const process = await spares.open(server, endpoint);
      return (sink) => createProcessUpstream(process, sink, limits);
    }
    client ??= openHttpClient();
    const options = { messageBytes: limits.messageBytes, initializeMs: limits.answerMs, client: await client };
    const inSession = endpoint.speech?.isOldSse ? createSseUpstream : createHttpUpstream;
    return (sink) => (isStateless ? createStatelessHttpUpstream : inSession)(endpoint.url, sink, options);
  }

  /** Ids that nobody else has at a server that several reach. */
  const nextIdAt = async ({ type }: ServerEndpoint) => (type === "http" ? (await client)?.nextId : undefined);

  return {
    async open(session) {
      const endpoint = await deps.endpointOf(session.server);
      session.container = endpoint.container;
      if (!session.isOpen) return undefined;
      const { speech, isShared } = endpoint;
      // One process for all speaks without sessions where it can.
      const isStateless = isShared ? speech?.stateless === true : speech?.sessions === false;
      const want = isShared ? sharedWant(session.server, endpoint) : undefined;
      const connected = want
        ? (sink: UpstreamSink) => createSharedUpstream({ pool, want, isRaw: isStateless }, sink)
        : await connect(session.server, endpoint, isStateless);
      if (!isStateless) return connected(session);
      const nextId = await nextIdAt(endpoint);
      return createSessionFace(connected, session, { isHttp: endpoint.type === "http", nextId });
    },

    async openWorker(worker, want) {
      const late = setTimeout(() => void worker.end(silent(limits.answerMs)).catch(() => undefined), limits.answerMs);
      try {
        const endpoint = await deps.endpointOf(want.server);
        worker.container = endpoint.container;
        const isStateless = endpoint.speech?.stateless === true;
        const connected = await connect(want.server, endpoint, isStateless);
        const separates = endpoint.type === "http" && endpoint.speech?.isOldSse !== true;
        await worker.attach(connected(worker), separates, await nextIdAt(endpoint));
        if (!isStateless) await worker.initialize(want.initialize);
      } finally {
        clearTimeout(late);
      }
    },

    async close() {
      await (await client)?.destroy();
    },
  };
}

/** Why a session ends whose server has not answered `initialize`. */
export function silent(answerMs: number): Failure {
  const message = `The server did not answer initialize within ${Math.round(answerMs / 1_000)} s.`;
  return { status: 200, error: { code: errorCodes.failed, message, data: { code: "SERVER_SILENT" } } };
}
