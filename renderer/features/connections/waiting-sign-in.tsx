import type { Connection } from "../../../shared/model/agent.ts";
import { api } from "../../api.ts";
import { useAction, useCopy } from "../../state/index.ts";
import { text } from "../../text.ts";
import { WaitingForPage } from "../../ui/waiting-for-page.tsx";

/** Calls of this connection wait until the person has signed in at what stands in front of its toolbox. */
export function WaitingSignIn({ connection: { id } }: { connection: Connection }) {
  const waiting = useCopy(({ facts }) => facts.signIns.find(({ connectionId }) => connectionId === id));
  const cancel = useAction(() => api.connections.cancelSignIn({ id }));
  if (waiting === undefined) return null;
  const words = text.connections.signIn;
  return (
    <div className="px-5 pb-2">
      <WaitingForPage
        words={{ ...words, body: words.body(waiting.host) }}
        url={waiting.url}
        onCancel={() => void cancel.run()}
      />
    </div>
  );
}
