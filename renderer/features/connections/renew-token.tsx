import { KeyRound } from "lucide-react";
import { useState } from "react";
import type { Connection } from "../../../shared/model/agent.ts";
import { api } from "../../api.ts";
import { useAction } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { ConfirmDialog } from "../../ui/confirm-dialog.tsx";
import { announce } from "../../ui/toast.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { useIsMine } from "./connection-server.ts";

const words = text.renewal;

type RenewTokenProps = { connection: Connection; agentName: string; serverName: string; onRenewed?: () => void };

/** Makes a new token where the valid one is on another computer. Only for one's own connections of a shared workspace. */
export function RenewToken({ connection, agentName, serverName, onRenewed }: RenewTokenProps) {
  const isMine = useIsMine(connection);
  const [isAsking, setAsking] = useState(false);
  const renew = useAction(async () => {
    await api.workspace.renewConnection({ id: connection.id });
    return true;
  });
  if (connection.shared === undefined || !isMine) return null;
  return (
    <>
      <Button size="sm" icon={KeyRound} onClick={() => setAsking(true)}>
        {words.action}
      </Button>
      {isAsking && (
        <ConfirmDialog
          isOpen
          onClose={() => setAsking(false)}
          title={words.title(agentName, serverName)}
          body={words.body}
          confirmLabel={words.action}
          cancelLabel={text.app.cancel}
          closeLabel={text.app.close}
          isDanger={false}
          isBusy={renew.isBusy}
          error={renew.error !== null && <AppErrorNote error={renew.error} />}
          onConfirm={async () => {
            if ((await renew.run()) !== true) return;
            announce({ title: words.done, tone: "ok" });
            setAsking(false);
            onRenewed?.();
          }}
        />
      )}
    </>
  );
}
