import { ExternalLink } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { api, call } from "../../api.ts";
import { useAction } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { Spinner } from "../../ui/spinner.tsx";
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

function openOutside(url: string): void {
  window.open(url, "_blank", "noopener");
}

/** Stands in place of the form while the person is in the browser. */
export function WaitingForBrowser({ waiting, onCancel }: { waiting: Waiting; onCancel(): void }) {
  const words = text.sharing.inBrowser;
  return (
    <div role="status" className="flex items-start gap-3 rounded-lg border border-line bg-sunken px-4 py-3.5">
      <Spinner size={18} className="mt-0.5 text-info" />
      <div className="flex min-w-0 flex-1 flex-col gap-2">
        <div>
          <p className="font-medium text-sm">{words.title}</p>
          <p className="text-muted text-sm">{words.body}</p>
        </div>
        <div className="flex flex-wrap gap-2">
          <Button size="sm" icon={ExternalLink} onClick={() => openOutside(waiting.url)}>
            {words.open}
          </Button>
          <Button size="sm" variant="ghost" onClick={onCancel}>
            {words.cancel}
          </Button>
        </div>
      </div>
    </div>
  );
}
