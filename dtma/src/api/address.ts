import { isIPv6 } from "node:net";

/** An address as people write it: an IPv4 one stays one when it came through an IPv6 socket. */
export function plainAddress(remoteAddress: string | undefined): string {
  return (remoteAddress ?? "").replace(/^::ffff:(?=\d+\.)/, "");
}

/** What is counted as one caller: an IPv4 address, or the /64 that one IPv6 customer has 2^64 addresses in. */
export function callerOf(remoteAddress: string | undefined): string {
  const address = plainAddress(remoteAddress);
  if (!isIPv6(address)) return address;
  const [head = "", tail] = address.replace(/%.*$/, "").split("::");
  const groups = head.split(":").filter((group) => group !== "");
  const zeros = tail === undefined ? 0 : 8 - groups.length - tail.split(":").filter((group) => group !== "").length;
  return [...groups, ...Array<string>(Math.max(0, zeros)).fill("0"), ...(tail ?? "").split(":")].slice(0, 4).join(":");
}
