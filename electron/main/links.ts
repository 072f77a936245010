import { EventEmitter, on } from "node:events";
import type { DtmaEvent } from "../../shared/dtma-protocol.ts";
import { AppError, toAppError } from "../../shared/errors.ts";
import type { ToolboxId } from "../../shared/model/ids.ts";
import type { Toolbox } from "../../shared/model/toolbox.ts";
import type { Logger } from "./log.ts";
import { applyEvent } from "./observation.ts";
import { createDtmaClient, type DtmaClient } from "./remote/dtma.ts";
import type { Store } from "./store/index.ts";
import type { Vault } from "./vault/index.ts";

/*
INVARIANTS
- One link per toolbox, one stream of events per link; whatever the window shows of a toolbox came through it.
- A lost link is tried again for ever, ever more slowly and with jitter, unless only a person can mend it.
- Every attempt reads the toolbox's row anew, so a changed address or fingerprint counts at once.
*/

type StatsEvent = Extract<DtmaEvent, { type: "stats" }>;

export interface Links {
  /** Opens a link to every toolbox in the store. */
  start(): void;
  open(id: ToolboxId): void;
  close(id: ToolboxId): Promise<void>;
  /** Opens, closes or renews the link as the toolbox's row says now. */
  follow(id: ToolboxId): Promise<void>;
  /** Says why a toolbox cannot answer, when somebody else knows it: its DTMA could not be started. */
  report(id: ToolboxId, error: AppError): void;
  /** Ends the wait before the next attempt. */
  reconnectNow(id: ToolboxId): void;
  /** Tries every lost link again now, once, but for those that only a person can mend. */
  wake(): void;
  /** The client of a toolbox whose link is up. TOOLBOX_UNREACHABLE says why it is not. */
  client(id: ToolboxId): DtmaClient;
  isUp(id: ToolboxId): boolean;
  /** One-second samples from now on, until the signal aborts or the link closes. */
  stats(id: ToolboxId, signal: AbortSignal): AsyncIterable<StatsEvent>;
  stop(): Promise<void>;
}

export type LinksDeps = {
  store: Store;
  vault: Vault;
  log: Logger;
  /** After each snapshot: the moment to send what waited for the toolbox. */
  onConnected(id: ToolboxId): void;
};

type Link = {
  /** Address and certificate of the last attempt. */
  address: string;
  stopping: AbortController;
  ended: Promise<void>;
  client: DtmaClient | undefined;
  /** Ends the wait before the next attempt; the next wait, when it comes while an attempt is under way. */
  wake: () => void;
  isWoken: boolean;
  stats: EventEmitter;
};

const firstDelayMs = 500;
const longestDelayMs = 30_000;
/** After this computer slept, its links do not all knock at the same moment. */
const wakeSpreadMs = 1_000;
/** Trying again does not help here until a person has done something. */
const hopeless = new Set(["TOOLBOX_REFUSED", "FINGERPRINT_MISMATCH", "TOOLBOX_INCOMPATIBLE"]);

