import { describe, expect, it } from "vitest";
import { type DockerFacts, findingsOf, type HostFacts } from "./doctor-findings.ts";

const nowMs = Date.UTC(2027, 0, 10);
const healthyDocker: DockerFacts = {
  version: "20.10.24",
  hasSeccomp: true,
  cgroupVersion: "2",
  storageDriver: "overlay2",
  missingLimits: [],
  freeBytes: 20 * 2 ** 30,
  published: [],
};
const healthy: HostFacts = {
  platform: "linux",
  isRoot: true,
  nodeVersion: "v24.9.0",
  nowMs,
  port: 30_000,
  host: "0.0.0.0",
  configuration: { value: { path: "/etc/dtma.conf", mode: 0o100600, ownerId: 0, hasClearToken: false } },
  docker: { value: healthyDocker },
  rawTable: { value: true },
  dataFolder: { value: { path: "/var/lib/dtma", mode: 0o40700, isOwn: true, freeBytes: 20 * 2 ** 30 } },
  listener: "ours",
  isLocked: false,
  certificate: { value: { notBeforeMs: nowMs - 1, notAfterMs: nowMs + 365 * 86_400_000 } },
  unit: { value: { load: "loaded", active: "active", enabled: "enabled", restarts: 0 } },
  clockIsSynchronised: { value: true },
  firewallPorts: { value: [22, 30_000] },
};

function docker(change: Partial<DockerFacts>): Partial<HostFacts> {
  return { docker: { value: { ...healthyDocker, ...change } } };
}

describe("the findings about a host", () => {
  it("are all ok on one that has everything", () => {
    const findings = findingsOf(healthy);
    expect(findings.filter(({ level }) => level !== "ok")).toEqual([]);
    expect(findings.length).toBeGreaterThan(12);
  });

  const unknown = { unknown: "permission denied" };
  const cases: [string, "warning" | "problem", string, Partial<HostFacts>][] = [
    ["a user who is not root", "warning", "user", { isRoot: false }],
    ["an old Node", "problem", "node", { nodeVersion: "v22.1.0" }],
    [
      "settings that others can read",
      "problem",
      "settings",
      { configuration: { value: { path: "/etc/dtma.conf", mode: 0o644, ownerId: 0, hasClearToken: false } } },
    ],
    [
      "settings of another owner",
      "problem",
      "settings",
      { configuration: { value: { path: "/etc/dtma.conf", mode: 0o600, ownerId: 7, hasClearToken: false } } },
    ],
    [
      "a token in clear",
      "warning",
      "settings",
      { configuration: { value: { path: "/etc/dtma.conf", mode: 0o600, ownerId: 0, hasClearToken: true } } },
    ],
    ["settings that cannot be read", "warning", "settings", { configuration: unknown }],
    ["a Docker that does not answer", "problem", "docker", { docker: unknown }],
    ["an old Docker", "warning", "docker", docker({ version: "19.03.8" })],
    ["a Docker without seccomp", "problem", "seccomp", docker({ hasSeccomp: false })],
    ["a kernel that cannot limit memory", "warning", "limits", docker({ missingLimits: ["memory"] })],
    ["a full disk", "problem", "docker's disk", docker({ freeBytes: 1_000 })],
    ["a disk that fills", "warning", "docker's disk", docker({ freeBytes: 2 * 2 ** 30 })],
    ["a disk nobody knows", "warning", "docker's disk", docker({ freeBytes: undefined })],
    ["a port for everybody", "problem", "ports", docker({ published: ["x at 0.0.0.0:80"] })],
    ["no raw table", "warning", "metadata", { rawTable: unknown }],
    [
      "a data folder that others can enter",
      "problem",
      "data",
      { dataFolder: { value: { path: "/var/lib/dtma", mode: 0o755, isOwn: true, freeBytes: 2 ** 40 } } },
    ],
    [
      "a data folder of somebody else",
      "problem",
      "data",
      { dataFolder: { value: { path: "/var/lib/dtma", mode: 0o700, isOwn: false, freeBytes: 2 ** 40 } } },
    ],
    ["a data folder another DTMA holds", "warning", "data", { isLocked: true }],
    ["nobody on the port", "problem", "port", { listener: "free" }],
    ["a stranger on the port", "problem", "port", { listener: { other: "status 404" } }],
    [
      "a certificate that has ended",
      "problem",
      "certificate",
      { certificate: { value: { notBeforeMs: 0, notAfterMs: nowMs - 1 } } },
    ],
    [
      "a certificate of the future",
      "problem",
      "certificate",
      { certificate: { value: { notBeforeMs: nowMs + 1, notAfterMs: nowMs + 2 } } },
    ],
    [
      "a certificate that ends soon",
      "warning",
      "certificate",
      { certificate: { value: { notBeforeMs: 0, notAfterMs: nowMs + 86_400_000 } } },
    ],
    ["a clock that stands in the past", "problem", "clock", { nowMs: Date.UTC(1970, 0, 1), certificate: { value: null } }],
    ["a clock that follows nobody", "warning", "clock", { clockIsSynchronised: { value: false } }],
    ["no unit", "warning", "service", { unit: { value: { load: "not-found", active: "inactive", enabled: "", restarts: 0 } } }],
    [
      "a unit that failed",
      "problem",
      "service",
      { unit: { value: { load: "loaded", active: "failed", enabled: "enabled", restarts: 0 } } },
    ],
    [
      "a unit that is not enabled",
      "warning",
      "service",
      { unit: { value: { load: "loaded", active: "active", enabled: "disabled", restarts: 0 } } },
    ],
    [
      "a unit that had to be restarted",
      "warning",
      "service",
      { unit: { value: { load: "loaded", active: "active", enabled: "enabled", restarts: 3 } } },
    ],
    ["no firewall", "warning", "firewall", { firewallPorts: { value: null } }],
    ["a firewall that closes the port", "problem", "firewall", { firewallPorts: { value: [22] } }],
    ["another platform", "warning", "platform", { platform: "darwin" }],
  ];

  it.each(cases)("on %s are a %s about its %s, with what to do", (_name, level, subject, change) => {
    const wrong = findingsOf({ ...healthy, ...change }).filter((finding) => finding.level !== "ok");
    expect(wrong).toEqual([{ subject, level, says: expect.stringMatching(/\.$/), advice: expect.stringMatching(/./) }]);
  });

  it("do not miss a firewall for a listener on loopback", () => {
    const findings = findingsOf({ ...healthy, host: "127.0.0.1", firewallPorts: { value: [22] } });
    expect(findings.filter(({ level }) => level !== "ok")).toEqual([]);
  });

  it("name an enrolment key that is still good", () => {
    const value = { path: "/etc/dtma.conf", mode: 0o600, ownerId: 0, hasClearToken: false, enrolmentUntilMs: nowMs + 1_000 };
    const settings = findingsOf({ ...healthy, configuration: { value } }).find(({ subject }) => subject === "settings");
    expect(settings?.says).toContain("2027-01-10T00:00:01Z");
  });
});
