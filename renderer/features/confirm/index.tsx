import type { ComponentProps } from "react";
import { useAction } from "../../state/index.ts";
import { text } from "../../text.ts";
import { ConfirmDialog } from "../../ui/confirm-dialog.tsx";
import { AppErrorNote } from "../errors/index.tsx";

type Question = Pick<
  ComponentProps<typeof ConfirmDialog>,
  "onClose" | "title" | "body" | "confirmLabel" | "isDanger" | "nameToType"
>;

type ConfirmActionProps = Question & {
  /** For one that stays in the page while it is closed. */
  isOpen?: boolean;
  /** What it touches, by name. */
  affected?: { label: string; names: readonly string[] };
  perform(): Promise<unknown>;
  /** Only when it has succeeded; a failure is shown, and can be tried again. */
  onDone(): void;
};

/** Asks before something is done, and stays until it is. */
export function ConfirmAction({ isOpen = true, affected, perform, onDone, onClose, ...question }: ConfirmActionProps) {
  const { run, isBusy, error, clearError } = useAction(async () => {
    await perform();
    return true;
  });
  return (
    <ConfirmDialog
      {...question}
      isOpen={isOpen}
      onClose={() => {
        clearError();
        onClose();
      }}
      affected={affected && { ...affected, moreLabel: text.app.andMore }}
      cancelLabel={text.app.cancel}
      closeLabel={text.app.close}
      isBusy={isBusy}
      error={error !== null && <AppErrorNote error={error} />}
      onConfirm={async () => {
        if ((await run()) === true) onDone();
      }}
    />
  );
}
