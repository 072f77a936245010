import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { createDtmaClient, type DtmaClient } from "./dtma.ts";
import { createPinnedHttp } from "./http.ts";

const servers: Server[] = [];
const clients: DtmaClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function serve(answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function clientOf(answer: RequestListener): Promise<DtmaClient> {
  const client = createDtmaClient({ url: await serve(answer), fingerprint: null, getToken: async () => "a-token" });
  clients.push(client);
  return client;
}

describe("the client of a DTMA", () => {
  it("tells an address the DTMA does not answer at from a wrong token", async () => {
    const message = "This DTMA is not known by the name it was called by.";
    const error = { code: "FORBIDDEN", message, nextStep: "" };
    const client = await clientOf((_request, response) => response.writeHead(403).end(JSON.stringify({ error })));
    await expect(client.info()).rejects.toMatchObject({ code: "TOOLBOX_REFUSED", message });
  });

  it("says that the token was refused when it was", async () => {
    const client = await clientOf((_request, response) => response.writeHead(401).end());
    await expect(client.info()).rejects.toMatchObject({ code: "TOOLBOX_REFUSED", message: "The toolbox refused the token." });
  });

  it("names an answer that is no JSON for what it is", async () => {
    const client = await clientOf((_request, response) => response.end("<html>Welcome to this network</html>"));
    await expect(client.info()).rejects.toMatchObject({ code: "TOOLBOX_INCOMPATIBLE" });
  });

  it("names an answer that breaks off for what it is", async () => {
    const client = await clientOf((_request, response) => {
      response.writeHead(200, { "content-length": "100" });
      response.write('{"protocol":');
      setImmediate(() => response.destroy());
    });
    await expect(client.info()).rejects.toMatchObject({ code: "TOOLBOX_UNREACHABLE" });
  });
});

describe("HTTP towards a DTMA", () => {
  it("takes a redirect for an error, whatever the caller asked for", async () => {
    let followed = 0;
    const elsewhere = await serve((_request, response) => {
      followed += 1;
      response.end();
    });
    const url = await serve((_request, response) => response.writeHead(307, { location: elsewhere }).end());
    const http = createPinnedHttp(null);
    await expect(http.fetch(url, { redirect: "follow" })).rejects.toMatchObject({ code: "TOOLBOX_UNREACHABLE" });
    expect(followed).toBe(0);
    await http.close();
  });
});
