import { isIP } from "node:net";

/** One entry of a server's list. `*.example.com` stands for every name below the domain, not for the domain itself. */
export type AllowedHost = { host: string; isWildcard: boolean; port: number };

const defaultPort = 443;

/** undefined when the port is none. The form of the rest is the schema's business. */
export function parseAllowedHost(text: string): AllowedHost | undefined {
  const [, wildcard = "", host = "", portText] = /^(\*\.)?([^:*]+)(?::(\d+))?$/.exec(text) ?? [];
  const port = portText === undefined ? defaultPort : Number(portText);
  if (host === "" || port < 1 || port > 65_535) return undefined;
  return { host, isWildcard: wildcard !== "", port };
}

/** The entry that lets a client reach this host at this port. */
export function findAllowed(list: readonly string[], host: string, port: number): AllowedHost | undefined {
  const name = host.toLowerCase().replace(/\.$/, "");
  return list
    .map(parseAllowedHost)
    .find(
      (entry) =>
        entry !== undefined &&
        entry.port === port &&
        (entry.isWildcard ? isIP(name) === 0 && name.endsWith(`.${entry.host}`) : name === entry.host),
    );
}
