import { Dialog as BaseDialog } from "@base-ui/react/dialog";
import { X } from "lucide-react";
import type { ReactNode } from "react";
import { DialogBackdrop } from "./dialog.tsx";

type DrawerProps = {
  isOpen: boolean;
  onClose(): void;
  title: string;
  /** Stands beside the title: a count, a state. */
  aside?: ReactNode;
  /** Name of the button with the cross. */
  closeLabel: string;
  children: ReactNode;
  /** Buttons at the lower end. */
  footer?: ReactNode;
};

/** A panel that comes in from the right over the screen, for what is looked at from anywhere. Escape closes it. */
export function Drawer({ isOpen, onClose, title, aside, closeLabel, children, footer }: DrawerProps) {
  return (
    <BaseDialog.Root
      open={isOpen}
      onOpenChange={(open) => {
        if (!open) onClose();
      }}
    >
      <BaseDialog.Portal>
        <DialogBackdrop />
        <BaseDialog.Viewport className="fixed inset-0 z-50 flex justify-end overflow-hidden">
          <BaseDialog.Popup className="flex h-full w-full max-w-[33rem] flex-col bg-raised text-ink shadow-xl outline-none transition-[opacity,transform] duration-150 ease-quick data-ending-style:translate-x-6 data-starting-style:translate-x-6 data-ending-style:opacity-0 data-starting-style:opacity-0">
            <header className="flex h-13 shrink-0 items-center gap-3 border-line border-b px-5">
              <BaseDialog.Title className="font-semibold text-base">{title}</BaseDialog.Title>
              {aside !== undefined && <span className="min-w-0 truncate text-faint text-xs">{aside}</span>}
              <BaseDialog.Close
                aria-label={closeLabel}
                className="-mr-1.5 ml-auto grid size-7 shrink-0 place-items-center rounded-md text-muted hover:bg-selected hover:text-ink"
              >
                <X size={16} aria-hidden />
              </BaseDialog.Close>
            </header>
            <div className="flex min-h-0 flex-1 flex-col overflow-y-auto">{children}</div>
            {footer !== undefined && (
              <footer className="flex shrink-0 items-center gap-2 border-line border-t px-5 py-3">{footer}</footer>
            )}
          </BaseDialog.Popup>
        </BaseDialog.Viewport>
      </BaseDialog.Portal>
    </BaseDialog.Root>
  );
}
