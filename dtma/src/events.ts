import { randomBytes } from "node:crypto";
import type { DtmaEvent } from "../../shared/dtma-protocol.ts";

/*
INVARIANTS
- Every change of state has an id, `BOOT-NUMBER`: numbers count up by one, and no two starts of the DTMA share a boot.
  Stats and heartbeats are no such change: they have none and are not kept.
- What follows an id is given whole or not at all: when one of them is not kept any more, nothing is.
- What is kept is bounded by count and by size.
*/

const keptEvents = 1_000;
const keptChars = 2 ** 20;

/** An event as it goes over the wire, made once for all who listen. */
export type Sent = { id: string | undefined; type: DtmaEvent["type"]; data: string };

/** Hands every change of state to whoever listens, and keeps the newest for those who come back. */
export interface EventHub {
  emit(event: DtmaEvent): void;
  /** Returns how to stop listening. */
  listen(listener: (event: DtmaEvent, sent: Sent) => void): () => void;
  /** Of the newest event, or of the beginning. */
  lastId(): string;
  /** What came after the event with this id, oldest first; undefined when that is not known any more, or never was. */
  after(id: string): Sent[] | undefined;
}

export function createEventHub(boot: string = randomBytes(6).toString("hex"), limits = { keptEvents, keptChars }): EventHub {
  const listeners = new Set<(event: DtmaEvent, sent: Sent) => void>();
  const kept: Sent[] = [];
  let chars = 0;
  let last = 0;

  return {
    emit(event) {
      const isState = event.type !== "stats" && event.type !== "heartbeat";
      if (isState) last += 1;
      const sent: Sent = { id: isState ? `${boot}-${last}` : undefined, type: event.type, data: JSON.stringify(event) };
      if (isState) {
        kept.push(sent);
        chars += sent.data.length;
        while (kept.length > limits.keptEvents || chars > limits.keptChars) chars -= kept.shift()?.data.length ?? 0;
      }
      for (const listener of listeners) listener(event, sent);
    },
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    lastId: () => `${boot}-${last}`,
    after(id) {
      const [, itsBoot, digits] = /^([0-9a-f]+)-(\d{1,15})$/.exec(id) ?? [];
      const missing = last - Number(digits);
      if (itsBoot !== boot || !(missing >= 0 && missing <= kept.length)) return undefined;
      return missing === 0 ? [] : kept.slice(-missing);
    },
  };
}
