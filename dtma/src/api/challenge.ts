import type { IncomingMessage } from "node:http";
import { TLSSocket } from "node:tls";
import { dtmaRealm } from "../../../shared/dtma-protocol.ts";

/*
What a client without access is told: RFC 6750 challenges and RFC 9728 metadata.

INVARIANTS
- Both are the same for every name a server could have: neither tells which servers there are.
- Addresses are made of the Host header, which has been checked by then (`Guard.checkPlace`) and is free of quotes.
*/

const metadataPath = "/.well-known/oauth-protected-resource";

export type Refusal = { error?: "invalid_token" | "insufficient_scope"; description: string };

/** Scheme and host by which the client called. */
function originOf({ socket, headers }: IncomingMessage): string {
  return `${socket instanceof TLSSocket ? "https" : "http"}://${headers.host}`;
}

/** Value of a WWW-Authenticate header. `error` is left out for a request without a token (RFC 6750, 3.1). */
export function challenge(request: IncomingMessage, resourcePath: string, { error, description }: Refusal): string {
  const parameters = [
    `realm="${dtmaRealm}"`,
    `resource_metadata="${originOf(request)}${metadataPath}${resourcePath}"`,
    ...(error === undefined ? [] : [`error="${error}"`, `error_description="${description}"`]),
  ];
  return `Bearer ${parameters.join(", ")}`;
}

export type ResourceMetadata = { resource: string; bearer_methods_supported: string[]; resource_name: string };

/** Where metadata of a resource is found (RFC 9728, 3.1). */
export function metadataPathOf(resourcePath: string): string {
  return `${metadataPath}${resourcePath}`;
}

/** No authorization server is named: tokens are handed out by control centres (docs/decisions/0021). */
export function resourceMetadata(request: IncomingMessage, resourcePath: string): ResourceMetadata {
  return {
    resource: `${originOf(request)}${resourcePath}`,
    bearer_methods_supported: ["header"],
    resource_name: "MCP servers of a DTMA",
  };
}
