import { toAppError } from "../../../shared/errors.ts";
import type { SharedEntityName } from "../../../shared/model/sync.ts";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { type Liveness, syncChange } from "../../../shared/sync-protocol.ts";
import type { Logger } from "../log.ts";
import type { Store, Writer } from "../store/index.ts";
import { type Chore, mayBeApplied } from "../store/outbox.ts";
import type { PulledPage, SharedDatabase } from "./database.ts";
import { entityNameOf, project } from "./rows.ts";

/*
INVARIANTS
- A page's rows and the cursor after it are one transaction: a crash repeats a page or goes on after it, never skips one.
- Applying a page twice gives the same rows.
- A row that waits in the queue keeps what was changed here, also when the database's row changes or goes.
- A pull from nothing forgets, at its end, what it has not shown; rows only this computer knows are not touched.
*/

/** Small enough to keep the main process answering while a page is written. */
export const pageLimit = 1_000;

export type PullOutcome = {
  changes: number;
  more: boolean;
  heldBack: boolean;
  /** Toolboxes that came, changed or went: their links may have to follow. */
  toolboxes: string[];
  /** Lists of tools that servers name and that are not here yet. */
  missingTools: string[];
};

/** Fetches one page and applies it. Rejects when the call failed; nothing has changed then. */
export async function pullPage(
  store: Store,
  database: Pick<SharedDatabase, "pull">,
  log: Pick<Logger, "warn">,
  now: () => number,
  limit = pageLimit,
): Promise<PullOutcome> {
  const accountId = store.sync.account()?.id;
  return applyPage(store, await database.pull(store.sync.cursor(), limit), accountId, log, now);
}

/** Pulls to the end; each page is fetched while the one before it is written. Yields what each page brought. */
export async function* pullPages(
  store: Store,
  database: Pick<SharedDatabase, "pull">,
  log: Pick<Logger, "warn">,
  now: () => number,
  limit = pageLimit,
): AsyncGenerator<PullOutcome> {
  const accountId = store.sync.account()?.id;
  let next: Promise<PulledPage> | undefined = database.pull(store.sync.cursor(), limit);
  while (next !== undefined) {
    const answer: PulledPage = await next;
    next = answer.more ? database.pull(answer.cursor, limit) : undefined;
    // Its failure is met when its turn comes, or not at all when nobody waits for it any more.
    next?.catch(() => undefined);
    // The question must be on its way before this page takes the processor.
    await new Promise((resolve) => setImmediate(resolve));
    yield applyPage(store, answer, accountId, log, now);
  }
}

function applyPage(
  store: Store,
  answer: PulledPage,
  accountId: string | undefined,
  log: Pick<Logger, "warn">,
  now: () => number,
): PullOutcome {
  return store.write((tx) => {
    // Somebody signed out while the answer was on its way.
    if (tx.sync.account()?.id !== accountId)
      return { changes: 0, more: false, heldBack: false, toolboxes: [], missingTools: [] };
    const isResetting = answer.reset || tx.sync.resetGeneration() !== undefined;
    const generation = answer.reset ? tx.sync.generation() + 1 : tx.sync.generation();
    const seen = { toolboxes: new Set<string>(), toolHashes: new Set<string>() };
    for (const change of answer.changes) applyChange(tx, change, generation, seen, log);
    const isWhole = isResetting && !answer.more;
    if (isWhole) {
      for (const { entity, id } of tx.sync.syncedBefore(generation)) remove(tx, entity, id, seen.toolboxes);
    }
    tx.sync.setCursor(answer.cursor, {
      resetGeneration: isResetting && !isWhole ? generation : undefined,
      generation,
      pulledAt: answer.more ? undefined : now(),
    });
    const missingTools = [...seen.toolHashes].filter((hash) => !tx.hasRow("toolLists", hash));
    const { more, heldBack } = answer;
    return { changes: answer.changes.length, more, heldBack, toolboxes: [...seen.toolboxes], missingTools };
  });
}

type Seen = { toolboxes: Set<string>; toolHashes: Set<string> };

function applyChange(tx: Writer, given: unknown, generation: number, seen: Seen, log: Pick<Logger, "warn">): void {
  const parsed = syncChange.safeParse(given);
  if (!parsed.success) {
    // One row in a form this version does not know must not keep the others from arriving.
    const { entity, id } = given as { entity?: unknown; id?: unknown };
    log.warn("sync.row-skipped", { entity, id, where: parsed.error.issues[0]?.path.join(".") });
    return;
  }
  const change = parsed.data;
  const entity = entityNameOf(change.entity);
  if (change.row === null) return remove(tx, entity, change.id, seen.toolboxes);
  const isNewToolbox = change.entity === "toolbox" && tx.sync.synced(entity, change.id) === undefined;
  tx.sync.setSynced(entity, change.id, {
    revision: change.revision,
    generation,
    row: change.row as Record<string, unknown>,
  });
  if (change.entity === "server" && change.row.tools !== null) seen.toolHashes.add(change.row.tools.hash);
  if (change.entity === "toolbox") {
    seen.toolboxes.add(change.id);
    const twin = isNewToolbox ? findTwin(tx, change.id, change.row.url, change.row.fingerprint) : undefined;
    if (twin !== undefined) replaceTwin(tx, twin, change.id, seen.toolboxes);
  }
  try {
    project(tx, entity, change.id, change.row);
  } catch (error) {
    log.warn("sync.row-skipped", { entity, id: change.id, error: toAppError(error) });
  }
}

