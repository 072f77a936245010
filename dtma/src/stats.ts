import type { DtmaEvent, HostLoad, ServerLoad } from "../../shared/dtma-protocol.ts";
import type { OpenCgroup } from "./docker/cgroups.ts";
import type { ContainerView, Docker } from "./docker/docker.ts";
import { type Reading, toLoad } from "./docker/reading.ts";
import type { Log } from "./log.ts";
import type { Server } from "./servers.ts";

/*
INVARIANTS
- Nothing is read or kept open while nobody looks.
- The kernel's files come first; a container whose files cannot be seen is asked of Docker, which costs far more.
*/

export type StatsEvent = Extract<DtmaEvent, { type: "stats" }>;

/** What the host and its servers use at one moment; a server is missing until something is known of it. */
export type Usage = { host: HostLoad; servers: ReadonlyMap<string, Reading> };

export interface Stats {
  /** One sample a second until the returned function is called. All listeners share what is read. */
  listen(listener: (event: StatsEvent) => void): () => void;
  /** Now, once; waits for Docker's first word where it is asked, but not for long. */
  look(): Promise<Usage>;
  close(): void;
}

type StatsDeps = {
  docker: Pick<Docker, "stats">;
  openCgroup: OpenCgroup;
  servers(): Server[];
  hostLoad(): HostLoad;
  log: Log;
};

type Source = {
  name: string;
  read(): Reading | undefined;
  /** Settles with the first reading. */
  first: Promise<unknown>;
  close(): void;
  /** The newest reading that was told, and what came of it. */
  told: { reading: Reading; load: ServerLoad | undefined } | undefined;
};

const sampleMs = 1_000;
const firstWordMs = 2_500;

export function createStats({ docker, openCgroup, servers, hostLoad, log }: StatsDeps): Stats {
  const listeners = new Set<(event: StatsEvent) => void>();
  /** By container, and start of it: another start has other files. */
  const sources = new Map<string, Source>();
  let looks = 0;
  let timer: NodeJS.Timeout | undefined;

  /** Docker's stream, whose newest sample is kept. */
  function openStream(name: string, container: ContainerView, onEnd: () => void): Source {
    const stop = new AbortController();
    const first = Promise.withResolvers<void>();
    let last: Reading | undefined;
    void (async () => {
      try {
        for await (const reading of docker.stats(container.id, stop.signal)) {
          last = reading;
          first.resolve();
        }
      } catch (error) {
        log.warn("stats.stream-ended", { server: name, reason: String(error) });
      } finally {
        first.resolve();
        onEnd();
      }
    })();
    return { name, read: () => last, first: first.promise, close: () => stop.abort(), told: undefined };
  }

  function forget(key: string): void {
    sources.get(key)?.close();
    sources.delete(key);
  }

  /** One source for each running container, and none for any other. */
  function follow(): void {
    const running = new Set<string>();
    for (const { container, spec } of servers()) {
      if (container.state !== "running") continue;
      const key = `${container.id} ${container.startedAt}`;
      running.add(key);
      if (sources.has(key)) continue;
      const files = openCgroup(container);
      const source: Source =
        files === undefined
          ? openStream(spec.name, container, () => {
              if (sources.get(key) === source) forget(key);
            })
          : { name: spec.name, ...files, first: Promise.resolve(), told: undefined };
      sources.set(key, source);
    }
    for (const key of sources.keys()) if (!running.has(key)) forget(key);
  }

  function sample(): void {
    follow();
    const loads: Record<string, ServerLoad> = {};
    for (const source of sources.values()) {
      const reading = source.read();
      if (reading === undefined) continue;
      // Docker may have sent nothing new within this second: then the last word stands.
      if (source.told?.reading.atMs !== reading.atMs) {
        source.told = { reading, load: toLoad(source.told?.reading, reading) };
      }
      if (source.told?.load !== undefined) loads[source.name] = source.told.load;
    }
    const event: StatsEvent = { type: "stats", at: Date.now(), host: hostLoad(), servers: loads };
    for (const listener of listeners) listener(event);
  }

  function rest(): void {
    if (listeners.size > 0 || looks > 0) return;
    clearInterval(timer);
    timer = undefined;
    for (const key of [...sources.keys()]) forget(key);
  }

  return {
    listen(listener) {
      listeners.add(listener);
      timer ??= setInterval(() => {
        try {
          sample();
        } catch (error) {
          log.error("stats.not-sampled", error);
        }
      }, sampleMs);
      return () => {
        listeners.delete(listener);
        rest();
      };
    },
    async look() {
      looks += 1;
      try {
        follow();
        const late = Promise.withResolvers<void>();
        const wait = setTimeout(late.resolve, firstWordMs);
        await Promise.race([Promise.all([...sources.values()].map(({ first }) => first)), late.promise]);
        clearTimeout(wait);
        const readings = new Map<string, Reading>();
        for (const { name, read } of sources.values()) {
          const reading = read();
          if (reading !== undefined) readings.set(name, reading);
        }
        return { host: hostLoad(), servers: readings };
      } finally {
        looks -= 1;
        rest();
      }
    },
    close() {
      listeners.clear();
      looks = 0;
      rest();
    },
  };
}
