import { useEffect, useRef, useState } from "react";
import { api, call } from "../../api.ts";
import { useAction } from "../../state/index.ts";
import { text } from "../../text.ts";
import { openOutside, WaitingForPage } from "../../ui/waiting-for-page.tsx";
import type { SupabaseTarget } from "./target-draft.ts";

type Waiting = { id: string; url: string };

/**
 * Signing in in the system's browser: begins it, opens the page, and resolves when the person came back. Leaving the
 * screen cancels it.
 */
export function useBrowserSignIn() {
  const [waiting, setWaiting] = useState<Waiting | null>(null);
  const open = useRef<Waiting | null>(null);
  const become = (next: Waiting | null) => {
    open.current = next;
    setWaiting(next);
  };
  const signIn = useAction(async (target: SupabaseTarget, provider: string, bringsLocalRows: boolean) => {
    const begun = await api.workspace.beginSignIn({ target, provider });
    become(begun);
    openOutside(begun.url);
    try {
      await api.workspace.finishSignIn({ id: begun.id, bringsLocalRows });
      return true;
    } finally {
      become(null);
    }
  });
  const cancel = () => {
    const begun = open.current;
    if (begun !== null) call(api.workspace.cancelSignIn({ id: begun.id })).catch(() => undefined);
  };
  const leave = useRef(cancel);
  leave.current = cancel;
  useEffect(() => () => leave.current(), []);
  return { ...signIn, waiting, cancel };
}

/** Stands in place of the form while the person is in the browser. */
export function WaitingForBrowser({ waiting, onCancel }: { waiting: Waiting; onCancel(): void }) {
  return <WaitingForPage words={text.sharing.inBrowser} url={waiting.url} onCancel={onCancel} />;
}