/** The row is gone at the database, or may not be seen any more. */
export function remove(tx: Writer, entity: SharedEntityName, id: string, toolboxes: Set<string>): void {
  tx.sync.forgetSynced(entity, id);
  if (!tx.hasRow(entity, id)) return;
  const puts = tx.sync.entriesOf(entity, id).filter(({ change }) => change.kind.endsWith(".put"));
  // One that has not arrived will be answered with a conflict, and a person then chooses; one that has, went with the row.
  for (const entry of puts) if (mayBeApplied(entry)) tx.sync.putEntry({ ...entry, isGone: true });
  if (puts.length > 0) return;
  const keys = secretsOf(tx, entity, id);
  if (keys.length > 0) tx.sync.addChore({ kind: "forget-secrets", keys });
  if (entity === "toolboxes") toolboxes.add(id);
  if (entity === "connections") {
    const server = tx.get("servers", tx.mustGet("connections", id).serverId);
    if (server !== undefined && tx.hasRow("toolboxes", server.toolboxId)) tx.addRevocation(id, server.toolboxId);
  }
  const toolboxId = entity === "servers" ? tx.get("servers", id)?.toolboxId : undefined;
  tx.deleteSynced(entity, id);
  if (toolboxId !== undefined) removeIfOnlyNamed(tx, toolboxId);
}

/** A toolbox known by the name in its servers' rows goes with the last of them. */
function removeIfOnlyNamed(tx: Writer, id: string): void {
  const isOnlyNamed = tx.get("toolboxes", id)?.shared !== undefined && tx.sync.synced("toolboxes", id) === undefined;
  if (isOnlyNamed && tx.list("servers", { toolbox_id: id }).length === 0) tx.deleteSynced("toolboxes", id);
}

export function secretsOf(
  tx: Writer,
  entity: SharedEntityName,
  id: string,
): Extract<Chore, { kind: "forget-secrets" }>["keys"] {
  if (entity === "connections") return [{ kind: "connection", id }];
  if (entity === "toolboxes") return [{ kind: "toolbox", id }];
  if (entity !== "servers") return [];
  return (tx.get("servers", id)?.spec.secrets ?? []).map(({ name }) => ({ kind: "server-secret" as const, id, name }));
}

/** A toolbox only this computer knows that is the same machine: same address, same certificate. */
function findTwin(tx: Writer, id: string, url: string | null, fingerprint: string | null): Toolbox | undefined {
  if (url === null) return undefined;
  const origin = URL.parse(url)?.origin;
  return tx
    .list("toolboxes")
    .find(
      (row) =>
        row.id !== id &&
        row.kind === "host" &&
        row.url !== null &&
        URL.parse(row.url)?.origin === origin &&
        row.fingerprint === fingerprint &&
        tx.sync.synced("toolboxes", row.id) === undefined,
    );
}

/** The toolbox under its shared id: with its link's knowledge, its servers, and its token. */
function replaceTwin(tx: Writer, twin: Toolbox, id: string, toolboxes: Set<string>): void {
  tx.putSynced("toolboxes", { ...twin, id: id as Toolbox["id"], link: { state: "unknown" } });
  for (const server of tx.list("servers", { toolbox_id: twin.id }))
    tx.putSynced("servers", { ...server, toolboxId: id as Toolbox["id"] });
  for (const activity of tx.list("activities", { toolbox_id: twin.id }))
    tx.putSynced("activities", { ...activity, toolboxId: id as Toolbox["id"] });
  for (const connection of tx.revocations(twin.id)) tx.addRevocation(connection, id);
  for (const { change } of tx.sync.entriesOf("toolboxes", twin.id)) tx.sync.removeEntry(change.id);
  for (const entry of [...tx.sync.entries()]) {
    if (entry.payload.toolboxId === twin.id) tx.sync.putEntry({ ...entry, payload: { ...entry.payload, toolboxId: id } });
  }
  tx.sync.addChore({ kind: "move-toolbox", from: twin.id, to: id });
  tx.deleteSynced("toolboxes", twin.id);
  toolboxes.add(twin.id).add(id);
}

/** When toolboxes last reported, on this computer's clock. */
export function applyLiveness(store: Store, { now: theirNow, toolboxes }: Liveness, ourNow: number): void {
  const toOurs = (at: number | null) => (at === null ? null : Math.max(0, at - theirNow + ourNow));
  store.write((tx) => {
    for (const { id, lastReportAt, unresponsiveSince } of toolboxes) {
      const reportedAt = toOurs(lastReportAt);
      const toolbox = tx.get("toolboxes", id);
      if (toolbox?.shared === undefined) continue;
      const shared = { ...toolbox.shared, reportedAt, unresponsiveSince: toOurs(unresponsiveSince) };
      tx.putSynced("toolboxes", { ...toolbox, shared });
    }
  });
}
