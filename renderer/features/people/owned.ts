import type { Agent, Connection } from "../../../shared/model/agent.ts";
import { groupBy } from "../../state/derived.ts";
import { useCopy } from "../../state/index.ts";

const agentsByOwner = groupBy((row: Agent) => row.ownerId ?? "");
const connectionsByOwner = groupBy((row: Connection) => row.shared?.ownerId ?? "");

/** A look-up from a person's id to their agents. */
export function useAgentsByOwner(): (personId: string) => readonly Agent[] {
  return useCopy((copy) => agentsByOwner(copy.tables.agents));
}

/** A look-up from a person's id to the connections of their agents. */
export function useConnectionsByOwner(): (personId: string) => readonly Connection[] {
  return useCopy((copy) => connectionsByOwner(copy.tables.connections));
}
