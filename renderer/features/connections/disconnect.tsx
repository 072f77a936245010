import type { Agent, Connection } from "../../../shared/model/agent.ts";
import { api } from "../../api.ts";
import { text } from "../../text.ts";
import { announce } from "../../ui/toast.tsx";
import { ConfirmAction } from "../confirm/index.tsx";

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
  return (
    <ConfirmAction
      isOpen={isOpen}
      onClose={onClose}
      title={text.connections.disconnectTitle(agent.name, serverName)}
      body={text.connections.disconnectBody(agent.name, serverName)}
      confirmLabel={text.connections.disconnect}
      perform={() => api.connections.disconnect({ id: connection.id })}
      onDone={() => {
        announce({ title: text.connections.disconnected(agent.name, serverName) });
        onDisconnected();
      }}
    />
  );
}
