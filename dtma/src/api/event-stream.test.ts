import type { ServerResponse } from "node:http";
import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import type { DtmaEvent } from "../../../shared/dtma-protocol.ts";
import { createEventHub, type EventHub } from "../events.ts";
import { openEventStream } from "./event-stream.ts";

const removed = (name: string): DtmaEvent => ({ type: "server-removed", serverId: "id" as never, name });
const progress = (doneBytes: number, state = "running"): DtmaEvent =>
  ({ type: "operation", operation: { id: "op", state, steps: [{ id: "fetch", state: "running", doneBytes }] } }) as never;

/** An answer that takes `highWaterMark` bytes before it says that it is full. */
function open(hub: EventHub, lastEventId?: string, highWaterMark = 1_000_000) {
  const answer = new PassThrough({ highWaterMark, readableHighWaterMark: 1 });
  Object.assign(answer, { writeHead() {} });
  const source = {
    hub,
    snapshot: () => ({ type: "snapshot" }) as never,
    heartbeat: () => ({ type: "heartbeat" }) as never,
    listenToStats: undefined,
    lastEventId,
  };
  const close = openEventStream(answer as unknown as ServerResponse, source);
  return {
    async text() {
      close();
      let text = "";
      for await (const chunk of answer) text += chunk;
      return text;
    },
  };
}

const message = (type: string, event: unknown, id?: string) =>
  `${id === undefined ? "" : `id: ${id}\n`}event: ${type}\ndata: ${JSON.stringify(event)}\n\n`;

describe("a stream of events", () => {
  it("starts with a snapshot that carries the id of what is in it", async () => {
    const hub = createEventHub("aa");
    hub.emit(removed("a"));
    const stream = open(hub);
    hub.emit(removed("b"));
    expect(await stream.text()).toBe(
      message("snapshot", { type: "snapshot" }, "aa-1") + message("server-removed", removed("b"), "aa-2"),
    );
  });

  it("goes on after the event that is named, with a heartbeat in place of the snapshot", async () => {
    const hub = createEventHub("aa");
    for (const name of ["a", "b", "c"]) hub.emit(removed(name));
    const stream = open(hub, "aa-2");
    hub.emit(removed("d"));
    expect(await stream.text()).toBe(
      message("server-removed", removed("c"), "aa-3") +
        message("heartbeat", { type: "heartbeat" }) +
        message("server-removed", removed("d"), "aa-4"),
    );
  });

  it("starts anew for an id that is not known any more", async () => {
    const hub = createEventHub("aa", { keptEvents: 1, keptChars: 1_000 });
    for (const name of ["a", "b", "c"]) hub.emit(removed(name));
    expect(await open(hub, "aa-1").text()).toBe(message("snapshot", { type: "snapshot" }, "aa-3"));
  });

  it("keeps back progress from a slow reader, of each operation all but the newest, and no state", async () => {
    const hub = createEventHub("aa");
    const stream = open(hub, undefined, 1);
    hub.emit(progress(1));
    hub.emit(progress(2));
    hub.emit(removed("a"));
    expect(await stream.text()).toBe(
      message("snapshot", { type: "snapshot" }, "aa-0") + message("server-removed", removed("a"), "aa-3"),
    );

    const ending = createEventHub("aa");
    const other = open(ending, undefined, 1);
    ending.emit(progress(1));
    ending.emit(progress(2, "succeeded"));
    expect(await other.text()).toBe(
      message("snapshot", { type: "snapshot" }, "aa-0") + message("operation", progress(2, "succeeded"), "aa-2"),
    );
  });
});
