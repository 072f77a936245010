import { KeyRound, TriangleAlert } from "lucide-react";
import { useState } from "react";
import type { Connection } from "../../../shared/model/agent.ts";
import type { SignInClient } from "../../../shared/model/sign-in.ts";
import { useCopy } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { hostOf, SignInClientDialog } from "./sign-in-client.tsx";
import { useWaitingSignIn, WaitingSignIn } from "./waiting-sign-in.tsx";

const words = text.connections.signInClient;

/** What a person has to do about what stands in front of a connection's toolbox: sign in there, or give a client first. */
export function SignInNotice({ connection }: { connection: Connection }) {
  const waiting = useWaitingSignIn(connection.id);
  const needed = useCopy(({ facts }) => facts.neededClients.find(({ connectionId }) => connectionId === connection.id));
  const [edited, setEdited] = useState<SignInClient | null>(null);
  return (
    <>
      <div className="px-5 pb-2 empty:hidden">
        {waiting !== undefined ? (
          <WaitingSignIn waiting={waiting}>
            {waiting.client !== null && (
              <Button size="sm" icon={KeyRound} onClick={() => setEdited(waiting.client)}>
                {words.correct}
              </Button>
            )}
          </WaitingSignIn>
        ) : (
          needed !== undefined && <Needed {...needed} onGive={() => setEdited(needed.client)} />
        )}
      </div>
      {edited !== null && <SignInClientDialog connection={connection} client={edited} onClose={() => setEdited(null)} />}
    </>
  );
}

type NeededProps = { client: SignInClient; reason: string; onGive(): void };

function Needed({ client, reason, onGive }: NeededProps) {
  const isWrong = client.clientId !== null;
  const Icon = isWrong ? TriangleAlert : KeyRound;
  const host = hostOf(client);
  return (
    <div role="status" className="flex items-start gap-3 rounded-lg border border-line bg-sunken px-4 py-3.5">
      <Icon size={18} aria-hidden className={isWrong ? "mt-0.5 shrink-0 text-warn" : "mt-0.5 shrink-0 text-info"} />
      <div className="flex min-w-0 flex-1 flex-col items-start gap-2">
        <div>
          <p className="font-medium text-sm">{isWrong ? words.wrongTitle(host) : words.neededTitle(host)}</p>
          <p className="break-words text-muted text-sm">{reason}</p>
        </div>
        <Button size="sm" icon={KeyRound} onClick={onGive}>
          {isWrong ? words.correct : words.give}
        </Button>
      </div>
    </div>
  );
}
