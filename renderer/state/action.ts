import { useCallback, useRef, useState } from "react";
import type { AppError } from "../../shared/errors.ts";
import { call } from "../api.ts";

export type Action<Arguments extends unknown[], Result> = {
  /** Runs it unless it runs already. Resolves to undefined when it failed; the failure is in `error`. */
  run(...args: Arguments): Promise<Result | undefined>;
  isBusy: boolean;
  /** The failure of the last run, until the next one. */
  error: AppError | null;
  clearError(): void;
};

/** A command of the person at the window: whether it runs and how it failed. */
export function useAction<Arguments extends unknown[], Result>(
  perform: (...args: Arguments) => Promise<Result>,
): Action<Arguments, Result> {
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<AppError | null>(null);
  const latest = useRef(perform);
  latest.current = perform;
  const isRunning = useRef(false);
  const run = useCallback(async (...args: Arguments) => {
    if (isRunning.current) return undefined;
    isRunning.current = true;
    setBusy(true);
    setError(null);
    try {
      return await call(latest.current(...args));
    } catch (failure) {
      setError(failure as AppError);
      return undefined;
    } finally {
      isRunning.current = false;
      setBusy(false);
    }
  }, []);
  const clearError = useCallback(() => setError(null), []);
  return { run, isBusy, error, clearError };
}
