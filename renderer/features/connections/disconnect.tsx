import type { Agent, Connection } from "../../../shared/model/agent.ts";
import { api } from "../../api.ts";
import { useAction } from "../../state/index.ts";
import { text } from "../../text.ts";
import { ConfirmDialog } from "../../ui/confirm-dialog.tsx";
import { announce } from "../../ui/toast.tsx";
import { AppErrorNote } from "../errors/index.tsx";

type DisconnectProps = {
  connection: Connection;
  agent: Agent;
  serverName: string;
  isOpen: boolean;
  onClose(): void;
  onDisconnected(): void;
};

/** Removes the link between an agent and a server, after naming both. */
export function Disconnect({ connection, agent, serverName, isOpen, onClose, onDisconnected }: DisconnectProps) {
  const disconnect = useAction(async () => {
    await api.connections.disconnect({ id: connection.id });
    return true;
  });
  return (
    <ConfirmDialog
      isOpen={isOpen}
      onClose={() => {
        disconnect.clearError();
        onClose();
      }}
      title={text.connections.disconnectTitle(agent.name, serverName)}
      body={text.connections.disconnectBody(agent.name, serverName)}
      confirmLabel={text.connections.disconnect}
      cancelLabel={text.app.cancel}
      closeLabel={text.app.close}
      isBusy={disconnect.isBusy}
      error={disconnect.error !== null && <AppErrorNote error={disconnect.error} />}
      onConfirm={async () => {
        if ((await disconnect.run()) !== true) return;
        announce({ title: text.connections.disconnected(agent.name, serverName) });
        onDisconnected();
      }}
    />
  );
}
