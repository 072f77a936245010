import type { Connection } from "../../../shared/model/agent.ts";
import type { Server } from "../../../shared/model/server.ts";
import { useCopy, useRow, useRows } from "../../state/index.ts";
import { text } from "../../text.ts";

/** The server of a connection; its name also where the server itself may not be seen (any more). */
export function useConnectionServer(connection: Connection): { server: Server | undefined; name: string } {
  const server = useRow("servers", connection.serverId);
  return { server, name: server?.spec.name ?? connection.shared?.serverName ?? text.connections.goneServer };
}

/**
 * Whether a change of the connection is still on its way. Where only the shared database tells the toolbox, it is until
 * the database has it.
 */
export function useIsPending({ id, delivery, shared }: Connection): boolean {
  const isQueued = useRows("queue").some((change) => change.entityId === id);
  const isLinked = useCopy((copy) => copy.tables.toolboxes.get(shared?.toolboxId ?? "")?.link.state === "connected");
  return isQueued || (delivery === "pending" && (shared === undefined || isLinked));
}

/** Whether the connection belongs to the person at the window. */
export function useIsMine({ shared }: Connection): boolean {
  return useCopy((copy) => shared === undefined || shared.ownerId === copy.facts.sync.account?.who?.userId);
}
