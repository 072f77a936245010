import { allowedHost, type ServerPermissions, serverPermissions } from "../../../shared/model/spec.ts";
import { text } from "../../text.ts";

/*
What a container may do, as a form and as an answer to "is that more than every server gets". Pure.
*/

export type PermissionDraft = Omit<
  ServerPermissions,
  "memoryBytes" | "cpus" | "volumes" | "allowedHosts" | "writablePaths" | "ports"
> & {
  memoryMib: number | null;
  cpus: number | null;
  volumes: { key: number; name: string; path: string }[];
  /** One per line. */
  allowedHosts: string;
  writablePaths: string;
  ports: { key: number; container: number | null; host: number | null }[];
};

/** Messages by the path of the input they are about. */
export type FieldErrors = Readonly<Record<string, string>>;

const mebibyte = 2 ** 20;

export function permissionDraftFor(permissions: ServerPermissions): PermissionDraft {
  const { memoryBytes, volumes, allowedHosts, writablePaths, ports, ...others } = permissions;
  return {
    ...others,
    memoryMib: Math.round(memoryBytes / mebibyte),
    volumes: volumes.map((volume, key) => ({ key, ...volume })),
    allowedHosts: allowedHosts.join("\n"),
    writablePaths: writablePaths.join("\n"),
    ports: ports.map((port, key) => ({ key, ...port })),
  };
}

/** What is sent for permissions that `permissionErrors` has nothing against. */
export function toPermissions(draft: PermissionDraft): ServerPermissions {
  const { memoryMib, cpus, volumes, allowedHosts, writablePaths, ports, ...others } = draft;
  return {
    ...others,
    memoryBytes: Math.round((memoryMib ?? 0) * mebibyte),
    cpus: cpus ?? 0,
    volumes: volumes.map((volume) => ({ name: volume.name.trim(), path: volume.path.trim() })),
    allowedHosts: draft.network === "restricted" ? linesOf(allowedHosts) : [],
    writablePaths: linesOf(writablePaths),
    ports: ports.map(({ container, host }) => ({ container: container ?? 0, host: host ?? 0 })),
  };
}

/** What is wrong with the permissions, by `permissions.…`. */
export function permissionErrors(draft: PermissionDraft, transport: "stdio" | "http" = "stdio"): FieldErrors {
  const { memoryMib, cpus, volumes, ports } = draft;
  const { shape } = serverPermissions;
  const errors: Record<string, string> = {};
  if (memoryMib === null || !shape.memoryBytes.safeParse(Math.round(memoryMib * mebibyte)).success)
    errors["permissions.memoryBytes"] = text.deploy.memoryRange;
  if (cpus === null || !shape.cpus.safeParse(cpus).success) errors["permissions.cpus"] = text.deploy.cpuRange;
  const names = volumes.map(({ name, path }) => ({ name: name.trim(), path: path.trim() }));
  if (!shape.volumes.safeParse(names).success) errors["permissions.volumes"] = text.deploy.volumeInvalid;
  const isPort = ({ container, host }: PermissionDraft["ports"][number]) =>
    container !== null && shape.ports.safeParse([{ container, host: host ?? 0 }]).success;
  if (!ports.every(isPort)) errors["permissions.ports"] = text.deploy.portInvalid;
  else if (ports.length > 0 && draft.network !== "open") errors["permissions.ports"] = text.deploy.portsNeedNetwork;
  if (transport === "http" && draft.network === "none") errors["permissions.network"] = text.deploy.httpNeedsNetwork;
  const hosts = linesOf(draft.allowedHosts);
  if (draft.network === "restricted") {
    const wrong = hosts.length === 0 ? text.deploy.allowedHostsNone : wrongLine(hosts, allowedHost, 64);
    if (wrong !== undefined) errors["permissions.allowedHosts"] = wrong;
  }
  const wrongPath = wrongLine(linesOf(draft.writablePaths), shape.writablePaths.unwrap().element, 16);
  if (wrongPath !== undefined) errors["permissions.writablePaths"] = wrongPath;
  return errors;
}

function wrongLine(lines: readonly string[], schema: typeof allowedHost, most: number): string | undefined {
  for (const line of lines) {
    const { error } = schema.safeParse(line);
    if (error !== undefined) return text.deploy.inLine(line, error.issues[0]?.message ?? text.deploy.required);
  }
  return lines.length > most ? text.deploy.tooMany(most) : undefined;
}

function linesOf(typed: string): string[] {
  return typed
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
}

export type Permission = keyof ServerPermissions;

const byDefault = serverPermissions.parse({});

/** The permissions that are more than a server gets when nothing is asked for. */
export function beyondDefault(permissions: ServerPermissions): ReadonlySet<Permission> {
  const { readOnlyRoot, volumes, writablePaths, capabilities, ports, memoryBytes, cpus, pids } = permissions;
  const beyond: Record<Permission, boolean> = {
    // The default is what a toolbox reaches, so neither of the others is more.
    network: false,
    allowedHosts: false,
    readOnlyRoot: !readOnlyRoot,
    volumes: volumes.length > 0,
    writablePaths: writablePaths.length > 0,
    capabilities: capabilities.length > 0,
    ports: ports.length > 0,
    memoryBytes: memoryBytes > byDefault.memoryBytes,
    cpus: cpus > byDefault.cpus,
    pids: pids > byDefault.pids,
  };
  return new Set((Object.keys(beyond) as Permission[]).filter((permission) => beyond[permission]));
}

/** What a capability lets a container do, in a sentence. */
export function capabilityText(name: string): string {
  return text.permissions.capabilities[name.replace(/^CAP_/, "")] ?? text.permissions.unknownCapability;
}
