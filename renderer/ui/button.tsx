import type { LucideIcon } from "lucide-react";
import type { ComponentProps } from "react";
import { join } from "./join.ts";
import { Spinner } from "./spinner.tsx";
import { Tooltip } from "./tooltip.tsx";

export type ButtonVariant = "primary" | "secondary" | "ghost" | "danger";
export type ButtonSize = "sm" | "md";

const base =
  "inline-flex shrink-0 select-none items-center justify-center gap-1.5 whitespace-nowrap rounded-md font-medium text-sm transition-colors duration-100 disabled:pointer-events-none disabled:opacity-50 aria-disabled:opacity-60";

const variants: Record<ButtonVariant, string> = {
  primary: "bg-accent text-on-accent shadow-xs hover:bg-accent-hover",
  secondary: "border border-control bg-surface text-ink shadow-xs hover:border-control-hover hover:bg-hover",
  ghost: "text-muted hover:bg-selected hover:text-ink",
  danger: "bg-danger-solid text-white shadow-xs hover:brightness-110",
};

const sizes: Record<ButtonSize, string> = { sm: "h-7 px-2.5", md: "h-8 px-3" };

/** The looks of a button, for links that stand among buttons. */
export function buttonClass(variant: ButtonVariant = "secondary", size: ButtonSize = "md"): string {
  return join(base, variants[variant], sizes[size]);
}

type ButtonProps = Omit<ComponentProps<"button">, "type"> & {
  variant?: ButtonVariant;
  size?: ButtonSize;
  icon?: LucideIcon | undefined;
  type?: "button" | "submit";
  /** Keeps its place and its focus while work runs, and does nothing when pressed. */
  isBusy?: boolean;
};

export function Button({
  variant = "secondary",
  size = "md",
  icon: Icon,
  isBusy = false,
  className,
  children,
  onClick,
  type = "button",
  ...rest
}: ButtonProps) {
  return (
    <button
      {...rest}
      type={type}
      aria-disabled={isBusy || undefined}
      aria-busy={isBusy || undefined}
      onClick={(event) => {
        if (isBusy) event.preventDefault();
        else onClick?.(event);
      }}
      className={join(buttonClass(variant, size), className)}
    >
      {isBusy ? <Spinner /> : Icon !== undefined && <Icon size={15} aria-hidden className="-ml-0.5 shrink-0" />}
      {children}
    </button>
  );
}

type IconButtonProps = Omit<ComponentProps<"button">, "type" | "children"> & {
  icon: LucideIcon;
  /** The accessible name, also shown as a tooltip. */
  label: string;
  /** `xs` fits into a line of text. */
  size?: ButtonSize | "xs";
  /** For toggles. */
  isPressed?: boolean;
};

/** A button without words. Its name is a tooltip for those who see and a label for those who do not. */
export function IconButton({ icon: Icon, label, size = "md", isPressed, className, ...rest }: IconButtonProps) {
  return (
    <Tooltip content={label}>
      <button
        {...rest}
        type="button"
        aria-label={label}
        aria-pressed={isPressed}
        className={join(
          base,
          "text-muted hover:bg-selected hover:text-ink aria-expanded:bg-selected aria-pressed:bg-selected aria-pressed:text-ink",
          { xs: "size-5 rounded-sm", sm: "size-7", md: "size-8" }[size],
          className,
        )}
      >
        <Icon size={size === "xs" ? 13 : 16} aria-hidden />
      </button>
    </Tooltip>
  );
}
