import { useMemo } from "react";
import { useCopy } from "../../state/index.ts";
import type { Places } from "./describe.ts";

/** The rows that queued changes are about. */
export function usePlaces(): Places {
  const agents = useCopy((copy) => copy.tables.agents);
  const connections = useCopy((copy) => copy.tables.connections);
  const servers = useCopy((copy) => copy.tables.servers);
  const toolboxes = useCopy((copy) => copy.tables.toolboxes);
  return useMemo(() => ({ agents, connections, servers, toolboxes }), [agents, connections, servers, toolboxes]);
}
