import { useCopy } from "../../state/index.ts";
import { text } from "../../text.ts";

export type LocalRows = { toolboxes: number; servers: number; agents: number; connections: number };

/** How much exists on this computer that a shared database does not have. */
export function useLocalRows(): LocalRows {
  const toolboxes = useCopy((copy) => copy.tables.toolboxes.size);
  const servers = useCopy((copy) => copy.tables.servers.size);
  const agents = useCopy((copy) => copy.tables.agents.size);
  const connections = useCopy((copy) => copy.tables.connections.size);
  return { toolboxes, servers, agents, connections };
}

/** `2 toolboxes, 3 servers and 1 agent`; empty when there is nothing. Pure. */
export function rowsInWords(rows: LocalRows, names: readonly (keyof LocalRows)[]): string {
  const parts = names.filter((name) => rows[name] > 0).map((name) => text.counts[name](rows[name]));
  return new Intl.ListFormat("en").format(parts);
}
