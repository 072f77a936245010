// biome-ignore-all lint/a11y/useSemanticElements: the meter element cannot be drawn with our tokens
import { join } from "./join.ts";

type ProgressProps = {
  label: string;
  /** 0 to 1; null while the end is not known. */
  value: number | null;
  className?: string;
};

/** A thin bar; moves to and fro while the end is not known. */
export function Progress({ label, value, className }: ProgressProps) {
  const percent = value === null ? null : Math.round(Math.min(1, Math.max(0, value)) * 100);
  return (
    <div
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      {...(percent === null ? {} : { "aria-valuenow": percent })}
      className={join("h-1 w-full overflow-hidden rounded-full bg-selected", className)}
    >
      <div
        className={join(
          "h-full rounded-full bg-accent transition-[width] duration-200",
          percent === null && "w-1/3 animate-breathe",
        )}
        style={percent === null ? undefined : { width: `${percent}%` }}
      />
    </div>
  );
}

type MeterProps = { label: string; value: number; text: string; className?: string };

/** How full something is, 0 to 1, with the words beside it. */
export function Meter({ label, value, text, className }: MeterProps) {
  const percent = Math.round(Math.min(1, Math.max(0, value)) * 100);
  return (
    <span className={join("inline-flex items-center gap-2", className)}>
      <span
        role="meter"
        aria-label={label}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={percent}
        aria-valuetext={text}
        className="h-1 w-10 shrink-0 overflow-hidden rounded-full bg-selected"
      >
        <span
          className={join("block h-full rounded-full", percent >= 90 ? "bg-warn" : "bg-control-hover")}
          style={{ width: `${percent}%` }}
        />
      </span>
      <span className="tnum whitespace-nowrap text-xs">{text}</span>
    </span>
  );
}
