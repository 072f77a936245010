import { randomUUID } from "node:crypto";
import { AppError } from "../../../shared/errors.ts";
import type { AgentId } from "../../../shared/model/ids.ts";
import { mutation } from "../../../shared/sync-protocol.ts";
import type { Store, Writer } from "../store/index.ts";
import { inFlightError, mayBeApplied, type OutboxEntry, type Payload, requeued } from "../store/outbox.ts";
import { agentCreated, connectionChanged } from "./payloads.ts";
import { areIndependent, giveUpRow, needsOf } from "./push.ts";
import { project } from "./rows.ts";

/*
What a person can do with a queued change.

INVARIANTS
- A change that may have reached the database is left alone until it has been answered.
- Taking a change back leaves the row as the database has it, with the changes that still wait on top.
- A change others build on is taken back only together with them, and only when the person said so.
*/

export interface Queue {
  /** Takes a change back. CONFLICT names how many others build on it, unless they are to go, too. CHANGE_UNDER_WAY. */
  discard(id: string, options?: { withDependents?: boolean }): void;
  /** Sends a refused or waiting change again now. */
  retry(id: string): void;
  /** Other values for members of a queued or parked change; it is then sent again. */
  edit(id: string, members: Payload): void;
  /** Ends a conflict: with the version of here, of the database, or another. */
  resolve(id: string, choice: Choice): void;
  /** Puts a change before another, or at the end. CONFLICT when one of those in between must keep its place. */
  move(id: string, before: string | null): void;
}

export type Choice = { version: "mine" } | { version: "theirs" } | { version: "edited"; members: Payload };

export function createQueue(store: Store): Queue {
  const change = (id: string, work: (tx: Writer, entry: OutboxEntry) => void) =>
    store.write((tx) => {
      const entry = tx.sync.entry(id);
      if (entry === undefined) throw new AppError("NOT_FOUND", { message: "This change is not in the queue any more." });
      if (mayBeApplied(entry)) throw inFlightError();
      work(tx, entry);
    });

  const queue: Queue = {
    discard: (id, { withDependents = false } = {}) =>
      change(id, (tx, entry) => {
        const dependents = dependentsOf(tx, entry);
        if (dependents.some(mayBeApplied)) throw inFlightError();
        if (dependents.length > 0 && !withDependents) {
          const count = dependents.length === 1 ? "1 other change builds" : `${dependents.length} other changes build`;
          throw new AppError("CONFLICT", { message: `${count} on this one.` });
        }
        for (const dependent of dependents.reverse()) takeBack(tx, dependent);
        takeBack(tx, entry);
      }),
    retry: (id) =>
      change(id, (tx, entry) => {
        const { condition } = entry.change;
        if (condition.state === "parked" && condition.conflict !== null)
          throw new AppError("CHANGE_CONFLICT", { message: "Choose one of the two versions first." });
        tx.sync.putEntry(requeued(entry));
      }),
    edit: (id, members) => change(id, (tx, entry) => resend(tx, entry, members, entry.baseRevision)),
    resolve: (id, choice) =>
      change(id, (tx, entry) => {
        const { condition } = entry.change;
        if (condition.state !== "parked" || condition.conflict === null)
          throw new AppError("NOT_FOUND", { message: "There is no conflict here any more." });
        resolve(tx, entry, condition.conflict, choice);
      }),
    move: (id, before) =>
      change(id, (tx, entry) => {
        const all = [...tx.sync.entries()];
        const from = all.findIndex((each) => each.change.id === id);
        const rest = all.filter((each) => each.change.id !== id);
        const to = before === null ? rest.length : rest.findIndex((each) => each.change.id === before);
        if (to < 0) throw new AppError("NOT_FOUND", { message: "This change is not in the queue any more." });
        const crossed = to < from ? all.slice(to, from) : all.slice(from + 1, to + 1);
        for (const other of crossed) {
          const [earlier, later] = to < from ? [other, entry] : [entry, other];
          if (!areIndependent(earlier, later))
            throw new AppError("CONFLICT", { message: `This change and "${other.change.title}" must keep their order.` });
        }
        const [above, below] = [rest[to - 1]?.change.position, rest[to]?.change.position];
        const position = above === undefined ? (below ?? 1) - 1 : below === undefined ? above + 1 : (above + below) / 2;
        tx.sync.putEntry({ ...entry, change: { ...entry.change, position } });
      }),
  };
  return queue;
}

