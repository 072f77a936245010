/*
INVARIANTS
- Only what changes something is limited for the holder of a token, so that whoever looks often is never held up.
- A token's own calls count by the token, everybody else's by where they come from: a stranger cannot use up what a holder
  of a token may do.
*/

const strangersPerMinute = 600;
const maxCallers = 10_000;

export interface Limits {
  /** undefined when the call may go on, else the seconds after which it may. */
  change(tokenId: string): number | undefined;
  stranger(caller: string): number | undefined;
}

export function createLimits({ changesPerMinute, now = Date.now }: { changesPerMinute: number; now?: () => number }): Limits {
  return { change: createBuckets(changesPerMinute, now), stranger: createBuckets(strangersPerMinute, now) };
}

/** A full bucket for everybody new, that fills up again within a minute. */
function createBuckets(perMinute: number, now: () => number): (key: string) => number | undefined {
  const perMs = perMinute / 60_000;
  const buckets = new Map<string, { left: number; at: number }>();
  return (key) => {
    const time = now();
    const bucket = buckets.get(key) ?? { left: perMinute, at: time };
    bucket.left = Math.min(perMinute, bucket.left + Math.max(0, time - bucket.at) * perMs);
    bucket.at = time;
    if (!buckets.has(key) && buckets.size >= maxCallers) buckets.delete(buckets.keys().next().value ?? "");
    buckets.set(key, bucket);
    if (bucket.left < 1) return Math.ceil((1 - bucket.left) / perMs / 1_000);
    bucket.left -= 1;
    return undefined;
  };
}
