import type { Activity } from "../../shared/contract/state.ts";
import type { ConnectionUsage, DtmaEvent, ServerObservation } from "../../shared/dtma-protocol.ts";
import { AppError } from "../../shared/errors.ts";
import type { ToolboxId } from "../../shared/model/ids.ts";
import type { Operation } from "../../shared/model/operation.ts";
import type { Server } from "../../shared/model/server.ts";
import { mergeToolUsage } from "../../shared/model/usage.ts";
import { forgetServer } from "./servers.ts";
import type { Writer } from "./store/index.ts";
import { serverChanged } from "./sync/payloads.ts";

/*
How an event of a DTMA becomes rows.

INVARIANTS
- Times are this computer's, taken when the event arrived: two clocks are never compared.
- What a snapshot does not name does not exist on the toolbox; its row says so, it does not vanish on its own.
- `desired` follows the toolbox, except while an operation of ours is under way, the server is to be deleted, or a shared
  database says what is desired.
- What the shared database has counted over all starts is not replaced by what one DTMA has counted since its last one.
- Seen before it was known (deployed elsewhere, or our row was lost): the server is taken in, without a template.
*/

/** Loads are kept at most this often; a detail page that wants every second listens to the stream instead. */
const loadIntervalMs = 5_000;

/** Writes what one event says about a toolbox. */
export function applyEvent(tx: Writer, toolboxId: ToolboxId, event: DtmaEvent, nowMs: number): void {
  switch (event.type) {
    case "snapshot": {
      const { info } = event;
      tx.patch("toolboxes", toolboxId, {
        link: { state: "connected", since: nowMs },
        docker: info.docker,
        dtmaVersion: info.version,
        hostname: info.hostname,
        platform: info.platform,
        hardeningGaps: info.hardeningGaps,
        ...(info.docker.state === "up" ? { confirmedAt: nowMs } : {}),
      });
      for (const server of event.servers) observeServer(tx, toolboxId, server, nowMs);
      for (const operation of event.operations) observeOperation(tx, toolboxId, operation);
      endLostOperations(tx, toolboxId, event.operations, nowMs);
      if (info.docker.state === "up") {
        const seen = new Set<string>(event.servers.map(({ serverId }) => serverId));
        for (const row of tx.list("servers", { toolbox_id: toolboxId })) if (!seen.has(row.id)) observeAbsence(tx, row, nowMs);
      }
      for (const usage of event.usage) observeUsage(tx, usage, true);
      return;
    }
    case "server":
      return observeServer(tx, toolboxId, event.server, nowMs);
    case "server-removed": {
      const row = tx.get("servers", event.serverId);
      if (row !== undefined) observeAbsence(tx, row, nowMs);
      return;
    }
    case "operation":
      return observeOperation(tx, toolboxId, event.operation);
    case "usage":
      return observeUsage(tx, event.usage, false);
    case "heartbeat":
      return tx.patch("toolboxes", toolboxId, {
        docker: event.docker,
        ...(event.docker.state === "up" ? { confirmedAt: nowMs } : {}),
      });
    case "stats":
      return observeLoad(tx, toolboxId, event, nowMs);
  }
}

function observeServer(tx: Writer, toolboxId: ToolboxId, seen: ServerObservation, nowMs: number): void {
  const { container, image, release, previous, health, sessions } = seen;
  const known = tx.get("servers", seen.serverId);
  if (known === undefined) {
    const namesake = tx.list("servers", { toolbox_id: toolboxId, name: seen.spec.name })[0];
    if (namesake !== undefined && namesake.shared === undefined) tx.delete("servers", namesake.id);
  }
  const base: Pick<Server, "templateId" | "tools" | "load" | "activeOperationId" | "lastError" | "createdAt"> = known ?? {
    templateId: null,
    tools: null,
    load: null,
    activeOperationId: null,
    lastError: null,
    createdAt: nowMs,
  };
  // In a shared workspace the database says what is desired; the toolbox follows it.
  const isShared = known?.shared !== undefined;
  const keepsDesired = known !== undefined && (known.desired === "deleted" || known.activeOperationId !== null || isShared);
  // What became of a server here, by an update or by going back, is what the database shall want of it.
  if (isShared && isRedescribed(tx, known, seen)) tx.enqueue(serverChanged(known, { spec: seen.spec }));
  tx.putSynced("servers", {
    ...base,
    ...(known?.shared === undefined ? {} : { shared: known.shared }),
    id: seen.serverId,
    toolboxId,
    spec: seen.spec,
    desired: keepsDesired ? known.desired : seen.desired,
    observed: { state: "present", at: nowMs, container, image, release, previous, health, sessions },
    tools: seen.tools === undefined ? base.tools : { at: nowMs, items: seen.tools },
    load: container.state === "running" ? base.load : null,
  });
}

