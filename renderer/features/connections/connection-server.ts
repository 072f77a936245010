import type { Connection } from "../../../shared/model/agent.ts";
import type { Server } from "../../../shared/model/server.ts";
import { useRow } from "../../state/index.ts";
import { text } from "../../text.ts";

/** The server of a connection; its name also where the server itself may not be seen (any more). */
export function useConnectionServer(connection: Connection): { server: Server | undefined; name: string } {
  const server = useRow("servers", connection.serverId);
  return { server, name: server?.spec.name ?? connection.shared?.serverName ?? text.connections.goneServer };
}
