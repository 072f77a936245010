import type { ReactNode } from "react";
import type { TestReport } from "../../../shared/contract/workspace.ts";
import type { DatabaseTarget } from "../../../shared/model/sync.ts";
import { text } from "../../text.ts";
import { type Step, StepList } from "../../ui/step-list.tsx";
import { AppErrorNote } from "../errors/index.tsx";

const words = text.sharing;

type TestReportViewProps = {
  report: TestReport;
  target: DatabaseTarget;
  /** The way on after the failure. */
  children?: ReactNode;
};

/** What a test of the connection found, step by step, with the reason where it ended. */
export function TestReportView({ report, target, children }: TestReportViewProps) {
  const failure = report.steps.find(({ state }) => state === "failed")?.error ?? null;
  const isPlain = target.transport === "postgres" ? target.tls === "off" : target.url.startsWith("http:");
  const steps = report.steps.map(
    ({ id, state }): Step => ({
      id,
      label: words.steps[id],
      state: state === "ok" ? "done" : state,
      stateLabel: words.stepStates[state],
      detail:
        state === "ok"
          ? id === "encryption" && isPlain
            ? words.stepDetailOff
            : words.stepDetails[id]
          : words.stepStates[state],
    }),
  );
  return (
    <div role="status" className="flex flex-col gap-4">
      <StepList label={words.testSteps} steps={steps} />
      {failure !== null && <AppErrorNote error={failure}>{children}</AppErrorNote>}
    </div>
  );
}
