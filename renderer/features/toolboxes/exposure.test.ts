import { describe, expect, it } from "vitest";
import { reachableFrom } from "./exposure.ts";

const loopback = { what: "server time", address: "127.0.0.1", port: 8080 };
const dtma = { what: "dtma", address: "::", port: 30_000 };

describe("what of a toolbox can be reached from outside", () => {
  it("is nothing while all listens on loopback", () => {
    const listeners = [loopback, { ...dtma, address: "::1" }, { ...dtma, address: "::ffff:127.0.0.1" }];
    expect(reachableFrom({ beyondLoopback: false, listeners })).toEqual({ isExpected: true, places: [] });
  });

  it("is meant for the DTMA and the gate of restricted servers", () => {
    const gate = { what: "egress-proxy", address: "172.20.0.1", port: 3_128 };
    expect(reachableFrom({ beyondLoopback: true, listeners: [loopback, dtma, gate] })).toEqual({
      isExpected: true,
      places: ["the DTMA at [::]:30000", "the gate of restricted servers at 172.20.0.1:3128"],
    });
  });

  it.each(["server time", "unknown"])("is a warning for %s", (what) => {
    const found = reachableFrom({ beyondLoopback: true, listeners: [dtma, { what, address: "0.0.0.0", port: 8080 }] });
    expect(found.isExpected).toBe(false);
    expect(found.places).toHaveLength(2);
  });
});
