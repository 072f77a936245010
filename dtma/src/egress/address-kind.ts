import { BlockList, isIP } from "node:net";

/*
INVARIANTS
- `inward` leads to the toolbox itself, to a cloud's metadata service, or to nobody in particular: never allowed.
- `private` is somebody's own network: allowed only by its address, so that no name can be pointed there.
- An IPv4 address counts the same in each form in which IPv6 carries one.
*/

export type AddressKind = "public" | "private" | "inward";

const inward = blockList([
  ["0.0.0.0", 8],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["224.0.0.0", 3],
  // Metadata and agent services of clouds outside of the link-local network: Azure, Alibaba, AWS over IPv6.
  ["168.63.129.16", 32],
  ["100.100.100.200", 32],
  ["fd00:ec2::254", 128],
  ["::", 127],
  ["fe80::", 10],
  ["ff00::", 8],
]);
const privateUse = blockList([
  ["10.0.0.0", 8],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16],
  // Shared address space of carriers (RFC 6598), which overlay networks use too.
  ["100.64.0.0", 10],
  ["fc00::", 7],
  ["fec0::", 10],
]);
/** Forms with an IPv4 address inside: mapped, compatible, NAT64 (RFC 6052, 8215), 6to4, Teredo. */
const carriers = blockList([
  ["::", 96],
  ["64:ff9b::", 96],
  ["64:ff9b:1::", 48],
  ["2002::", 16],
  ["2001::", 32],
]);

/** undefined for what is no address. */
export function addressKind(address: string): AddressKind | undefined {
  const family = isIP(address);
  if (family === 0) return undefined;
  const type = family === 4 ? "ipv4" : "ipv6";
  if (inward.check(address, type)) return "inward";
  if (privateUse.check(address, type)) return "private";
  return type === "ipv6" && carriers.check(address, type) ? "inward" : "public";
}

function blockList(networks: [string, number][]): BlockList {
  const list = new BlockList();
  for (const [network, prefix] of networks) list.addSubnet(network, prefix, isIP(network) === 4 ? "ipv4" : "ipv6");
  return list;
}
