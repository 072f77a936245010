import { randomUUID } from "node:crypto";
import type { Connection } from "../../shared/model/agent.ts";
import type { AgentId } from "../../shared/model/ids.ts";
import type { Store } from "./store/index.ts";
import { agentChanged, agentCreated, agentDeleted } from "./sync/payloads.ts";

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
      store.write((tx) => {
        const row = { id, ...input, createdAt: Date.now() };
        tx.put("agents", row);
        tx.enqueue(agentCreated(row));
      });
      return id;
    },
    update(id, changes) {
      store.write((tx) => {
        const before = tx.mustGet("agents", id);
        const row = { ...before, ...changes };
        tx.put("agents", row);
        const { name, description } = changes;
        const changed = {
          ...(name === before.name ? {} : { name }),
          ...(description === before.description ? {} : { description }),
        };
        if (Object.keys(changed).length > 0) tx.enqueue(agentChanged(row, changed));
      });
    },
    async delete(id) {
      const row = store.mustGet("agents", id);
      // Looked at anew each time: one that is made meanwhile must not go with its agent and leave its token valid.
      const nextConnection = () => store.list("connections", { agent_id: id })[0];
      for (let connection = nextConnection(); connection !== undefined; connection = nextConnection()) await revoke(connection);
      store.write((tx) => {
        tx.delete("agents", id);
        tx.enqueue(agentDeleted(row));
      });
    },
  };
}
