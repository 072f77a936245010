import { Tooltip as BaseTooltip } from "@base-ui/react/tooltip";
import type { ReactElement, ReactNode } from "react";

/** Lets neighbouring tooltips follow each other without a delay; once around the app. */
export function TooltipProvider({ children }: { children: ReactNode }) {
  return (
    <BaseTooltip.Provider delay={450} closeDelay={60}>
      {children}
    </BaseTooltip.Provider>
  );
}

type TooltipProps = {
  content: ReactNode;
  /** One element that can take props and a ref. */
  children: ReactElement;
  side?: "top" | "bottom" | "left" | "right";
};

/** More words for what the pointer or the focus is on. Never the only place of a needed fact. */
export function Tooltip({ content, children, side = "bottom" }: TooltipProps) {
  return (
    <BaseTooltip.Root>
      <BaseTooltip.Trigger render={children} />
      <BaseTooltip.Portal>
        <BaseTooltip.Positioner sideOffset={6} side={side} className="z-60">
          <BaseTooltip.Popup className="popup max-w-80 rounded-md px-2 py-1 text-muted text-xs">{content}</BaseTooltip.Popup>
        </BaseTooltip.Positioner>
      </BaseTooltip.Portal>
    </BaseTooltip.Root>
  );
}
