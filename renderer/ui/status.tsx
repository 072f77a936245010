import type { ReactNode } from "react";
import { join } from "./join.ts";
import { Spinner } from "./spinner.tsx";

/** `busy` is on its way to something; `idle` is off on purpose; `unknown` was never seen or not seen for long. */
export type StatusTone = "ok" | "warn" | "danger" | "busy" | "idle" | "unknown";

const inks: Record<StatusTone, string> = {
  ok: "text-ok",
  warn: "text-warn",
  danger: "text-danger",
  busy: "text-info",
  idle: "text-idle",
  unknown: "text-idle",
};

const grounds: Record<StatusTone, string> = {
  ok: "bg-ok-soft",
  warn: "bg-warn-soft",
  danger: "bg-danger-soft",
  busy: "bg-info-soft",
  idle: "bg-idle-soft",
  unknown: "bg-idle-soft",
};

/** A shape for each tone, so that the state can be told without its colour. */
export function StatusShape({ tone, className }: { tone: StatusTone; className?: string | undefined }) {
  if (tone === "busy") return <Spinner size={11} className={join(inks.busy, className)} />;
  return (
    <svg aria-hidden="true" width="10" height="10" viewBox="0 0 10 10" className={join("shrink-0", inks[tone], className)}>
      {tone === "ok" && <circle cx="5" cy="5" r="3.5" fill="currentColor" />}
      {tone === "warn" && (
        <path d="M5 1.2 9.2 8.6H.8z" fill="currentColor" stroke="currentColor" strokeWidth="0.8" strokeLinejoin="round" />
      )}
      {tone === "danger" && <path d="M5 .6 9.4 5 5 9.4.6 5z" fill="currentColor" />}
      {tone === "idle" && <circle cx="5" cy="5" r="3.25" fill="none" stroke="currentColor" strokeWidth="1.5" />}
      {tone === "unknown" && (
        <circle cx="5" cy="5" r="3.25" fill="none" stroke="currentColor" strokeWidth="1.5" strokeDasharray="1.7 1.7" />
      )}
    </svg>
  );
}

type StatusProps = {
  tone: StatusTone;
  children: ReactNode;
  /** A quieter addition such as an age. */
  detail?: ReactNode;
  className?: string;
};

/** Shape and word in a line of text. */
export function StatusDot({ tone, children, detail, className }: StatusProps) {
  return (
    <span
      className={join("inline-flex items-center gap-1.5 text-sm", detail === undefined ? "shrink-0" : "min-w-0", className)}
    >
      <StatusShape tone={tone} />
      <span className="shrink-0 whitespace-nowrap">{children}</span>
      {detail !== undefined && <span className="truncate text-faint text-xs">{detail}</span>}
    </span>
  );
}

/** Shape and word on a tinted ground, where the state is the headline. */
export function StatusPill({ tone, children, detail, className }: StatusProps) {
  return (
    <span
      className={join(
        "inline-flex h-6 items-center gap-1.5 whitespace-nowrap rounded-full px-2.5 font-medium text-xs",
        grounds[tone],
        inks[tone],
        className,
      )}
    >
      <StatusShape tone={tone} />
      {children}
      {detail !== undefined && <span className="font-normal">{detail}</span>}
    </span>
  );
}
