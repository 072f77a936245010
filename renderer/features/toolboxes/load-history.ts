import { useEffect, useState } from "react";
import type { HostLoad } from "../../../shared/dtma-protocol.ts";

type Sample = HostLoad & { at: number };

const kept = 300;

/** The readings of a toolbox since the screen was opened, oldest first: the copy holds only the newest one. */
export function useLoadHistory(load: Sample | null): readonly Sample[] {
  const [history, setHistory] = useState<readonly Sample[]>(load === null ? [] : [load]);
  useEffect(() => {
    if (load === null) return;
    setHistory((known) => (known.at(-1)?.at === load.at ? known : [...known.slice(1 - kept), load]));
  }, [load]);
  return history;
}
