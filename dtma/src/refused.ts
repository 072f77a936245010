import { AppError } from "../../shared/errors.ts";
import { capabilityRefusal, isGrantable } from "./capabilities.ts";

/*
INVARIANTS
- A deploy that asks for what opens the host (its Docker socket, namespaces, devices, paths, or all privileges) is refused
  by name. The schema of a spec has no member for any of it and would drop the wish without a word.
- Members are known by what they mean, not by one spelling: Docker's (`PidMode`), Compose's (`pid`), Kubernetes' (`hostPID`).
- What a person writes for the server itself (variables, arguments, labels, secrets) is never looked at.
*/

export type Refusal = { field: string; message: string };

type Rule = {
  /** Spellings, in lower case and without separators. */
  names: readonly string[];
  /** What the value asks for that is never given, as a sentence; undefined for a harmless one. */
  refuse(value: unknown): Refused | undefined;
};
type Refused = string | { member: string | number; message: string };

/** Deeper than this nobody reads a body. */
const maxDepth = 12;
const freeForm = new Set(["environment", "env", "secretvalues", "labels", "arguments", "args", "command", "cmd", "entrypoint"]);
const sockets = /(?:docker|containerd|podman|crio)\.sock\b/i;

const privileged = "Privileged containers are never made here.";
const hostPath = "A path of the host is never mounted; use a named volume.";
const socket = "The container engine's socket is never given to a server: it is root on the host.";
const device = "A device of the host is never given to a server.";
const confined = "The engine's own confinement of containers stays as it is.";
const unmasked = "The parts of /proc and /sys that the engine hides stay hidden.";
const namespace = (which: string) => `The ${which} namespace of the host or of another container is never shared.`;

const rules: readonly Rule[] = [
  { names: ["privileged", "allowprivilegeescalation"], refuse: (value) => (isAsked(value) ? privileged : undefined) },
  ...(
    [
      ["network", ["network", "networkmode", "net", "hostnetwork"]],
      ["process", ["pid", "pidmode", "hostpid", "pidnamespace"]],
      ["IPC", ["ipc", "ipcmode", "hostipc", "ipcnamespace"]],
      ["UTS", ["uts", "utsmode", "hostuts"]],
      ["user", ["userns", "usernsmode", "hostusers", "usernamespace"]],
      ["cgroup", ["cgroup", "cgroupns", "cgroupnsmode", "hostcgroup"]],
    ] as const
  ).map(([which, names]): Rule => ({ names, refuse: (value) => (isForeignNamespace(value) ? namespace(which) : undefined) })),
  {
    names: ["cgroupparent"],
    refuse: (value) => (isAsked(value) ? "A server's limits are its own; it cannot join another control group." : undefined),
  },
  { names: ["binds", "mounts", "volumes", "hostpath", "bindmounts", "bind", "hostpaths"], refuse: each(refuseMount) },
  {
    names: ["volumesfrom"],
    refuse: (value) => (isAsked(value) ? "The volumes of another container are never given to a server." : undefined),
  },
  {
    names: ["devices", "device", "devicerequests", "devicecgrouprules", "gpus"],
    refuse: (value) => (isAsked(value) ? device : undefined),
  },
  { names: ["securityopt", "securityopts", "securityoptions"], refuse: each(refuseSecurityOption) },
  {
    names: ["seccomp", "seccompprofile", "apparmor", "apparmorprofile"],
    refuse(value) {
      const { type } = lowered(value);
      const asked = typeof value === "string" ? value : type;
      return typeof asked === "string" && /unconfined/i.test(asked) ? confined : undefined;
    },
  },
  {
    names: ["nonewprivileges"],
    refuse: (value) => (isFalse(value) ? "A server can never gain privileges while it runs." : undefined),
  },
  { names: ["maskedpaths", "readonlypaths"], refuse: (value) => (Array.isArray(value) ? unmasked : undefined) },
  {
    names: ["capadd", "capabilities", "addcapabilities", "add"],
    refuse(value) {
      // Kubernetes' form; what it drops is no wish.
      if (typeof value === "object" && value !== null && !Array.isArray(value)) return undefined;
      return each((name) => (typeof name === "string" && !isGrantable(name) ? capabilityRefusal(name) : undefined))(value);
    },
  },
  {
    names: ["dockersocket", "mountdockersocket", "dockersock"],
    refuse: (value) => (isAsked(value) ? socket : undefined),
  },
  {
    names: ["ports", "portbindings", "publish"],
    refuse: each((port) => {
      const { hostIp, ip, address } = lowered(port);
      const asked = hostIp ?? ip ?? address;
      return typeof asked === "string" && asked !== "" && !/^(?:127\.|localhost$|::1$)/.test(asked)
        ? "Ports are published on 127.0.0.1 of the toolbox only."
        : undefined;
    }),
  },
  {
    names: ["publishallports"],
    refuse: (value) => (isAsked(value) ? "Ports are published one by one, and on 127.0.0.1 only." : undefined),
  },
];
const ruleOf = new Map(rules.flatMap((rule) => rule.names.map((name) => [name, rule] as const)));
/** The agent before took Docker's form and published where it was told to; its callers are answered by their own rule. */
const notInHostConfig = new Set(["ports", "portbindings", "publishallports"]);