function isRedescribed(tx: Writer, { spec, activeOperationId }: Server, seen: ServerObservation): boolean {
  const kind = tx.get("activities", activeOperationId ?? "")?.kind;
  return (kind === "deploy" || kind === "rollback") && JSON.stringify(spec) !== JSON.stringify(seen.spec);
}

function observeAbsence(tx: Writer, row: Server, nowMs: number): void {
  if (row.desired === "deleted") return forgetServer(tx, row);
  if (row.observed.state === "present") tx.patch("servers", row.id, { observed: { state: "gone", at: nowMs }, load: null });
}

function observeOperation(tx: Writer, toolboxId: ToolboxId, seen: Operation): void {
  const server = tx.list("servers", { toolbox_id: toolboxId, name: seen.server })[0];
  const serverId = tx.get("activities", seen.id)?.serverId ?? server?.id;
  if (serverId === undefined) return;
  tx.put("activities", { ...seen, toolboxId, serverId });
  if (server !== undefined && server.id === serverId) settleServer(tx, server, seen);
}

/** What an operation means for its server: who works on it, and why the last one failed. */
function settleServer(tx: Writer, server: Server, operation: Operation): void {
  if (operation.state === "running") {
    if (server.activeOperationId === null) tx.patch("servers", server.id, { activeOperationId: operation.id });
    return;
  }
  if (server.activeOperationId !== null && server.activeOperationId !== operation.id) return;
  if (operation.kind === "delete" && operation.state === "succeeded") return forgetServer(tx, server);
  const failed = operation.state === "succeeded" ? null : (operation.error ?? new AppError("CANCELLED").toShape());
  tx.patch("servers", server.id, {
    activeOperationId: null,
    lastError: failed,
    // A delete that did not succeed leaves the server as it is seen.
    ...(operation.kind === "delete" && server.observed.state === "present" ? { desired: observedDesire(server) } : {}),
  });
}

function observedDesire(server: Server): "running" | "stopped" {
  return server.observed.state === "present" && server.observed.container.state === "running" ? "running" : "stopped";
}

/** Operations we believe to run and the toolbox does not know: its DTMA ended in the middle of them. */
function endLostOperations(tx: Writer, toolboxId: ToolboxId, known: Operation[], nowMs: number): void {
  const ids = new Set<string>(known.map(({ id }) => id));
  for (const activity of tx.list("activities", { toolbox_id: toolboxId, state: "running" })) {
    if (ids.has(activity.id)) continue;
    const error = new AppError("INTERNAL", { message: "The DTMA ended before this was done." }).toShape();
    const ended: Activity = { ...activity, state: "failed", endedAt: nowMs, error };
    tx.put("activities", ended);
    const server = tx.get("servers", activity.serverId);
    if (server?.activeOperationId === activity.id)
      tx.patch("servers", server.id, { activeOperationId: null, lastError: error });
  }
  for (const server of tx.list("servers", { toolbox_id: toolboxId })) {
    if (server.activeOperationId === null || ids.has(server.activeOperationId)) continue;
    tx.patch("servers", server.id, { activeOperationId: null });
  }
}

/** An event tells of the tools that changed, a snapshot of all. */
function observeUsage(tx: Writer, usage: ConnectionUsage, isWhole: boolean): void {
  const { connectionId, calls, errors, lastUsedAt, tools } = usage;
  const known = tx.get("connections", connectionId);
  if (known === undefined) return;
  // The database's totals are over all toolboxes the server was on; who gets them tool by tool keeps to them.
  const isShared = known.shared !== undefined;
  const isToldByDatabase = isShared && tx.sync.synced("connections", connectionId)?.row?.tools != null;
  tx.patch("connections", connectionId, {
    ...(isShared ? {} : { calls, errors }),
    ...(tools === undefined || isToldByDatabase ? {} : { tools: isWhole ? tools : mergeToolUsage(known.tools ?? [], tools) }),
    lastUsedAt,
  });
}

function observeLoad(tx: Writer, toolboxId: ToolboxId, event: Extract<DtmaEvent, { type: "stats" }>, nowMs: number): void {
  const toolbox = tx.get("toolboxes", toolboxId);
  if (toolbox === undefined || (toolbox.load !== null && nowMs - toolbox.load.at < loadIntervalMs)) return;
  tx.put("toolboxes", { ...toolbox, load: { ...event.host, at: nowMs } });
  for (const server of tx.list("servers", { toolbox_id: toolboxId })) {
    const load = event.servers[server.spec.name];
    if (load !== undefined) tx.put("servers", { ...server, load: { ...load, at: nowMs } });
  }
}
