import type { Connection } from "../../../shared/model/agent.ts";
import { api } from "../../api.ts";
import { useAction } from "../../state/index.ts";
import { text } from "../../text.ts";
import { ConfirmDialog } from "../../ui/confirm-dialog.tsx";
import { announce } from "../../ui/toast.tsx";
import { AppErrorNote } from "../errors/index.tsx";

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
  const revoke = useAction(async () => {
    await api.connections.disconnect({ id: connection.id });
    return true;
  });
  return (
    <ConfirmDialog
      isOpen
      onClose={onClose}
      title={words.revokeTitle(agentName, serverName)}
      body={words.revokeBody(ownerName)}
      confirmLabel={words.revoke}
      cancelLabel={text.app.cancel}
      closeLabel={text.app.close}
      isBusy={revoke.isBusy}
      error={revoke.error !== null && <AppErrorNote error={revoke.error} />}
      onConfirm={async () => {
        if ((await revoke.run()) !== true) return;
        announce({ title: words.revoked(agentName, serverName) });
        onClose();
      }}
    />
  );
}
