import type { Entities } from "../../../shared/contract/state.ts";
import { type ServerSpec, serverPermissions } from "../../../shared/model/spec.ts";
import type { SharedEntityName } from "../../../shared/model/sync.ts";
import type { AgentRow, ConnectionRow, ServerRow, SyncEntity, TemplateRow, ToolboxRow } from "../../../shared/sync-protocol.ts";
import type { Writer } from "../store/index.ts";
import type { OutboxEntry, Payload } from "../store/outbox.ts";

/*
What a row of the shared database is here.

INVARIANTS
- A row here = the database's row + what only this computer knows + the changes that wait in the queue, in that order.
- What this computer sees itself (links, containers, loads) never comes from the database and never goes there from here.
- A toolbox that is somebody else's "this computer" is a host out of reach.
*/

const entityNames: Record<SyncEntity, SharedEntityName> = {
  person: "people",
  toolbox: "toolboxes",
  template: "templates",
  server: "servers",
  agent: "agents",
  connection: "connections",
};

export function entityNameOf(entity: SyncEntity): SharedEntityName {
  return entityNames[entity];
}

/**
 * Writes the row of an entity anew: what the database has of it, with the queued changes on top. A row the database has
 * not shown yet keeps what is here, with the queued changes on top; one that a queued change deletes stays deleted.
 * `known` saves reading the database's row where it is at hand.
 */
export function project(tx: Writer, entity: SharedEntityName, id: string, known?: object): void {
  const pending = tx.sync.entriesOf(entity, id);
  const isDeleted = pending.some(({ change }) => change.kind.endsWith(".delete") && change.condition.state !== "parked");
  if (isDeleted && entity !== "servers") return;
  const puts = pending.filter(({ change }) => change.kind.endsWith(".put"));
  const shown = known ?? tx.sync.synced(entity, id)?.row ?? undefined;
  const row = shown === undefined ? tx.get(entity, id) : toRow(tx, entity, id, shown);
  if (row === undefined) return;
  const next = puts.length === 0 ? row : laidOver(row, puts, entity);
  tx.putSynced(entity, (isDeleted ? { ...next, desired: "deleted" } : next) as never);
}

/** The database's row as it is here. */
function toRow(tx: Writer, entity: SharedEntityName, id: string, shown: object): Entities[SharedEntityName] {
  switch (entity) {
    case "people":
      return shown as Entities["people"];
    case "templates":
      return { ...(shown as TemplateRow).definition, origin: "team" };
    case "agents":
      return toAgent(shown as AgentRow);
    case "toolboxes":
      return toToolbox(shown as ToolboxRow, tx.get("toolboxes", id));
    case "servers": {
      const row = shown as ServerRow;
      if (!tx.hasRow("toolboxes", row.toolboxId)) tx.putSynced("toolboxes", toolboxByName(row));
      return toServer(row, tx.get("servers", id));
    }
    case "connections":
      return toConnection(shown as ConnectionRow, tx.get("connections", id));
  }
}

/** Members that are the same in a payload and in a row here. */
const shownMembers: Record<SharedEntityName, readonly string[]> = {
  people: [],
  templates: [],
  agents: ["name", "description"],
  toolboxes: ["name"],
  servers: ["spec", "desired", "templateId"],
  connections: ["allowedTools", "expiresAt"],
};

function laidOver(row: object, puts: OutboxEntry[], entity: SharedEntityName): object {
  if (entity === "templates") {
    // A document is put as a whole, so a member that is left out is gone.
    const definition = puts.findLast(({ payload }) => payload.definition !== undefined)?.payload.definition;
    return definition === undefined ? row : { ...definition, origin: "team" };
  }
  const layers = puts.map(({ payload }) => picked(payload, shownMembers[entity]));
  return Object.assign({}, row, ...layers);
}

function picked(payload: Payload, names: readonly string[]): object {
  return Object.fromEntries(names.filter((name) => name in payload).map((name) => [name, payload[name]]));
}

function toAgent(row: AgentRow): Entities["agents"] {
  const { id, ownerId, name, description, createdAt } = row;
  return { id, ownerId, name, description, createdAt };
}

