import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { readMessage } from "../messages/json-rpc.ts";
import { createListening, type ListChanges } from "./listening.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const uri = "memo://one";

function start(lists: ListChanges = { tools: true, prompts: false, resources: false }, overlapMs = 0) {
  const opened: { id: number; filter: unknown }[] = [];
  const closed: number[] = [];
  const told: { method: string; params?: { uri?: string; n?: number } }[] = [];
  const listening = createListening({
    lists,
    open(filter) {
      opened.push({ id: opened.length + 1, filter: JSON.parse(filter) });
      return opened.length;
    },
    close: (id) => void closed.push(id),
    tell(bytes) {
      told.push(JSON.parse(bytes.toString()));
      return undefined;
    },
    overlapMs,
  });
  const say = (method: string, params: object, id?: number) => {
    const _meta = id === undefined ? {} : { _meta: { "io.modelcontextprotocol/subscriptionId": id } };
    const message = readMessage(Buffer.from(JSON.stringify({ jsonrpc: "2.0", method, params: { ...params, ..._meta } })));
    if (message === undefined) throw new Error("no message");
    return listening.take(message, undefined);
  };
  const acknowledge = (id: number, notifications: unknown = opened[id - 1]?.filter) =>
    say("notifications/subscriptions/acknowledged", { notifications }, id);
  const update = (id: number, n: number) => say("notifications/resources/updated", { uri, n }, id);
  return { listening, opened, closed, told, say, acknowledge, update, numbers: () => told.map(({ params }) => params?.n) };
}