/** PERMISSION_REFUSED with the path of the first thing in a deploy's body, as it came, that is never given. */
export function checkRefused(body: unknown): void {
  const found = findRefused(body, "", 0, new Set());
  if (found !== undefined) throw new AppError("PERMISSION_REFUSED", found);
}

/** The same for Docker's `HostConfig`, or a body that holds one, wherever it stands; where ports are bound is left alone. */
export function refusedHostConfig(raw: unknown): Refusal | undefined {
  return findRefused(raw, "", 0, notInHostConfig);
}

function findRefused(value: unknown, path: string, depth: number, skipped: ReadonlySet<string>): Refusal | undefined {
  if (depth > maxDepth) return undefined;
  if (typeof value === "string") return sockets.test(value) ? { field: path, message: socket } : undefined;
  if (typeof value !== "object" || value === null) return undefined;
  for (const [key, member] of Object.entries(value)) {
    const name = key.toLowerCase().replace(/[^a-z]/g, "");
    if (!Array.isArray(value) && freeForm.has(name)) continue;
    const field = path === "" ? key : `${path}.${key}`;
    const rule = skipped.has(name) ? undefined : ruleOf.get(name);
    const refused = rule?.refuse(member);
    if (typeof refused === "string") return { field, message: refused };
    if (refused !== undefined) return { field: `${field}.${refused.member}`, message: refused.message };
    const deeper = findRefused(member, field, depth + 1, skipped);
    if (deeper !== undefined) return deeper;
  }
  return undefined;
}

/** A rule about a list, or a record, of which one entry is enough. */
function each(refuse: (entry: unknown) => string | undefined): Rule["refuse"] {
  return (value) => {
    if (typeof value === "string") return refuse(value);
    if (typeof value !== "object" || value === null) return undefined;
    for (const [member, entry] of Object.entries(value)) {
      for (const one of Array.isArray(entry) ? entry : [entry]) {
        const message = refuse(one);
        if (message !== undefined) return { member, message };
      }
    }
    return undefined;
  };
}

function refuseMount(mount: unknown): string | undefined {
  if (mount === true) return hostPath;
  if (typeof mount === "string") {
    if (sockets.test(mount)) return socket;
    return /^(?:[/~.\\]|[A-Za-z]:[\\/])/.test(mount) ? hostPath : undefined;
  }
  const { type, source, src, hostPath: named, host } = lowered(mount);
  const from = source ?? src ?? named ?? host;
  if (typeof from === "string" && sockets.test(from)) return socket;
  const isBind = type === "bind" || type === "npipe" || (typeof from === "string" && /^[/~.\\]/.test(from));
  return isBind || (typeof named === "object" && named !== null) ? hostPath : undefined;
}

function refuseSecurityOption(option: unknown): string | undefined {
  if (typeof option !== "string") return undefined;
  const [name = "", value = ""] = option.toLowerCase().split(/[=:](.*)/s);
  if (name === "no-new-privileges" && (value === "" || value === "true")) return undefined;
  return confined;
}

function isForeignNamespace(value: unknown): boolean {
  return value === true || (typeof value === "string" && /^(?:true$|host$|host:|container:|service:|ns:)/i.test(value.trim()));
}

/** A wish, in any of the forms in which JSON says yes. */
function isAsked(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  return !(isFalse(value) || value === null || value === undefined || value === "");
}

function isFalse(value: unknown): boolean {
  return value === false || value === 0 || (typeof value === "string" && /^(?:false|0|no)$/i.test(value));
}

/** Members under their camel-case name, whatever the case they came in. */
function lowered(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null) return {};
  const names: Record<string, string> = { hostip: "hostIp", hostpath: "hostPath" };
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => {
      const name = key.toLowerCase().replace(/[^a-z]/g, "");
      return [names[name] ?? name, member];
    }),
  );
}
