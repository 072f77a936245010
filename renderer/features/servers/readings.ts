import { useEffect, useState } from "react";
import type { ServerLoad } from "../../../shared/dtma-protocol.ts";
import type { AppError } from "../../../shared/errors.ts";
import type { ServerId } from "../../../shared/model/ids.ts";
import { api, listen } from "../../api.ts";
import { useLinkState } from "../../state/index.ts";

export type Sample = { at: number; server: ServerLoad | null };

export type Readings = { samples: readonly Sample[]; error: AppError | null; retry(): void };

/** The span that charts show. */
export const windowMs = 300_000;

const none: readonly Sample[] = [];

/** What a server uses, from the first time somebody wants to see it for as long as the page is open. */
export function useReadings(id: ServerId, isShown: boolean): Readings {
  const [wanted, setWanted] = useState<ServerId | null>(null);
  if (isShown && wanted !== id) setWanted(id);
  const [known, setKnown] = useState<{ id: ServerId; samples: readonly Sample[] }>({ id, samples: none });
  const [error, setError] = useState<AppError | null>(null);
  const [attempt, setAttempt] = useState(0);
  const isLinked = useLinkState().state === "connected";
  // biome-ignore lint/correctness/useExhaustiveDependencies: another attempt listens anew
  useEffect(() => {
    setError(null);
    if (!isLinked || wanted !== id) return;
    return listen((signal) => api.servers.stats({ id }, { signal }), {
      onEvent: (sample) =>
        setKnown((before) => {
          const samples = before.id === id ? before.samples : none;
          const kept = samples.filter((old) => old.at > sample.at - windowMs && old.at < sample.at);
          return { id, samples: [...kept, sample] };
        }),
      onError: setError,
    });
  }, [id, wanted, isLinked, attempt]);
  return { samples: known.id === id ? known.samples : none, error, retry: () => setAttempt((before) => before + 1) };
}
