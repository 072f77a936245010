import type { ReactNode } from "react";
import { type AppError, type ErrorShape, errorCatalogue } from "../../../shared/errors.ts";
import { text } from "../../text.ts";
import { Banner } from "../../ui/banner.tsx";
import { Button } from "../../ui/button.tsx";
import { ErrorNote } from "../../ui/error-note.tsx";

type AppErrorNoteProps = {
  error: AppError | ErrorShape;
  /** Buttons: the way on. */
  children?: ReactNode;
};

/** A failure as the catalogue of errors words it. */
export function AppErrorNote({ error, children }: AppErrorNoteProps) {
  return (
    <ErrorNote
      message={error.message}
      nextStep={errorCatalogue[error.code].nextStep}
      code={error.code}
      output={error.output}
      outputLabel={text.app.showOutput}
    >
      {children}
    </ErrorNote>
  );
}

type AskedNotesProps = {
  /** Why it cannot be asked for now, when it cannot. */
  away?: string | null;
  error: AppErrorNoteProps["error"] | null;
  onRetry: () => void;
};

/** What stands above a list that was asked for: why it is not fresh, or what went wrong and the way to try again. */
export function AskedNotes({ away = null, error, onRetry }: AskedNotesProps) {
  return (
    <>
      {away !== null && (
        <div className="px-5 pb-2">
          <Banner tone="warn">{away}</Banner>
        </div>
      )}
      {error !== null && (
        <div className="px-5 pb-2">
          <AppErrorNote error={error}>
            <Button size="sm" onClick={onRetry}>
              {text.app.retry}
            </Button>
          </AppErrorNote>
        </div>
      )}
    </>
  );
}
