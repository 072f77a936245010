import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, it } from "vitest";
import { accessEntry } from "../../../shared/dtma-protocol.ts";
import { createGuard } from "./guard.ts";
import { addMcpEntrance } from "./mcp-entrance.ts";

const token = "the-token-of-a-connection";
const entry = accessEntry.parse({
  connectionId: "00000000-0000-4000-8000-000000000001",
  server: "files",
  tokenHash: "0".repeat(64),
  allowedTools: null,
});

const server = createServer((_request, response) => response.writeHead(404, { "x-served-by": "routes" }).end());
let trusted = 0;
addMcpEntrance(server, {
  guard: createGuard({ tokens: { find: () => undefined }, allowedHosts: [] }),
  access: { find: (name, shown) => (name === "files" && shown === token ? entry : undefined) },
  connections: { trust: () => trusted++ },
  gateway: {
    async handle(_request, response, name, caller) {
      response.writeHead(200, { "x-served-by": `gateway ${name} ${caller.type}` }).end();
    },
  },
});

beforeEach(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve)));
afterEach(() => new Promise<unknown>((resolve) => server.close(resolve)));

function send(path: string, headers: Record<string, string>): Promise<Record<string, unknown>> {
  const { port } = server.address() as AddressInfo;
  return new Promise((resolve, reject) => {
    request({ port, host: "127.0.0.1", path, method: "POST", headers, agent: false }, (response) => {
      response.resume();
      resolve(response.headers);
    })
      .on("error", reject)
      .end();
  });
}

const authorization = `Bearer ${token}`;
const own = { "dtma-connection-token": token };

it("leads a connection with its token straight to the gateway, with the headers of every answer", async () => {
  const before = trusted;
  expect(await send("/mcp/servers/files/mcp", { authorization })).toMatchObject({
    "x-served-by": "gateway files connection",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
  });
  expect(trusted).toBe(before + 1);
});

it("takes the token from the header made for it, where the bearer token is somebody else's", async () => {
  const theirs = { authorization: "Bearer of-a-gateway-in-front" };
  expect(await send("/mcp/servers/files/mcp", { ...theirs, ...own })).toMatchObject({
    "x-served-by": "gateway files connection",
  });
});

it.each([
  ["without a token", "/mcp/servers/files/mcp", {}],
  ["with a token that is none of its server's", "/mcp/servers/other/mcp", { authorization }],
  ["with a token that is nobody's", "/mcp/servers/files/mcp", { authorization: "Bearer something-else-altogether" }],
  ["with another token in the header made for it", "/mcp/servers/files/mcp", { authorization, "dtma-connection-token": "no" }],
  ["from a page of another origin", "/mcp/servers/files/mcp", { authorization, origin: "https://elsewhere.example" }],
  ["by a name that is not this host's", "/mcp/servers/files/mcp", { authorization, host: "rebound.example" }],
  ["on the older pair of addresses", "/mcp/servers/files/sse", { authorization }],
  ["with a query", "/mcp/servers/files/mcp?x=1", { authorization }],
  ["by another spelling", "/mcp/servers/%66iles/mcp", { authorization }],
] as const)("leaves a request %s to the routes", async (_what, path, headers) => {
  expect(await send(path, headers)).toMatchObject({ "x-served-by": "routes" });
});
