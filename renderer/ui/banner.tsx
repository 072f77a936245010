import { CircleCheck, Info, TriangleAlert } from "lucide-react";
import type { ReactNode } from "react";
import { join } from "./join.ts";

type BannerProps = { tone?: "info" | "warn" | "ok"; children: ReactNode; action?: ReactNode };

/** A standing fact about the whole screen: old data, a missing part. */
export function Banner({ tone = "info", children, action }: BannerProps) {
  const Icon = { info: Info, warn: TriangleAlert, ok: CircleCheck }[tone];
  return (
    <div
      role="status"
      className={join(
        "flex min-h-9 items-center gap-2.5 rounded-lg px-3.5 py-1.5 text-sm",
        { info: "bg-info-soft text-info", warn: "bg-warn-soft text-warn", ok: "bg-ok-soft text-ok" }[tone],
      )}
    >
      <Icon size={15} aria-hidden className="shrink-0" />
      <div className="min-w-0 flex-1 text-ink">{children}</div>
      {action}
    </div>
  );
}
