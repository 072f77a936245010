import { readdir, readFile, readlink } from "node:fs/promises";

export type Socket = { address: string; port: number };

/** State of a listening socket in /proc/net/tcp (include/net/tcp_states.h). */
const listenState = "0A";

/** The sockets on which this process listens, as the kernel lists them; undefined where it does not say. */
export async function listeningSockets(): Promise<Socket[] | undefined> {
  if (process.platform !== "linux") return undefined;
  const own = await ownSockets();
  const tables = await Promise.all(["tcp", "tcp6"].map((name) => readFile(`/proc/self/net/${name}`, "utf8").catch(() => "")));
  return tables.flatMap((table) => parseSockets(table, own));
}

/** Inodes of the sockets this process has open. */
async function ownSockets(): Promise<Set<string>> {
  const links = await Promise.all(
    // A descriptor may be closed between the list and the look at it.
    (await readdir("/proc/self/fd")).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => "")),
  );
  return new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []));
}

/** Listening sockets with one of these inodes. Each address is hex, in words of the machine's (little-endian) order. */
export function parseSockets(table: string, inodes: ReadonlySet<string>): Socket[] {
  return table
    .split("\n")
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter((columns) => columns[3] === listenState && inodes.has(columns[9] ?? ""))
    .map((columns) => {
      const [address = "", port = ""] = (columns[1] ?? "").split(":");
      return { address: toAddress(address), port: Number.parseInt(port, 16) };
    });
}

function toAddress(hex: string): string {
  const words = hex.match(/.{8}/g) ?? [];
  const bytes = words.flatMap((word) => (word.match(/../g) ?? []).reverse().map((byte) => Number.parseInt(byte, 16)));
  if (bytes.length === 4) return bytes.join(".");
  const groups = bytes.flatMap((byte, index) => (index % 2 === 0 ? [(byte * 256 + (bytes[index + 1] ?? 0)).toString(16)] : []));
  return new URL(`http://[${groups.join(":")}]`).hostname.replace(/^\[|\]$/g, "");
}
