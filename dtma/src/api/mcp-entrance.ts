import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AccessList } from "../access.ts";
import type { McpGateway } from "../gateway/gateway.ts";
import type { Connections } from "./connections.ts";
import type { Guard } from "./guard.ts";
import { setHeaders } from "./http.ts";

/*
The short way into the MCP endpoint, before the routes: tool calls are most of what a toolbox is asked, and finding their
route takes as long as serving them.

INVARIANTS
- It lets in whom the route in mcp-route.ts lets in, by the same guard and the same list: a connection with its token.
- It refuses nobody and answers nothing itself: whatever is not plainly right goes on to the routes.
*/

const plainPath = /^\/mcp\/servers\/([a-z0-9-]+)\/mcp$/;

type EntranceDeps = {
  guard: Pick<Guard, "checkPlace" | "connectionToken">;
  access: Pick<AccessList, "find">;
  gateway: Pick<McpGateway, "handle">;
  connections: Pick<Connections, "trust">;
};

/** Puts the entrance before what the server does with requests so far. */
export function addMcpEntrance(server: Server, { guard, access, gateway, connections }: EntranceDeps): void {
  function isServed(request: IncomingMessage, response: ServerResponse): boolean {
    const name = plainPath.exec(request.url ?? "")?.[1];
    if (name === undefined) return false;
    try {
      guard.checkPlace(request);
    } catch {
      return false;
    }
    const token = guard.connectionToken(request);
    const entry = token === undefined ? undefined : access.find(name, token);
    if (entry === undefined) return false;
    connections.trust(request.socket);
    setHeaders(response);
    void gateway.handle(request, response, name, { type: "connection", entry });
    return true;
  }

  const routes = server.listeners("request") as ((request: IncomingMessage, response: ServerResponse) => void)[];
  server.removeAllListeners("request");
  server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    if (isServed(request, response)) return;
    for (const route of routes) route(request, response);
  });
}
