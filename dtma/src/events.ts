import type { DtmaEvent } from "../../shared/dtma-protocol.ts";

/** Hands every event to whoever listens now; nothing is kept. */
export interface EventHub {
  emit(event: DtmaEvent): void;
  /** Returns how to stop listening. */
  listen(listener: (event: DtmaEvent) => void): () => void;
}

export function createEventHub(): EventHub {
  const listeners = new Set<(event: DtmaEvent) => void>();
  return {
    emit(event) {
      for (const listener of listeners) listener(event);
    },
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
