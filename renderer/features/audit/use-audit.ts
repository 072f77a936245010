import { useCallback, useEffect, useRef, useState } from "react";
import type { AppError } from "../../../shared/errors.ts";
import { api, call } from "../../api.ts";
import type { AuditEntry } from "./describe.ts";

const pageSize = 100;

export type Audit = {
  /** Newest first; null until the first page came. */
  entries: readonly AuditEntry[] | null;
  hasMore: boolean;
  /** When the newest page was read. */
  readAt: number | null;
  isBusy: boolean;
  error: AppError | null;
  refresh(): void;
  showOlder(): void;
};

type State = Pick<Audit, "entries" | "hasMore" | "readAt" | "isBusy" | "error">;

const nothing: State = { entries: null, hasMore: false, readAt: null, isBusy: false, error: null };

/** The audit log, page by page: read when it is looked at, when the database answers again, and when somebody asks. */
export function useAudit(isOnline: boolean): Audit {
  const [state, setState] = useState<State>(nothing);
  const generation = useRef(0);
  const load = useCallback(async (before: number | null) => {
    generation.current += 1;
    const mine = generation.current;
    setState((known) => ({ ...known, isBusy: true, error: null }));
    try {
      const page = await call(api.workspace.audit({ before, limit: pageSize }));
      if (mine !== generation.current) return;
      setState((known) => ({
        entries: before === null ? page.entries : [...(known.entries ?? []), ...page.entries],
        hasMore: page.more,
        readAt: before === null ? Date.now() : known.readAt,
        isBusy: false,
        error: null,
      }));
    } catch (error) {
      if (mine === generation.current) setState((known) => ({ ...known, isBusy: false, error: error as AppError }));
    }
  }, []);
  useEffect(() => {
    if (isOnline) void load(null);
  }, [isOnline, load]);
  return {
    ...state,
    refresh: () => void load(null),
    showOlder: () => void load(state.entries?.at(-1)?.id ?? null),
  };
}
