import type { DtmaEvent, HostLoad, ServerLoad } from "../../../shared/dtma-protocol.ts";
import type { Stats } from "../stats.ts";

/*
INVARIANTS
- Docker's stats streams are open for a few seconds out of thirty, not all the time: on a small toolbox with many servers
  they are what costs most.
- What is older than a minute is not told.
*/

const everyMs = 30_000;
const samples = 3;
const staleMs = 60_000;

export type Loads = { host: HostLoad | null; servers: Readonly<Record<string, ServerLoad>> };

export interface LoadSampler {
  latest(): Loads;
  close(): void;
}

/** Samples the host and its servers from time to time, the first time at once. */
export function createLoadSampler(stats: Stats): LoadSampler {
  let last: Extract<DtmaEvent, { type: "stats" }> | undefined;
  let stop: (() => void) | undefined;

  function sample(): void {
    stop?.();
    let left = samples;
    stop = stats.listen((event) => {
      last = event;
      left -= 1;
      if (left > 0) return;
      stop?.();
      stop = undefined;
    });
  }

  sample();
  const timer = setInterval(sample, everyMs);
  timer.unref();
  return {
    latest() {
      if (last === undefined || Date.now() - last.at > staleMs) return { host: null, servers: {} };
      return { host: last.host, servers: last.servers };
    },
    close() {
      clearInterval(timer);
      stop?.();
    },
  };
}
