import { createHash } from "node:crypto";
import type { ServerEndpoint } from "../docker/server-process.ts";
import type { Visit } from "./gateway.ts";
import { type Envelope, statelessRevision } from "./messages/envelope.ts";
import { newestSessionRevision } from "./messages/revisions.ts";
import type { Want } from "./servers/worker-pool.ts";

/*
Which processes may serve a request without a session.

INVARIANTS
- A process that one connection had serves no other, and no client that said something else of itself; only a template that
  wants one process for everybody has it otherwise.
*/

const ourselves = '{"name":"dtma","version":"1"}';
const everyAbility = '{"sampling":{},"elicitation":{"form":{},"url":{}},"roots":{}}';

/** Which workers may serve a request. */
export function wantOf(server: string, endpoint: ServerEndpoint, visit: Visit, envelope: Envelope): Want {
  if (endpoint.isShared === true) return sharedWant(server, endpoint);
  const { bytes } = envelope.message;
  const own = (span: { start: number; end: number }): string => bytes.toString("utf8", span.start, span.end);
  const capabilities = own(envelope.capabilities);
  const clientInfo = envelope.clientInfo === undefined ? ourselves : own(envelope.clientInfo);
  const initialize = `{"protocolVersion":"${newestSessionRevision}","capabilities":${capabilities},"clientInfo":${clientInfo}}`;
  const isStateless = endpoint.speech?.stateless === true;
  const signature = isStateless ? statelessRevision : digest(initialize);
  const owner = visit.connectionId;
  const key = [server, endpoint.container ?? "", owner ?? "", signature].join(" ");
  const { container } = endpoint;
  const separates = endpoint.type === "http";
  return { key, server, container, owner, isShared: false, separates, isCommon: separates && isStateless, initialize };
}

/** The one process that all clients of a server share. */
export function sharedWant(server: string, endpoint: ServerEndpoint): Want {
  const initialize = `{"protocolVersion":"${newestSessionRevision}","capabilities":${everyAbility},"clientInfo":${ourselves}}`;
  const { container } = endpoint;
  return {
    key: [server, container ?? "", "*", endpoint.speech?.stateless === true ? statelessRevision : ""].join(" "),
    server,
    container,
    owner: undefined,
    isShared: true,
    separates: false,
    isCommon: false,
    initialize,
  };
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("base64");
}
