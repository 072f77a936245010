/*
How fast a connection may send messages to the MCP endpoint.

INVARIANTS
- Each connection has a bucket of its own: a flood of one takes nothing from another.
- A request is refused before anything of it is read, so that refusing costs next to nothing.
- What turns out to be many messages in one request is paid for afterwards, by what comes next.
*/

export interface RateLimit {
  /** Takes one message out of the bucket; the seconds to wait when it is empty. */
  take(connectionId: string): number | undefined;
  /** Takes more of them, also when there are none left. */
  charge(connectionId: string, messages: number): void;
  /** The connection has no access any more. */
  forget(connectionId: string): void;
}

export type RateLimitOptions = {
  perSecond: number;
  /** What may come at once after a pause. */
  burst: number;
  /** A monotonic clock in milliseconds. */
  clock?(): number;
};

export function createRateLimit({ perSecond, burst, clock = () => performance.now() }: RateLimitOptions): RateLimit {
  const buckets = new Map<string, { left: number; at: number }>();

  function bucketOf(connectionId: string): { left: number } {
    const now = clock();
    const bucket = buckets.get(connectionId);
    if (bucket === undefined) {
      const full = { left: burst, at: now };
      buckets.set(connectionId, full);
      return full;
    }
    bucket.left = Math.min(burst, bucket.left + ((now - bucket.at) * perSecond) / 1_000);
    bucket.at = now;
    return bucket;
  }

  return {
    take(connectionId) {
      const bucket = bucketOf(connectionId);
      if (bucket.left < 1) return Math.ceil((1 - bucket.left) / perSecond);
      bucket.left -= 1;
      return undefined;
    },
    charge(connectionId, messages) {
      bucketOf(connectionId).left -= messages;
    },
    forget(connectionId) {
      buckets.delete(connectionId);
    },
  };
}
