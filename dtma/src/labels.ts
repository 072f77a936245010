import { z } from "zod";
import { type ImageRun, imageRun } from "../../shared/dtma-protocol.ts";
import { type ServerId, serverId } from "../../shared/model/ids.ts";
import { type ServerSpec, serverName, serverSpec } from "../../shared/model/spec.ts";
import type { Labels } from "./docker/docker.ts";

/*
INVARIANTS
- What is needed to manage a server is on its container: labels, name and restart policy. A DTMA with an empty data
  folder manages what the one before it did.
- A DTMA sees only what carries its scope, and everything it makes carries it.
- A container counts as a server's own only under its final name; `_new` and `_old` mark an update that is under way,
  `_drain-…` what has been replaced and still has sessions. No server's name has an underscore.
- No label ever holds a secret's value.
- Labels of whoever deploys a server stand next to ours and never in their place.
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
const packageLabel = `${prefix}package`;
const releaseLabel = `${prefix}release`;
const previousLabel = `${prefix}previous`;

export type Scope = {
  name: string;
  /** On everything made: the scope and what the person who started the DTMA added. */
  labels: Labels;
};

/** What the labels of a server's container say. */
export type ServerLabels = {
  serverId: ServerId;
  spec: ServerSpec;
  image: ImageRun;
  /** Absent on a container of an older DTMA. */
  release?: number;
  /** What a rollback goes back to. */
  previous?: PreviousRelease;
};

const previousRelease = z.object({
  spec: serverSpec,
  image: imageRun,
  /** The image's id on this machine, from which the same container can be made without asking anybody. */
  imageId: z.string(),
});
export type PreviousRelease = z.infer<typeof previousRelease>;

/** Labels that are on everything a DTMA of this scope makes; `extra` cannot replace ours. */
export function createScope(name: string, extra: Labels): Scope {
  return { name, labels: { ...extra, [managedLabel]: "1", [scopeLabel]: name } };
}

export function scopeFilter(scope: Scope): Labels {
  return { [scopeLabel]: scope.name };
}

/** What carries this was made by a DTMA, of whatever scope; as a filter of Docker's lists. */
export const managedFilter = [`${managedLabel}=1`];

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
    ...foreignLabels(server.spec.labels),
    ...scope.labels,
    [kindLabel]: "server",
    [serverIdLabel]: server.serverId,
    [serverNameLabel]: server.spec.name,
    [specLabel]: JSON.stringify(server.spec),
    [imageLabel]: server.image.reference,
    [digestLabel]: server.image.digest,
    ...(server.image.package === undefined ? {} : { [packageLabel]: JSON.stringify(server.image.package) }),
    ...(server.release === undefined ? {} : { [releaseLabel]: String(server.release) }),
    ...(server.previous === undefined ? {} : { [previousLabel]: JSON.stringify(server.previous) }),
  };
}

/** What is left of labels somebody else chose: none that a DTMA reads as its own. */
function foreignLabels(labels: Labels = {}): Labels {
  return Object.fromEntries(Object.entries(labels).filter(([key]) => !key.startsWith(prefix)));
}

/** undefined when the labels are not those of a server, or were written by a DTMA this one does not understand. */
export function readServerLabels(labels: Labels): ServerLabels | undefined {
  const id = serverId.safeParse(labels[serverIdLabel]);
  const spec = serverSpec.safeParse(parseJson(labels[specLabel]));
  if (!id.success || !spec.success) return undefined;
  const release = Number(labels[releaseLabel]);
  const previous = previousRelease.safeParse(parseJson(labels[previousLabel]));
  const madeOf = imageRun.shape.package.safeParse(parseJson(labels[packageLabel])).data;
  return {
    serverId: id.data,
    spec: spec.data,
    image: {
      reference: labels[imageLabel] ?? "",
      digest: labels[digestLabel] ?? "",
      ...(madeOf === undefined ? {} : { package: madeOf }),
    },
    ...(Number.isSafeInteger(release) && release > 0 ? { release } : {}),
    ...(previous.success ? { previous: previous.data } : {}),
  };
}

export type ContainerRole = "current" | "new" | "old" | "drain";

/** Name of a server's container. Containers of other scopes than `default` carry the scope, because names are host-wide. */
export function containerName(scope: Scope, server: string, role: "current" | "new" | "old" = "current"): string {
  const base = scope.name === "default" ? server : `${scope.name}.${server}`;
  return role === "current" ? base : `${base}_${role}`;
}

/** Several containers of a server can drain at once. */
export function drainName(scope: Scope, server: string, containerId: string): string {
  return `${containerName(scope, server)}_drain-${containerId.slice(0, 12)}`;
}

/** What a container with these labels and this name is to its server. */
export function containerRole(name: string): ContainerRole {
  const [, role] = /_(new|old|drain)(?:-[0-9a-f]+)?$/.exec(name) ?? [];
  return (role ?? "current") as ContainerRole;
}

export function volumeName(scope: Scope, id: ServerId, volume: string): string {
  return `dtma.${scope.name}.${id}.${volume}`;
}

/** No scope has a dot in its name, so no two networks share one. */
export function networkName(scope: Scope, kind: "open" | "restricted" = "open"): string {
  const base = scope.name === "default" ? "dtma" : `dtma.${scope.name}`;
  return kind === "open" ? base : `${base}.restricted`;
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
