import { describe, expect, it } from "vitest";
import type { DtmaEvent } from "../../shared/dtma-protocol.ts";
import { createEventHub } from "./events.ts";

const removed = (name: string): DtmaEvent => ({ type: "server-removed", serverId: "id" as never, name });
const names = (sent: { data: string }[] | undefined) => sent?.map(({ data }) => (JSON.parse(data) as { name: string }).name);

describe("events that are kept", () => {
  it("go on after an id, and are unknown to another start of the DTMA", () => {
    const hub = createEventHub("aa");
    const beginning = hub.lastId();
    for (const name of ["a", "b", "c"]) hub.emit(removed(name));
    expect(names(hub.after(beginning))).toEqual(["a", "b", "c"]);
    expect(names(hub.after("aa-2"))).toEqual(["c"]);
    expect(hub.after(hub.lastId())).toEqual([]);
    expect(hub.after("bb-2")).toBeUndefined();
    expect(createEventHub().lastId()).not.toBe(createEventHub().lastId());
  });

  it.each(["aa-4", "aa--1", "aa-", "aa", "", "aa-2x", "aa-99999999999999999999"])("do not follow what is no id: %j", (id) => {
    const hub = createEventHub("aa");
    for (const name of ["a", "b", "c"]) hub.emit(removed(name));
    expect(hub.after(id)).toBeUndefined();
  });

  it("are bounded by count, and never given with a gap", () => {
    const hub = createEventHub("aa", { keptEvents: 2, keptChars: 10_000 });
    for (const name of ["a", "b", "c"]) hub.emit(removed(name));
    expect(names(hub.after("aa-1"))).toEqual(["b", "c"]);
    expect(hub.after("aa-0")).toBeUndefined();
  });

  it("are bounded by size, also by one that is larger than all that may be kept", () => {
    const hub = createEventHub("aa", { keptEvents: 10, keptChars: 300 });
    hub.emit(removed("a"));
    hub.emit(removed("x".repeat(400)));
    expect(hub.after("aa-1")).toBeUndefined();
    expect(hub.after("aa-2")).toEqual([]);
    hub.emit(removed("b"));
    expect(names(hub.after("aa-2"))).toEqual(["b"]);
  });

  it("are no heartbeats, which come and go without an id", () => {
    const hub = createEventHub("aa");
    const ids: (string | undefined)[] = [];
    hub.listen((_event, { id }) => ids.push(id));
    hub.emit({ type: "heartbeat", at: 1, docker: { state: "up", engineVersion: "1" } });
    hub.emit(removed("a"));
    expect(ids).toEqual([undefined, "aa-1"]);
    expect(names(hub.after("aa-0"))).toEqual(["a"]);
  });

  it("reach who listens in the form in which they are kept", () => {
    const hub = createEventHub("aa");
    const seen: string[] = [];
    const stop = hub.listen((_event, { id, data }) => seen.push(`${id} ${data}`));
    hub.emit(removed("a"));
    stop();
    hub.emit(removed("b"));
    expect(seen).toEqual([`aa-1 ${JSON.stringify(removed("a"))}`]);
  });
});
