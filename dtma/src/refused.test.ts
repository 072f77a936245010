import { describe, expect, it } from "vitest";
import { AppError } from "../../shared/errors.ts";
import { checkRefused, refusedHostConfig } from "./refused.ts";

const source = { type: "oci", image: "example/server:1" };

function refusedField(body: unknown): string | undefined {
  try {
    checkRefused(body);
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(AppError);
    expect((error as AppError).code).toBe("PERMISSION_REFUSED");
    expect((error as AppError).message).toMatch(/^[A-Z].*\.$/);
    return (error as AppError).field;
  }
}

const inPermissions = (permissions: object) => refusedField({ serverId: "x", spec: { name: "one", source, permissions } });

describe("a deploy that asks for what opens the host", () => {
  it.each<[object, string]>([
    [{ privileged: true }, "privileged"],
    [{ Privileged: "true" }, "Privileged"],
    [{ hostNetwork: true }, "hostNetwork"],
    [{ network: "host" }, "network"],
    [{ network: "container:db" }, "network"],
    [{ networkMode: "host" }, "networkMode"],
    [{ pid: "host" }, "pid"],
    [{ pidMode: "container:db" }, "pidMode"],
    [{ hostPID: true }, "hostPID"],
    [{ ipc_mode: "host" }, "ipc_mode"],
    [{ uts: "host" }, "uts"],
    [{ userns_mode: "host" }, "userns_mode"],
    [{ cgroupnsMode: "host" }, "cgroupnsMode"],
    [{ cgroup_parent: "/" }, "cgroup_parent"],
    [{ binds: ["/var/run/docker.sock:/var/run/docker.sock"] }, "binds.0"],
    [{ volumes: ["data:/data", "/etc:/host"] }, "volumes.1"],
    [{ volumes: [{ name: "data", path: "/data", hostPath: { path: "/" } }] }, "volumes.0"],
    [{ mounts: [{ Type: "bind", Source: "/", Target: "/host" }] }, "mounts.0"],
    [{ mounts: [{ type: "volume", source: "/run/docker.sock", target: "/x" }] }, "mounts.0"],
    [{ volumesFrom: ["other"] }, "volumesFrom"],
    [{ devices: ["/dev/mem"] }, "devices"],
    [{ gpus: "all" }, "gpus"],
    [{ securityOpt: ["no-new-privileges:true", "seccomp=unconfined"] }, "securityOpt.1"],
    [{ security_opt: ["no-new-privileges:false"] }, "security_opt.0"],
    [{ seccomp: "unconfined" }, "seccomp"],
    [{ noNewPrivileges: false }, "noNewPrivileges"],
    [{ maskedPaths: [] }, "maskedPaths"],
    [{ capAdd: ["CHOWN", "SYS_ADMIN"] }, "capAdd.1"],
    [{ cap_add: "ALL" }, "cap_add"],
    [{ capabilities: ["NET_RAW"] }, "capabilities.0"],
    [{ dockerSocket: true }, "dockerSocket"],
    [{ anything: { deeper: ["unix:///run/docker.sock"] } }, "anything.deeper.0"],
    [{ ports: [{ container: 80, host: 80, hostIp: "0.0.0.0" }] }, "ports.0"],
    [{ publishAllPorts: true }, "publishAllPorts"],
  ])("is refused by name: %j", (permissions, field) => {
    expect(inPermissions(permissions)).toBe(`spec.permissions.${field}`);
  });

  it("is refused wherever it stands: beside the permissions, beside the spec, and in Docker's own form", () => {
    expect(refusedField({ spec: { privileged: true } })).toBe("spec.privileged");
    expect(refusedField({ hostConfig: { NetworkMode: "host" }, spec: {} })).toBe("hostConfig.NetworkMode");
    expect(refusedField({ spec: { HostConfig: { Binds: ["/:/host:rw"] } } })).toBe("spec.HostConfig.Binds.0");
    expect(refusedField({ spec: { securityContext: { capabilities: { add: ["SYS_PTRACE"] } } } })).toBe(
      "spec.securityContext.capabilities.add.0",
    );
  });
});

describe("a deploy that asks for nothing of it", () => {
  it("passes, also when it says no to it", () => {
    expect(
      inPermissions({
        network: "restricted",
        allowedHosts: ["api.example.com"],
        volumes: [{ name: "data", path: "/data" }],
        capabilities: ["CHOWN", "CAP_SETUID"],
        ports: [
          { container: 80, host: 8080 },
          { container: 81, host: 0, hostIp: "127.0.0.1" },
        ],
        privileged: false,
        devices: [],
        binds: [],
        securityOpt: ["no-new-privileges"],
        pid: "private",
        cgroupParent: "",
      }),
    ).toBeUndefined();
  });

  it("may use the same words for what is the server's own business", () => {
    const spec = {
      name: "one",
      source,
      environment: { PRIVILEGED: "true", DOCKER_HOST: "unix:///var/run/docker.sock", NETWORK: "host" },
      labels: { privileged: "true" },
      arguments: ["--network=host", "/var/run/docker.sock"],
      command: ["run", "docker.sock"],
    };
    expect(refusedField({ spec, secretValues: { DEVICES: "docker.sock" } })).toBeUndefined();
  });

  it("is no body at all, or one that goes deeper than anybody reads", () => {
    for (const body of [undefined, null, "text", 3, []]) expect(refusedField(body)).toBeUndefined();
    let deep: unknown = { privileged: true };
    for (let level = 0; level < 10_000; level += 1) deep = [deep];
    expect(refusedField(deep)).toBeUndefined();
  });
});

it("names what Docker's own form asks for, and leaves where its ports are bound to the caller", () => {
  expect(refusedHostConfig({ PortBindings: { "80/tcp": [{ HostIp: "0.0.0.0", HostPort: "80" }] } })).toBeUndefined();
  expect(refusedHostConfig({ Env: ["A=docker.sock"], HostConfig: { Privileged: true } })).toEqual({
    field: "HostConfig.Privileged",
    message: "Privileged containers are never made here.",
  });
  expect(refusedHostConfig({ HostConfig: { Binds: ["/var/run/docker.sock:/x"] } })?.message).toContain("socket");
});
