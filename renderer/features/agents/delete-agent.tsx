import type { Agent } from "../../../shared/model/agent.ts";
import { api } from "../../api.ts";
import { useConnectionsOfAgent, useCopy } from "../../state/index.ts";
import { text } from "../../text.ts";
import { announce } from "../../ui/toast.tsx";
import { ConfirmAction } from "../confirm/index.tsx";

type DeleteAgentProps = { agent: Agent; isOpen: boolean; onClose(): void; onDeleted(): void };

/** Deletes an agent after naming the connections that go with it. */
export function DeleteAgent({ agent, isOpen, onClose, onDeleted }: DeleteAgentProps) {
  const connections = useConnectionsOfAgent(agent.id);
  const servers = useCopy((copy) => copy.tables.servers);
  return (
    <ConfirmAction
      isOpen={isOpen}
      onClose={onClose}
      title={text.agents.deleteTitle(agent.name)}
      body={text.agents.deleteBody}
      affected={{
        label: text.agents.deleteAffects(connections.length),
        names: connections.map(({ serverId }) => servers.get(serverId)?.spec.name ?? text.connections.goneServer),
      }}
      confirmLabel={text.app.delete}
      perform={() => api.agents.delete({ id: agent.id })}
      onDone={() => {
        announce({ title: text.agents.deleted(agent.name) });
        onDeleted();
      }}
    />
  );
}