export function createLinks({ store, vault, log, onConnected }: LinksDeps): Links {
  const links = new Map<ToolboxId, Link>();

  /** A toolbox known from the shared database only may have no address this computer can use. */
  function canReach({ kind, url }: Toolbox): boolean {
    return kind === "this-computer" || url !== null;
  }

  function setLink(id: ToolboxId, link: Toolbox["link"]): void {
    store.write((tx) => tx.patch("toolboxes", id, { link }));
  }

  async function run(id: ToolboxId, link: Link): Promise<void> {
    const { signal } = link.stopping;
    for (let failures = 0; !signal.aborted; ) {
      const row = store.get("toolboxes", id);
      if (row === undefined) return;
      link.address = addressOf(row);
      let error: AppError;
      setLink(id, { state: "connecting", since: Date.now() });
      if (row.url === null) {
        await waitFor(null, link);
        continue;
      }
      try {
        await follow(id, row.url, row.fingerprint, link, () => {
          failures = 0;
        });
        return;
      } catch (cause) {
        error = toAppError(cause);
      }
      if (signal.aborted) return;
      const delayMs = hopeless.has(error.code) ? null : jittered(Math.min(longestDelayMs, firstDelayMs * 2 ** failures));
      failures += 1;
      log.warn("link.lost", { toolboxId: id, code: error.code, message: error.message, delayMs, error });
      setLink(id, {
        state: "lost",
        since: Date.now(),
        error: error.toShape(),
        nextAttemptAt: delayMs === null ? null : Date.now() + delayMs,
      });
      await waitFor(delayMs, link);
    }
  }

  async function follow(
    id: ToolboxId,
    url: string,
    fingerprint: string | null,
    link: Link,
    onSnapshot: () => void,
  ): Promise<void> {
    const client = createDtmaClient({ url, fingerprint, getToken: () => vault.get({ kind: "toolbox", id }) });
    try {
      for await (const event of client.events({ stats: true, signal: link.stopping.signal })) {
        store.write((tx) => applyEvent(tx, id, event, Date.now()));
        if (event.type === "stats") link.stats.emit("stats", event);
        if (event.type === "snapshot") {
          link.client = client;
          link.isWoken = false;
          onSnapshot();
          log.info("link.up", { toolboxId: id, servers: event.servers.length });
          onConnected(id);
        }
      }
    } finally {
      link.client = undefined;
      await client.close();
    }
  }

  function waitFor(delayMs: number | null, link: Link): Promise<void> {
    return new Promise((resolve) => {
      const { signal } = link.stopping;
      const timer = delayMs === null ? undefined : setTimeout(done, delayMs);
      function done() {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        link.isWoken = false;
        resolve();
      }
      link.wake = done;
      signal.addEventListener("abort", done, { once: true });
      if (link.isWoken) done();
    });
  }

  function open(id: ToolboxId): void {
    const row = store.get("toolboxes", id);
    if (links.has(id) || row === undefined || !canReach(row)) return;
    const link: Link = {
      address: "",
      stopping: new AbortController(),
      ended: Promise.resolve(),
      client: undefined,
      wake: () => {},
      isWoken: false,
      stats: new EventEmitter(),
    };
    link.stats.setMaxListeners(0);
    links.set(id, link);
    link.ended = run(id, link).catch((error) => log.error("link.failed", { toolboxId: id, error }));
  }

  async function close(id: ToolboxId): Promise<void> {
    const link = links.get(id);
    links.delete(id);
    link?.stopping.abort();
    await link?.ended;
  }

  function reconnectNow(id: ToolboxId): void {
    const link = links.get(id);
    if (link === undefined) return;
    link.isWoken = true;
    link.wake();
  }

  return {
    start() {
      for (const { id } of store.list("toolboxes")) {
        setLink(id, { state: "unknown" });
        open(id);
      }
    },
    open,
    close,
    async follow(id) {
      const row = store.get("toolboxes", id);
      const link = links.get(id);
      if (row !== undefined && link !== undefined && link.address === addressOf(row)) return;
      if (row?.kind === "this-computer" && link !== undefined) return;
      await close(id);
      if (row !== undefined) open(id);
    },
    report: (id, error) => setLink(id, { state: "lost", since: Date.now(), error: error.toShape(), nextAttemptAt: null }),
    reconnectNow,
    wake() {
      for (const [id, link] of links) {
        const row = store.get("toolboxes", id);
        const isForPerson = row?.link.state === "lost" && row.link.nextAttemptAt === null;
        if (link.client !== undefined || isForPerson) continue;
        setTimeout(() => reconnectNow(id), Math.random() * wakeSpreadMs).unref();
      }
    },
    client(id) {
      const client = links.get(id)?.client;
      if (client !== undefined) return client;
      const { name, link } = store.mustGet("toolboxes", id);
      if (link.state === "lost") throw AppError.fromShape(link.error);
      throw new AppError("TOOLBOX_UNREACHABLE", { message: `There is no link to ${name} yet.` });
    },
    isUp: (id) => links.get(id)?.client !== undefined,
    async *stats(id, signal) {
      const link = links.get(id);
      if (link === undefined) return;
      try {
        for await (const [event] of on(link.stats, "stats", { signal: AbortSignal.any([signal, link.stopping.signal]) }))
          yield event;
      } catch (error) {
        if (!signal.aborted && !link.stopping.signal.aborted) throw error;
      }
    },
    stop: async () => void (await Promise.all([...links.keys()].map(close))),
  };
}

function addressOf({ url, fingerprint }: Toolbox): string {
  return `${url} ${fingerprint}`;
}

function jittered(ms: number): number {
  return Math.round(ms * (0.75 + Math.random() / 2));
}
