import { isIP } from "node:net";
import { addressKind } from "./address-kind.ts";
import { findAllowed } from "./allowed-host.ts";

/*
INVARIANTS
- The list decides about the name as it was asked for; then every address it leads to is judged by itself, and only those
  that passed are connected to. Nothing is looked up twice in between.
- The machine's own addresses are inward, whatever they are.
*/

export type EgressDecision =
  | { is: "allowed"; addresses: string[] }
  | { is: "denied"; reason: "not-listed" | "leads-inward" }
  | { is: "unknown-name" };

export type EgressQuestion = { host: string; port: number; allowedHosts: readonly string[] };

export async function decideEgress(
  { host, port, allowedHosts }: EgressQuestion,
  deps: { resolve(name: string): Promise<string[]>; ownAddresses(): ReadonlySet<string> },
): Promise<EgressDecision> {
  const entry = findAllowed(allowedHosts, host, port);
  if (entry === undefined) return { is: "denied", reason: "not-listed" };
  const isAddress = isIP(entry.host) !== 0 && !entry.isWildcard;
  let found: string[];
  try {
    found = isAddress ? [entry.host] : await deps.resolve(host);
  } catch {
    return { is: "unknown-name" };
  }
  const own = deps.ownAddresses();
  const addresses = found.filter((address) => {
    const kind = addressKind(address);
    return !own.has(address) && (kind === "public" || (kind === "private" && isAddress));
  });
  if (addresses.length > 0) return { is: "allowed", addresses };
  return found.length === 0 ? { is: "unknown-name" } : { is: "denied", reason: "leads-inward" };
}
