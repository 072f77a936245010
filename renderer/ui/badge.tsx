import type { ReactNode } from "react";
import { join } from "./join.ts";

const tones = {
  plain: "bg-idle-soft text-muted",
  accent: "bg-accent-soft text-accent-text",
  warn: "bg-warn-soft text-warn",
  danger: "bg-danger-soft text-danger",
};

/** A short fact about a thing that is not its state. */
export function Badge({ tone = "plain", children }: { tone?: keyof typeof tones; children: ReactNode }) {
  return (
    <span
      className={join(
        "inline-flex h-5 items-center gap-1 whitespace-nowrap rounded-sm px-1.5 font-medium text-2xs",
        tones[tone],
      )}
    >
      {children}
    </span>
  );
}
