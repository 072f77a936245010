import { useRef, useState } from "react";
import type { AppError } from "../../../shared/errors.ts";
import { type TargetDraft, type TargetErrors, type TargetField, validateTarget } from "./target-draft.ts";

/**
 * A form of a database's address and sign-in: what is typed, and which fields to mark. Fields are marked once somebody
 * tried to send them, and no longer than they are wrong.
 */
export function useTargetForm(initial: TargetDraft, onChange?: () => void) {
  const [draft, setDraft] = useState(initial);
  const [marked, setMarked] = useState<TargetErrors>({});
  const [refused, setRefused] = useState<{ field: TargetField; message: string } | null>(null);
  const form = useRef<HTMLFormElement>(null);
  const current = validateTarget(draft);
  const focusFirst = () =>
    requestAnimationFrame(() => form.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus());
  return {
    draft,
    form,
    change(part: Partial<TargetDraft>) {
      setDraft((known) => ({ ...known, ...part }));
      setRefused(null);
      onChange?.();
    },
    errorAt: (field: TargetField) =>
      refused?.field === field ? refused.message : marked[field] === undefined ? undefined : current[field],
    /** Marks what is wrong and goes there; true when nothing is. */
    check(): boolean {
      setMarked(current);
      if (Object.keys(current).length === 0) return true;
      focusFirst();
      return false;
    },
    /** Marks the field a failure is about; false when it is about none of these. */
    mark(error: AppError): boolean {
      const field = error.field?.split(".").at(-1);
      if (field === undefined || !(field in draft)) return false;
      setRefused({ field: field as TargetField, message: error.message });
      focusFirst();
      return true;
    },
    remaining: Object.keys(marked).filter((field) => current[field as TargetField] !== undefined).length,
  };
}
