import type { IncomingMessage } from "node:http";
import { describe, expect, it } from "vitest";
import { createGuard } from "./guard.ts";

const token = "the-right-token-for-it";
let nowMs = 0;
const short = "short";
const tokens = {
  find: (presented: string) =>
    presented === token ? { id: "right", isShort: false } : presented === short ? { id: "short", isShort: true } : undefined,
};
const guard = () => createGuard({ tokens, allowedHosts: ["toolbox.example"], now: () => nowMs });

function request(headers: Record<string, string>, remoteAddress = "10.0.0.1"): IncomingMessage {
  return { headers, socket: { remoteAddress } } as unknown as IncomingMessage;
}

describe("guard", () => {
  it("knows the toolbox's token and nothing else", () => {
    expect(guard().toolboxToken(token, request({}))).toBe("right");
    expect(guard().toolboxToken("another", request({}))).toBeUndefined();
  });

  it.each([
    ["Bearer abc", "abc"],
    ["bearer  abc", "abc"],
    ["Basic abc", undefined],
    ["Bearer", undefined],
    ["Bearer a b", undefined],
  ])("reads %j", (authorization, expected) => {
    expect(guard().bearer(request({ authorization }))).toBe(expected);
  });

  it.each([
    [{ authorization: "Bearer abc" }, "abc"],
    [{ "dtma-connection-token": "own" }, "own"],
    [{ "dtma-connection-token": "own", authorization: "Bearer abc" }, "own"],
    [{ "dtma-connection-token": "", authorization: "Bearer abc" }, ""],
    [{}, undefined],
  ])("reads the token of a connection from %j, and a bearer token is never taken from its header", (headers, expected) => {
    const read = guard();
    expect(read.connectionToken(request(headers as Record<string, string>))).toBe(expected);
    expect(read.bearer(request({ "dtma-connection-token": "own" }))).toBeUndefined();
  });

  it.each(["127.0.0.1:30000", "[::1]:30000", "203.0.113.7", "localhost:1", "toolbox.example:30000", "TOOLBOX.example"])(
    "answers at %s",
    (host) => {
      expect(() => guard().checkPlace(request({ host }))).not.toThrow();
      expect(() => guard().checkPlace(request({ host, origin: `http://${host}` }))).not.toThrow();
    },
  );

  it.each([
    [{ host: "rebound.example:30000" }],
    [{ host: "rebound.example:30000", origin: "http://rebound.example:30000" }],
    [{ host: "127.0.0.1:30000", origin: "https://evil.example" }],
    [{ host: "127.0.0.1:30000", origin: "null" }],
    [{ host: "localhost.evil.example" }],
    [{}],
  ])("refuses %j", (headers) => {
    expect(() => guard().checkPlace(request(headers as Record<string, string>))).toThrow(
      expect.objectContaining({ code: "FORBIDDEN" }),
    );
  });

  it.each([
    "evil.example@localhost",
    "localhost/evil",
    'localhost"x',
    "localhost:1:2",
    "127.0.0.1.evil.example",
    "localhost evil.example",
    "",
  ])("takes no Host that says more than a name and a port: %j", (host) => {
    expect(() => guard().checkPlace(request({ host }))).toThrow(expect.objectContaining({ code: "FORBIDDEN" }));
  });

  it("on loopback is known by loopback's addresses and the names that it was given, and by no other address", () => {
    const local = createGuard({ tokens, allowedHosts: ["toolbox.example", "203.0.113.8"], isOnLoopback: true });
    for (const host of ["localhost:30000", "127.0.0.1:1", "127.9.9.9", "[::1]:30000", "toolbox.example", "203.0.113.8"])
      expect(() => local.checkPlace(request({ host })), host).not.toThrow();
    for (const host of ["203.0.113.7:30000", "0.0.0.0:30000", "[::]:30000", "[2001:db8::1]", "rebound.example"])
      expect(() => local.checkPlace(request({ host })), host).toThrow(expect.objectContaining({ code: "FORBIDDEN" }));
  });

  it("slows an address down after ten failures, for a minute, and no other", () => {
    const one = guard();
    const codes = Array.from({ length: 12 }, () => one.refusal(request({})).code);
    expect(codes).toEqual([...Array(10).fill("TOOLBOX_REFUSED"), "LIMIT_REACHED", "LIMIT_REACHED"]);
    expect(one.refusal(request({}, "10.0.0.2")).code).toBe("TOOLBOX_REFUSED");
    nowMs += 60_001;
    expect(one.refusal(request({})).code).toBe("TOOLBOX_REFUSED");
  });

  it("lets a right token in from an address that is slowed down, but not one that is short enough to be guessed", () => {
    const one = guard();
    for (let failure = 0; failure < 10; failure += 1) one.refusal(request({}));
    expect(one.toolboxToken(token, request({}))).toBe("right");
    expect(one.toolboxToken(short, request({}))).toBeUndefined();
    expect(one.toolboxToken(short, request({}, "10.0.0.2"))).toBe("short");
    nowMs += 60_001;
    expect(one.toolboxToken(short, request({}))).toBe("short");
  });

  it("takes the addresses of one IPv6 network for one caller", () => {
    const one = guard();
    for (let failure = 0; failure < 11; failure += 1) one.refusal(request({}, `2001:db8:1:2::${failure}`));
    expect(one.refusal(request({}, "2001:db8:1:2:ffff::1")).code).toBe("LIMIT_REACHED");
    expect(one.refusal(request({}, "2001:db8:1:3::1")).code).toBe("TOOLBOX_REFUSED");
    expect(one.refusal(request({}, "::ffff:10.0.0.9")).code).toBe("TOOLBOX_REFUSED");
  });
});
