import { randomBytes, randomUUID } from "node:crypto";
import type { ToolCallEvent } from "../../shared/contract/connections.ts";
import type { AccessEntry } from "../../shared/dtma-protocol.ts";
import { AppError, toAppError } from "../../shared/errors.ts";
import type { Connection } from "../../shared/model/agent.ts";
import type { AgentId, ConnectionId, ServerId, ToolboxId } from "../../shared/model/ids.ts";
import { fromStoredState } from "../../shared/model/status.ts";
import type { Tool } from "../../shared/model/tool.ts";
import type { Links } from "./links.ts";
import type { Logger } from "./log.ts";
import { createPinnedHttp, isLoopback, type PinnedHttp } from "./remote/http.ts";
import type { McpSessions, McpTarget } from "./remote/mcp.ts";
import type { SignIns } from "./remote/sign-ins.ts";
import { refusalOf } from "./servers.ts";
import type { Store } from "./store/index.ts";
import { connectionChanged, connectionCreated, connectionDeleted, hashOf, tokenTag } from "./sync/payloads.ts";
import type { Vault } from "./vault/index.ts";

/*
INVARIANTS
- Each connection has its own token, made here, kept in the vault, known to the toolbox by its hash only.
- A change is made here first and marked pending; it is delivered at once when the toolbox answers, else when it is back.
- A revocation is never lost: it is written in the transaction that removes the link, and removed when delivered.
- What a toolbox is told about one connection is told in order, each time with the row and the token of that moment: an
  older allow-list never follows a newer one, and nothing follows a revocation.
- A token that is gone from the vault (memory-only keychain) is replaced, never guessed. In a shared workspace another
  computer may have it, so there a person says when it is replaced.
- Other people's connections are their own: no token of theirs is made here, and nothing of theirs is delivered from here.
*/

/** What a connection may use, and until when; null is all of them, and for ever. */
export type AccessOf = { allowedTools: string[] | null; expiresAt: number | null };

export interface Connections {
  connect(link: { agentId: AgentId; serverId: ServerId } & AccessOf): Promise<ConnectionId>;
  disconnect(id: ConnectionId): Promise<void>;
  /** Revokes a connection, also one whose row went with its server. */
  revoke(connection: Connection): Promise<void>;
  /** What is left out stays. */
  setAccess(id: ConnectionId, access: { [Key in keyof AccessOf]?: AccessOf[Key] | undefined }): Promise<void>;
  /** Makes a new token; whoever holds the old one is refused from then on. */
  renew(id: ConnectionId): Promise<void>;
  listTools(id: ConnectionId, signal: AbortSignal | undefined): Promise<Tool[]>;
  callTool(
    id: ConnectionId,
    call: { name: string; arguments: Record<string, unknown> },
    signal: AbortSignal,
  ): AsyncIterable<ToolCallEvent>;
  /** Ends the sign-in that a connection's calls wait for, and those calls. */
  cancelSignIn(id: ConnectionId): void;
  /** Sends every pending change and revocation to a toolbox that answers again. */
  deliver(toolboxId: ToolboxId): Promise<void>;
  /** SHA-256 of a connection's token, which is made when there is none. */
  tokenHash(id: ConnectionId): Promise<string>;
  close(): Promise<void>;
}

export type ConnectionsDeps = {
  store: Store;
  vault: Vault;
  links: Links;
  sessions: McpSessions;
  signIns: Pick<SignIns, "cancel" | "forget">;
  log: Logger;
};

