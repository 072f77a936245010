import { createHash, randomBytes, timingSafeEqual } from "node:crypto";

/*
INVARIANTS
- Only SHA-256 digests are kept, and they are compared in constant time.
- A one-time token turns into one session, once; a session ends with the process.
*/

export type Sessions = {
  /** A token that opens one session; good until it is used, or for `lifetimeMs`. */
  mintToken(lifetimeMs?: number): string;
  /** The new session's secret, or undefined when the token is not (or no longer) good. */
  exchange(token: string): string | undefined;
  isSession(secret: string): boolean;
};

type Kept = { digest: Buffer; goodUntil: number };

/** Older unused tokens and sessions make way, so that neither list grows without end. */
const maxKept = 64;

export function createSessions(now: () => number = Date.now): Sessions {
  const tokens: Kept[] = [];
  const sessions: Kept[] = [];
  return {
    mintToken: (lifetimeMs) => issue(tokens, lifetimeMs === undefined ? Number.POSITIVE_INFINITY : now() + lifetimeMs),
    exchange(token) {
      const index = indexOf(tokens, token);
      if (index < 0) return undefined;
      const [used] = tokens.splice(index, 1);
      return used !== undefined && now() <= used.goodUntil ? issue(sessions, Number.POSITIVE_INFINITY) : undefined;
    },
    isSession: (secret) => indexOf(sessions, secret) >= 0,
  };
}

function issue(kept: Kept[], goodUntil: number): string {
  const secret = randomBytes(32).toString("base64url");
  kept.push({ digest: digest(secret), goodUntil });
  if (kept.length > maxKept) kept.shift();
  return secret;
}

/** Looks at every entry, so that the time taken says nothing about which one matched. */
function indexOf(kept: readonly Kept[], secret: string): number {
  const wanted = digest(secret);
  let found = -1;
  for (const [index, candidate] of kept.entries()) if (timingSafeEqual(candidate.digest, wanted)) found = index;
  return found;
}

function digest(secret: string): Buffer {
  return createHash("sha256").update(secret).digest();
}