describe("listening to a stateless server", () => {
  it("opens nothing where nothing changes, and one stream for everything that does", async () => {
    const nothing = start({ tools: false, prompts: false, resources: false });
    nothing.listening.start();
    expect(nothing.opened).toEqual([]);
    const { listening, opened, acknowledge } = start({ tools: true, prompts: true, resources: true });
    listening.start();
    acknowledge(1);
    const subscribed = listening.subscribe(uri);
    expect(opened.map(({ filter }) => filter)).toEqual([
      { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true },
      { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true, resourceSubscriptions: [uri] },
    ]);
    acknowledge(2);
    expect(await subscribed).toBeUndefined();
  });

  it("hears everything exactly once when the wishes change over one line", () => {
    const { listening, acknowledge, update, closed, numbers } = start();
    listening.start();
    acknowledge(1);
    void listening.subscribe(uri);
    acknowledge(2);
    update(2, 1);
    void listening.subscribe("memo://two");
    update(2, 2);
    expect(closed).toEqual([1]);
    acknowledge(3);
    update(2, 3);
    update(3, 3);
    expect(closed).toEqual([1, 2]);
    expect(numbers()).toEqual([1, 2, 3]);
  });

  it("still hears what was on its way on the former stream when there are several lines", () => {
    const { listening, acknowledge, update, closed, numbers } = start(undefined, 1_000);
    listening.start();
    acknowledge(1);
    void listening.subscribe(uri);
    acknowledge(2);
    void listening.subscribe("memo://two");
    acknowledge(3);
    update(2, 1);
    update(3, 2);
    expect(closed).toEqual([]);
    vi.advanceTimersByTime(1_000);
    expect(closed).toEqual([1, 2]);
    update(2, 3);
    expect(numbers()).toEqual([1, 2]);
  });

  it("opens one stream for all the wishes that came meanwhile", async () => {
    const { listening, opened, acknowledge } = start();
    listening.start();
    const all = Promise.all(["a://", "b://", "c://"].map((one) => listening.subscribe(one)));
    expect(opened).toHaveLength(1);
    acknowledge(1);
    expect(opened[1]?.filter).toMatchObject({ resourceSubscriptions: ["a://", "b://", "c://"] });
    acknowledge(2);
    expect(await all).toEqual([undefined, undefined, undefined]);
    expect(opened).toHaveLength(2);
  });

  it("says which resources the server does not tell of", async () => {
    const { listening, opened, acknowledge } = start();
    const subscribed = Promise.all([listening.subscribe(uri), listening.subscribe("memo://no")]);
    acknowledge(1, { resourceSubscriptions: [uri] });
    acknowledge(2, { toolsListChanged: true, resourceSubscriptions: [uri] });
    expect(await subscribed).toEqual([undefined, { code: -32602, message: expect.stringContaining("does not tell") }]);
    const again = listening.subscribe("memo://three");
    expect(opened.at(-1)?.filter).toMatchObject({ resourceSubscriptions: [uri, "memo://three"] });
    acknowledge(3);
    expect(await again).toBeUndefined();
  });

  it("tells a refused wish why, and goes on with what it had", async () => {
    const { listening, acknowledge, update, opened, numbers, closed } = start();
    const first = listening.subscribe(uri);
    acknowledge(1);
    expect(await first).toBeUndefined();
    const refused = listening.subscribe("memo://two");
    listening.ended(2, { code: -32603, message: "Subscription limit reached" });
    expect(await refused).toMatchObject({ message: "Subscription limit reached" });
    update(1, 1);
    vi.advanceTimersByTime(60_000);
    expect([numbers(), opened.length, closed]).toEqual([[1], 2, []]);
  });

  it("gives up a server that never confirms", async () => {
    const { listening, closed } = start({ tools: false, prompts: false, resources: false });
    const subscribed = listening.subscribe(uri);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await subscribed).toMatchObject({ message: expect.stringContaining("did not confirm") });
    expect(closed).toEqual([1]);
  });

  it("comes back after a stream broke off, ever later, and reports everything as changed", async () => {
    const { listening, acknowledge, opened, told } = start();
    const subscribed = listening.subscribe(uri);
    acknowledge(1);
    await subscribed;
    listening.ended(1, undefined);
    vi.advanceTimersByTime(250);
    expect(opened).toHaveLength(2);
    listening.ended(2, undefined);
    vi.advanceTimersByTime(250);
    expect(opened).toHaveLength(2);
    vi.advanceTimersByTime(750);
    expect(opened[2]?.filter).toEqual(opened[0]?.filter);
    acknowledge(3);
    expect(told.map(({ method, params }) => [method, params?.uri])).toEqual([
      ["notifications/tools/list_changed", undefined],
      ["notifications/resources/updated", uri],
    ]);
  });

  it("takes the server's word that there is nothing to hear", () => {
    const { listening, acknowledge, opened } = start();
    listening.start();
    acknowledge(1, {});
    listening.ended(1, undefined);
    vi.advanceTimersByTime(60_000);
    expect(opened).toHaveLength(1);
  });

  it("ends a stream that the server cancels, and knows a notification that is nobody's", () => {
    const { listening, acknowledge, say, opened, told } = start();
    listening.start();
    acknowledge(1);
    say("notifications/cancelled", { requestId: 1 });
    vi.advanceTimersByTime(250);
    expect(opened).toHaveLength(2);
    expect(say("notifications/progress", { progressToken: 1 })).toBe("not-ours");
    expect(say("notifications/tools/list_changed", {}, 77)).toBeUndefined();
    expect(told).toEqual([]);
  });

  it("closes the stream with the last wish", async () => {
    const { listening, acknowledge, closed, opened } = start({ tools: false, prompts: false, resources: false });
    const subscribed = listening.subscribe(uri);
    acknowledge(1);
    await subscribed;
    expect(await listening.subscribe(uri)).toBeUndefined();
    expect(await listening.unsubscribe(uri)).toBeUndefined();
    expect(await listening.unsubscribe(uri)).toBeUndefined();
    expect([closed, opened.length]).toEqual([[1], 1]);
  });

  it("settles every wish when the session ends, and leaves no timer", async () => {
    const { listening } = start();
    const subscribed = listening.subscribe(uri);
    listening.stop();
    expect(await subscribed).toBeDefined();
    expect(vi.getTimerCount()).toBe(0);
  });
});
