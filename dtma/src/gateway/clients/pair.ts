import type { IncomingMessage } from "node:http";
import { header } from "../messages/header.ts";

/*
The HTTP+SSE pair of MCP 2024-11-05: a client opens a stream at one address, is told another one in its first event, and
posts its messages there; every answer comes on the stream. The session is as long as the stream.
*/

/** `mcp` is the one address of Streamable HTTP; the other two are the pair's. */
export type Place = "mcp" | "sse" | "message";

const methods: Record<Place, readonly string[]> = { mcp: ["POST", "GET", "DELETE"], sse: ["GET"], message: ["POST"] };

export function placeOf(request: IncomingMessage): Place {
  const last = (request.url ?? "").split("?", 1)[0]?.split("/").at(-1);
  return last === "sse" || last === "message" ? last : "mcp";
}

/** The methods that a place has, when the request's is none of them. */
export function otherMethods(place: Place, method: string | undefined): readonly string[] | undefined {
  return methods[place].includes(method ?? "") ? undefined : methods[place];
}

/** The session that a request names. */
export function sessionIdOf(request: IncomingMessage, place: Place): string | undefined {
  if (place !== "message") return header(request, "mcp-session-id");
  return new URLSearchParams((request.url ?? "").split("?", 2)[1]).get("sessionId") ?? undefined;
}

/**
 * Whether a GET opens the stream of a pair. Clients of that revision are often pointed at the one address of the newer
 * transport; they know none of its headers.
 */
export function opensPair(request: IncomingMessage, place: Place): boolean {
  if (request.method !== "GET") return false;
  const newer = ["mcp-session-id", "mcp-protocol-version", "last-event-id"];
  return place === "sse" || (place === "mcp" && newer.every((name) => request.headers[name] === undefined));
}

/** Where a client of the pair posts; without an origin, so that it is where the stream came from. */
export function messageAddress(server: string, sessionId: string): string {
  return `/mcp/servers/${server}/message?sessionId=${sessionId}`;
}
