/*
What facts about a host mean. Pure: doctor-facts.ts finds the facts.

INVARIANTS
- A problem is what keeps the DTMA from working or lets somebody in; a warning is protection that is missing; everything
  else is ok. Every problem and warning says what to do.
- What could not be found out is a warning, never ok.
*/

export type Finding = {
  subject: string;
  level: "ok" | "warning" | "problem";
  says: string;
  /** What to do. */
  advice?: string;
};

/** A fact, or why it could not be found out, as the end of a sentence. */
export type Found<T> = { value: T } | { unknown: string };

export type HostFacts = {
  platform: string;
  isRoot: boolean;
  nodeVersion: string;
  nowMs: number;
  port: number;
  host: string;
  /** null: there is none. */
  configuration: Found<{
    path: string;
    mode: number;
    ownerId: number;
    hasClearToken: boolean;
    enrolmentUntilMs?: number;
  } | null>;
  docker: Found<DockerFacts>;
  /** Of the firewall's raw table, where the metadata rule goes. */
  rawTable: Found<true>;
  /** null: it does not exist. */
  dataFolder: Found<{ path: string; mode: number; isOwn: boolean; freeBytes: number } | null>;
  listener: "ours" | "free" | { other: string };
  /** Whether a DTMA works in the data folder that does not answer. */
  isLocked: boolean;
  /** null: none was made yet, or none is needed. */
  certificate: Found<{ notBeforeMs: number; notAfterMs: number } | null>;
  /** null: this machine has no systemd. */
  unit: Found<{ load: string; active: string; enabled: string; restarts: number } | null>;
  clockIsSynchronised: Found<boolean | null>;
  /** Ports that the table `inet dtma` opens; null: there is no such table. */
  firewallPorts: Found<number[] | null>;
};

export type DockerFacts = {
  version: string;
  hasSeccomp: boolean;
  cgroupVersion: string;
  storageDriver: string;
  /** Limits of DESIGN that the kernel cannot hold, as Docker says. */
  missingLimits: string[];
  freeBytes: number | undefined;
  /** Ports of our containers that others can reach, as address:port. */
  published: string[];
};

const gibibyte = 2 ** 30;
const day = 86_400_000;
/** Before this the clock is wrong for certain: this program is younger. */
const programMadeMs = Date.UTC(2026, 10, 1);

export function findingsOf(facts: HostFacts): Finding[] {
  const everywhere = [user(facts), node(facts), configuration(facts), ...docker(facts), dataFolder(facts), ...listener(facts)];
  const linux = [rawTable(facts), unit(facts), firewall(facts)];
  return [...everywhere, certificate(facts), clock(facts), ...(facts.platform === "linux" ? linux : [noLinux(facts)])].filter(
    (finding) => finding !== undefined,
  );
}

function ok(subject: string, says: string): Finding {
  return { subject, level: "ok", says };
}
function warning(subject: string, says: string, advice: string): Finding {
  return { subject, level: "warning", says, advice };
}
function problem(subject: string, says: string, advice: string): Finding {
  return { subject, level: "problem", says, advice };
}
function unknown(subject: string, reason: string): Finding {
  return warning(subject, `This could not be found out: ${reason}.`, "Run dtma doctor as root.");
}

function noLinux({ platform }: HostFacts): Finding {
  return warning("platform", `This is ${platform}, not Linux: no firewall rule can be set here.`, "Use Linux for a toolbox.");
}

function user({ isRoot, platform }: HostFacts): Finding {
  if (isRoot || platform !== "linux") return ok("user", isRoot ? "This is root." : "This is an ordinary user.");
  return warning(
    "user",
    "This is not root: the metadata address cannot be blocked and other users' files cannot be looked at.",
    "Run it as root: sudo dtma doctor.",
  );
}

function node({ nodeVersion }: HostFacts): Finding {
  if (Number(nodeVersion.replace(/^v/, "").split(".")[0]) >= 24) return ok("node", `Node ${nodeVersion}.`);
  return problem("node", `Node ${nodeVersion} is too old.`, "Use Node 24 or newer; a release of the DTMA brings its own.");
}

