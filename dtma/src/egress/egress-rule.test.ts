import { describe, expect, it } from "vitest";
import { addressKind } from "./address-kind.ts";
import { findAllowed } from "./allowed-host.ts";
import { decideEgress } from "./egress-rule.ts";

describe("the list of allowed hosts", () => {
  it.each<[string, string, number, boolean]>([
    ["api.example.com", "api.example.com", 443, true],
    ["api.example.com", "API.Example.Com", 443, true],
    ["api.example.com", "api.example.com.", 443, true],
    ["api.example.com", "api.example.com", 80, false],
    ["api.example.com:80", "api.example.com", 80, true],
    ["api.example.com:80", "api.example.com", 443, false],
    ["api.example.com", "evil-api.example.com", 443, false],
    ["api.example.com", "api.example.com.evil.net", 443, false],
    ["*.example.com", "a.example.com", 443, true],
    ["*.example.com", "a.b.example.com", 443, true],
    ["*.example.com", "example.com", 443, false],
    ["*.example.com", "notexample.com", 443, false],
    ["*.0.0.1", "127.0.0.1", 443, false],
    ["*.example.com:8443", "a.example.com", 8443, true],
    ["10.0.0.5", "10.0.0.5", 443, true],
  ])("%s and %s:%i", (entry, host, port, fits) => {
    expect(findAllowed(["other.example.org", entry], host, port) !== undefined).toBe(fits);
  });
});

describe("an address", () => {
  it.each<[string, ReturnType<typeof addressKind>]>([
    ["93.184.216.34", "public"],
    ["2606:2800:220:1::1", "public"],
    ["::ffff:93.184.216.34", "public"],
    ["10.1.2.3", "private"],
    ["172.31.255.255", "private"],
    ["192.168.0.1", "private"],
    ["100.64.0.1", "private"],
    ["fd12:3456::1", "private"],
    ["::ffff:10.1.2.3", "private"],
    ["127.0.0.1", "inward"],
    ["0.0.0.0", "inward"],
    ["169.254.169.254", "inward"],
    ["::ffff:169.254.169.254", "inward"],
    ["::ffff:7f00:1", "inward"],
    ["::1", "inward"],
    ["::", "inward"],
    ["fe80::1", "inward"],
    ["fd00:ec2::254", "inward"],
    ["100.100.100.200", "inward"],
    ["168.63.129.16", "inward"],
    ["224.0.0.251", "inward"],
    ["255.255.255.255", "inward"],
    ["64:ff9b::a9fe:a9fe", "inward"],
    ["2002:7f00:1::", "inward"],
    ["example.com", undefined],
  ])("%s is %s", (address, kind) => {
    expect(addressKind(address)).toBe(kind);
  });
});

describe("a request of a restricted server", () => {
  const names: Record<string, string[]> = {
    "api.example.com": ["93.184.216.34", "2606:2800:220:1::1"],
    "rebound.example.com": ["127.0.0.1"],
    "metadata.example.com": ["169.254.169.254"],
    "internal.example.com": ["10.0.0.5"],
    "mixed.example.com": ["10.0.0.5", "93.184.216.34"],
    "toolbox.example.com": ["203.0.113.7"],
    "nobody.example.com": [],
  };
  const decide = (host: string, allowedHosts: string[]) =>
    decideEgress(
      { host, port: 443, allowedHosts },
      {
        async resolve(name) {
          const found = names[name];
          if (found === undefined) throw new Error("ENOTFOUND");
          return found;
        },
        ownAddresses: () => new Set(["203.0.113.7", "10.0.0.1"]),
      },
    );

  it("goes to every public address of a listed name", async () => {
    expect(await decide("api.example.com", ["*.example.com"])).toEqual({
      is: "allowed",
      addresses: ["93.184.216.34", "2606:2800:220:1::1"],
    });
  });

  it("goes nowhere when the name is not listed, and the name is not even looked up", async () => {
    expect(await decide("unheard.example.org", ["*.example.com"])).toEqual({ is: "denied", reason: "not-listed" });
  });

  it("is denied when a listed name was pointed inward, at a private network or at the toolbox itself", async () => {
    for (const name of ["rebound", "metadata", "internal", "toolbox"]) {
      expect(await decide(`${name}.example.com`, ["*.example.com"])).toEqual({ is: "denied", reason: "leads-inward" });
    }
    expect(await decide("mixed.example.com", ["mixed.example.com"])).toEqual({
      is: "allowed",
      addresses: ["93.184.216.34"],
    });
  });

  it("goes to a private address only when that address is listed, and never to the toolbox's own", async () => {
    expect(await decide("10.0.0.5", ["10.0.0.5"])).toEqual({ is: "allowed", addresses: ["10.0.0.5"] });
    expect(await decide("10.0.0.1", ["10.0.0.1"])).toEqual({ is: "denied", reason: "leads-inward" });
    expect(await decide("127.0.0.1", ["127.0.0.1"])).toEqual({ is: "denied", reason: "leads-inward" });
  });

  it("is told when a listed name does not exist", async () => {
    expect(await decide("missing.example.com", ["*.example.com"])).toEqual({ is: "unknown-name" });
    expect(await decide("nobody.example.com", ["*.example.com"])).toEqual({ is: "unknown-name" });
  });
});
