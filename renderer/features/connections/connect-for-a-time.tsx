import { useState } from "react";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { Dialog } from "../../ui/dialog.tsx";
import { endOf } from "./end.ts";
import { EndField } from "./end-field.tsx";

const words = text.connections;

type ConnectForATimeProps = { agentName: string; serverName: string; onClose(): void; onConnect(expiresAt: number): void };

/** Asks for how long an agent is to be connected. */
export function ConnectForATime({ agentName, serverName, onClose, onConnect }: ConnectForATimeProps) {
  const [end, setEnd] = useState<number | null>(() => endOf("month", Date.now(), null));
  return (
    <Dialog
      isOpen
      onClose={onClose}
      title={words.end.dialogTitle(agentName, serverName)}
      description={words.end.dialogBody}
      closeLabel={text.app.close}
      size="sm"
      footer={
        <>
          <Button onClick={onClose}>{text.app.cancel}</Button>
          <Button variant="primary" onClick={() => end !== null && onConnect(end)}>
            {words.connect}
          </Button>
        </>
      }
    >
      <EndField value={end} onChange={setEnd} mayBeNever={false} initialChoice="month" />
    </Dialog>
  );
}
