import { describe, expect, it } from "vitest";
import type { Docker, EngineInfo } from "./docker/docker.ts";
import { createEgressProxy } from "./egress/egress-proxy.ts";
import type { Firewall } from "./host/firewall.ts";
import { createScope } from "./labels.ts";
import { createLog } from "./log.ts";
import { createNetwork } from "./network.ts";

const scope = createScope("unit", {});
const log = createLog(() => {});
const docker = {
  getNetwork: async () => ({ id: "1", labels: scope.labels, gateway: "127.0.0.1", addresses: {} }),
} as Partial<Docker> as Docker;

function network(firewall: Partial<Firewall>, bridgeReachable = true) {
  const egress = createEgressProxy({ findClient: async () => undefined, log });
  const made = createNetwork({
    docker,
    scope,
    firewall: { obstacle: () => undefined, ensure: async () => undefined, remove: async () => {}, ...firewall },
    egress,
    engine: () => ({ bridgeReachable }) as EngineInfo,
    log,
  });
  return { ...made, egress };
}

const refused = { code: "PERMISSION_REFUSED", field: "spec.permissions.network" };

describe("a restricted network", () => {
  it("is refused before anything is done where the DTMA cannot set firewall rules or cannot reach the bridge", async () => {
    for (const made of [network({ obstacle: () => "this is not a Linux host" }), network({}, false)]) {
      expect(() => made.check({ network: "restricted" })).toThrow(expect.objectContaining(refused));
      expect(() => made.check({ network: "open" })).not.toThrow();
      expect(() => made.check({ network: "none" })).not.toThrow();
      let wasMade = false;
      const place = made.place({ network: "restricted" }, async () => {
        wasMade = true;
      });
      await expect(place).rejects.toMatchObject(refused);
      expect(wasMade).toBe(false);
      expect(made.egress.address()).toBeUndefined();
    }
  });

  it("is refused, and no container made, when its rules turn out not to hold", async () => {
    const made = network({ ensure: async () => "its firewall rules could not be added" });
    let wasMade = false;
    const place = made.place({ network: "restricted" }, async () => {
      wasMade = true;
    });
    await expect(place).rejects.toMatchObject({ ...refused, message: expect.stringContaining("could not be added") });
    expect(wasMade).toBe(false);
    expect(made.egress.address()).toBeUndefined();
  });

  it("is a gap that is told when it cannot be put back for servers that run", async () => {
    const made = network({ ensure: async (_bridge, gate) => (gate === undefined ? undefined : "its kernel says no") });
    await made.restoreRule();
    expect(made.gaps()).toEqual([expect.stringContaining("its kernel says no")]);
  });
});

describe("an open network", () => {
  it("is given without its rules, as a gap that is told", async () => {
    const made = network({ ensure: async () => "its firewall rules could not be added" });
    expect(await made.place({ network: "open" }, async (place) => place.network)).toBe("dtma.unit");
    expect(made.gaps()).toEqual([expect.stringContaining("metadata address")]);
  });
});
