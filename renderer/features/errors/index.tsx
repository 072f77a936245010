import type { ReactNode } from "react";
import { type AppError, type ErrorShape, errorCatalogue } from "../../../shared/errors.ts";
import { text } from "../../text.ts";
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
