import { Dialog as BaseDialog } from "@base-ui/react/dialog";
import { X } from "lucide-react";
import type { ReactNode, RefObject } from "react";
import { join } from "./join.ts";

type DialogProps = {
  isOpen: boolean;
  onClose(): void;
  title: ReactNode;
  description?: ReactNode;
  /** Name of the button with the cross. */
  closeLabel: string;
  children?: ReactNode;
  /** Buttons, the main one last. */
  footer?: ReactNode;
  size?: "sm" | "md" | "lg";
  /** Gets the focus first; by default the first control. */
  initialFocus?: RefObject<HTMLElement | null>;
};

const widths = { sm: "max-w-md", md: "max-w-xl", lg: "max-w-3xl" };

/** A modal dialog. Escape and the cross close it; the focus goes back to where it was. */
export function Dialog({
  isOpen,
  onClose,
  title,
  description,
  closeLabel,
  children,
  footer,
  size = "md",
  initialFocus,
}: DialogProps) {
  return (
    <BaseDialog.Root
      open={isOpen}
      onOpenChange={(open) => {
        if (!open) onClose();
      }}
    >
      <BaseDialog.Portal>
        <DialogBackdrop />
        <BaseDialog.Viewport className="fixed inset-0 z-50 flex items-start justify-center overflow-hidden px-4 pt-[12vh] pb-4">
          <BaseDialog.Popup
            {...(initialFocus === undefined ? {} : { initialFocus })}
            // A form in a dialog must not submit the form that the dialog was opened from.
            onSubmit={(event) => event.stopPropagation()}
            className={join(
              "flex max-h-[80vh] w-full flex-col rounded-xl bg-raised text-ink shadow-xl outline-none transition-[opacity,transform] duration-150 ease-quick data-ending-style:scale-[0.98] data-starting-style:scale-[0.98] data-ending-style:opacity-0 data-starting-style:opacity-0",
              widths[size],
            )}
          >
            <header className="flex items-start gap-3 px-5 pt-4 pb-3">
              <div className="min-w-0 flex-1">
                <BaseDialog.Title className="font-semibold text-lg">{title}</BaseDialog.Title>
                {description !== undefined && (
                  <BaseDialog.Description className="mt-0.5 text-muted text-sm">{description}</BaseDialog.Description>
                )}
              </div>
              <BaseDialog.Close
                aria-label={closeLabel}
                className="-mr-1.5 grid size-7 shrink-0 place-items-center rounded-md text-muted hover:bg-selected hover:text-ink"
              >
                <X size={16} aria-hidden />
              </BaseDialog.Close>
            </header>
            <div className="min-h-0 flex-1 overflow-y-auto px-5 py-1">{children}</div>
            {footer !== undefined && <footer className="flex items-center justify-end gap-2 px-5 pt-3 pb-4">{footer}</footer>}
          </BaseDialog.Popup>
        </BaseDialog.Viewport>
      </BaseDialog.Portal>
    </BaseDialog.Root>
  );
}

/** What dims the window behind a dialog. */
export function DialogBackdrop() {
  return (
    <BaseDialog.Backdrop
      // Also over a dialog that this one was opened from.
      forceRender
      className="fixed inset-0 z-50 bg-scrim transition-opacity duration-150 data-ending-style:opacity-0 data-starting-style:opacity-0"
    />
  );
}