/** Changes that cannot stand without this one: those of the row it creates, and of rows that belong to that row. */
function dependentsOf(tx: Writer, entry: OutboxEntry): OutboxEntry[] {
  const { entity, entityId, kind } = entry.change;
  const isCreation = kind.endsWith(".put") && tx.sync.synced(entity, entityId) === undefined;
  if (!isCreation) return [];
  const subject = `${entity}:${entityId}`;
  const found: OutboxEntry[] = [];
  for (const other of tx.sync.entries()) {
    if (other.change.position <= entry.change.position) continue;
    const isOfRow = other.change.entity === entity && other.change.entityId === entityId;
    if (isOfRow || needsOf(other).includes(subject)) found.push(other);
  }
  return found.flatMap((each) => (each.change.entityId === entityId ? [each] : [each, ...dependentsOf(tx, each)]));
}

/** Removes the change and shows the row as it is without it. */
export function takeBack(tx: Writer, entry: OutboxEntry): void {
  const { entity, entityId, id, kind } = entry.change;
  if (tx.sync.entry(id) === undefined) return;
  tx.sync.removeEntry(id);
  if (kind.endsWith(".put") && tx.sync.synced(entity, entityId) === undefined) return giveUpRow(tx, entry);
  project(tx, entity, entityId);
  if (kind === "connection.delete" && tx.hasRow("connections", entityId)) {
    tx.removeRevocation(entityId);
    tx.patch("connections", entityId, { delivery: "pending" });
  }
}

function resend(tx: Writer, entry: OutboxEntry, members: Payload, baseRevision: number | null): void {
  const payload = { ...entry.payload, ...members };
  const next = requeued(entry, { payload, baseRevision });
  const { change, mutationId } = next;
  const valid = mutation.safeParse({ id: mutationId, kind: change.kind, entityId: change.entityId, baseRevision, payload });
  if (!valid.success) {
    const issue = valid.error.issues[0];
    throw new AppError("INVALID_INPUT", {
      message: issue?.message ?? "This is not a value for it.",
      field: issue?.path.slice(1).join(".") ?? "",
    });
  }
  tx.sync.putEntry({ ...next, payload: valid.data.payload as Payload });
  project(tx, change.entity, change.entityId);
}

function resolve(tx: Writer, entry: OutboxEntry, conflict: { code: string; isDeleted: boolean }, choice: Choice): void {
  const { entity, entityId, kind } = entry.change;
  const revision = tx.sync.synced(entity, entityId)?.revision ?? null;
  if (conflict.code === "ALREADY_CONNECTED") return resolveSecondLink(tx, entry, choice);
  if (conflict.isDeleted) {
    if (choice.version === "theirs") {
      giveUpRow(tx, entry);
      tx.sync.forgetSynced(entity, entityId);
      return;
    }
    if (entity !== "agents") throw new AppError("CHANGE_REFUSED", { message: "It was deleted; make it anew instead." });
    return makeAnew(tx, entry, choice.version === "edited" ? choice.members : {});
  }
  if (choice.version === "theirs") return takeBack(tx, entry);
  if (kind.endsWith(".delete")) return tx.sync.putEntry(requeued(entry, { baseRevision: revision }));
  resend(tx, entry, choice.version === "edited" ? choice.members : {}, revision);
}

/** An id the database has buried cannot be used again, so the agent comes back under another, without connections. */
function makeAnew(tx: Writer, entry: OutboxEntry, members: Payload): void {
  const old = tx.mustGet("agents", entry.change.entityId);
  giveUpRow(tx, entry);
  tx.sync.forgetSynced("agents", old.id);
  const { ownerId: _, ...rest } = old;
  const row = { ...rest, ...members, id: randomUUID() as AgentId };
  tx.put("agents", row);
  tx.enqueue(agentCreated(row));
}

/** The agent has a link to the server under another id; that one stays, with the allow-list that was chosen. */
function resolveSecondLink(tx: Writer, entry: OutboxEntry, choice: Choice): void {
  const { agentId, serverId } = entry.payload as { agentId: string; serverId: string };
  const other = tx
    .list("connections", { agent_id: agentId, server_id: serverId })
    .find(({ id }) => id !== entry.change.entityId);
  giveUpRow(tx, entry);
  if (choice.version === "theirs" || other === undefined) return;
  const chosen = choice.version === "edited" ? choice.members.allowedTools : entry.payload.allowedTools;
  const allowedTools = (chosen ?? null) as string[] | null;
  tx.putSynced("connections", { ...other, allowedTools, delivery: "pending" });
  tx.enqueue(connectionChanged(other, entry.change.title, { allowedTools }));
}
