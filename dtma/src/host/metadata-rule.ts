import { execFile } from "node:child_process";
import { promisify } from "node:util";

/*
INVARIANTS
- Containers must not reach the cloud's metadata service (169.254.0.0/16, where droplets keep their user data): packets
  to it from our own bridge are dropped in the raw table, before Docker's own rules and before any address translation.
- Nothing here ever sends a packet there.
*/

const run = promisify(execFile);
const metadataNetwork = "169.254.0.0/16";

export interface MetadataRule {
  /** Puts the rule in place for a bridge; returns why it could not, as a sentence. */
  ensure(bridge: string): Promise<string | undefined>;
  remove(bridge: string): Promise<void>;
  /** Why this host cannot have the rule, known without trying. */
  gap(): string | undefined;
}

export function createMetadataRule(): MetadataRule {
  const gap = () => {
    if (process.platform !== "linux") return "Containers may reach the cloud's metadata address: this is not a Linux host.";
    if (process.getuid?.() !== 0) {
      return "Containers may reach the cloud's metadata address: the DTMA does not run as root and cannot add a firewall rule.";
    }
    return undefined;
  };
  return {
    gap,
    async ensure(bridge) {
      const known = gap();
      if (known !== undefined) return known;
      try {
        if (!(await iptables(["-C", ...rule(bridge)]))) await mustIptables(["-I", ...rule(bridge)]);
        return undefined;
      } catch {
        return "Containers may reach the cloud's metadata address: the firewall rule against it could not be added.";
      }
    },
    async remove(bridge) {
      if (gap() !== undefined) return;
      while (await iptables(["-C", ...rule(bridge)])) {
        if (!(await iptables(["-D", ...rule(bridge)]))) return;
      }
    },
  };
}

function rule(bridge: string): string[] {
  return ["PREROUTING", "-i", bridge, "-d", metadataNetwork, "-j", "DROP"];
}

async function iptables(args: string[]): Promise<boolean> {
  return await mustIptables(args).then(
    () => true,
    () => false,
  );
}

async function mustIptables(args: string[]): Promise<void> {
  await run("iptables", ["-w", "5", "-t", "raw", ...args], {
    timeout: 10_000,
    env: { ...process.env, PATH: `${process.env.PATH ?? ""}:/usr/sbin:/sbin` },
  });
}
