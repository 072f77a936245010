import type { ContainerView } from "./docker/docker.ts";
import type { Log } from "./log.ts";

/*
A container whose server runs in a newer one already: it stays while sessions are open in it.

INVARIANTS
- It goes as soon as its last session has ended, and in any case after a while. A removal that fails is tried again.
- What drains is not the server's any more: nothing new is led into it.
*/

export interface Drains {
  /** Returns at once; the container is removed later. */
  begin(server: string, container: ContainerView): void;
  has(containerId: string): boolean;
  /** The number of sessions of a server changed. */
  look(server: string): void;
  /** Ends the drains of a server now, with their sessions; resolves once their containers are gone. */
  end(server: string): Promise<void>;
  /** Ends all of them, once no session is open any more. */
  close(): Promise<void>;
}

const retryMs = 30_000;

type DrainsDeps = {
  sessionCount(server: string, containerId: string): number;
  closeSessions(server: string, containerId: string): Promise<void>;
  remove(container: ContainerView): Promise<void>;
  drainMs: number;
  log: Log;
};

type Drain = { server: string; container: ContainerView; timer: NodeJS.Timeout; gone: Promise<void> | undefined };

export function createDrains({ sessionCount, closeSessions, remove, drainMs, log }: DrainsDeps): Drains {
  const drains = new Map<string, Drain>();

  function finish(drain: Drain): Promise<void> {
    const { server, container } = drain;
    drain.gone ??= (async () => {
      clearTimeout(drain.timer);
      try {
        await closeSessions(server, container.id);
        await remove(container);
        drains.delete(container.id);
        log.info("server.drained", { server, container: container.id });
      } catch (error) {
        drain.gone = undefined;
        drain.timer = startTimer(() => finishLater(drain), retryMs);
        throw error;
      }
    })();
    return drain.gone;
  }

  const finishLater = (drain: Drain) =>
    void finish(drain).catch((error: unknown) => log.error("server.not-drained", error, { server: drain.server }));

  return {
    begin(server, container) {
      const timer = startTimer(() => finishLater(drain), drainMs);
      const drain: Drain = { server, container, timer, gone: undefined };
      drains.set(container.id, drain);
      if (sessionCount(server, container.id) === 0) finishLater(drain);
    },
    has: (containerId) => drains.has(containerId),
    look(server) {
      for (const drain of drains.values()) {
        if (drain.server === server && sessionCount(server, drain.container.id) === 0) finishLater(drain);
      }
    },
    async end(server) {
      await Promise.all([...drains.values()].filter((drain) => drain.server === server).map(finish));
    },
    async close() {
      await Promise.all([...drains.values()].map(finish));
    },
  };
}

function startTimer(work: () => void, ms: number): NodeJS.Timeout {
  return setTimeout(work, ms).unref();
}
