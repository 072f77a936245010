import type { Connection } from "../../../shared/model/agent.ts";
import { api } from "../../api.ts";
import { text } from "../../text.ts";
import { announce } from "../../ui/toast.tsx";
import { ConfirmAction } from "../confirm/index.tsx";

const words = text.people;

type RevokeConnectionProps = {
  connection: Connection;
  agentName: string;
  serverName: string;
  ownerName: string;
  onClose(): void;
};

/** An admin ends somebody's connection. */
export function RevokeConnection({ connection, agentName, serverName, ownerName, onClose }: RevokeConnectionProps) {
  return (
    <ConfirmAction
      onClose={onClose}
      title={words.revokeTitle(agentName, serverName)}
      body={words.revokeBody(ownerName)}
      confirmLabel={words.revoke}
      perform={() => api.connections.disconnect({ id: connection.id })}
      onDone={() => {
        announce({ title: words.revoked(agentName, serverName) });
        onClose();
      }}
    />
  );
}
