import type { Agent } from "../../../shared/model/agent.ts";
import { api } from "../../api.ts";
import { useAction, useConnectionsOfAgent, useCopy } from "../../state/index.ts";
import { text } from "../../text.ts";
import { ConfirmDialog } from "../../ui/confirm-dialog.tsx";
import { announce } from "../../ui/toast.tsx";
import { AppErrorNote } from "../errors/index.tsx";

type DeleteAgentProps = { agent: Agent; isOpen: boolean; onClose(): void; onDeleted(): void };

/** Deletes an agent after naming the connections that go with it. */
export function DeleteAgent({ agent, isOpen, onClose, onDeleted }: DeleteAgentProps) {
  const connections = useConnectionsOfAgent(agent.id);
  const servers = useCopy((copy) => copy.tables.servers);
  const remove = useAction(async () => {
    await api.agents.delete({ id: agent.id });
    return true;
  });
  return (
    <ConfirmDialog
      isOpen={isOpen}
      onClose={() => {
        remove.clearError();
        onClose();
      }}
      title={text.agents.deleteTitle(agent.name)}
      body={text.agents.deleteBody}
      affected={{
        label: text.agents.deleteAffects(connections.length),
        names: connections.map(({ serverId }) => servers.get(serverId)?.spec.name ?? text.connections.goneServer),
        moreLabel: text.app.andMore,
      }}
      confirmLabel={text.app.delete}
      cancelLabel={text.app.cancel}
      closeLabel={text.app.close}
      isBusy={remove.isBusy}
      error={remove.error !== null && <AppErrorNote error={remove.error} />}
      onConfirm={async () => {
        if ((await remove.run()) !== true) return;
        announce({ title: text.agents.deleted(agent.name) });
        onDeleted();
      }}
    />
  );
}
