import type { ServerResponse } from "node:http";
import { type DtmaEvent, heartbeatIntervalMs } from "../../../shared/dtma-protocol.ts";
import type { EventHub, Sent } from "../events.ts";

/*
INVARIANTS
- The snapshot is the first event, and every change after it follows: listening begins before the snapshot is taken, in
  the same turn of the event loop. A reader that names the last event it had gets those after it in place of the snapshot,
  when all of them are still kept.
- A reader that is slower than the events loses stats and progress, never states; one that takes nothing is cut off.
- Whoever resumes from the last id he had misses no state: what has no id is not needed for that, and what was held back
  is sent without one.
*/

const maxWaitingBytes = 8 * 2 ** 20;

export type EventSource = {
  hub: Pick<EventHub, "listen" | "lastId" | "after">;
  snapshot(): DtmaEvent;
  heartbeat(): DtmaEvent;
  listenToStats: ((listener: (event: DtmaEvent) => void) => () => void) | undefined;
  /** As the reader sent it. */
  lastEventId: string | undefined;
};

/** Writes events to an answer until it is closed by either side; returns how to close it from here. */
export function openEventStream(response: ServerResponse, source: EventSource): () => void {
  const { hub } = source;
  /** The newest progress of each operation that a slow reader has not had. */
  const held = new Map<string, Sent>();

  function write(type: string, data: string, id?: string): void {
    if (response.writableLength > maxWaitingBytes) response.destroy();
    else response.write(`${id === undefined ? "" : `id: ${id}\n`}event: ${type}\ndata: ${data}\n\n`);
  }

  function take(event: DtmaEvent, sent: Sent): void {
    if (event.type === "operation") {
      held.delete(event.operation.id);
      if (response.writableNeedDrain && event.operation.state === "running") {
        held.set(event.operation.id, sent);
        return;
      }
    }
    write(sent.type, sent.data, sent.id);
  }

  const beat = () => write("heartbeat", JSON.stringify(source.heartbeat()));

  response.writeHead(200, {
    "content-type": "text/event-stream",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
  });
  const stops = [hub.listen(take)];
  const missed = source.lastEventId === undefined ? undefined : hub.after(source.lastEventId);
  if (missed === undefined) write("snapshot", JSON.stringify(source.snapshot()), hub.lastId());
  else {
    for (const { id, type, data } of missed) write(type, data, id);
    // Whether Docker answers is no event of its own.
    beat();
  }
  if (source.listenToStats !== undefined) {
    stops.push(
      source.listenToStats((event) => {
        if (!response.writableNeedDrain) write(event.type, JSON.stringify(event));
      }),
    );
  }
  const timer = setInterval(beat, heartbeatIntervalMs);
  response.on("drain", () => {
    for (const [operation, { type, data }] of held) {
      held.delete(operation);
      write(type, data);
    }
  });
  response.on("close", () => {
    clearInterval(timer);
    for (const stop of stops) stop();
  });
  response.on("error", () => response.destroy());
  return () => response.end();
}
