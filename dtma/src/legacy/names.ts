import { createHash } from "node:crypto";
import { type ServerId, serverId } from "../../../shared/model/ids.ts";
import { serverName } from "../../../shared/model/spec.ts";

/*
INVARIANTS
- A legacy name always means the same server of ours, and is found again without asking anything: one that we take stays as
  it is, any other becomes a slug with a hash of it.
*/

/** The caller's own words, on the container: `instanceNameOnToolbox` and `accountToolInstanceId`. */
export const legacyNameLabel = "dtma.legacy/name";
export const instanceIdLabel = "dtma.legacy/instance-id";

const slugChars = 39;
const hashChars = 8;

/** What Docker takes as the name of a container. */
export function isLegacyName(name: string): boolean {
  return /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/.test(name);
}

export function toServerName(name: string): string {
  if (serverName.safeParse(name).success) return name;
  const slug = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .slice(0, slugChars)
    .replace(/^-|-$/g, "");
  return `${slug === "" ? "server" : slug}-${hash(name).slice(0, hashChars)}`;
}

/** The id itself where it is one of ours, else a UUID (RFC 9562, version 8) made of it. */
export function toServerId(instanceId: string): ServerId {
  const own = serverId.safeParse(instanceId.toLowerCase());
  if (own.success) return own.data;
  const hex = hash(instanceId);
  const variant = ((Number.parseInt(hex.slice(16, 17), 16) & 0x3) | 0x8).toString(16);
  return serverId.parse(
    [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, `${variant}${hex.slice(17, 20)}`, hex.slice(20, 32)].join("-"),
  );
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
