import { type ReactNode, useId, useState } from "react";
import { Button } from "./button.tsx";
import { Dialog } from "./dialog.tsx";

type ConfirmDialogProps = {
  isOpen: boolean;
  onClose(): void;
  title: string;
  /** What will happen, in a sentence. */
  body: ReactNode;
  /** What it touches, by name; shown as a list under its own sentence. */
  affected?: { label: string; names: readonly string[]; moreLabel(count: number): string } | undefined;
  confirmLabel: string;
  cancelLabel: string;
  closeLabel: string;
  isDanger?: boolean;
  /** Has to be typed before it can be confirmed. */
  nameToType?: { label: string; name: string } | undefined;
  isBusy?: boolean;
  /** The failure of the last attempt. */
  error?: ReactNode;
  onConfirm(): void;
};

const mostNames = 6;

/** Asks before something is done that cannot be undone, and names what it affects. */
export function ConfirmDialog(props: ConfirmDialogProps) {
  const { isOpen, onClose, title, body, affected, confirmLabel, cancelLabel, closeLabel, nameToType } = props;
  const { isDanger = true, isBusy = false, error, onConfirm } = props;
  const [typed, setTyped] = useState("");
  const inputId = useId();
  const mayConfirm = nameToType === undefined || typed.trim() === nameToType.name;
  const shown = affected?.names.slice(0, mostNames) ?? [];
  const hidden = (affected?.names.length ?? 0) - shown.length;
  const close = () => {
    setTyped("");
    onClose();
  };
  return (
    <Dialog isOpen={isOpen} onClose={close} title={title} closeLabel={closeLabel} size="sm">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (mayConfirm && !isBusy) onConfirm();
        }}
        className="flex flex-col gap-3 pb-3"
      >
        <div className="text-muted text-sm">{body}</div>
        {affected !== undefined && affected.names.length > 0 && (
          <div className="rounded-lg bg-warn-soft px-3 py-2 text-sm text-warn">
            <p className="font-medium">{affected.label}</p>
            <ul className="mt-1 flex flex-wrap gap-x-3 gap-y-0.5">
              {shown.map((name) => (
                <li key={name} className="max-w-full truncate">
                  {name}
                </li>
              ))}
              {hidden > 0 && <li>{affected.moreLabel(hidden)}</li>}
            </ul>
          </div>
        )}
        {nameToType !== undefined && (
          <div className="flex flex-col gap-1.5">
            <label htmlFor={inputId} className="text-sm">
              {nameToType.label}
            </label>
            <input
              id={inputId}
              value={typed}
              onChange={(event) => setTyped(event.target.value)}
              autoComplete="off"
              spellCheck={false}
              placeholder={nameToType.name}
              className="h-8 w-full rounded-md border border-control bg-field px-2.5 text-sm focus-visible:outline-2 focus-visible:outline-focus focus-visible:-outline-offset-1"
            />
          </div>
        )}
        {error}
        <div className="flex justify-end gap-2 pt-1">
          <Button onClick={close}>{cancelLabel}</Button>
          <Button type="submit" variant={isDanger ? "danger" : "primary"} isBusy={isBusy} disabled={!mayConfirm}>
            {confirmLabel}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