function configuration({ configuration: found, nowMs }: HostFacts): Finding {
  const subject = "settings";
  if ("unknown" in found) return unknown(subject, found.unknown);
  if (found.value === null) return ok(subject, "There is no configuration file; flags and the environment are used.");
  const { path, mode, ownerId, hasClearToken, enrolmentUntilMs } = found.value;
  if ((mode & 0o077) !== 0 || ownerId !== 0) {
    const says = `${path} can be read or changed by others than root (mode ${octal(mode)}, owner ${ownerId}).`;
    return problem(subject, says, `chown root:root ${path} && chmod 0600 ${path}; then change the token.`);
  }
  if (hasClearToken) {
    const says = `${path} holds the token in clear.`;
    return warning(subject, says, "Restart the DTMA: it keeps only the token's hash.");
  }
  if (enrolmentUntilMs !== undefined && enrolmentUntilMs > nowMs) {
    return ok(subject, `${path} is root's only; its enrolment key is good until ${isoTime(enrolmentUntilMs)}.`);
  }
  return ok(subject, `${path} is root's only and holds no token.`);
}

function docker({ docker: found }: HostFacts): Finding[] {
  const subject = "docker";
  if ("unknown" in found) {
    return [problem(subject, `Docker does not answer: ${found.unknown}.`, "Start it: systemctl start docker.")];
  }
  const { version, hasSeccomp, cgroupVersion, storageDriver, missingLimits, freeBytes, published } = found.value;
  const findings = [ok(subject, `Engine ${version} answers (cgroup ${cgroupVersion}, ${storageDriver}).`)];
  if (isOlder(version, [20, 10])) {
    findings[0] = warning(subject, `Engine ${version} is older than 20.10, with which this was tested.`, "Upgrade Docker.");
  }
  findings.push(
    hasSeccomp
      ? ok("seccomp", "Containers run with Docker's filter of system calls.")
      : problem("seccomp", "Containers run without a filter of system calls.", "Use a kernel and a Docker with seccomp."),
    missingLimits.length === 0
      ? ok("limits", "Memory, CPU and processes of containers can be limited.")
      : warning("limits", `This kernel cannot limit: ${missingLimits.join(", ")}.`, "Turn on the cgroup controllers for them."),
    disk("docker's disk", freeBytes),
    published.length === 0
      ? ok("ports", "No container of ours is reachable from outside.")
      : problem("ports", `Reachable from outside: ${published.join(", ")}.`, "Deploy these servers again with this DTMA."),
  );
  return findings;
}

function disk(subject: string, freeBytes: number | undefined): Finding {
  if (freeBytes === undefined) return unknown(subject, "the free space cannot be read");
  const free = `${(freeBytes / gibibyte).toFixed(1)} GiB are free.`;
  if (freeBytes < gibibyte) return problem(subject, free, "Make room: images and packages need some.");
  return freeBytes < 4 * gibibyte ? warning(subject, free, "Make room before the next deploys.") : ok(subject, free);
}

function rawTable({ rawTable: found }: HostFacts): Finding {
  const subject = "metadata";
  if (!("unknown" in found)) return ok(subject, "The rule that blocks the metadata address can be set.");
  const says = `The metadata address cannot be blocked: ${found.unknown}.`;
  return warning(subject, says, "Install iptables, and use a kernel with its raw table.");
}

