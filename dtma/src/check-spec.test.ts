import { describe, expect, it } from "vitest";
import type { AppError } from "../../shared/errors.ts";
import { type ServerSpecInput, serverSpec } from "../../shared/model/spec.ts";
import { checkSpec } from "./check-spec.ts";

function check(permissions: NonNullable<ServerSpecInput["permissions"]>, more: Partial<ServerSpecInput> = {}) {
  const source = { type: "oci" as const, image: "example/server:1" };
  const spec = serverSpec.parse({ name: "one", source, transport: { type: "stdio" }, permissions, ...more });
  try {
    checkSpec(spec);
    return undefined;
  } catch (error) {
    const { code, field } = error as AppError;
    return `${code} ${field}`;
  }
}

const at = (code: string, field: string) => `${code} spec.permissions.${field}`;

describe("what the permissions of a spec may ask for", () => {
  it("is memory or a volume at a path of the server's own", () => {
    expect(check({ writablePaths: ["/data", "/srv/cache"], volumes: [{ name: "n", path: "/notes" }] })).toBeUndefined();
  });

  it.each([
    "//",
    "/data/..",
    "/proc",
    "/proc/sys",
    "/run/secrets",
    "/var/run",
    "/usr/lib",
    "/app",
    "/data/../etc",
    "//sys",
    "/tmp",
  ])("is never a path that the container's isolation or its programs live on: %s", (path) => {
    expect(check({ writablePaths: ["/ok", path] })).toBe(at("PERMISSION_REFUSED", "writablePaths.1"));
    expect(check({ volumes: [{ name: "n", path }] })).toBe(at("PERMISSION_REFUSED", "volumes.0.path"));
  });

  it("is not two things at one path", () => {
    expect(check({ writablePaths: ["/data/"], volumes: [{ name: "n", path: "/data" }] })).toBe(
      at("INVALID_INPUT", "writablePaths.0"),
    );
  });

  it("is a capability that stays within the container", () => {
    expect(check({ capabilities: ["CHOWN", "CAP_NET_BIND_SERVICE", "SETUID"] })).toBeUndefined();
    for (const name of ["SYS_ADMIN", "NET_RAW", "NET_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH", "MKNOD", "ALL", "CAP_BPF"]) {
      expect(check({ capabilities: ["CHOWN", name] })).toBe(at("PERMISSION_REFUSED", "capabilities.1"));
    }
  });

  it("is a published port only with an open network, and each place once", () => {
    expect(check({ ports: [{ container: 80, host: 8080 }] })).toBeUndefined();
    const twoAnywhere = [
      { container: 80, host: 0 },
      { container: 80, host: 0 },
    ];
    expect(check({ ports: twoAnywhere })).toBeUndefined();
    expect(check({ network: "restricted", ports: [{ container: 80, host: 0 }] })).toBe(at("INVALID_INPUT", "ports"));
    const twoInOnePlace = [
      { container: 80, host: 8080 },
      { container: 81, host: 8080 },
    ];
    expect(check({ ports: twoInOnePlace })).toBe(at("INVALID_INPUT", "ports"));
  });

  it("is a host only with a restricted network, and never the way inward", () => {
    const check1 = (host: string) => check({ network: "restricted", allowedHosts: [host] });
    for (const host of ["api.example.com", "*.example.com:8443", "10.0.0.5:5432"]) expect(check1(host)).toBeUndefined();
    for (const host of ["127.0.0.1", "169.254.169.254:80", "168.63.129.16:80"]) {
      expect(check1(host)).toBe(at("PERMISSION_REFUSED", "allowedHosts.0"));
    }
    for (const host of ["a.example.com:0", "a.example.com:70000"]) {
      expect(check1(host)).toBe(at("INVALID_INPUT", "allowedHosts.0"));
    }
    expect(check({ network: "open", allowedHosts: ["api.example.com"] })).toBe(at("INVALID_INPUT", "allowedHosts"));
  });

  it("lets a server over HTTP be restricted, but not without a network", () => {
    const transport = { type: "http" as const, port: 3000, path: "/mcp" };
    expect(check({ network: "restricted" }, { transport })).toBeUndefined();
    expect(check({ network: "none" }, { transport })).toBe(at("INVALID_INPUT", "network"));
  });
});