export function createConnections({ store, vault, links, sessions, signIns, log }: ConnectionsDeps): Connections {
  const serverOf = (connection: Connection) => store.mustGet("servers", connection.serverId);

  /** By connection: the last thing its toolbox is being told. */
  const tellings = new Map<string, Promise<void>>();
  /** Ways to toolboxes this computer has no link to, by address and certificate. */
  const ways = new Map<string, PinnedHttp>();

  function isMine({ shared }: Connection): boolean {
    return shared === undefined || shared.ownerId === store.sync.account()?.who?.userId;
  }

  function titleOf({ serverId, shared }: Connection): string {
    return store.get("servers", serverId)?.spec.name ?? shared?.serverName ?? "";
  }

  async function issueToken(id: ConnectionId): Promise<string> {
    const token = `dtma_${randomBytes(32).toString("base64url")}`;
    await vault.set({ kind: "connection", id }, token);
    return token;
  }

  /** The token of a connection. CONNECTION_REVOKED when the one that is valid is on another computer. */
  async function tokenOf({ id, shared }: Connection): Promise<string> {
    const token = await vault.get({ kind: "connection", id });
    if (shared === undefined) return token ?? issueToken(id);
    const known = store.sync.synced("connections", id)?.row?.tokenTag;
    const isPending = store.sync.entriesOf("connections", id).some(({ payload }) => "tokenHash" in payload);
    if (token !== undefined && (isPending || known == null || known === tokenTag(token))) return token;
    throw new AppError("CONNECTION_REVOKED", {
      message:
        token === undefined
          ? "The token of this connection is in the keychain of another computer. Renew it to use it here."
          : "The token of this connection was renewed on another computer. Renew it to use it here.",
    });
  }

  function inOrder(id: string, work: () => Promise<void>): Promise<void> {
    const telling = (tellings.get(id) ?? Promise.resolve()).catch(() => {}).then(work);
    tellings.set(id, telling);
    const clear = () => {
      if (tellings.get(id) === telling) tellings.delete(id);
    };
    telling.then(clear, clear);
    return telling;
  }

  async function forgetToken(id: string): Promise<void> {
    // A queued revocation can be taken back; the token goes when the database has it.
    if (store.sync.entriesOf("connections", id).length === 0) await vault.delete({ kind: "connection", id });
  }

  /** Tells the toolbox what a connection may do now. Throws when it does not take it; one that is gone is not told. */
  const send = ({ id }: Connection): Promise<void> =>
    inOrder(id, async () => {
      const asked = store.get("connections", id);
      if (asked === undefined) return;
      const token = await tokenOf(asked);
      const connection = store.get("connections", id);
      // Revoked while the keychain took its time: the token may have been made just now.
      if (connection === undefined) return forgetToken(id);
      const { toolboxId, spec } = serverOf(connection);
      const { allowedTools, expiresAt } = connection;
      const entry: AccessEntry = {
        connectionId: id,
        server: spec.name,
        tokenHash: hashOf(token),
        allowedTools,
        ...(expiresAt === undefined ? {} : { expiresAt }),
      };
      await links.client(toolboxId).putAccess(entry);
      const isStillToken = (await vault.get({ kind: "connection", id })) === token;
      store.write((tx) => {
        const row = tx.get("connections", id);
        const isStillThis =
          row !== undefined && row.expiresAt === expiresAt && JSON.stringify(row.allowedTools) === JSON.stringify(allowedTools);
        if (isStillThis && isStillToken) tx.patch("connections", id, { delivery: "delivered" });
      });
    });

  const sendRevocation = (connectionId: string, toolboxId: ToolboxId): Promise<void> =>
    inOrder(connectionId, async () => {
      try {
        await links.client(toolboxId).deleteAccess(connectionId);
      } catch (error) {
        if (toAppError(error).code !== "NOT_FOUND") throw error;
      }
      store.write((tx) => tx.removeRevocation(connectionId));
    });

  /** Delivers now if the toolbox answers; what could not be delivered stays pending and is sent when the link is back. */
  async function tryDelivery(what: string, toolboxId: ToolboxId, work: () => Promise<void>): Promise<void> {
    if (!links.isUp(toolboxId)) return;
    try {
      await work();
    } catch (error) {
      const { code } = toAppError(error);
      log.warn("connection.delivery-failed", { what, toolboxId, code, error });
    }
  }

  /** Where a call goes, and with which token. Throws what keeps a call from working. */
  async function target(connection: Connection): Promise<McpTarget> {
    const { shared } = connection;
    if (!isMine(connection)) throw new AppError("FORBIDDEN", { message: "This connection belongs to somebody else's agent." });
    if (shared?.endpoint != null && !links.isUp(shared.toolboxId)) return targetWithoutLink(connection, shared);
    const server = serverOf(connection);
    const client = links.client(server.toolboxId);
    const refusal = refusalOf(server);
    if (refusal !== undefined) throw refusal;
    const isMissing = (await vault.get({ kind: "connection", id: connection.id })) === undefined;
    if (isMissing || connection.delivery === "pending") await send(connection);
    const token = await tokenOf(connection);
    return { endpoint: client.mcpEndpoint(server.spec.name), token };
  }

  async function revoke(connection: Connection): Promise<void> {
    const { id, serverId } = connection;
    const title = titleOf(connection);
    const server = store.get("servers", serverId);
    store.write((tx) => {
      if (server !== undefined && tx.hasRow("toolboxes", server.toolboxId)) tx.addRevocation(id, server.toolboxId);
      tx.delete("connections", id);
      tx.enqueue(connectionDeleted(connection, title));
    });
    await forgetToken(id);
    await signIns.forget(id);
    if (server !== undefined) await tryDelivery("disconnect", server.toolboxId, () => sendRevocation(id, server.toolboxId));
    await sessions.forget(id);
  }

  /** People without a link to the toolbox call the address the shared database gives the owner of a connection. */
  async function targetWithoutLink(
    connection: Connection,
    { endpoint, serverName, serverStatus }: NonNullable<Connection["shared"]>,
  ): Promise<McpTarget> {
    if (endpoint === null || fromStoredState(serverStatus) !== "running")
      throw new AppError("SERVER_NOT_RUNNING", { message: `${serverName} is not running.` });
    const url = new URL(endpoint.url);
    if (url.protocol === "http:" && !isLoopback(url.hostname))
      throw new AppError("TOOLBOX_UNREACHABLE", {
        message: "The toolbox has no encrypted address, and a token is not sent in the clear.",
      });
    const key = `${url.origin} ${endpoint.fingerprint}`;
    const way = ways.get(key) ?? createPinnedHttp(endpoint.fingerprint);
    ways.set(key, way);
    return { endpoint: { url, fetch: way.fetch }, token: await tokenOf(connection) };
  }

  return {
    async connect({ agentId, serverId, allowedTools, expiresAt }) {
      store.mustGet("agents", agentId);
      const { toolboxId } = store.mustGet("servers", serverId);
      const connection: Connection = {
        id: randomUUID() as ConnectionId,
        agentId,
        serverId,
        allowedTools,
        ...(expiresAt === null ? {} : { expiresAt }),
        delivery: "pending",
        calls: 0,
        errors: 0,
        lastUsedAt: null,
        createdAt: Date.now(),
      };
      const token = await issueToken(connection.id);
      try {
        store.write((tx) => {
          tx.put("connections", connection);
          tx.enqueue(connectionCreated(connection, titleOf(connection), hashOf(token)));
        });
      } catch (error) {
        await vault.delete({ kind: "connection", id: connection.id });
        throw error;
      }
      await tryDelivery("connect", toolboxId, () => send(connection));
      return connection.id;
    },
    disconnect: (id) => revoke(store.mustGet("connections", id)),
    revoke,
    async setAccess(id, { allowedTools, expiresAt }) {
      const { expiresAt: before, ...known } = store.mustGet("connections", id);
      const end = expiresAt === undefined ? before : (expiresAt ?? undefined);
      const connection: Connection = {
        ...known,
        ...(allowedTools === undefined ? {} : { allowedTools }),
        ...(end === undefined ? {} : { expiresAt: end }),
        delivery: "pending",
      };
      store.write((tx) => {
        tx.put("connections", connection);
        const changes = {
          ...(allowedTools === undefined ? {} : { allowedTools }),
          ...(expiresAt === undefined ? {} : { expiresAt }),
        };
        tx.enqueue(connectionChanged(connection, titleOf(connection), changes));
      });
      const toolboxId = store.get("servers", connection.serverId)?.toolboxId;
      if (toolboxId !== undefined && isMine(connection)) await tryDelivery("allow-list", toolboxId, () => send(connection));
    },
    async renew(id) {
      const connection: Connection = { ...store.mustGet("connections", id), delivery: "pending" };
      if (!isMine(connection))
        throw new AppError("FORBIDDEN", { message: "This connection belongs to somebody else's agent." });
      const token = await issueToken(id);
      store.write((tx) => {
        tx.put("connections", connection);
        tx.enqueue(connectionChanged(connection, titleOf(connection), { tokenHash: hashOf(token) }));
      });
      await sessions.forget(id);
      const toolboxId = store.get("servers", connection.serverId)?.toolboxId;
      if (toolboxId !== undefined) await tryDelivery("renewal", toolboxId, () => send(connection));
    },
    async listTools(id, signal) {
      return sessions.listTools(id, await target(store.mustGet("connections", id)), signal);
    },
    async *callTool(id, call, signal) {
      const connection = store.mustGet("connections", id);
      if (connection.allowedTools !== null && !connection.allowedTools.includes(call.name)) {
        throw new AppError("TOOL_NOT_ALLOWED", {
          message: `This connection is not allowed to use ${call.name}.`,
          field: "tool",
        });
      }
      yield* withProgress(signal, async (stop, onProgress) =>
        sessions.callTool(id, await target(connection), call, { signal: stop, onProgress }),
      );
    },
    cancelSignIn: signIns.cancel,
    async deliver(toolboxId) {
      // Each by itself: one that cannot be told must not keep back the others.
      for (const connectionId of store.revocations(toolboxId))
        await tryDelivery("disconnect", toolboxId, () => sendRevocation(connectionId, toolboxId));
      for (const server of store.list("servers", { toolbox_id: toolboxId })) {
        for (const connection of store.list("connections", { server_id: server.id })) {
          if (connection.delivery === "pending" && isMine(connection))
            await tryDelivery("connect", toolboxId, () => send(connection));
        }
      }
    },
    tokenHash: async (id) => hashOf((await vault.get({ kind: "connection", id })) ?? (await issueToken(id))),
    close: async () => void (await Promise.all([...ways.values()].map((way) => way.close()))),
  };
}

type Progress = Omit<Extract<ToolCallEvent, { type: "progress" }>, "type">;

/** Turns a call with a progress callback into its events. Leaving the loop early ends the call. */
async function* withProgress(
  signal: AbortSignal,
  work: (signal: AbortSignal, onProgress: (progress: Progress) => void) => Promise<ToolCallEvent>,
): AsyncGenerator<ToolCallEvent> {
  const leaving = new AbortController();
  const waiting: ToolCallEvent[] = [];
  let wake = () => {};
  let isDone = false;
  const result = work(AbortSignal.any([signal, leaving.signal]), (progress) => {
    waiting.push({ type: "progress", ...progress });
    wake();
  }).finally(() => {
    isDone = true;
    wake();
  });
  result.catch(() => {});
  try {
    while (!isDone || waiting.length > 0) {
      const event = waiting.shift();
      if (event !== undefined) yield event;
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
          if (isDone || waiting.length > 0) resolve();
        });
    }
    yield await result;
  } finally {
    leaving.abort();
  }
}
