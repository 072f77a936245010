import { z } from "zod";
import type { DtmaEvent } from "../../../shared/dtma-protocol.ts";
import { toAppError } from "../../../shared/errors.ts";
import { type DataFolder, readKept } from "../data-folder.ts";
import type { Log } from "../log.ts";
import type { Operations } from "../operations.ts";
import type { Servers } from "../servers.ts";
import { type Deed, decide, type Sighting, type Wish } from "./wishes.ts";

const fileName = "wishes.json";
const kept = z.record(z.string(), z.int());
const atOnce = 3;
const deployDeadlineMs = 600_000;
/** Nothing was tried: the next answer tries again. */
const notNow = new Set(["CONFLICT", "DOCKER_UNAVAILABLE"]);

/** Turns what admins want into ordinary operations (see wishes.ts), and remembers which revisions are done. */
export interface Fulfiller {
  /** The list of an answer, or null when it is as before. */
  take(wishes: readonly Wish[] | null): void;
  /** Another database counts its revisions anew. */
  forget(): Promise<void>;
  /** Nothing is begun from here on. */
  close(): void;
}

type FulfilDeps = {
  data: DataFolder;
  operations: Operations;
  servers: Servers;
  isSomebodyLinked(): boolean;
  listen(listener: (event: DtmaEvent) => void): () => void;
  log: Log;
};

export async function openFulfiller(deps: FulfilDeps): Promise<Fulfiller> {
  const { data, operations, servers, log } = deps;
  const done = new Map<string, number>(Object.entries((await readKept(data, fileName, kept, log)) ?? {}));
  const known = new Map<string, { revision: number; since: number }>();
  /** Operations begun here that have not ended, by their ids. */
  const underWay = new Map<string, Wish>();
  /** Servers for which an operation is about to begin. */
  const beginning = new Set<string>();
  let wishes: readonly Wish[] = [];
  let isClosed = false;
  let writing: Promise<void> = Promise.resolve();

  function save(): Promise<void> {
    writing = writing
      .then(() => data.write(fileName, JSON.stringify(Object.fromEntries(done))))
      .catch((error: unknown) => log.error("wishes.not-written", error));
    return writing;
  }

  function markDone({ serverId, revision }: Wish): void {
    if ((done.get(serverId) ?? -1) >= revision) return;
    done.set(serverId, revision);
    void save();
  }

  function seenOf({ serverId, name }: Wish): Sighting {
    const server = servers.findById(serverId);
    if (server === undefined) return { state: "absent", isNameFree: servers.get(name) === undefined };
    return { state: "present", name: server.spec.name, desired: server.desired, isUp: servers.isUp(server.container) };
  }

  function knownForMs({ serverId, revision }: Wish): number {
    const noted = known.get(serverId);
    if (noted?.revision === revision) return Date.now() - noted.since;
    known.set(serverId, { revision, since: Date.now() });
    return 0;
  }

  function look(): void {
    if (isClosed || servers.condition().state !== "up") return;
    for (const wish of wishes) {
      const { serverId, revision } = wish;
      const seen = seenOf(wish);
      const name = seen.state === "present" ? seen.name : wish.name;
      const decision = decide(wish, {
        done: done.get(serverId) ?? -1,
        seen,
        isBusy: beginning.has(serverId) || operations.isBusy(name),
        knownForMs: knownForMs(wish),
        isSomebodyLinked: deps.isSomebodyLinked(),
      });
      if (decision.is === "fulfilled") markDone(wish);
      if (decision.is === "left") {
        log.warn("wish.left", { serverId, revision, reason: decision.reason });
        markDone(wish);
      }
      if (decision.is === "due" && underWay.size + beginning.size < atOnce) void begin(wish, decision.deed);
    }
  }

  async function begin(wish: Wish, deed: Deed): Promise<void> {
    const { serverId, revision } = wish;
    beginning.add(serverId);
    try {
      const id = await launch(wish, deed);
      log.info("wish.begun", { serverId, revision, deed: deed.do, operationId: id });
      underWay.set(id, wish);
      const operation = operations.get(id);
      if (operation !== undefined) noteEnd({ type: "operation", operation });
    } catch (error) {
      const { code } = toAppError(error);
      if (notNow.has(code)) return;
      if (code === "INTERNAL") log.error("wish.failed", error, { serverId, revision });
      else if (code !== "NOT_FOUND") log.warn("wish.left", { serverId, revision, reason: code });
      markDone(wish);
    } finally {
      beginning.delete(serverId);
    }
  }

  function launch({ serverId }: Wish, deed: Deed): Promise<string> {
    if (deed.do !== "deploy") return operations.begin(deed.do, deed.name);
    const { name, spec } = deed;
    return operations.deploy(name, { serverId, spec, secretValues: {}, deadlineMs: deployDeadlineMs });
  }

  function noteEnd(event: DtmaEvent): void {
    if (event.type !== "operation" || event.operation.state === "running" || isClosed) return;
    const { id, state, error } = event.operation;
    const wish = underWay.get(id);
    if (wish === undefined) return;
    underWay.delete(id);
    log.info("wish.ended", { serverId: wish.serverId, revision: wish.revision, state, code: error?.code });
    markDone(wish);
    // The server is free only after this event.
    setImmediate(look);
  }

  const stopListening = deps.listen(noteEnd);
  return {
    take(next) {
      if (next !== null) {
        wishes = next;
        const here = new Set<string>(next.map(({ serverId }) => serverId));
        for (const map of [done, known]) for (const id of map.keys()) if (!here.has(id)) map.delete(id);
      }
      look();
    },
    async forget() {
      wishes = [];
      done.clear();
      known.clear();
      await save();
    },
    close() {
      isClosed = true;
      stopListening();
    },
  };
}
