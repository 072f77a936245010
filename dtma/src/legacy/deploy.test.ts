import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AppError } from "../../../shared/errors.ts";
import { readGroupServer, readTool } from "./deploy.ts";

const plain = { dockerImageUrl: "team/tool:1", instanceNameOnToolbox: "tool", accountToolInstanceId: "instance 7" };
const tool = (baseConfigOverrideJson: object, more: object = {}) => readTool({ ...plain, ...more, baseConfigOverrideJson });
const host = (HostConfig: object) => tool({ HostConfig });
const failure = (code: string, field: string) => expect.objectContaining({ code, message: expect.stringContaining(field) });
const exposing = (...exposedPorts: number[]) => ({ exposedPorts });

describe("a legacy deploy", () => {
  it("is a server on stdio whose handshake is optional, with the caller's words as labels", () => {
    const { spec, secretValues, notes } = readTool(plain);
    expect(spec).toMatchObject({
      name: "tool",
      source: { type: "oci", image: "team/tool:1", pull: "always" },
      transport: { type: "stdio" },
      handshake: "optional",
      labels: { "dtma.legacy/name": "tool", "dtma.legacy/instance-id": "instance 7" },
      permissions: { network: "open", readOnlyRoot: false, ports: [] },
    });
    expect(spec).not.toHaveProperty("command");
    expect([secretValues, notes]).toEqual([{}, []]);
  });

  it("goes over HTTP where a port is bound, named, or exposed by the image, in this order", () => {
    const http = (port: number, path = "/mcp") => ({ type: "http", port, path });
    expect(readTool(plain).fit(exposing()).transport).toEqual({ type: "stdio" });
    expect(readTool(plain).fit(exposing(3000, 4000)).transport).toEqual(http(3000));
    expect(tool({ ExposedPorts: { "9000/tcp": {} } }).fit(exposing(3000)).transport).toEqual(http(9000));
    const bound = tool({ ExposedPorts: { "9000/tcp": {} }, HostConfig: { PortBindings: { "80/tcp": [{}] } } });
    expect([bound.spec.transport, bound.fit(exposing(3000)).transport]).toEqual([http(80), http(80)]);
    const grouped = { ...plain, mcpTransportType: "sse", mcpEndpointPath: "/sse", portBindings: { "80": 8080 } };
    expect(readGroupServer(grouped).spec.transport).toEqual(http(80, "/sse"));
    expect(readGroupServer({ ...grouped, mcpTransportType: "stdio" }).fit(exposing(1)).transport).toEqual({ type: "stdio" });
    expect(host({ NetworkMode: "none" }).fit(exposing(3000)).transport).toEqual({ type: "stdio" });
    const portless = readGroupServer({ ...plain, mcpTransportType: "websocket" });
    expect(() => portless.fit(exposing())).toThrow(failure("INVALID_INPUT", "exposes no port"));
  });

  it("names everything that it does not take over, and takes no field of groups for one of a single tool", () => {
    const mcp = { mcpServerCapabilities: { tools: {} }, mcpDiscoveryMetadata: { title: "x" }, other: 1, none: null };
    expect(readGroupServer({ ...plain, ...mcp, mcpTransportType: "stdio" }).notes).toEqual([
      "Not taken over: mcpServerCapabilities, mcpDiscoveryMetadata, other.",
    ]);
    const single = tool(
      { Entrypoint: ["x"] },
      { mcpEndpointPath: 7, portBindings: { "80": 1 }, environmentVariables: ["A=b"] },
    );
    expect(single).toMatchObject({ spec: { transport: { type: "stdio" }, permissions: { ports: [] } }, secretValues: {} });
    expect(single.notes).toEqual([
      "Not taken over: mcpEndpointPath, portBindings, environmentVariables, baseConfigOverrideJson.Entrypoint.",
    ]);
  });

  it("keeps values of variables out of the spec", () => {
    const read = readGroupServer({
      ...plain,
      baseConfigOverrideJson: { Env: ["KEY=canary=1", "EMPTY=", "TWICE=old"] },
      environmentVariables: { TWICE: "canary-2" },
    });
    expect(read.secretValues).toEqual({ KEY: "canary=1", TWICE: "canary-2" });
    expect(read.spec.environment).toEqual({ EMPTY: "" });
    expect(read.spec.secrets).toEqual(["KEY", "TWICE"].map((name) => ({ name, variable: name, required: false })));
    expect(JSON.stringify([read.spec, read.fit(exposing(1)), read.notes])).not.toContain("canary");
    const many = Array.from({ length: 65 }, (_, index) => `V${index}=x`);
    for (const [Env, field] of [
      [["NAME"], "Env.0"],
      [["A=b", "=c"], "Env.1"],
      [["a b=c"], "Env.0"],
      [many, "Env"],
    ] as const) {
      expect(() => tool({ Env })).toThrow(failure("INVALID_INPUT", field));
    }
  });

  it("publishes on 127.0.0.1 and says so, whatever address is asked for", () => {
    const bindings = { "80/tcp": [{ HostIp: "0.0.0.0", HostPort: "8080" }, { HostPort: "" }], "81": null };
    const { spec, notes } = host({ PortBindings: bindings });
    expect(spec.permissions.ports).toEqual([
      { container: 81, host: 0 },
      { container: 80, host: 8080 },
      { container: 80, host: 0 },
    ]);
    expect(notes.join()).toContain("127.0.0.1");
    for (const wrong of [{ "80/udp": [] }, { "0/tcp": [] }, { "80/tcp": [{ HostPort: "1-9" }] }, { "80/tcp": "-1" }]) {
      expect(() => host({ PortBindings: wrong })).toThrow(failure("INVALID_INPUT", "PortBindings"));
    }
    const twice = { "80/tcp": [{ HostPort: "1" }], "81/tcp": [{ HostPort: "1" }] };
    expect(() => host({ PortBindings: twice })).toThrow(failure("INVALID_INPUT", "named twice"));
  });

  it("takes limits, command, capabilities and a read-only root over", () => {
    const wish = { Memory: 2 ** 28, CpuQuota: 50_000, PidsLimit: 32, ReadonlyRootfs: true, CapAdd: ["CAP_CHOWN"] };
    const { spec } = tool({ Cmd: "serve", Labels: { team: "one" }, HostConfig: wish });
    expect(spec).toMatchObject({
      command: ["serve"],
      labels: { team: "one" },
      permissions: { memoryBytes: 2 ** 28, cpus: 0.5, pids: 32, readOnlyRoot: true, capabilities: ["CHOWN"] },
    });
    expect(host({ NanoCpus: 25e7, CpuQuota: 1 }).spec.permissions.cpus).toBe(0.25);
    const unlimited = host({ Memory: 0, NanoCpus: 0, PidsLimit: -1 }).spec.permissions;
    expect(unlimited).toEqual(readTool(plain).spec.permissions);
    expect(() => host({ Memory: 1_000 })).toThrow(failure("INVALID_INPUT", "HostConfig.Memory"));
    expect(() => host({ PidsLimit: 1 })).toThrow(failure("INVALID_INPUT", "HostConfig.PidsLimit"));
  });

  it.each([
    [{ Privileged: true }],
    [{ Binds: ["/:/host"] }],
    [{ Binds: ["data:/data"] }],
    [{ Mounts: [{ Type: "bind" }] }],
    [{ VolumesFrom: ["other"] }],
    [{ Devices: [{}] }],
    [{ DeviceRequests: [{ Driver: "nvidia" }] }],
    [{ DeviceCgroupRules: ["a *:* rwm"] }],
    [{ NetworkMode: "host" }],
    [{ NetworkMode: "container:other" }],
    [{ NetworkMode: "somebodys-network" }],
    [{ PidMode: "host" }],
    [{ IpcMode: "host" }],
    [{ UTSMode: "host" }],
    [{ UsernsMode: "host" }],
    [{ CgroupnsMode: "host" }],
    [{ CgroupParent: "/" }],
    [{ SecurityOpt: ["seccomp=unconfined"] }],
    [{ Sysctls: { "kernel.shm_rmid_forced": "1" } }],
    [{ Runtime: "other" }],
    [{ GroupAdd: ["docker"] }],
    [{ PublishAllPorts: true }],
    [{ CapAdd: ["CHOWN", "cap_sys_admin"] }],
    [{ CapAdd: ["ALL"] }],
  ])("refuses %j by its name", (wish) => {
    expect(() => host(wish)).toThrow(failure("PERMISSION_REFUSED", `HostConfig.${Object.keys(wish)[0]}`));
  });

  it("takes what says nothing, and names what it leaves out", () => {
    const empty = {
      Privileged: false,
      Binds: null,
      Devices: [],
      NetworkMode: "bridge",
      PidMode: "",
      IpcMode: "private",
      SecurityOpt: ["no-new-privileges"],
      CapDrop: ["ALL"],
      RestartPolicy: { Name: "always" },
    };
    expect(host(empty).notes).toEqual([]);
    expect(tool({ Entrypoint: ["sh"], User: "", HostConfig: { ShmSize: 1 } }).notes).toEqual([
      "Not taken over: baseConfigOverrideJson.Entrypoint, baseConfigOverrideJson.HostConfig.ShmSize.",
    ]);
  });

  it("cannot carry labels that are read as the DTMA's own", () => {
    for (const key of ["dev.dtma.scope", "dtma.legacy/name"]) {
      expect(() => tool({ Labels: { [key]: "x" } })).toThrow(failure("INVALID_INPUT", key));
    }
  });

  it("is read or refused, whatever stands in it", () => {
    const keys = fc.constantFrom("Env", "Cmd", "Labels", "ExposedPorts", "HostConfig", "PortBindings", "Memory", "__proto__");
    const { json } = fc.letrec((tie) => ({
      json: fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.dictionary(keys, tie("json"), { maxKeys: 4 })),
    }));
    fc.assert(
      fc.property(json, json, (config, portBindings) => {
        try {
          readGroupServer({ ...plain, baseConfigOverrideJson: config, portBindings }).fit(exposing(1));
        } catch (error) {
          expect(error).toBeInstanceOf(AppError);
          expect((error as AppError).code).toBeOneOf(["INVALID_INPUT", "PERMISSION_REFUSED"]);
        }
      }),
    );
  });
});
