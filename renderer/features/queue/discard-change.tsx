import type { QueuedChange } from "../../../shared/model/sync.ts";
import { api } from "../../api.ts";
import { useAction } from "../../state/index.ts";
import { text } from "../../text.ts";
import { ConfirmDialog } from "../../ui/confirm-dialog.tsx";
import { announce } from "../../ui/toast.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { dependentsOf, describeChange, isCreation, type Places } from "./describe.ts";

const words = text.queue;

type DiscardChangeProps = {
  change: QueuedChange;
  places: Places;
  queue: readonly QueuedChange[];
  onClose(): void;
};

/** Takes a change back, after naming what builds on it and goes with it. */
export function DiscardChange({ change, places, queue, onClose }: DiscardChangeProps) {
  const what = describeChange(change, places);
  const dependents = dependentsOf(change, queue, places);
  const discard = useAction(async (withDependents: boolean) => {
    await api.workspace.discardChange({ id: change.id, withDependents });
    return true;
  });
  // What builds on it is known for certain to the control centre only; it says so by refusing.
  const hasMore = discard.error?.code === "CONFLICT";
  const takesAll = dependents.length > 0 || hasMore;
  return (
    <ConfirmDialog
      isOpen
      onClose={onClose}
      title={words.discardTitle(what)}
      body={isCreation(change, places) ? words.discardCreationBody : words.discardBody}
      affected={{
        label: words.discardAffects(dependents.length),
        names: dependents.map((dependent) => describeChange(dependent, places)),
        moreLabel: text.app.andMore,
      }}
      confirmLabel={takesAll ? words.discardThem : words.discard}
      cancelLabel={text.app.cancel}
      closeLabel={text.app.close}
      isBusy={discard.isBusy}
      error={discard.error !== null && <AppErrorNote error={discard.error} />}
      onConfirm={async () => {
        if ((await discard.run(takesAll)) !== true) return;
        announce({ title: words.discarded(what) });
        onClose();
      }}
    />
  );
}