function dataFolder({ dataFolder: found, isLocked }: HostFacts): Finding {
  const subject = "data";
  if ("unknown" in found) return unknown(subject, found.unknown);
  if (found.value === null) return ok(subject, "There is no data folder yet; the DTMA makes it when it first starts.");
  const { path, mode, isOwn, freeBytes } = found.value;
  if ((mode & 0o077) !== 0 || !isOwn) {
    const says = `${path} can be entered by others (mode ${octal(mode)}${isOwn ? "" : ", another owner"}).`;
    return problem(subject, says, `chown -R root:root ${path} && chmod 0700 ${path}; then change token and secrets.`);
  }
  if (isLocked) {
    const says = `A DTMA works in ${path}, but does not answer on this port.`;
    return warning(subject, says, "Ask with the --port and --config it was started with, or see its log.");
  }
  const space = disk(subject, freeBytes);
  return space.level === "ok" ? ok(subject, `${path} is the DTMA's only; ${space.says}`) : space;
}

function listener({ listener: found, port, host }: HostFacts): Finding[] {
  const subject = "port";
  if (found === "ours") return [ok(subject, `This DTMA answers on ${host}:${port}.`)];
  if (found === "free") {
    return [problem(subject, `Nothing listens on port ${port}.`, "Start the DTMA: systemctl start dtma.")];
  }
  const says = `Something else answers on port ${port}: ${found.other}.`;
  return [problem(subject, says, "End it, or set another PORT in /etc/dtma.conf.")];
}

function certificate({ certificate: found, nowMs }: HostFacts): Finding | undefined {
  const subject = "certificate";
  if ("unknown" in found) return unknown(subject, found.unknown);
  if (found.value === null) return undefined;
  const { notBeforeMs, notAfterMs } = found.value;
  if (nowMs < notBeforeMs) return problem(subject, `It is valid from ${isoTime(notBeforeMs)} only.`, "Set the clock.");
  if (nowMs > notAfterMs) return problem(subject, `It ended on ${isoTime(notAfterMs)}.`, "Restart the DTMA: it renews it.");
  const until = `Valid until ${isoTime(notAfterMs).slice(0, 10)}.`;
  return notAfterMs - nowMs < 14 * day ? warning(subject, until, "Restart the DTMA: it renews it.") : ok(subject, until);
}

function clock({ nowMs, clockIsSynchronised: found }: HostFacts): Finding {
  const subject = "clock";
  if (nowMs < programMadeMs) return problem(subject, `It says ${isoTime(nowMs)}.`, "Set it: timedatectl set-ntp true.");
  if ("value" in found && found.value === false) {
    return warning(subject, `It says ${isoTime(nowMs)} and follows no time server.`, "timedatectl set-ntp true");
  }
  return ok(subject, `It says ${isoTime(nowMs)}.`);
}

function unit({ unit: found }: HostFacts): Finding | undefined {
  const subject = "service";
  if ("unknown" in found) return unknown(subject, found.unknown);
  if (found.value === null) return undefined;
  const { load, active, enabled, restarts } = found.value;
  if (load !== "loaded") return warning(subject, "There is no systemd unit dtma.", "Install it with install.sh.");
  if (active !== "active") return problem(subject, `The unit dtma is ${active}.`, "journalctl -u dtma says why.");
  if (enabled !== "enabled") return warning(subject, "It does not start with the machine.", "systemctl enable dtma");
  if (restarts > 0) return warning(subject, `It was restarted ${restarts} times.`, "journalctl -u dtma says why.");
  return ok(subject, "It runs and starts with the machine.");
}

function firewall({ firewallPorts: found, port, host }: HostFacts): Finding {
  const subject = "firewall";
  if ("unknown" in found) return unknown(subject, found.unknown);
  if (found.value === null) {
    return warning(subject, "There is no table inet dtma.", "Run install.sh again, or see to it that another firewall is on.");
  }
  if (!found.value.includes(port) && !/^(127\.|::1$|localhost$)/.test(host)) {
    return problem(subject, `Port ${port} is closed; open are ${found.value.join(", ")}.`, "Run install.sh --port again.");
  }
  return ok(subject, `Open are ${found.value.join(", ")}.`);
}

function octal(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, "0");
}
function isoTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
function isOlder(version: string, wanted: readonly [number, number]): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major < wanted[0] || (major === wanted[0] && minor < wanted[1]);
}
