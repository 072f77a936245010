import { CircleAlert } from "lucide-react";
import type { ReactNode } from "react";

type ErrorNoteProps = {
  /** One sentence about what happened. */
  message: string;
  nextStep: string;
  code: string;
  /** The last lines of whatever failed. */
  output?: string | undefined;
  outputLabel?: string;
  /** Buttons: the way on. */
  children?: ReactNode;
};

/** A failure a person can do something about: sentence, next step, code, output and the way on. */
export function ErrorNote({ message, nextStep, code, output, outputLabel, children }: ErrorNoteProps) {
  return (
    <div role="alert" className="min-w-0 rounded-lg border border-danger/25 bg-danger-soft px-3.5 py-3">
      <div className="flex items-start gap-2.5">
        <CircleAlert size={16} aria-hidden className="mt-0.5 shrink-0 text-danger" />
        <div className="min-w-0 flex-1">
          <p className="break-words font-medium text-ink text-sm">{message}</p>
          <p className="break-words text-muted text-sm">{nextStep}</p>
        </div>
        <code className="mt-0.5 shrink-0 font-mono text-2xs text-danger">{code}</code>
      </div>
      {output !== undefined && output !== "" && (
        <details className="mt-2 ml-6.5">
          <summary className="w-fit rounded-sm text-muted text-xs hover:text-ink">{outputLabel}</summary>
          <pre
            // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region has to be reachable by keyboard
            tabIndex={0}
            className="mt-1.5 max-h-56 overflow-auto whitespace-pre-wrap break-words rounded-md border border-line bg-surface p-2.5 font-mono text-2xs text-muted"
          >
            {output}
          </pre>
        </details>
      )}
      {children !== undefined && <div className="mt-3 ml-6.5 flex flex-wrap gap-2 empty:hidden">{children}</div>}
    </div>
  );
}
