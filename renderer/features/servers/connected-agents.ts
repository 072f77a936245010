import { useConnectionsOfServer, useCopy } from "../../state/index.ts";
import { text } from "../../text.ts";

/** Names of the agents that are connected to a server. */
export function useConnectedAgents(serverId: string): readonly string[] {
  const connections = useConnectionsOfServer(serverId);
  const agents = useCopy((copy) => copy.tables.agents);
  return [...new Set(connections.map(({ agentId }) => agents.get(agentId)?.name ?? text.servers.unknownAgent))];
}
