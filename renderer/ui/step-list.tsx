import { Check, Minus, X } from "lucide-react";
import type { ReactNode } from "react";
import { join } from "./join.ts";
import { Progress } from "./progress.tsx";
import { Spinner } from "./spinner.tsx";

export type Step = {
  id: string;
  label: string;
  state: "pending" | "running" | "done" | "failed" | "skipped";
  /** The state as a word, for those who do not see the sign. */
  stateLabel: string;
  /** A short fact, or how far it is. */
  detail?: ReactNode;
  /** 0 to 1, null while the end is unknown; only for a running step that moves bytes. */
  progress?: number | null | undefined;
};

/** The steps of long work in their order, with where it stands. */
export function StepList({ steps, label }: { steps: readonly Step[]; label: string }) {
  return (
    <ol aria-label={label} className="flex flex-col">
      {steps.map((step, index) => (
        <li
          key={step.id}
          aria-current={step.state === "running" ? "step" : undefined}
          className="relative flex gap-3 pb-3 last:pb-0"
        >
          {index < steps.length - 1 && <span aria-hidden="true" className="absolute top-5 bottom-0 left-[9px] w-px bg-line" />}
          <Sign state={step.state} />
          <div className="min-w-0 flex-1">
            <div className="flex items-baseline gap-2">
              <span
                className={join(
                  "text-sm",
                  step.state === "pending" || step.state === "skipped" ? "text-faint" : "text-ink",
                  step.state === "running" && "font-medium",
                )}
              >
                {step.label}
                <span className="sr-only">, {step.stateLabel}</span>
              </span>
              {step.detail !== undefined && <span className="tnum min-w-0 truncate text-faint text-xs">{step.detail}</span>}
            </div>
            {step.progress !== undefined && <Progress label={step.label} value={step.progress} className="mt-1.5 max-w-md" />}
          </div>
        </li>
      ))}
    </ol>
  );
}

function Sign({ state }: { state: Step["state"] }) {
  const shape = "z-1 grid size-5 shrink-0 place-items-center rounded-full";
  if (state === "running") return <Spinner size={20} className="text-accent" />;
  if (state === "done")
    return (
      <span className={join(shape, "bg-ok-soft text-ok")}>
        <Check size={12} strokeWidth={2.5} aria-hidden />
      </span>
    );
  if (state === "failed")
    return (
      <span className={join(shape, "bg-danger-soft text-danger")}>
        <X size={12} strokeWidth={2.5} aria-hidden />
      </span>
    );
  if (state === "skipped")
    return (
      <span className={join(shape, "bg-idle-soft text-idle")}>
        <Minus size={12} aria-hidden />
      </span>
    );
  return <span className={join(shape, "border border-control bg-surface")} />;
}
