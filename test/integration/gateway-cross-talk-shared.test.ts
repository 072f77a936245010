import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import {
  type Careless,
  type CarelessSession,
  careless,
  type Heard,
  heard,
  isQuestion,
  type Received,
} from "../fixtures/mcp-servers/careless.ts";

/*
Twelve callers of four connections where processes serve more than one call at a time. All use the same ids and progress
tokens, and leave calls in the middle whose handlers go on; every message that a caller gets bears its own mark.
*/

const callers = 12;
const asking = { elicitation: { form: {} } };

type Caller = {
  canBeAsked: boolean;
  call(name: string, args: object, progressToken: number, leave?: AbortSignal): Promise<Outcome>;
  /** Makes a task that asks, and waits for its result. */
  task?(who: string, args: object, progressToken: number): Promise<Outcome>;
};
/** All that came, and the answer if the caller stayed. */
type Outcome = { messages: Received[]; text: string | undefined };

const accepted = (mark: unknown) => ({ action: "accept", content: { mark } });
const textOf = (message: Received | undefined) => message?.result?.content?.[0]?.text;

function withSession(session: CarelessSession, ofTasks: CarelessSession, canBeAsked: boolean): Caller {
  let lastId = 0;
  let before = Promise.resolve<unknown>(undefined);

  async function task(who: string, args: object, progressToken: number): Promise<Outcome> {
    const made = ofTasks.work(++lastId, who, { name: "work-on", args, _meta: { progressToken } });
    await made.done;
    const waits = ofTasks.about(++lastId, "tasks/result", `task of ${who}`);
    // What belongs to no request comes on the only stream there is.
    if (canBeAsked) await ofTasks.reply(await heard(waits, isQuestion), accepted(args));
    const { messages, text } = await outcomeOf(waits);
    return { messages: [...made.messages(), ...messages], text };
  }

  return {
    canBeAsked,
    /** One at a time. */
    task(...args) {
      const done = before.then(() => task(...args));
      before = done.catch(() => undefined);
      return done;
    },
    async call(name, args, progressToken, leave) {
      const id = ++lastId;
      const hearing = session.call(id, name, args, progressToken);
      const cancel = { method: "notifications/cancelled", params: { requestId: id } };
      leave?.addEventListener("abort", () => void session.send(cancel));
      if (name === "ask" && canBeAsked && leave === undefined) {
        const question = await heard(hearing, isQuestion);
        await session.reply(question, accepted(args));
      }
      return leave === undefined ? outcomeOf(hearing) : leftIn(hearing, leave);
    },
  };
}

function withoutSession({ ask }: Careless, token: string, canBeAsked: boolean): Caller {
  const capabilities = canBeAsked ? asking : {};
  return {
    canBeAsked,
    async call(name, args, progressToken, leave) {
      const params = { name, arguments: args, _meta: { progressToken } };
      const first = ask(token, "tools/call", params, capabilities, leave);
      if (leave !== undefined) return leftIn(first, leave);
      const { messages, text } = await outcomeOf(first);
      const asked = messages.at(-1)?.result;
      if (asked?.requestState === undefined) return { messages, text };
      const keys = Object.keys(asked.inputRequests ?? {});
      const inputResponses = Object.fromEntries(keys.map((key) => [key, accepted(args)]));
      const again = { ...params, requestState: asked.requestState, inputResponses };
      const then = await outcomeOf(ask(token, "tools/call", again, capabilities));
      return { messages: [...messages, ...then.messages], text: then.text };
    },
  };
}

async function outcomeOf(hearing: Heard): Promise<Outcome> {
  const { messages } = await hearing.done;
  return { messages, text: textOf(messages.at(-1)) };
}

function whenAtWork({ did }: Careless, call: string): AbortSignal {
  const leaving = new AbortController();
  const timer = setInterval(() => {
    if (did(call) === 0) return;
    clearInterval(timer);
    leaving.abort();
  }, 10);
  onTestFinished(() => clearInterval(timer));
  return leaving.signal;
}

async function leftIn(hearing: Heard, leave: AbortSignal): Promise<Outcome> {
  if (!leave.aborted) await new Promise((resolve) => leave.addEventListener("abort", resolve));
  await hearing.done.catch(() => undefined);
  return { messages: hearing.messages(), text: undefined };
}

