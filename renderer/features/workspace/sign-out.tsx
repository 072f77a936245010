import { api } from "../../api.ts";
import { useAction, useRows } from "../../state/index.ts";
import { text } from "../../text.ts";
import { ConfirmDialog } from "../../ui/confirm-dialog.tsx";
import { announce } from "../../ui/toast.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { describeChange, usePlaces } from "../queue/index.ts";

const words = text.sharing;

/** Leaves the shared workspace, after saying what is forgotten here and which changes would be lost. */
export function SignOut({ onClose }: { onClose(): void }) {
  const queue = useRows("queue");
  const rowsBehind = usePlaces();
  const signOut = useAction(async () => {
    await api.workspace.signOut({ losesQueue: queue.length > 0 });
    return true;
  });
  return (
    <ConfirmDialog
      isOpen
      onClose={onClose}
      title={words.signOutTitle}
      body={words.signOutBody}
      affected={{
        label: words.signOutLoses(queue.length),
        names: queue.map((change) => describeChange(change, rowsBehind)),
        moreLabel: text.app.andMore,
      }}
      confirmLabel={queue.length === 0 ? words.signOut : words.signOutAnyway}
      cancelLabel={text.app.cancel}
      closeLabel={text.app.close}
      isDanger={queue.length > 0}
      nameToType={queue.length === 0 ? undefined : { label: words.typeLose, name: words.loseWord }}
      isBusy={signOut.isBusy}
      error={signOut.error !== null && <AppErrorNote error={signOut.error} />}
      onConfirm={async () => {
        if ((await signOut.run()) !== true) return;
        announce({ title: words.signedOut });
        onClose();
      }}
    />
  );
}
