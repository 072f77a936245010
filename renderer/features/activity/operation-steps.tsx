import { CircleStop } from "lucide-react";
import type { Activity } from "../../../shared/contract/state.ts";
import type { AppError } from "../../../shared/errors.ts";
import type { OperationStep } from "../../../shared/model/operation.ts";
import { api, call } from "../../api.ts";
import { formatBytes } from "../../format.ts";
import { useAction } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { type Step, StepList } from "../../ui/step-list.tsx";
import { announce } from "../../ui/toast.tsx";
import { useActivityDuration } from "./activity-state.tsx";

/** The steps of an operation with bytes and details. */
export function OperationSteps({ activity }: { activity: Activity }) {
  return (
    <StepList
      label={text.operations.stepsLabel(text.operations.kinds[activity.kind], activity.server)}
      steps={activity.steps.map(toStep)}
    />
  );
}

function toStep(step: OperationStep): Step {
  const { doneBytes, totalBytes } = step;
  const moved =
    doneBytes === undefined
      ? undefined
      : totalBytes === undefined
        ? formatBytes(doneBytes)
        : text.operations.bytes(formatBytes(doneBytes), formatBytes(totalBytes));
  const progress =
    step.state !== "running" || doneBytes === undefined
      ? undefined
      : totalBytes === undefined || totalBytes === 0
        ? null
        : doneBytes / totalBytes;
  const detail = [moved, step.detail].filter(Boolean).join(" · ");
  return {
    id: step.id,
    label: text.operations.steps[step.id],
    state: step.state,
    stateLabel: text.operations.stepStates[step.state],
    detail: detail === "" ? undefined : detail,
    progress,
  };
}

/** A running operation with its steps and the button that cancels it. */
export function OperationPanel({ activity }: { activity: Activity }) {
  const duration = useActivityDuration(activity);
  return (
    <section
      aria-label={text.operations.running(text.operations.kinds[activity.kind], activity.server)}
      className="rounded-xl border border-line bg-surface p-4"
    >
      <div className="mb-3 flex items-center gap-3">
        <h2 className="font-semibold text-sm">
          {text.operations.running(text.operations.kinds[activity.kind], activity.server)}
        </h2>
        <span className="tnum text-faint text-xs">{duration}</span>
        <span className="ml-auto">
          <CancelOperation activity={activity} />
        </span>
      </div>
      <OperationSteps activity={activity} />
      <p className="mt-3 text-faint text-xs">{text.operations.leaveHint}</p>
    </section>
  );
}

/** Cancels a running operation; nothing for one that has ended. */
export function CancelOperation({ activity }: { activity: Activity }) {
  const cancel = useAction(async () => {
    await call(api.operations.cancel({ id: activity.id })).catch((error: AppError) => {
      announce({ title: error.message, description: error.toShape().nextStep, tone: "danger" });
    });
  });
  if (activity.state !== "running") return null;
  return (
    <Button size="sm" icon={CircleStop} isBusy={cancel.isBusy} onClick={() => void cancel.run()}>
      {text.operations.cancel}
    </Button>
  );
}