const step = fc.record({
  caller: fc.nat(callers - 1),
  act: fc.oneof(
    { weight: 9, arbitrary: fc.constantFrom("echo", "progress", "ask", "task") },
    { weight: 1, arbitrary: fc.constant("leave") },
  ),
  left: fc.constantFrom("progress", "ask", "ask"),
  token: fc.integer({ min: 1, max: 2 }),
  ms: fc.nat(15),
  delayMs: fc.nat(100),
});

test.each([
  { who: "stateless callers of a process for each connection", isShared: false, hasSessions: false },
  { who: "stateless callers of one process", isShared: true, hasSessions: false },
  { who: "sessions of one process", isShared: true, hasSessions: true },
])(
  "every answer, step and question is its caller's among $who",
  async ({ isShared, hasSessions }) => {
    // A process for everybody asks nobody for seconds after one of its calls was left.
    const mayLeave = isShared ? 2 : 20;
    const limits = { queueMs: 60_000 };
    const gateway = await careless({ endpoint: { isShared }, limits });
    const tokenOf = (index: number) => `${(index % 4) + 1}`;
    const all = await Promise.all(
      Array.from({ length: callers }, async (_, index) => {
        const canBeAsked = index % 3 !== 0;
        if (!hasSessions) return withoutSession(gateway, tokenOf(index), canBeAsked);
        const open = () => gateway.session(tokenOf(index), canBeAsked ? asking : {});
        return withSession(await open(), await open(), canBeAsked);
      }),
    );
    const counts = { echo: 0, progress: 0, ask: 0, leave: 0, task: 0 };
    let lastMark = 0;
    let leaving = 0;

    async function perform({ caller: index, act: wanted, left, token, ms, delayMs }: Step): Promise<void> {
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      const caller = all[index] as Caller;
      const who = `${index}/${++lastMark}.`;
      const possible = wanted === "task" && caller.task === undefined ? left : wanted;
      const act = possible === "leave" && ++leaving > mayLeave ? left : possible;
      const name = act === "leave" ? left : act;
      // The server is at work on it when its client leaves, and goes on.
      const args = { who, ms: act === "leave" ? ms + 40 : ms };
      const leave = act === "leave" ? whenAtWork(gateway, `${name} ${who}`) : undefined;
      const done = act === "task" ? caller.task?.(who, args, token) : caller.call(name, args, token, leave);
      const { messages, text } = (await done) ?? { messages: [], text: undefined };
      const marks = JSON.stringify(messages).match(/\d+\/\d+\./g) ?? [];
      expect(new Set(marks)).toEqual(new Set(marks.length === 0 ? [] : [who]));
      if (act === "echo") expect(text).toBe(`echo of ${who}`);
      if (act === "progress") {
        const steps = messages.filter(({ method }) => method === "notifications/progress").map(({ params }) => params);
        expect(steps).toEqual([1, 2, 3].map((progress) => ({ progressToken: token, progress, message: `SECRET of ${who}` })));
        expect(text).toBe(`done for ${who}`);
      }
      if (act === "ask") {
        expect(text).toContain(`${who} got `);
        expect(text?.includes('"accept"')).toBe(caller.canBeAsked);
      }
      if (act === "task") {
        expect(text).toContain(`done for ${who}, who said ${who} got `);
        expect(text?.includes('"accept"')).toBe(caller.canBeAsked);
      }
      counts[act as keyof typeof counts]++;
    }

    await fc.assert(
      // What has happened to the processes stays, so there is nothing to shrink; a failure prints its seed and its steps.
      fc.asyncProperty(fc.array(step, { minLength: 40, maxLength: 60 }), async (steps) => {
        await Promise.all(steps.map(perform));
      }),
      { numRuns: 2, endOnFailure: true },
    );
    for (const act of ["echo", "progress", "ask"] as const) expect(counts[act]).toBeGreaterThan(5);
    expect(counts.leave).toBeGreaterThan(0);
    if (hasSessions) expect(counts.task).toBeGreaterThan(5);
    if (isShared) expect(gateway.local.started()).toBe(1);
  },
  60_000,
);

type Step = { caller: number; act: string; left: string; token: number; ms: number; delayMs: number };
