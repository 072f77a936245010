import { networkInterfaces } from "node:os";

/** Whether an address is this computer itself: reached also without any network. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host === "[::1]" || /^127(?:\.\d{1,3}){3}$/.test(host);
}

/** Whether this computer has any way out: an interface besides loopback with an address that is not link-local. */
export function hasNetwork(): boolean {
  return Object.values(networkInterfaces()).some((addresses) =>
    addresses?.some(({ internal, address }) => !internal && !address.startsWith("fe80:") && !address.startsWith("169.254.")),
  );
}

/** Changes whenever the network does: another interface, another address. */
export function networkShape(): string {
  return JSON.stringify(
    Object.entries(networkInterfaces())
      .flatMap(([name, addresses]) =>
        (addresses ?? []).filter(({ internal }) => !internal).map(({ address }) => `${name} ${address}`),
      )
      .sort(),
  );
}
