import { request } from "node:http";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  answered,
  type Careless,
  careless,
  heard,
  isQuestion,
  moment,
  type Received,
  statelessRequest,
} from "../fixtures/mcp-servers/careless.ts";
import { connection, until } from "../fixtures/mcp-servers/gateway-host.ts";

/*
What belongs to one caller reaches no other, and no caller holds up another, whatever the server does: it goes on with what
was cancelled and speaks when nobody asked.
*/

const shared = { endpoint: { isShared: true } };
const asking = { elicitation: { form: {} } };
const cancel = (requestId: number) => ({ method: "notifications/cancelled", params: { requestId } });
const progressOf = (messages: Received[]) =>
  messages.filter(({ method }) => method === "notifications/progress").map(({ params }) => params);
const threeSteps = (who: string, progressToken: unknown) =>
  [1, 2, 3].map((progress) => ({ progressToken, progress, message: `SECRET of ${who}` }));

describe("a process that all clients share", () => {
  test.each([
    ["a client that can be asked", asking],
    ["a client without any ability", {}],
  ])("asks nobody what a call needs that %s has cancelled", async (_who, capabilities) => {
    const { session, did, release } = await careless(shared);
    const [a, b, c] = [await session("1", capabilities), await session("2", asking), await session("3", asking)];
    const others = [a.listen(), c.listen(), b.listen()];
    const cancelled = a.call(1, "hold-ask", { who: "A" });
    await until(() => did("hold-ask A") === 1);
    await a.send(cancel(1)).done;
    await until(() => did("notifications/cancelled") === 1);
    const own = b.call(1, "ask", { who: "B" });
    await moment();
    release();
    await until(() => did("asks A") === 1);
    await until(() => did("refused A") === 1);
    await b.reply(await heard(own, isQuestion), { action: "accept", content: {} });
    expect(await answered(own)).toContain("accept");
    for (const one of [cancelled, own, ...others]) expect(one.text()).not.toContain("SECRET of A");
    for (const one of [cancelled, ...others]) expect(one.text()).not.toContain("SECRET of B");
  });

  test("tells each of two clients with the same progress token how far its own call is", async () => {
    const { session, did, release } = await careless(shared);
    const [a, b] = [await session("1"), await session("2")];
    const calls = [a.call(1, "hold-progress", { who: "A" }, 1), b.call(1, "hold-progress", { who: "B" }, 1)];
    await until(() => did("hold-progress A") + did("hold-progress B") === 2);
    release();
    const [ofA, ofB] = await Promise.all(calls.map(async ({ done }) => progressOf((await done).messages)));
    expect(ofA).toEqual(threeSteps("A", 1));
    expect(ofB).toEqual(threeSteps("B", 1));
  });

  test("tells nobody how far a cancelled call is", async () => {
    const { session, did, release } = await careless(shared);
    const [a, b] = [await session("1"), await session("2")];
    const others = [a.listen(), b.listen(), a.call(1, "hold-progress", { who: "A" }, "same")];
    await until(() => did("hold-progress A") === 1);
    await a.send(cancel(1)).done;
    await until(() => did("notifications/cancelled") === 1);
    const own = b.call(1, "hold-progress", { who: "B" }, "same");
    await until(() => did("hold-progress B") === 1);
    release();
    expect(progressOf((await own.done).messages)).toEqual(threeSteps("B", "same"));
    for (const one of others) expect(one.text()).not.toContain("SECRET");
  });

  test("lists its tools while a client leaves a question unanswered and another one's call waits", async () => {
    const { session } = await careless(shared);
    const [a, b] = [await session("1", asking), await session("2")];
    const asked = a.call(1, "ask", { who: "A" });
    const question = await heard(asked, isQuestion);
    const waits = b.call(1, "pid");
    await moment();
    expect((await b.send({ id: 2, method: "tools/list" }).done).text).toContain("hold-ask");
    await a.reply(question);
    await Promise.all([asked.done, waits.done]);
  });

  test("logs to nobody while calls of two clients are open", async () => {
    const { session, did, release } = await careless(shared);
    const [a, b] = [await session("1", asking), await session("2")];
    const others = [a.listen(), b.listen()];
    await a.send({ id: 1, method: "logging/setLevel", params: { level: "debug" } }).done;
    const open = a.call(2, "hold", { who: "A" });
    await until(() => did("hold A") === 1);
    const typed = { ref: { type: "ref/prompt", name: "x" }, argument: { name: "n", value: "B" } };
    expect((await b.send({ id: 1, method: "completion/complete", params: typed }).done).status).toBe(200);
    release();
    expect(await answered(open)).toBe("held for A");
    for (const one of [open, ...others]) expect(one.text()).not.toContain("SECRET");
  });

  test.each(["session", "stateless caller"])(
    "serves the others while a %s does not read its large answer",
    async (kind) => {
      const gateway = await careless(shared);
      const [a, b] = [await gateway.session("1"), await gateway.session("2")];
      const args = { name: "big", arguments: { bytes: 12_000_000 }, _meta: { progressToken: 1 } };
      const { headers, body } =
        kind === "session"
          ? { headers: a.headers, body: { jsonrpc: "2.0", id: 1, method: "tools/call", params: args } }
          : statelessRequest(gateway.host, "1", "tools/call", args);
      await startReading(gateway, headers, body);
      for (let id = 1; id <= 3; id++) expect(await answered(b.call(id, "echo", { who: "B" }))).toBe("echo of B");
      // A client that does not read is cut off after half a minute, so who waits for that has not been served.
    },
    20_000,
  );

  test("does not execute a tool that was taken off the list while its call waited", async () => {
    const { host, session, did, release } = await careless(shared);
    const [a, b] = [await session("1", asking), await session("2", asking)];
    const first = a.call(1, "hold", { who: "A" });
    await until(() => did("hold A") === 1);
    const waits = b.call(1, "echo", { who: "B" });
    await moment();
    await host.gateway.accessChanged(connection(2).connectionId, connection(2, ["pid"]));
    release();
    expect((await waits.done).messages.at(-1)?.error).toBeDefined();
    expect(await answered(first)).toBe("held for A");
    expect(did("echo B")).toBe(0);
  });
});

