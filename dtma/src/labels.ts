import { type ServerId, serverId } from "../../shared/model/ids.ts";
import { type ServerSpec, serverName, serverSpec } from "../../shared/model/spec.ts";
import type { Labels } from "./docker/docker.ts";

/*
INVARIANTS
- What is needed to manage a server is on its container: labels, name and restart policy. A DTMA with an empty data
  folder manages what the one before it did.
- A DTMA sees only what carries its scope, and everything it makes carries it.
- A container counts as a server's own only under its final name; `--new` and `--old` mark an update that is under way.
- No label ever holds a secret's value.
*/

const prefix = "dev.dtma.";
export const scopeLabel = `${prefix}scope`;
export const serverNameLabel = `${prefix}name`;
export const serverIdLabel = `${prefix}server-id`;
export const kindLabel = `${prefix}kind`;
const managedLabel = `${prefix}managed`;
const specLabel = `${prefix}spec`;
const imageLabel = `${prefix}image`;
const digestLabel = `${prefix}digest`;

export type Scope = {
  name: string;
  /** On everything made: the scope and what the person who started the DTMA added. */
  labels: Labels;
};

/** What the labels of a server's container say. */
export type ServerLabels = { serverId: ServerId; spec: ServerSpec; image: { reference: string; digest: string } };

/** Labels that are on everything a DTMA of this scope makes; `extra` cannot replace ours. */
export function createScope(name: string, extra: Labels): Scope {
  return { name, labels: { ...extra, [managedLabel]: "1", [scopeLabel]: name } };
}

export function scopeFilter(scope: Scope): Labels {
  return { [scopeLabel]: scope.name };
}

export function kindLabels(scope: Scope, kind: "app-image" | "build" | "network"): Labels {
  return { ...scope.labels, [kindLabel]: kind };
}

export function kindFilter(scope: Scope, kind: "server" | "app-image" | "build"): Labels {
  return { ...scopeFilter(scope), [kindLabel]: kind };
}

export function volumeLabels(scope: Scope, spec: ServerSpec, id: ServerId): Labels {
  return { ...scope.labels, [kindLabel]: "volume", [serverIdLabel]: id, [serverNameLabel]: spec.name };
}

export function serverLabels(scope: Scope, server: ServerLabels): Labels {
  return {
    ...scope.labels,
    [kindLabel]: "server",
    [serverIdLabel]: server.serverId,
    [serverNameLabel]: server.spec.name,
    [specLabel]: JSON.stringify(server.spec),
    [imageLabel]: server.image.reference,
    [digestLabel]: server.image.digest,
  };
}

/** undefined when the labels are not those of a server, or were written by a DTMA this one does not understand. */
export function readServerLabels(labels: Labels): ServerLabels | undefined {
  const id = serverId.safeParse(labels[serverIdLabel]);
  const spec = serverSpec.safeParse(parseJson(labels[specLabel]));
  if (!id.success || !spec.success) return undefined;
  return {
    serverId: id.data,
    spec: spec.data,
    image: { reference: labels[imageLabel] ?? "", digest: labels[digestLabel] ?? "" },
  };
}

export type ContainerRole = "current" | "new" | "old";

/** Name of a server's container. Containers of other scopes than `default` carry the scope, because names are host-wide. */
export function containerName(scope: Scope, server: string, role: ContainerRole = "current"): string {
  const base = scope.name === "default" ? server : `${scope.name}.${server}`;
  return role === "current" ? base : `${base}--${role}`;
}

/** What a container with these labels and this name is to its server. */
export function containerRole(name: string): ContainerRole {
  if (name.endsWith("--new")) return "new";
  return name.endsWith("--old") ? "old" : "current";
}

export function volumeName(scope: Scope, id: ServerId, volume: string): string {
  return `dtma.${scope.name}.${id}.${volume}`;
}

export function networkName(scope: Scope): string {
  return scope.name === "default" ? "dtma" : `dtma.${scope.name}`;
}

/** The server a label speaks of, when it is a name at all. */
export function labelledName(labels: Labels): string | undefined {
  const name = serverName.safeParse(labels[serverNameLabel]);
  return name.success ? name.data : undefined;
}

function parseJson(text: string | undefined): unknown {
  try {
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}
