import type { ReactNode } from "react";
import type { ConnectionId } from "../../../shared/model/ids.ts";
import type { WaitingSignIn as Waiting } from "../../../shared/model/sign-in.ts";
import { api } from "../../api.ts";
import { useAction, useCopy } from "../../state/index.ts";
import { text } from "../../text.ts";
import { WaitingForPage } from "../../ui/waiting-for-page.tsx";

const words = text.connections.signIn;

export function useWaitingSignIn(id: ConnectionId): Waiting | undefined {
  return useCopy(({ facts }) => facts.signIns.find(({ connectionId }) => connectionId === id));
}

/** Calls of a connection wait until the person has signed in at what stands in front of its toolbox. */
export function WaitingSignIn({ waiting, children }: { waiting: Waiting; children?: ReactNode }) {
  const { connectionId: id, host, url, client } = waiting;
  const cancel = useAction(() => api.connections.cancelSignIn({ id }));
  const body = client === null ? words.body(host) : `${words.body(host)} ${words.errorThere}`;
  return (
    <WaitingForPage words={{ ...words, body }} url={url} onCancel={() => void cancel.run()}>
      {children}
    </WaitingForPage>
  );
}
