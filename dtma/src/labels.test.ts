import { describe, expect, it } from "vitest";
import { serverId } from "../../shared/model/ids.ts";
import { serverSpec } from "../../shared/model/spec.ts";
import {
  containerName,
  containerRole,
  createScope,
  networkName,
  readServerLabels,
  scopeFilter,
  serverLabels,
} from "./labels.ts";
import { bridgeName } from "./network.ts";

const id = serverId.parse("6f9619ff-8b86-4d01-b42d-00cf4fc964ff");
const spec = serverSpec.parse({
  name: "one",
  source: { type: "npm", package: "@scope/server", version: "^1" },
  transport: { type: "http", port: 80, path: "/mcp" },
  environment: { A: 'quo"te\n' },
  secrets: [{ name: "KEY", required: true }],
});
const server = { serverId: id, spec, image: { reference: "r:1", digest: "sha256:0" } };

describe("labels", () => {
  it("say all that a DTMA must know of a server", () => {
    const scope = createScope("default", { team: "x" });
    const labels = serverLabels(scope, server);
    expect(readServerLabels(labels)).toEqual(server);
    expect(labels).toMatchObject({ team: "x", ...scopeFilter(scope) });
  });

  it("name the exact package an image was made from", () => {
    const image = { ...server.image, package: { name: "@scope/server", version: "1.2.3", integrity: "sha512-AAAA" } };
    const labels = serverLabels(createScope("default", {}), { ...server, image });
    expect(JSON.parse(labels["dev.dtma.package"] ?? "")).toEqual(image.package);
    expect(readServerLabels(labels)?.image).toEqual(image);
  });

  it("cannot be replaced by a person's own labels", () => {
    expect(createScope("mine", { "dev.dtma.scope": "other" }).labels["dev.dtma.scope"]).toBe("mine");
  });

  it("of whoever deploys a server stand beside ours and in no one's place", () => {
    const labels = { team: "z", owner: "y", "dev.dtma.scope": "other", "dev.dtma.more": "x" };
    const own = serverLabels(createScope("mine", { team: "x" }), { ...server, spec: { ...spec, labels } });
    expect(own).toMatchObject({ team: "x", owner: "y", "dev.dtma.scope": "mine" });
    expect(own).not.toHaveProperty(["dev.dtma.more"]);
  });

  it("that are not a server's, or broken, are nobody's", () => {
    const labels = serverLabels(createScope("default", {}), server);
    expect(readServerLabels({})).toBeUndefined();
    expect(readServerLabels({ ...labels, "dev.dtma.spec": "{" })).toBeUndefined();
    expect(readServerLabels({ ...labels, "dev.dtma.server-id": "x" })).toBeUndefined();
  });

  it("keep the default scope's names plain and the others apart", () => {
    const [plain, other] = [createScope("default", {}), createScope("w1", {})];
    expect(containerName(plain, "one")).toBe("one");
    expect(containerName(other, "one")).toBe("w1.one");
    expect(networkName(other)).not.toBe(networkName(plain));
    expect(bridgeName(other)).not.toBe(bridgeName(plain));
    expect(bridgeName(createScope("x".repeat(64), {})).length).toBeLessThanOrEqual(15);
  });

  it("tell a server's container from those of an update under way", () => {
    const scope = createScope("default", {});
    for (const role of ["current", "new", "old"] as const) expect(containerRole(containerName(scope, "one", role))).toBe(role);
    expect(containerRole("renew")).toBe("current");
  });
});