function toToolbox(row: ToolboxRow, known: Entities["toolboxes"] | undefined): Entities["toolboxes"] {
  const isHere = known?.kind === "this-computer";
  const isOutOfReach = row.kind === "this-computer" && !isHere;
  const base: Entities["toolboxes"] = known ?? {
    id: row.id,
    name: row.name,
    kind: "host",
    url: null,
    fingerprint: null,
    serversOnQuit: "keep",
    link: { state: "unknown" },
    confirmedAt: null,
    docker: row.health?.docker ?? null,
    dtmaVersion: row.dtmaVersion,
    hostname: row.health?.hostname ?? null,
    platform: row.health?.platform ?? null,
    hardeningGaps: row.health?.hardeningGaps ?? [],
    load: null,
    createdAt: row.createdAt,
  };
  return {
    ...base,
    name: row.name,
    ...(isHere ? {} : { url: isOutOfReach ? null : row.url, fingerprint: isOutOfReach ? null : row.fingerprint }),
    shared: {
      kind: row.kind,
      description: row.description,
      status: row.status,
      canReport: row.canReport,
      reportedAt: known?.shared?.reportedAt ?? null,
      unresponsiveSince: known?.shared?.unresponsiveSince ?? null,
    },
  };
}

/** A toolbox of which only the name is known: users see no more of it, and for admins its own row may come later. */
function toolboxByName({ toolboxId, toolboxName, createdAt }: ServerRow): Entities["toolboxes"] {
  return {
    id: toolboxId,
    name: toolboxName,
    kind: "host",
    url: null,
    fingerprint: null,
    serversOnQuit: "keep",
    link: { state: "unknown" },
    confirmedAt: null,
    docker: null,
    dtmaVersion: null,
    hostname: null,
    platform: null,
    hardeningGaps: [],
    load: null,
    createdAt,
    shared: { kind: "host", description: "", status: "active", canReport: true, reportedAt: null, unresponsiveSince: null },
  };
}

function toServer(row: ServerRow, known: Entities["servers"] | undefined): Entities["servers"] {
  const knownSpec = known?.shared?.isSpecKnown === false ? undefined : known?.spec;
  const spec = row.admin?.spec ?? knownSpec;
  return {
    observed: { state: "never" },
    tools: null,
    load: null,
    activeOperationId: null,
    lastError: null,
    ...known,
    id: row.id,
    toolboxId: row.toolboxId,
    templateId: row.templateId,
    spec: spec ?? specOfUser(row),
    desired: row.admin?.desired ?? "running",
    createdAt: row.createdAt,
    shared: {
      toolboxName: row.toolboxName,
      templateTitle: row.templateTitle,
      description: row.description,
      status: row.status,
      reported: row.admin?.reported ?? { state: "never" },
      tools: row.tools,
      isSpecKnown: spec !== undefined,
    },
  };
}

/** What a user may know of a spec is its name and transport; the rest is there because the form asks for it. */
function specOfUser({ name, transport }: ServerRow): ServerSpec {
  return {
    name,
    source: { type: "oci", image: "unknown" },
    transport: transport === "streamable_http" ? { type: "http", port: 1, path: "/" } : { type: "stdio" },
    arguments: [],
    environment: {},
    secrets: [],
    permissions: serverPermissions.parse({ network: "none", pids: 64 }),
  };
}

function toConnection(row: ConnectionRow, known: Entities["connections"] | undefined): Entities["connections"] {
  const expiresAt = row.expiresAt ?? undefined;
  const tools = row.tools ?? known?.tools;
  const isSame =
    known !== undefined &&
    known.expiresAt === expiresAt &&
    JSON.stringify(known.allowedTools) === JSON.stringify(row.allowedTools);
  return {
    id: row.id,
    agentId: row.agentId,
    serverId: row.serverId,
    allowedTools: row.allowedTools,
    ...(expiresAt === undefined ? {} : { expiresAt }),
    // Without a link, the toolbox gets the list with its next report; with one, a list that is another is sent at once.
    delivery: known === undefined || isSame ? (known?.delivery ?? "delivered") : "pending",
    calls: row.calls,
    errors: row.errors,
    lastUsedAt: row.lastUsedAt,
    ...(tools === undefined ? {} : { tools }),
    createdAt: row.createdAt,
    shared: {
      ownerId: row.ownerId,
      serverName: row.serverName,
      serverStatus: row.serverStatus,
      toolboxId: row.toolboxId,
      toolboxName: row.toolboxName,
      endpoint: row.endpoint,
    },
  };
}
