import { posix } from "node:path";
import { AppError, type ErrorCode } from "../../shared/errors.ts";
import type { ServerPermissions, ServerSpec } from "../../shared/model/spec.ts";
import { capabilityRefusal, isGrantable } from "./capabilities.ts";
import { addressKind } from "./egress/address-kind.ts";
import { parseAllowedHost } from "./egress/allowed-host.ts";

const closedPaths = [
  ...["/proc", "/sys", "/dev", "/run", "/var/run", "/etc", "/app", "/usr"],
  ...["/bin", "/sbin", "/lib", "/lib64", "/tmp"],
];

/**
 * What the schema of a spec cannot say. PERMISSION_REFUSED for what is never given: a path that the container's isolation
 * or its programs live on, a capability beyond the container, a way inward. INVALID_INPUT for what cannot work.
 */
export function checkSpec(spec: ServerSpec): void {
  const { permissions } = spec;
  if (spec.transport.type === "http" && permissions.network === "none") {
    refuse("INVALID_INPUT", "network", "A server that is reached over HTTP needs a network.");
  }
  checkPaths(permissions);
  for (const [index, capability] of permissions.capabilities.entries()) {
    if (!isGrantable(capability)) refuse("PERMISSION_REFUSED", `capabilities.${index}`, capabilityRefusal(capability));
  }
  checkPorts(permissions);
  checkHosts(permissions);
  const names = spec.secrets.map(({ name }) => name);
  if (new Set(names).size < names.length) {
    throw new AppError("INVALID_INPUT", { message: "Two secrets have the same name.", field: "spec.secrets" });
  }
}

function checkPaths({ volumes, writablePaths }: ServerPermissions): void {
  const places = [
    ...volumes.map(({ path }, index) => ({ path, field: `volumes.${index}.path`, what: "A volume" })),
    ...writablePaths.map((path, index) => ({ path, field: `writablePaths.${index}`, what: "Writable memory" })),
  ];
  const taken = new Set<string>();
  for (const { path, field, what } of places) {
    const normal = posix.normalize(path).replace(/\/$/, "");
    if (normal === "" || closedPaths.some((closed) => normal === closed || normal.startsWith(`${closed}/`))) {
      refuse("PERMISSION_REFUSED", field, `${what} may not be mounted at ${path}.`);
    }
    if (taken.has(normal)) refuse("INVALID_INPUT", field, `Two things cannot be mounted at ${path}.`);
    taken.add(normal);
  }
  if (new Set(volumes.map(({ name }) => name)).size < volumes.length) {
    refuse("INVALID_INPUT", "volumes", "Two volumes have the same name.");
  }
}

function checkPorts({ ports, network }: ServerPermissions): void {
  if (ports.length > 0 && network !== "open") {
    refuse("INVALID_INPUT", "ports", "Only a server with an open network can publish ports.");
  }
  const fixed = ports.map(({ host }) => host).filter((host) => host !== 0);
  if (new Set(fixed).size < fixed.length) refuse("INVALID_INPUT", "ports", "Two ports are published at the same place.");
}

function checkHosts({ allowedHosts, network }: ServerPermissions): void {
  if (allowedHosts.length > 0 && network === "open") {
    refuse("INVALID_INPUT", "allowedHosts", "An open network is not limited to hosts: choose restricted, or name none.");
  }
  for (const [index, text] of allowedHosts.entries()) {
    const allowed = parseAllowedHost(text);
    if (allowed === undefined) {
      refuse("INVALID_INPUT", `allowedHosts.${index}`, `${text} is not a host with a port from 1 to 65535.`);
    } else if (addressKind(allowed.host) === "inward") {
      refuse("PERMISSION_REFUSED", `allowedHosts.${index}`, `${text} leads to the toolbox itself or to a metadata service.`);
    }
  }
}

function refuse(code: ErrorCode, field: string, message: string): never {
  throw new AppError(code, { message, field: `spec.permissions.${field}` });
}
