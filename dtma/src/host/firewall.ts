import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";

/*
What containers on the DTMA's bridges must not do, as rules of the host's firewall. docs/decisions/0016 says why each.

INVARIANTS
- Every rule names its bridge, does not depend on the order among rules, and only drops; the one exception opens the
  proxy's port to its bridge where the host's own rules would close it. A half-set firewall is never more open than none.
- They sit in the tables `raw` and `mangle`, which neither Docker nor the usual firewall programs flush, and before any
  address translation.
- Every rule carries a mark of its bridge, and only what carries it is ever taken away: Docker has rules on the bridge too.
- Nothing here ever sends a packet to a metadata service.
*/

const run = promisify(execFile);
const metadataNetwork = "169.254.0.0/16";
const notReply = ["-m", "conntrack", "!", "--ctstate", "ESTABLISHED,RELATED"];

/** A rule: its table, its chain and the rest. */
type Rule = readonly [table: string, chain: string, ...args: string[]];

export type Gate = { address: string; port: number };

export interface Firewall {
  /**
   * Puts the rules of a bridge in place: of one that reaches the outside or, with a gate, of one that reaches nothing
   * else. Returns what of them cannot be had and why, as the end of a sentence.
   */
  ensure(bridge: string, gate?: Gate): Promise<string | undefined>;
  /** Takes away every rule of the bridge. */
  remove(bridge: string): Promise<void>;
  /** Why this host cannot have any rule, known without trying. */
  obstacle(): string | undefined;
}

export function createFirewall(): Firewall {
  const obstacle = () => {
    if (process.platform !== "linux") return "this is not a Linux host";
    if (process.getuid?.() !== 0) return "the DTMA does not run as root and cannot add firewall rules";
    return undefined;
  };

  return {
    obstacle,
    async ensure(bridge, gate) {
      const known = obstacle();
      if (known !== undefined) return known;
      try {
        for (const [table, chain, ...args] of gate === undefined ? openRules(bridge) : restrictedRules(bridge, gate)) {
          const rule: Rule = [table, chain, "-m", "comment", "--comment", markOf(bridge), ...args];
          if (!(await succeeds("-C", rule))) await iptables("-I", rule);
        }
      } catch {
        return "its firewall rules could not be added";
      }
      if (await areBridgedPacketsSeen()) return undefined;
      return "its kernel does not show bridged packets to the firewall (br_netfilter)";
    },
    async remove(bridge) {
      if (obstacle() !== undefined) return;
      for (const table of ["raw", "mangle", "filter"]) {
        for (const rule of await marked(table, markOf(bridge))) await succeeds("-D", rule);
      }
    },
  };
}

function openRules(bridge: string): Rule[] {
  return [["raw", "PREROUTING", "-i", bridge, "-d", metadataNetwork, "-j", "DROP"], ...inwardRules(bridge)];
}

/** Nobody but the host itself opens a connection to a container, and no container one to the host. */
function inwardRules(bridge: string): Rule[] {
  return [
    ["mangle", "INPUT", "-i", bridge, ...notReply, "-j", "DROP"],
    ["mangle", "FORWARD", "!", "-i", bridge, "-o", bridge, ...notReply, "-j", "DROP"],
  ];
}

function restrictedRules(bridge: string, { address, port }: Gate): Rule[] {
  const gate = ["-p", "tcp", "--dport", String(port)];
  const [, ...forwarded] = inwardRules(bridge);
  return [
    // With bridged packets shown to the firewall, this one also keeps containers from one another.
    ["raw", "PREROUTING", "-i", bridge, "!", "-d", address, "-j", "DROP"],
    ["mangle", "INPUT", "-i", bridge, "!", "-p", "tcp", ...notReply, "-j", "DROP"],
    ["mangle", "INPUT", "-i", bridge, "-p", "tcp", "!", "--dport", String(port), ...notReply, "-j", "DROP"],
    ["mangle", "INPUT", "!", "-i", bridge, "-d", address, ...gate, "-j", "DROP"],
    ...forwarded,
    ["filter", "INPUT", "-i", bridge, "-d", address, ...gate, "-j", "ACCEPT"],
  ];
}

function markOf(bridge: string): string {
  return `made-by-dtma-for-${bridge}`;
}

async function marked(table: string, mark: string): Promise<Rule[]> {
  const { stdout } = await execute(["-t", table, "-S"]).catch(() => {
    // No iptables, or no such table: nothing was ever set there, and `ensure` tells what that means.
    return { stdout: "" };
  });
  return stdout
    .split("\n")
    .map((line) => line.trim().split(/ +/))
    .filter((words) => words[0] === "-A" && words.includes(mark))
    .map(([, chain = "", ...args]) => [table, chain, ...args]);
}

async function areBridgedPacketsSeen(): Promise<boolean> {
  const text = await readFile("/proc/sys/net/bridge/bridge-nf-call-iptables", "utf8").catch(() => "0");
  return text.trim() === "1";
}

async function succeeds(verb: "-C" | "-D", rule: Rule): Promise<boolean> {
  return await iptables(verb, rule).then(
    () => true,
    () => false,
  );
}

async function iptables(verb: "-C" | "-I" | "-D", [table, ...rest]: Rule): Promise<void> {
  await execute(["-t", table, verb, ...rest]);
}

async function execute(args: string[]): Promise<{ stdout: string }> {
  return await run("iptables", ["-w", "5", ...args], {
    timeout: 10_000,
    env: { ...process.env, PATH: `${process.env.PATH ?? ""}:/usr/sbin:/sbin` },
  });
}
