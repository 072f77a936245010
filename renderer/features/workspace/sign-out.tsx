import { api } from "../../api.ts";
import { useRows } from "../../state/index.ts";
import { text } from "../../text.ts";
import { announce } from "../../ui/toast.tsx";
import { ConfirmAction } from "../confirm/index.tsx";
import { describeChange, usePlaces } from "../queue/index.ts";

const words = text.sharing;

/** Leaves the shared workspace, after saying what is forgotten here and which changes would be lost. */
export function SignOut({ onClose }: { onClose(): void }) {
  const queue = useRows("queue");
  const rowsBehind = usePlaces();
  return (
    <ConfirmAction
      onClose={onClose}
      title={words.signOutTitle}
      body={words.signOutBody}
      affected={{
        label: words.signOutLoses(queue.length),
        names: queue.map((change) => describeChange(change, rowsBehind)),
      }}
      confirmLabel={queue.length === 0 ? words.signOut : words.signOutAnyway}
      isDanger={queue.length > 0}
      nameToType={queue.length === 0 ? undefined : { label: words.typeLose, name: words.loseWord }}
      perform={() => api.workspace.signOut({ losesQueue: queue.length > 0 })}
      onDone={() => {
        announce({ title: words.signedOut });
        onClose();
      }}
    />
  );
}
