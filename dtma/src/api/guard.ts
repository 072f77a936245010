import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import { connectionTokenHeader } from "../../../shared/dtma-protocol.ts";
import { AppError } from "../../../shared/errors.ts";
import { isLoopback } from "../settings.ts";
import type { Tokens } from "../tokens.ts";
import { callerOf } from "./address.ts";

/*
INVARIANTS
- A browser cannot be made to call a DTMA: a request whose Host is a name that nobody gave this host (DNS rebinding), or
  whose Origin is another place, is refused before its token is looked at. A Host that is an address cannot be rebound; of a
  DTMA that only this machine can reach it has to be one of loopback all the same. Its port may be another one: tunnels and
  proxies have their own.
- Failures are counted by address and slowed down; a right token always passes, so that nobody can lock an admin out.
  Tokens have at least 16 characters, which no number of guesses exhausts. A shorter one, taken over from the agent before,
  could be guessed: it does not pass while its address is slowed down.
*/

const windowMs = 60_000;
const failuresInWindow = 10;
const maxAddresses = 10_000;
const maxKnownHosts = 64;

export interface Guard {
  /** FORBIDDEN for a request that a foreign page could have made. */
  checkPlace(request: IncomingMessage): void;
  /** The bearer token, or undefined. */
  bearer(request: IncomingMessage): string | undefined;
  /** The token a request to the MCP endpoint comes with: the one in the header made for it, else the bearer token. */
  connectionToken(request: IncomingMessage): string | undefined;
  /** The id of the toolbox's token that this is; undefined when it is none. */
  toolboxToken(token: string, request: IncomingMessage): string | undefined;
  /** What to throw for a missing or wrong token: TOOLBOX_REFUSED, or LIMIT_REACHED after too many of them. */
  refusal(request: IncomingMessage): AppError;
}

type GuardOptions = {
  tokens: Pick<Tokens, "find">;
  allowedHosts: readonly string[];
  /** Only this machine can reach it. */
  isOnLoopback?: boolean;
  now?: () => number;
};

export function createGuard({ tokens, allowedHosts, isOnLoopback = false, now = Date.now }: GuardOptions): Guard {
  const failures = new Map<string, { since: number; count: number }>();
  const names = new Set(["localhost", ...allowedHosts]);

  /** Clients repeat theirs with every request. */
  const knownHosts = new Set<string>();

  const isKnownHost = (host: string) => {
    if (knownHosts.has(host)) return true;
    const name = hostName(host);
    const isKnown = name !== undefined && (names.has(name) || (isOnLoopback ? isLoopback(name) : isIP(name) !== 0));
    if (isKnown && knownHosts.size < maxKnownHosts) knownHosts.add(host);
    return isKnown;
  };

  /** The failures of an address that still count. */
  function failuresOf(caller: string): { since: number; count: number } {
    const entry = failures.get(caller);
    return entry === undefined || now() - entry.since > windowMs ? { since: now(), count: 0 } : entry;
  }

  return {
    checkPlace({ headers }) {
      if (headers.host === undefined || !isKnownHost(headers.host)) {
        throw new AppError("FORBIDDEN", { message: "This DTMA is not known by the name it was called by." });
      }
      if (headers.origin !== undefined && originHost(headers.origin) !== headers.host.toLowerCase()) {
        throw new AppError("FORBIDDEN", { message: "Requests of web pages are not answered." });
      }
    },
    bearer,
    connectionToken(request) {
      const own = request.headers[connectionTokenHeader];
      // Node joins what was sent twice into one text, which is nobody's token.
      return own === undefined ? bearer(request) : String(own);
    },
    toolboxToken(token, { socket }) {
      const found = tokens.find(token);
      if (found?.isShort && failuresOf(callerOf(socket.remoteAddress)).count >= failuresInWindow) return undefined;
      return found?.id;
    },
    refusal({ socket }) {
      const caller = callerOf(socket.remoteAddress);
      const current = failuresOf(caller);
      current.count += 1;
      // An attacker with many addresses pushes out the oldest counts, never the process's memory.
      if (!failures.has(caller) && failures.size >= maxAddresses) failures.delete(failures.keys().next().value ?? "");
      failures.set(caller, current);
      if (current.count > failuresInWindow) {
        return new AppError("LIMIT_REACHED", { message: "Too many requests with a wrong token came from this address." });
      }
      return new AppError("TOOLBOX_REFUSED");
    },
  };
}

function bearer({ headers }: IncomingMessage): string | undefined {
  return /^Bearer +(\S+)$/i.exec(headers.authorization ?? "")?.[1];
}

/** The host of a Host header without its port and brackets. */
function hostName(host: string): string | undefined {
  if (!/^(?:\[[\da-f:.]+\]|[\w.-]+)(?::\d{1,5})?$/i.test(host)) return undefined;
  try {
    return new URL(`http://${host}`).hostname.replace(/^\[|\]$/g, "").toLowerCase();
  } catch {
    return undefined;
  }
}

function originHost(origin: string): string | undefined {
  try {
    return new URL(origin).host.toLowerCase();
  } catch {
    return undefined;
  }
}
