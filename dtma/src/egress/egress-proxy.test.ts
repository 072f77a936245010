import { connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createLog } from "../log.ts";
import { createEgressProxy, type EgressClient, type EgressProxy } from "./egress-proxy.ts";

const host = "127.0.0.1";

describe("the way out of restricted servers", () => {
  let client: () => Promise<EgressClient | undefined>;
  let lines: string[];
  let proxy: EgressProxy;

  beforeEach(async () => {
    client = async () => ({ name: "one", allowedHosts: ["listed.example.com", "*.example.com:80"] });
    lines = [];
    proxy = createEgressProxy({
      findClient: () => client(),
      log: createLog((line) => lines.push(line)),
      resolve: async (name) => {
        if (name.startsWith("missing")) throw new Error("ENOTFOUND");
        return ["127.0.0.1"];
      },
    });
    await proxy.listen(host, 0);
  });
  afterEach(() => proxy.close());

  const open = () => connect({ host, port: proxy.address()?.port ?? 0 });
  const ask = (request: string) => text(open().end(request, "latin1"));
  const connectTo = (target: string) => ask(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);

  it("denies what is not listed, counts it, and logs a repeated wish once", async () => {
    expect(await connectTo("other.example.org:443")).toMatch(/^HTTP\/1\.1 403 [\s\S]*not among this server's allowed hosts/);
    expect(await connectTo("other.example.org:443")).toMatch(/^HTTP\/1\.1 403 /);
    expect(await connectTo("listed.example.com:22")).toMatch(/^HTTP\/1\.1 403 /);
    expect(await ask("GET http://other.example.org/path?token=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).toMatch(
      /^HTTP\/1\.1 403 /,
    );
    expect(proxy.counts().get("one")).toEqual({ opened: 0, denied: 4 });
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      expect.objectContaining({ event: "egress.denied", server: "one", host: "other.example.org", port: 443 }),
      expect.objectContaining({ host: "listed.example.com", port: 22 }),
      expect.objectContaining({ host: "other.example.org", port: 80 }),
    ]);
    expect(lines.join()).not.toContain("path");
  });

  it("denies a listed name that leads inward, and tells one that leads nowhere apart", async () => {
    expect(await connectTo("listed.example.com:443")).toMatch(/^HTTP\/1\.1 403 [\s\S]*leads inward/);
    expect(await ask("GET http://missing.example.com/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).toMatch(
      /^HTTP\/1\.1 502 [\s\S]*leads nowhere/,
    );
  });

  it("gives nothing to an address that belongs to no restricted server", async () => {
    client = async () => undefined;
    expect(await connectTo("listed.example.com:443")).toMatch(/^HTTP\/1\.1 403 /);
    expect(proxy.counts().size).toBe(0);
  });

  it("gives nothing while Docker does not say who asks", async () => {
    client = async () => {
      throw new Error("Docker is gone");
    };
    expect(await connectTo("listed.example.com:443")).toMatch(/^HTTP\/1\.1 503 /);
    expect(await ask("GET http://a.example.com/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).toMatch(/^HTTP\/1\.1 503 /);
  });

  it.each([
    ["no HTTP at all", "\u0016\u0003\u0001 hello\r\n\r\n"],
    ["a path without a host", "GET /path HTTP/1.1\r\nHost: listed.example.com\r\nConnection: close\r\n\r\n"],
    ["another scheme", "GET ftp://a.example.com/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"],
    ["no port", "CONNECT listed.example.com HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["a port that is none", "CONNECT listed.example.com:99999 HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["a name that is none", "CONNECT listed.example.com%00:443 HTTP/1.1\r\nHost: x\r\n\r\n"],
  ])("answers 400 to %s", async (_what, request) => {
    expect(await ask(request)).toMatch(/^HTTP\/1\.1 400 /);
  });

  it("lets one server hold no more than its share of connections, and takes new ones when some have ended", async () => {
    const held: Socket[] = [];
    for (let count = 0; count < 128; count += 1) {
      const socket = open();
      held.push(socket);
      await new Promise((resolve) => socket.once("connect", resolve));
    }
    const refused = open();
    expect(await text(refused)).toMatch(/^HTTP\/1\.1 429 /);
    const closed = held.map((socket) => new Promise((resolve) => socket.once("close", resolve)));
    for (const socket of held) socket.destroy();
    await Promise.all(closed);
    await expect.poll(() => connectTo("other.example.org:443")).toMatch(/^HTTP\/1\.1 403 /);
  });

  it("says why when something else listens in its place", async () => {
    const other = createEgressProxy({ findClient: async () => undefined, log: createLog(() => {}) });
    await expect(other.listen(host, proxy.address()?.port ?? 0)).rejects.toMatchObject({
      code: "PERMISSION_REFUSED",
      message: expect.stringContaining("EADDRINUSE"),
    });
    expect(other.address()).toBeUndefined();
  });

  it("leaves no listener and no connection when it is closed", async () => {
    const socket = open();
    await new Promise((resolve) => socket.once("connect", resolve));
    const ended = new Promise((resolve) => socket.once("close", resolve));
    socket.on("error", () => {});
    await proxy.close();
    await ended;
    expect(proxy.address()).toBeUndefined();
  });
});
