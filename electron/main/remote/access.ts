import { extractWWWAuthenticateParams } from "@modelcontextprotocol/client";
import type { RequestInit, Response } from "undici";
import { connectionTokenHeader, dtmaRealm } from "../../../shared/dtma-protocol.ts";
import type { McpTarget } from "./mcp.ts";

/*
With what a call comes to an MCP endpoint, and what it says when that is not enough.

INVARIANTS
- The connection's token has a header of its own. `Authorization` belongs to what stands in front of a toolbox: it never gets a
  bearer token that it did not give (MCP specification, Authorization: Token Handling).
- What a DTMA itself refuses is never a reason to sign in.
*/

/** The endpoint, or what stands in front of it, wants another access token. Nothing has reached a server. */
export class AccessNeeded extends Error {
  override readonly name = "AccessNeeded";
  readonly status: 401 | 403;
  readonly resourceMetadataUrl: URL | undefined;
  readonly scope: string | undefined;
  /** The access token that was not enough. */
  readonly sent: string | undefined;

  constructor(status: 401 | 403, response: Response, sent: string | undefined) {
    super(`The endpoint answered with status ${status}.`);
    const { resourceMetadataUrl, scope } = extractWWWAuthenticateParams(response as never);
    this.status = status;
    this.resourceMetadataUrl = resourceMetadataUrl;
    this.scope = scope;
    this.sent = sent;
  }
}

/** Sends a connection's calls with what it has; throws AccessNeeded for an answer that asks for another access token. */
export function fetchWithAccess({ endpoint, token }: McpTarget, accessToken: () => Promise<string | undefined>) {
  return async (url: string | URL, init: RequestInit = {}): Promise<Response> => {
    const access = await accessToken();
    const headers = new Headers(init.headers as ConstructorParameters<typeof Headers>[0]);
    headers.set(connectionTokenHeader, token);
    if (access !== undefined) headers.set("authorization", `Bearer ${access}`);
    const response = await endpoint.fetch(url, { ...init, headers: [...headers] });
    const status = neededStatus(response);
    if (status === undefined) return response;
    await response.body?.cancel();
    throw new AccessNeeded(status, response, access);
  };
}

function neededStatus({ status, headers }: Response): 401 | 403 | undefined {
  const challenge = headers.get("www-authenticate") ?? "";
  if (challenge.includes(`realm="${dtmaRealm}"`)) return undefined;
  if (status === 401) return 401;
  return status === 403 && /\berror="?insufficient_scope\b/.test(challenge) ? 403 : undefined;
}
