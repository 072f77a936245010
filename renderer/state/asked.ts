import { useCallback, useEffect, useRef, useState } from "react";
import type { AppError } from "../../shared/errors.ts";
import { call } from "../api.ts";

export type Asked<Answer> = {
  /** The last answer; kept while it is asked again, and when that fails. null before the first. */
  answer: Answer | null;
  /** When the answer came. */
  readAt: number | null;
  isBusy: boolean;
  error: AppError | null;
  refresh(): void;
};

/**
 * What is no row and is asked of a toolbox when somebody looks at it: at once, whenever `key` is another, and when the
 * person asks again. A null key asks nothing.
 */
export function useAsked<Answer>(ask: () => Promise<Answer>, key: string | null): Asked<Answer> {
  const [state, setState] = useState<Omit<Asked<Answer>, "refresh">>({
    answer: null,
    readAt: null,
    isBusy: key !== null,
    error: null,
  });
  const latest = useRef(ask);
  latest.current = ask;
  const generation = useRef(0);
  const refresh = useCallback(() => {
    generation.current += 1;
    const mine = generation.current;
    const settle = (part: Partial<Omit<Asked<Answer>, "refresh">>) => {
      if (mine === generation.current) setState((known) => ({ ...known, isBusy: false, ...part }));
    };
    setState((known) => ({ ...known, isBusy: true, error: null }));
    call(latest.current()).then(
      (answer) => settle({ answer, readAt: Date.now() }),
      (error: AppError) => settle({ error }),
    );
  }, []);
  useEffect(() => {
    if (key !== null) refresh();
    return () => {
      generation.current += 1;
    };
  }, [key, refresh]);
  return { ...state, refresh };
}
