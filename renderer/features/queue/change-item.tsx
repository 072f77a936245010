import { ArrowDown, ArrowUp, Ellipsis, GitCompare, Pencil, RefreshCw, Trash2 } from "lucide-react";
import type { AppError } from "../../../shared/errors.ts";
import type { QueuedChange } from "../../../shared/model/sync.ts";
import { api, call } from "../../api.ts";
import { formatAge, formatAgo } from "../../format.ts";
import { useAction, useCopy, useNowSelect } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button, IconButton } from "../../ui/button.tsx";
import { Menu, type MenuEntry } from "../../ui/menu.tsx";
import { StatusDot, type StatusTone } from "../../ui/status.tsx";
import { announce } from "../../ui/toast.tsx";
import { type ChangeState, describeChange, fieldsInWords, mayChangePlaces, type Places, stateOf } from "./describe.ts";
import { editDraftFor } from "./edit.ts";
import type { ChangeDialog } from "./queue-drawer.tsx";

const words = text.queue;

const tones: Record<ChangeState, StatusTone> = { queued: "idle", sending: "busy", refused: "danger", conflict: "warn" };

type ChangeItemProps = {
  change: QueuedChange;
  places: Places;
  /** Its neighbours where the order is the one in which they are sent. */
  before: QueuedChange | undefined;
  after: QueuedChange | undefined;
  afterNext: QueuedChange | undefined;
  onOpen(kind: ChangeDialog["kind"]): void;
};

/** One change: what it does, since when it waits, why it does not go, and the ways on. */
export function ChangeItem({ change, places, before, after, afterNext, onOpen }: ChangeItemProps) {
  const templates = useCopy((copy) => copy.tables.templates);
  const what = describeChange(change, places);
  const state = stateOf(change);
  const fields = fieldsInWords(change, places);
  const age = useNowSelect((now) => formatAgo(now - change.createdAt));
  const nextAttempt = useNowSelect((now) => nextAttemptOf(change, now));
  const retry = useAction(() => told(api.workspace.retryChange({ id: change.id })));
  const move = useAction((id: string | null) => told(api.workspace.moveChange({ id: change.id, before: id })));
  const isEditable = editDraftFor(change, { ...places, templates }) !== undefined;
  const isSending = state === "sending";
  const facts = [
    words.since(age),
    change.attempts > 0 && words.attempts(change.attempts),
    nextAttempt !== null && words.nextAttempt(nextAttempt),
  ].filter(Boolean);

  const mayMove = (other: QueuedChange) => mayChangePlaces(change, other, places);
  const moveEntry = (other: QueuedChange | undefined, label: string, icon: typeof ArrowUp, to: string | null): MenuEntry[] =>
    other === undefined
      ? []
      : [
          {
            label,
            icon,
            isDisabled: !mayMove(other),
            detail: mayMove(other) ? undefined : isSending ? words.underWay : words.mustStay,
            onSelect: () => void move.run(to),
          },
        ];
  const entries: MenuEntry[] = [
    ...moveEntry(before, words.moveUp, ArrowUp, before?.id ?? null),
    ...moveEntry(after, words.moveDown, ArrowDown, afterNext?.id ?? null),
    ...(isEditable
      ? [{ label: words.edit, icon: Pencil, isDisabled: isSending, onSelect: () => onOpen("edit") } satisfies MenuEntry]
      : []),
    ...(change.attempts > 0 && !isSending
      ? [{ label: words.retry, icon: RefreshCw, onSelect: () => void retry.run() } satisfies MenuEntry]
      : []),
    {
      label: words.discard,
      icon: Trash2,
      isDanger: true,
      isDisabled: isSending,
      detail: isSending ? words.underWay : undefined,
      onSelect: () => onOpen("discard"),
    },
  ];

  return (
    <li aria-label={what} className="flex flex-col gap-1.5 border-line border-b px-5 py-2.5 last:border-b-0">
      <div className="flex items-start gap-3">
        <div className="min-w-0 flex-1">
          <p className="break-words font-medium text-sm">{what}</p>
          <p className="tnum flex flex-wrap items-center gap-x-2.5 text-muted text-xs">
            <StatusDot tone={tones[state]} className="text-xs">
              {words.states[state]}
            </StatusDot>
            <span>{facts.join(", ")}</span>
          </p>
          {fields !== "" && <p className="break-words text-faint text-xs">{fields}</p>}
        </div>
        {change.condition.state !== "parked" && (
          <Menu trigger={<IconButton size="sm" icon={Ellipsis} label={words.actionsOf(what)} />} entries={entries} />
        )}
      </div>
      {change.condition.state === "parked" && (
        <div className="flex flex-col gap-2">
          <p className="break-words text-sm">
            {change.condition.conflict?.isDeleted === true ? text.conflict.deletedShort : change.condition.reason.message}
            <span className="text-muted"> {change.condition.conflict === null && change.condition.reason.nextStep}</span>
          </p>
          <div className="flex flex-wrap gap-2">
            {change.condition.conflict === null ? (
              <>
                <Button
                  size="sm"
                  icon={RefreshCw}
                  aria-label={words.retryOf(what)}
                  isBusy={retry.isBusy}
                  onClick={() => void retry.run()}
                >
                  {words.retry}
                </Button>
                {isEditable && (
                  <Button size="sm" icon={Pencil} aria-label={words.editOf(what)} onClick={() => onOpen("edit")}>
                    {words.edit}
                  </Button>
                )}
              </>
            ) : (
              <Button
                size="sm"
                variant="primary"
                icon={GitCompare}
                aria-label={words.compareOf(what)}
                onClick={() => onOpen("conflict")}
              >
                {words.compare}
              </Button>
            )}
            <Button
              size="sm"
              variant="ghost"
              icon={Trash2}
              aria-label={words.discardOf(what)}
              onClick={() => onOpen("discard")}
            >
              {words.discard}
            </Button>
          </div>
        </div>
      )}
    </li>
  );
}

function nextAttemptOf({ condition }: QueuedChange, now: number): string | null {
  if (condition.state !== "queued" || condition.nextAttemptAt === null || condition.nextAttemptAt <= now) return null;
  return formatAge(condition.nextAttemptAt - now);
}

/** A command whose failure is said in a corner: the item may be gone by then. */
async function told(work: Promise<void>): Promise<void> {
  await call(work).catch((error: AppError) => {
    announce({ title: error.message, description: error.toShape().nextStep, tone: "danger" });
  });
}