test("a tool that was taken off the list while a stateless call of it waited is not executed", async () => {
  const { host, call, did, release } = await careless({ limits: { sessionsPerServer: 1 } });
  const first = call("1", "hold", { who: "first" }, asking);
  await until(() => did("hold first") === 1);
  const waits = call("1", "echo", { who: "second" }, asking);
  await moment();
  const entry = connection(1, ["hold"]);
  host.tokens.set("1", { type: "connection", entry });
  await host.gateway.accessChanged(entry.connectionId, entry);
  release();
  expect((await waits.done).messages.at(-1)?.error).toBeDefined();
  expect(await answered(first)).toBe("held for first");
  expect(did("echo second")).toBe(0);
});

test("a spare that dies of its first call is not replaced: nothing is executed twice", async () => {
  const speech = { sessions: false, stateless: true };
  const { local, ask, call, did } = await careless({ flags: ["--stateless"], endpoint: { speech }, limits: { spares: 1 } });
  await ask("1", "tools/list", {}).done;
  await until(() => local.alive().length === 2);
  const { messages } = await call("2", "die", { who: "once" }).done;
  expect(messages.at(-1)?.error).toMatchObject({ data: { code: "SERVER_EXITED" } });
  expect(did("die once")).toBe(1);
});

test("a stream of changes begins with its acknowledgement, also when the server speaks first", async () => {
  const { ask } = await careless();
  const leave = new AbortController();
  const filter = { toolsListChanged: true, resourceSubscriptions: ["memo://one"] };
  const listening = ask("1", "subscriptions/listen", { notifications: filter }, {}, leave.signal);
  await heard(listening, ({ method }) => method === "notifications/subscriptions/acknowledged");
  leave.abort();
  expect(listening.messages()[0]?.method).toBe("notifications/subscriptions/acknowledged");
});

describe("a connection that answers none of its questions", () => {
  async function visitor() {
    const { ask } = await careless();
    const states: string[] = [];
    const visit = async (who: number, retry: object = {}): Promise<Received | undefined> => {
      const params = { name: "url", arguments: { who, ...fill }, ...retry };
      const { messages } = await ask("1", "tools/call", params, { elicitation: { form: {}, url: {} } }).done;
      return messages.at(-1);
    };
    let fill = {};
    return {
      async leaveOpen(count: number, bytes = 0) {
        fill = { fill: "y".repeat(bytes) };
        for (let who = 0; who < count; who++) states.push((await visit(who))?.result?.requestState ?? "");
        expect(new Set(states).size).toBe(count);
      },
      /** What comes of answering a question now. */
      async accept(who: number) {
        const inputResponses = { "elicitation-url-1": { action: "accept" } };
        const said = await visit(who, { requestState: states[who], inputResponses });
        return said?.error?.data?.code ?? said?.result?.content?.[0]?.text;
      },
    };
  }

  test("has the last 64 of them kept", async () => {
    const { leaveOpen, accept } = await visitor();
    await leaveOpen(150);
    for (const who of [0, 85]) expect(await accept(who)).toBe("NOT_FOUND");
    for (const who of [86, 149]) expect(await accept(who)).toBe(`visited by ${who}`);
  });

  test("has a few megabytes of them kept", async () => {
    const { leaveOpen, accept } = await visitor();
    await leaveOpen(12, 1_000_000);
    expect(await accept(0)).toBe("NOT_FOUND");
    expect(await accept(11)).toBe("visited by 11");
  });
});

/** Sends a request whose answer is never read; resolves when the answer has begun. */
async function startReading({ host }: Careless, headers: Record<string, string>, body: object): Promise<void> {
  const sending = request(host.url, { method: "POST", headers });
  sending.on("error", () => undefined);
  onTestFinished(() => void sending.destroy());
  const begun = new Promise<void>((resolve) => {
    sending.once("response", (response) => {
      response.pause();
      response.on("error", () => undefined);
      resolve();
    });
  });
  sending.end(JSON.stringify(body));
  await begun;
  await moment();
}
