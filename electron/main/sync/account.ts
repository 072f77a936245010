import { AppError } from "../../../shared/errors.ts";
import { knownSchemaVersion, oldestSchemaVersion, syncProtocolVersion, type WhoAmI } from "../../../shared/sync-protocol.ts";
import type { Store, Writer } from "../store/index.ts";
import type { Chore, StoredAccount } from "../store/outbox.ts";
import { agentCreated, connectionCreated, serverCreated, templateCreated, toolboxCreated } from "./payloads.ts";
import { secretsOf } from "./pull.ts";

/*
Beginning and end of an account: what goes to the shared database, and what is forgotten here.

INVARIANTS
- What exists only here is queued once, in the transaction that ends the first pull's phase; a crash before repeats it.
- Rows the database had already were recognised by the pull, so nothing is made twice.
- Signing out forgets every row that came from the database, and its secrets; what only this computer knew stays.
*/

/** SCHEMA_TOO_OLD, SCHEMA_TOO_NEW: whether this version and the database's schema can work with each other. */
export function assertCompatible(who: Pick<WhoAmI, "protocol" | "schemaVersion">): void {
  if (who.protocol > syncProtocolVersion || who.schemaVersion > knownSchemaVersion)
    throw new AppError("SCHEMA_TOO_NEW", {
      message: `The shared database has schema ${who.schemaVersion}; this version knows ${knownSchemaVersion}.`,
    });
  if (who.protocol < syncProtocolVersion || who.schemaVersion < oldestSchemaVersion)
    throw new AppError("SCHEMA_TOO_OLD", {
      message: `The shared database has schema ${who.schemaVersion}; this version needs ${oldestSchemaVersion}.`,
    });
}

export function toWho({ userId, name, email, roles, workspaceId, workspaceName }: WhoAmI): NonNullable<StoredAccount["who"]> {
  return { userId, name, email, roles, workspaceId, workspaceName };
}

export type TokenHashes = {
  /** SHA-256 of a token in the vault; of a connection's, which is made when it is missing. */
  toolbox(id: string): Promise<string | undefined>;
  connection(id: string): Promise<string>;
};

/** Queues every row that only this computer knows, and ends the phase of the first pull. */
export async function publishLocalRows(store: Store, hashes: TokenHashes): Promise<number> {
  const account = store.sync.account();
  if (account === undefined || account.phase !== "first-pull") return 0;
  const tokens = new Map<string, string | undefined>();
  if (account.bringsLocalRows) {
    for (const { id } of store.list("toolboxes")) if (isLocal(store, "toolboxes", id)) tokens.set(id, await hashes.toolbox(id));
    for (const { id } of store.list("connections"))
      if (isLocal(store, "connections", id)) tokens.set(id, await hashes.connection(id));
  }
  return store.write((tx) => {
    tx.sync.setAccount({ ...account, phase: "steady" });
    if (!account.bringsLocalRows) return 0;
    const before = tx.sync.countQueue().queued;
    const isAdmin = account.who?.roles.includes("admin") === true;
    if (isAdmin) {
      for (const row of tx.list("toolboxes"))
        if (isLocal(tx, "toolboxes", row.id)) tx.enqueue(toolboxCreated(row, tokens.get(row.id)));
      for (const row of tx.list("templates"))
        if (row.origin === "team" && isLocal(tx, "templates", row.id)) tx.enqueue(templateCreated(row));
      for (const row of tx.list("servers"))
        if (isLocal(tx, "servers", row.id) && row.desired !== "deleted") tx.enqueue(serverCreated(row));
    }
    for (const row of tx.list("agents")) if (isLocal(tx, "agents", row.id)) tx.enqueue(agentCreated(row));
    for (const row of tx.list("connections")) {
      const token = tokens.get(row.id);
      const isServerShared = isAdmin || tx.sync.synced("servers", row.serverId) !== undefined;
      if (token === undefined || !isServerShared) continue;
      tx.enqueue(connectionCreated(row, tx.get("servers", row.serverId)?.spec.name ?? "", token));
    }
    return tx.sync.countQueue().queued - before;
  });
}

/** Known to this computer only: the database has not shown it, nor has it taken it. */
function isLocal(
  reader: Pick<Store, "sync" | "get">,
  entity: "toolboxes" | "templates" | "servers" | "agents" | "connections",
  id: string,
): boolean {
  if (reader.sync.synced(entity, id) !== undefined) return false;
  return entity !== "toolboxes" || reader.get("toolboxes", id)?.shared === undefined;
}

/** Forgets the account with everything that came from it. Returns the toolboxes whose links are to be closed. */
export function forgetAccount(tx: Writer): string[] {
  const account = tx.sync.account();
  if (account === undefined) return [];
  const keys: Extract<Chore, { kind: "forget-secrets" }>["keys"] = [{ kind: "account", id: account.id }];
  const here = tx.list("toolboxes").find(({ kind }) => kind === "this-computer");
  const closed: string[] = [];
  for (const { entity, id } of tx.sync.syncedBefore(Number.MAX_SAFE_INTEGER)) {
    if (!tx.hasRow(entity, id)) continue;
    const isHere =
      entity === "toolboxes" ? id === here?.id : entity === "servers" && tx.get("servers", id)?.toolboxId === here?.id;
    if (isHere) continue;
    if (entity === "connections") {
      const server = tx.get("servers", tx.mustGet("connections", id).serverId);
      if (server !== undefined && server.toolboxId === here?.id) tx.addRevocation(id, here.id);
    }
    if (entity === "toolboxes") closed.push(id);
    keys.push(...secretsOf(tx, entity, id));
    tx.deleteSynced(entity, id);
  }
  for (const toolbox of tx.list("toolboxes")) {
    if (toolbox.shared === undefined) continue;
    const { shared: _, ...row } = toolbox;
    if (toolbox.id === here?.id) tx.putSynced("toolboxes", row);
    else tx.deleteSynced("toolboxes", toolbox.id);
  }
  for (const server of tx.list("servers")) {
    const { shared, ...row } = server;
    if (shared !== undefined) tx.putSynced("servers", row);
  }
  for (const connection of tx.list("connections"))
    if (!tx.hasRow("agents", connection.agentId) || !tx.hasRow("servers", connection.serverId)) {
      keys.push({ kind: "connection", id: connection.id });
      tx.deleteSynced("connections", connection.id);
    }
  tx.sync.forgetSync();
  tx.sync.addChore({ kind: "forget-secrets", keys });
  return closed;
}
