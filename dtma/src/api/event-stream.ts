import type { ServerResponse } from "node:http";
import { type DtmaEvent, heartbeatIntervalMs } from "../../../shared/dtma-protocol.ts";

/*
INVARIANTS
- The snapshot is the first event, and every change after it follows: listening begins before the snapshot is taken, in
  the same turn of the event loop.
- A reader that is slower than the events loses stats and progress, never states; one that takes nothing is cut off.
*/

const maxWaitingBytes = 8 * 2 ** 20;

export type EventSource = {
  snapshot(): DtmaEvent;
  heartbeat(): DtmaEvent;
  listen(listener: (event: DtmaEvent) => void): () => void;
  listenToStats: ((listener: (event: DtmaEvent) => void) => () => void) | undefined;
};

/** Writes events to an answer until it is closed by either side; returns how to close it from here. */
export function openEventStream(response: ServerResponse, source: EventSource): () => void {
  response.writeHead(200, {
    "content-type": "text/event-stream",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
  });

  const write = (event: DtmaEvent) => {
    if (response.writableLength > maxWaitingBytes) return response.destroy();
    return response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
  };
  const stops = [source.listen(write)];
  write(source.snapshot());
  if (source.listenToStats !== undefined) {
    stops.push(
      source.listenToStats((event) => {
        if (!response.writableNeedDrain) write(event);
      }),
    );
  }
  const timer = setInterval(() => write(source.heartbeat()), heartbeatIntervalMs);
  response.on("close", () => {
    clearInterval(timer);
    for (const stop of stops) stop();
  });
  response.on("error", () => response.destroy());
  return () => response.end();
}
