import { z } from "zod";
import { AppError } from "../../../shared/errors.ts";
import { type ServerPermissions, serverPermissions } from "../../../shared/model/spec.ts";
import { parse } from "../api/route.ts";
import { capabilityRefusal, isGrantable } from "../capabilities.ts";

/*
INVARIANTS
- Nothing of a caller's HostConfig is passed on to Docker: what is honoured is translated, what would open the host is
  refused by its name, and what is left out is told.
*/

/** A wish in the words of Docker's `HostConfig`, as permissions of ours. */
export type HostWish = { permissions: Partial<ServerPermissions>; leftOut: string[] };

/** What is read of it; the rest is looked through for what opens the host. */
export const hostConfig = z.looseObject({
  Memory: z.number().nullish(),
  NanoCpus: z.number().nullish(),
  CpuQuota: z.number().nullish(),
  CpuPeriod: z.number().nullish(),
  PidsLimit: z.number().nullish(),
  ReadonlyRootfs: z.boolean().nullish(),
  NetworkMode: z.string().nullish(),
  CapAdd: z.array(z.string()).nullish(),
  PortBindings: z.record(z.string(), z.unknown()).nullish(),
});

const usualCpuPeriod = 100_000;
const honoured = new Set(Object.keys(hostConfig.shape));
/** Already so for every container, whatever is asked. */
const alwaysSo = new Set(["CapDrop", "Init", "MemorySwap", "RestartPolicy"]);

const isSet = (value: unknown) => !isEmpty(value);
const not =
  (...harmless: string[]) =>
  (value: unknown) =>
    isSet(value) && !(typeof value === "string" && harmless.includes(value));

/** Keys that open the host, each with the values that do. */
const opensHost: Readonly<Record<string, (value: unknown) => boolean>> = {
  Privileged: isSet,
  Binds: isSet,
  Mounts: isSet,
  VolumesFrom: isSet,
  Devices: isSet,
  DeviceRequests: isSet,
  DeviceCgroupRules: isSet,
  NetworkMode: not("default", "bridge", "none"),
  PidMode: isSet,
  IpcMode: not("private", "none"),
  UTSMode: isSet,
  UsernsMode: isSet,
  CgroupnsMode: not("private"),
  CgroupParent: isSet,
  Cgroup: isSet,
  SecurityOpt: (value) =>
    isSet(value) && !(Array.isArray(value) && value.every((each) => /^no-new-privileges(?:[:=]true)?$/.test(String(each)))),
  Sysctls: isSet,
  Runtime: isSet,
  GroupAdd: isSet,
  Links: isSet,
  PublishAllPorts: isSet,
  OomKillDisable: isSet,
};

/** INVALID_INPUT with the path of what is out of bounds; PERMISSION_REFUSED with the path of what is never given. */
export function readHostConfig(config: z.infer<typeof hostConfig>, at: string): HostWish {
  for (const [key, opens] of Object.entries(opensHost)) {
    if (opens(config[key])) throw refused(`${at}.${key}`, "It would open the toolbox to the container and is never given.");
  }
  const refusedCapability = config.CapAdd?.find((name) => !isGrantable(name));
  if (refusedCapability !== undefined) throw refused(`${at}.CapAdd`, capabilityRefusal(refusedCapability));
  const { CpuQuota: quota, CpuPeriod: period } = config;
  const cpus = amount(config.NanoCpus, 1e9) ?? amount(quota, amount(period, 1) ?? usualCpuPeriod);
  const field = (key: string) => `${at}.${key}`;
  return {
    permissions: {
      // The agent before had no read-only root, and its callers cannot say which paths a server writes to.
      readOnlyRoot: config.ReadonlyRootfs === true,
      ...(config.NetworkMode === "none" ? { network: "none" as const } : {}),
      ...within("memoryBytes", amount(config.Memory, 1), field("Memory")),
      ...within("cpus", cpus, field(isEmpty(config.NanoCpus) ? "CpuQuota" : "NanoCpus")),
      ...within("pids", amount(config.PidsLimit, 1), field("PidsLimit")),
      ...within("capabilities", capabilities(config.CapAdd), field("CapAdd")),
    },
    leftOut: Object.keys(config)
      .filter((key) => isSet(config[key]) && !honoured.has(key) && !alwaysSo.has(key) && !Object.hasOwn(opensHost, key))
      .map(field),
  };
}

function refused(field: string, why: string): AppError {
  return new AppError("PERMISSION_REFUSED", { message: `${field}: ${why}`, field });
}

/** What Docker takes for "not said": its own answers are full of it. */
export function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === "" || value === 0) return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}

/** Docker takes 0 and -1 for no limit; there is always one here, so the usual one stays. */
function amount(value: number | null | undefined, unit: number): number | undefined {
  return value === undefined || value === null || value <= 0 ? undefined : value / unit;
}

function capabilities(names: readonly string[] | null | undefined): string[] | undefined {
  if (names === undefined || names === null || names.length === 0) return undefined;
  return names.map((name) => name.toUpperCase().replace(/^CAP_/, ""));
}

function within<K extends keyof ServerPermissions>(
  key: K,
  value: ServerPermissions[K] | undefined,
  field: string,
): Partial<ServerPermissions> {
  return value === undefined ? {} : { [key]: parse<unknown>(serverPermissions.shape[key], value, field) };
}
