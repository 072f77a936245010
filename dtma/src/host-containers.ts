import { setTimeout as sleep } from "node:timers/promises";
import { toAppError } from "../../shared/errors.ts";
import type { ContainerSummary, Docker } from "./docker/docker.ts";
import type { Log } from "./log.ts";

/*
INVARIANTS
- Docker is asked when it says that something changed, never because somebody looks.
- Every list begins after the change it is to show; changes that come together cost one list.
- Without Docker the last list stays, with the time until which it was known to be true.
*/

const gatherMs = 100;
const maxBackOffMs = 10_000;
/** Execs and copies come and go with every session and change nothing that is listed. */
const changes = /^(?:create|start|restart|die|stop|kill|pause|unpause|rename|destroy|update|health_status)/;

/** Every container of the host, whoever made it. */
export interface HostContainers {
  /** Oldest first. The same array until something changed. */
  all(): readonly ContainerSummary[];
  /** The time up to which the list is known to be true; undefined before the first one. */
  knownUntil(): number | undefined;
  /** Resolves once a list that began after this call is there. DOCKER_UNAVAILABLE. */
  refresh(): Promise<void>;
  close(): Promise<void>;
}

type HostContainersDeps = { docker: Pick<Docker, "watch" | "listHostContainers">; log: Log; now?: () => number };

/** Starts to observe; `ready` resolves once Docker was listed for the first time or is known to be down. */
export function createHostContainers({
  docker,
  log,
  now = Date.now,
}: HostContainersDeps): HostContainers & { ready: Promise<void> } {
  const closing = new AbortController();
  const ready = Promise.withResolvers<void>();
  let containers: readonly ContainerSummary[] = [];
  let text = "[]";
  let isWatching = false;
  let lostAt: number | undefined;
  let listing: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;

  async function list(): Promise<void> {
    const found = await docker.listHostContainers();
    const foundText = JSON.stringify(found);
    if (foundText === text) return;
    containers = found;
    text = foundText;
  }

  function refresh(): Promise<void> {
    if (listing === undefined) {
      listing = list().finally(() => {
        listing = undefined;
      });
      return listing;
    }
    next ??= listing
      .catch(() => {})
      .then(() => {
        next = undefined;
        return refresh();
      });
    return next;
  }

  function refreshSoon(): void {
    timer ??= setTimeout(() => {
      timer = undefined;
      refresh().catch((error: unknown) => log.warn("host.not-listed", { code: toAppError(error).code }));
    }, gatherMs);
  }

  async function watchOnce(): Promise<never> {
    const lost = new AbortController();
    const opened = Promise.withResolvers<void>();
    const watching = docker.watch(
      {},
      opened.resolve,
      ({ action }) => changes.test(action) && refreshSoon(),
      AbortSignal.any([closing.signal, lost.signal]),
    );
    try {
      await Promise.race([opened.promise, watching]);
      await refresh();
      isWatching = true;
      ready.resolve();
      return await watching;
    } finally {
      lost.abort();
      watching.catch(() => {});
      if (isWatching) lostAt = now();
      isWatching = false;
    }
  }

  async function watchForever(): Promise<void> {
    for (let waitMs = 250; !closing.signal.aborted; ) {
      const lostBefore = lostAt;
      try {
        await watchOnce();
      } catch (error) {
        if (closing.signal.aborted) return;
        const { code } = toAppError(error);
        if (code === "INTERNAL") log.error("host.observation-failed", error);
        if (lostAt !== lostBefore) waitMs = 250;
        ready.resolve();
      }
      await sleep(waitMs, undefined, { signal: closing.signal }).catch(() => {});
      waitMs = Math.min(waitMs * 2, maxBackOffMs);
    }
  }

  const watching = watchForever();

  return {
    ready: ready.promise,
    all: () => containers,
    knownUntil: () => (isWatching ? now() : lostAt),
    refresh,
    async close() {
      closing.abort();
      clearTimeout(timer);
      await watching;
    },
  };
}
