import { KeyRound } from "lucide-react";
import { useState } from "react";
import type { Connection } from "../../../shared/model/agent.ts";
import { api } from "../../api.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { announce } from "../../ui/toast.tsx";
import { ConfirmAction } from "../confirm/index.tsx";
import { useIsMine } from "./connection-server.ts";

const words = text.renewal;

type RenewTokenProps = { connection: Connection; agentName: string; serverName: string; onRenewed?: () => void };

/** Makes a new token where the valid one is on another computer. Only for one's own connections of a shared workspace. */
export function RenewToken({ connection, agentName, serverName, onRenewed }: RenewTokenProps) {
  const isMine = useIsMine(connection);
  const [isAsking, setAsking] = useState(false);
  if (connection.shared === undefined || !isMine) return null;
  return (
    <>
      <Button size="sm" icon={KeyRound} onClick={() => setAsking(true)}>
        {words.action}
      </Button>
      {isAsking && (
        <ConfirmAction
          onClose={() => setAsking(false)}
          title={words.title(agentName, serverName)}
          body={words.body}
          confirmLabel={words.action}
          isDanger={false}
          perform={() => api.workspace.renewConnection({ id: connection.id })}
          onDone={() => {
            announce({ title: words.done, tone: "ok" });
            setAsking(false);
            onRenewed?.();
          }}
        />
      )}
    </>
  );
}
