import { catalogueContract } from "./catalogue.ts";
import { agentsContract, connectionsContract } from "./connections.ts";
import { operationsContract, serversContract } from "./servers.ts";
import { sessionContract, stateContract } from "./state.ts";
import { toolboxesContract } from "./toolboxes.ts";
import { workspaceContract } from "./workspace.ts";

/** Everything the window can ask of the control centre. */
export const contract = {
  session: sessionContract,
  state: stateContract,
  toolboxes: toolboxesContract,
  catalogue: catalogueContract,
  servers: serversContract,
  operations: operationsContract,
  agents: agentsContract,
  connections: connectionsContract,
  workspace: workspaceContract,
};
export type Contract = typeof contract;
