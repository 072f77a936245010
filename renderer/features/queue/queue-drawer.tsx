import { CloudUpload, RefreshCw } from "lucide-react";
import { useState } from "react";
import type { QueuedChange } from "../../../shared/model/sync.ts";
import { api } from "../../api.ts";
import { useAction, useCopy, useRows, useUi } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { Drawer } from "../../ui/drawer.tsx";
import { EmptyState } from "../../ui/empty-state.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { ChangeItem } from "./change-item.tsx";
import { ConflictDialog } from "./conflict-dialog.tsx";
import { DiscardChange } from "./discard-change.tsx";
import { EditChange } from "./edit-change.tsx";
import { usePlaces } from "./places.ts";

const words = text.queue;

export type ChangeDialog = { kind: "edit" | "discard" | "conflict"; change: QueuedChange };

/** The changes the shared database does not have yet: what needs a decision first, then the queue in its order. */
export function QueueDrawer() {
  const isOpen = useUi((ui) => ui.isQueueOpen);
  const setOpen = useUi((ui) => ui.setQueueOpen);
  return isOpen ? <Queue onClose={() => setOpen(false)} /> : null;
}

const mostShown = 200;

function Queue({ onClose }: { onClose(): void }) {
  const queue = useRows("queue");
  const rowsBehind = usePlaces();
  const { link } = useCopy((copy) => copy.facts.sync);
  const [dialog, setDialog] = useState<ChangeDialog | null>(null);
  const sendNow = useAction(() => api.workspace.retryNow());
  const close = () => setDialog(null);
  const parked = queue.filter(({ condition }) => condition.state === "parked");
  const waiting = queue.filter(({ condition }) => condition.state !== "parked");
  const current = dialog === null ? undefined : queue.find(({ id }) => id === dialog.change.id);
  const mayHurry = waiting.length > 0 && (link.state === "waiting" || link.state === "blocked");

  const list = (title: string, changes: readonly QueuedChange[], isOrdered: boolean) =>
    changes.length > 0 && (
      <section aria-label={title} className="flex flex-col">
        <h3 className="px-5 pt-4 pb-1.5 font-medium text-faint text-xs">{title}</h3>
        <ol className="flex flex-col">
          {changes.slice(0, mostShown).map((change, index) => (
            <ChangeItem
              key={change.id}
              change={change}
              places={rowsBehind}
              before={isOrdered ? changes[index - 1] : undefined}
              after={isOrdered ? changes[index + 1] : undefined}
              afterNext={isOrdered ? changes[index + 2] : undefined}
              onOpen={(kind) => setDialog({ kind, change })}
            />
          ))}
        </ol>
        {changes.length > mostShown && (
          <p className="tnum px-5 py-2 text-faint text-xs">{text.app.andMore(changes.length - mostShown)}</p>
        )}
      </section>
    );

  return (
    <Drawer
      isOpen
      onClose={onClose}
      title={words.title}
      aside={queue.length > 0 && <span className="tnum">{text.counts.plain(queue.length)}</span>}
      closeLabel={words.close}
      footer={
        queue.length > 0 && (
          <>
            <p className="min-w-0 flex-1 text-muted text-xs">{words.offlineHint}</p>
            {mayHurry && (
              <Button size="sm" icon={RefreshCw} isBusy={sendNow.isBusy} onClick={() => void sendNow.run()}>
                {words.sendNow}
              </Button>
            )}
          </>
        )
      }
    >
      {queue.length === 0 ? (
        <EmptyState icon={CloudUpload} headingLevel={3} title={words.emptyTitle}>
          {link.state === "local" ? words.localBody : words.emptyBody}
        </EmptyState>
      ) : (
        <>
          {sendNow.error !== null && (
            <div className="px-5 pt-4">
              <AppErrorNote error={sendNow.error} />
            </div>
          )}
          {list(words.decide, parked, false)}
          {list(words.waiting, waiting, true)}
        </>
      )}
      {dialog?.kind === "discard" && current !== undefined && (
        <DiscardChange change={current} places={rowsBehind} queue={queue} onClose={close} />
      )}
      {dialog?.kind === "edit" && current !== undefined && <EditChange change={current} places={rowsBehind} onClose={close} />}
      {dialog?.kind === "conflict" && current !== undefined && (
        <ConflictDialog change={current} places={rowsBehind} onClose={close} />
      )}
    </Drawer>
  );
}
