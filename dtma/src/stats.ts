import type { DtmaEvent, HostLoad, ServerLoad } from "../../shared/dtma-protocol.ts";
import type { Docker } from "./docker/docker.ts";
import type { Log } from "./log.ts";
import type { Server } from "./servers.ts";

type StatsEvent = Extract<DtmaEvent, { type: "stats" }>;

export interface Stats {
  /** One sample a second until the returned function is called. All listeners share one stream per container. */
  listen(listener: (event: StatsEvent) => void): () => void;
  close(): void;
}

type StatsDeps = { docker: Docker; servers(): Server[]; hostLoad(): Promise<HostLoad>; log: Log };

const sampleMs = 1_000;

/** Reads Docker's stats streams only while somebody listens. */
export function createStats({ docker, servers, hostLoad, log }: StatsDeps): Stats {
  const listeners = new Set<(event: StatsEvent) => void>();
  const streams = new Map<string, { stop: AbortController; name: string; load: ServerLoad | undefined }>();
  let timer: NodeJS.Timeout | undefined;

  function follow(id: string, name: string): void {
    const stream = { stop: new AbortController(), name, load: undefined as ServerLoad | undefined };
    streams.set(id, stream);
    void (async () => {
      try {
        for await (const load of docker.stats(id, stream.stop.signal)) stream.load = load;
      } catch (error) {
        log.warn("stats.stream-ended", { server: name, reason: String(error) });
      } finally {
        if (streams.get(id) === stream) streams.delete(id);
      }
    })();
  }

  async function sample(): Promise<void> {
    const up = new Map(servers().map(({ container, spec }) => [container.id, { name: spec.name, state: container.state }]));
    for (const [id, { name, state }] of up) if (state === "running" && !streams.has(id)) follow(id, name);
    for (const [id, { stop }] of streams) if (up.get(id)?.state !== "running") stop.abort();
    const loads = [...streams.values()].flatMap(({ name, load }) => (load === undefined ? [] : [[name, load] as const]));
    const event: StatsEvent = { type: "stats", at: Date.now(), host: await hostLoad(), servers: Object.fromEntries(loads) };
    for (const listener of listeners) listener(event);
  }

  function stop(): void {
    clearInterval(timer);
    timer = undefined;
    for (const stream of streams.values()) stream.stop.abort();
    streams.clear();
  }

  return {
    listen(listener) {
      listeners.add(listener);
      timer ??= setInterval(() => {
        sample().catch((error: unknown) => log.error("stats.not-sampled", error));
      }, sampleMs);
      return () => {
        listeners.delete(listener);
        if (listeners.size === 0) stop();
      };
    },
    close: stop,
  };
}
