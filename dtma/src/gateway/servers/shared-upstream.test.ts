import { expect, it, onTestFinished } from "vitest";
import { made } from "../messages/json-rpc.ts";
import { createSharedUpstream } from "./shared-upstream.ts";
import type { Upstream } from "./upstream.ts";
import { WorkerPool } from "./worker-pool.ts";

type Said = { id?: unknown; method?: string; params?: { name?: string; message?: string }; result?: unknown };

const gone = { status: 502, error: { code: -32000, message: "gone" } };
const settled = () => new Promise((resolve) => setTimeout(resolve, 10));

/** Sessions of one process, which makes a task of every call. */
function open() {
  const sent: Said[] = [];
  let hear: (said: object) => void = () => undefined;
  const pool = new WorkerPool({
    acquire: async () => ({ release() {} }),
    async connect(worker) {
      hear = (said) => void worker.message(Buffer.from(JSON.stringify({ jsonrpc: "2.0", ...said })), undefined);
      const answer = (id: unknown, result: object) => queueMicrotask(() => hear({ id, result }));
      const upstream: Upstream = {
        async send(messages) {
          for (const { bytes } of messages) {
            const said: Said = JSON.parse(bytes.toString());
            sent.push(said);
            if (said.method === "initialize") answer(said.id, { protocolVersion: "2025-11-25", capabilities: { tasks: {} } });
            const task = { taskId: said.params?.name, status: "working", ttl: null };
            if (said.method === "tools/call") answer(said.id, { task });
          }
        },
        ready: () => undefined,
        listen() {},
        setProtocolVersion() {},
        async end() {},
      };
      await worker.attach(upstream, false);
      await worker.initialize("{}");
    },
    onCount: () => undefined,
    onFault: () => undefined,
    idleMs: 60_000,
    queueMs: 1_000,
  });
  onTestFinished(() => pool.close(gone));
  const want = {
    key: "k",
    server: "s",
    container: undefined,
    owner: undefined,
    isShared: true,
    separates: false,
    isCommon: false,
    initialize: "{}",
  };
  return {
    sent,
    hear: (said: object) => hear(said),
    async session(task: string) {
      const heard: Said[] = [];
      const sink = { message: (bytes: Buffer) => void heard.push(JSON.parse(bytes.toString())), unanswered() {}, gone() {} };
      const upstream = createSharedUpstream({ pool, want, isRaw: false }, sink);
      const send = async (message: object) => {
        await upstream.send([made(JSON.stringify({ jsonrpc: "2.0", ...message }))], 1);
        await settled();
      };
      const params = { protocolVersion: "2025-11-25", capabilities: { elicitation: { form: {}, url: {} } } };
      await send({ id: "i", method: "initialize", params });
      await send({ id: 1, method: "tools/call", params: { name: task, task: {} } });
      return { heard, send };
    },
  };
}

const relation = (taskId: string) => ({ _meta: { "io.modelcontextprotocol/related-task": { taskId } } });
const question = (task: string) => ({ id: 7, method: "elicitation/create", params: { message: task, ...relation(task) } });
const takenBack = { method: "notifications/cancelled", params: { requestId: 7 } };
const status = (taskId: string, is: string) => ({ method: "notifications/tasks/status", params: { taskId, status: is } });
const reply = (by: string) => ({ id: 7, result: { action: "accept", content: { by } } });

it.each([
  ["taken back", takenBack],
  ["of a task that is over", status("of A", "completed")],
  ["asked of another one under the same id", undefined],
])("answers no question that another session was asked, after one that was %s", async (_how, said) => {
  const { session, hear, sent } = open();
  const [a, b] = [await session("of A"), await session("of B")];
  hear(question("of A"));
  expect(a.heard.at(-1)).toMatchObject(question("of A"));
  if (said !== undefined) hear(said);
  hear(question("of B"));
  await a.send(reply("A"));
  await b.send(reply("B"));
  expect(b.heard.at(-1)).toMatchObject(question("of B"));
  expect(sent.filter(({ id, result }) => id === 7 && result !== undefined)).toEqual([{ jsonrpc: "2.0", ...reply("B") }]);
});

it("tells that a person has been at a page to the call that asked for it, and to no other", async () => {
  const { session, hear } = open();
  const [a, b] = [await session("of A"), await session("of B")];
  const page = (elicitationId: string) => ({ mode: "url", elicitationId, url: "https://example.org/", message: "Go there." });
  const complete = (elicitationId: string) => ({ method: "notifications/elicitation/complete", params: { elicitationId } });
  await a.send({ id: 2, method: "prompts/get", params: { name: "waits" } });
  hear({ id: 8, method: "elicitation/create", params: page("of A") });
  expect(a.heard.at(-1)).toMatchObject({ params: page("of A") });
  hear(complete("of B"));
  hear(complete("of A"));
  const told = ({ heard }: typeof a) => heard.filter(({ method }) => method === complete("").method);
  expect(told(a)).toEqual([{ jsonrpc: "2.0", ...complete("of A") }]);
  expect(told(b)).toEqual([]);
});
