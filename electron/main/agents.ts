import { randomUUID } from "node:crypto";
import type { Connection } from "../../shared/model/agent.ts";
import type { AgentId } from "../../shared/model/ids.ts";
import type { Store } from "./store/index.ts";

export interface Agents {
  create(input: { name: string; description: string }): AgentId;
  update(id: AgentId, changes: { name: string; description: string }): void;
  /** Deletes the agent after its connections were revoked. */
  delete(id: AgentId): Promise<void>;
}

export type AgentsDeps = { store: Store; revoke(connection: Connection): Promise<void> };

export function createAgents({ store, revoke }: AgentsDeps): Agents {
  return {
    create(input) {
      const id = randomUUID() as AgentId;
      store.write((tx) => tx.put("agents", { id, ...input, createdAt: Date.now() }));
      return id;
    },
    update(id, changes) {
      store.write((tx) => tx.put("agents", { ...tx.mustGet("agents", id), ...changes }));
    },
    async delete(id) {
      store.mustGet("agents", id);
      for (const connection of store.list("connections", { agent_id: id })) await revoke(connection);
      store.write((tx) => tx.delete("agents", id));
    },
  };
}
