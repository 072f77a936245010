import { describe, expect, it } from "vitest";
import { type ServerPermissions, serverPermissions } from "../../../shared/model/spec.ts";
import { text } from "../../text.ts";
import {
  beyondDefault,
  capabilityText,
  type PermissionDraft,
  permissionDraftFor,
  permissionErrors,
  toPermissions,
} from "./permission-model.ts";

const permissions = (changes: Partial<ServerPermissions> = {}) => serverPermissions.parse(changes);
const draft = (changes: Partial<PermissionDraft> = {}) => ({ ...permissionDraftFor(permissions()), ...changes });

describe("the form of permissions", () => {
  it("sends permissions that are opened and saved as they were", () => {
    const all = permissions({
      network: "restricted",
      allowedHosts: ["api.example.com", "*.example.org:8443"],
      readOnlyRoot: false,
      volumes: [{ name: "data", path: "/data" }],
      writablePaths: ["/var/cache"],
      capabilities: ["NET_BIND_SERVICE"],
      memoryBytes: 2 ** 30,
      cpus: 2,
    });
    expect(permissionErrors(permissionDraftFor(all))).toEqual({});
    expect(toPermissions(permissionDraftFor(all))).toEqual(all);
    const open = permissions({ ports: [{ container: 80, host: 8080 }] });
    expect(toPermissions(permissionDraftFor(open))).toEqual(open);
  });

  it("names the host that is wrong, and asks for one where only named ones are reached", () => {
    expect(permissionErrors(draft({ network: "restricted", allowedHosts: " \n" }))).toEqual({
      "permissions.allowedHosts": text.deploy.allowedHostsNone,
    });
    const wrong = permissionErrors(draft({ network: "restricted", allowedHosts: "api.example.com\nhttps://example.org/" }));
    expect(wrong["permissions.allowedHosts"]).toContain("https://example.org/");
  });

  it("sends hosts only where they count", () => {
    const typed = draft({ network: "open", allowedHosts: "not a host" });
    expect(permissionErrors(typed)).toEqual({});
    expect(toPermissions(typed).allowedHosts).toEqual([]);
  });

  it.each<[string, Partial<PermissionDraft>, "stdio" | "http", string]>([
    ["a path that is not absolute", { writablePaths: "/ok\ncache" }, "stdio", "permissions.writablePaths"],
    ["a port without a number", { ports: [{ key: 0, container: null, host: 0 }] }, "stdio", "permissions.ports"],
    ["a port out of range", { ports: [{ key: 0, container: 80, host: 70_000 }] }, "stdio", "permissions.ports"],
    [
      "a port without an open network",
      { network: "none", ports: [{ key: 0, container: 80, host: 0 }] },
      "stdio",
      "permissions.ports",
    ],
    ["a server over HTTP without a network", { network: "none" }, "http", "permissions.network"],
  ])("refuses %s", (_, changes, transport, field) => {
    expect(Object.keys(permissionErrors(draft(changes), transport))).toEqual([field]);
  });
});

describe("what is beyond the default", () => {
  it("is nothing of what every server gets, or of less", () => {
    expect([...beyondDefault(permissions())]).toEqual([]);
    expect([...beyondDefault(permissions({ network: "none", memoryBytes: 64 * 2 ** 20, cpus: 0.5 }))]).toEqual([]);
  });

  it.each<[keyof ServerPermissions, Partial<ServerPermissions>]>([
    ["readOnlyRoot", { readOnlyRoot: false }],
    ["volumes", { volumes: [{ name: "data", path: "/data" }] }],
    ["writablePaths", { writablePaths: ["/cache"] }],
    ["capabilities", { capabilities: ["CHOWN"] }],
    ["ports", { ports: [{ container: 80, host: 0 }] }],
    ["memoryBytes", { memoryBytes: 2 ** 30 }],
    ["cpus", { cpus: 1.5 }],
    ["pids", { pids: 2_000 }],
  ])("is %s where a template asks for it", (permission, asked) => {
    expect([...beyondDefault(permissions(asked))]).toEqual([permission]);
  });
});

it("says what a capability means, under either of its names, and that of others nothing is known", () => {
  expect(capabilityText("NET_BIND_SERVICE")).toMatch(/1024/);
  expect(capabilityText("CAP_CHOWN")).toBe(capabilityText("CHOWN"));
  expect(capabilityText("SYS_ADMIN")).toBe(text.permissions.unknownCapability);
});
