import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connection, eventsOf, type GatewayHost, openRaw, startGateway, until } from "../fixtures/mcp-servers/gateway-host.ts";
import { fixtureServer, type LocalServer } from "../fixtures/mcp-servers/local-process.ts";

/*
64 sessions of 8 connections over one server. Whatever happens in between, every byte that a session gets is its own: the
answers carry a mark that only the asking session knows, and a process never hears of another session's mark.
*/

const connections = 8;
const sessionsOfEach = 8;
const runs = 12;

type Raw = Awaited<ReturnType<typeof openRaw>>;
/** Where a session is; from the moment it is being ended its answers may be errors. */
type Place = { token: string; raw: Raw; isEnding: boolean };

let local: LocalServer;
let host: GatewayHost;
let places: Place[];

async function openPlace(token: string): Promise<Place> {
  const raw = await openRaw(host, token);
  // Questions that could belong to any of several open calls come here.
  const listening = await fetch(host.url, { headers: raw.headers });
  expect(listening.status).toBe(200);
  void messagesOf(listening, (question) => answerQuestion(raw, question)).catch(() => undefined);
  return { token, raw, isEnding: false };
}

/** With what only this session knows. */
async function answerQuestion(raw: Raw, { id }: Received): Promise<void> {
  await raw.post({ jsonrpc: "2.0", id, result: { mark: raw.id } });
}

beforeAll(async () => {
  local = fixtureServer("probe.mjs");
  const all = connections * sessionsOfEach;
  const limits = { sessionsPerServer: all + 4, sessionsPerConnection: sessionsOfEach, queueMs: 30_000, spares: 1 };
  host = await startGateway({ probe: local.endpoint }, limits);
  for (let number = 1; number <= connections; number++)
    host.tokens.set(`${number}`, { type: "connection", entry: connection(number) });
  places = await Promise.all(Array.from({ length: all }, (_, index) => openPlace(`${(index % connections) + 1}`)));
}, 60_000);

afterAll(async () => {
  await host.close();
  expect(local.alive()).toEqual([]);
  expect(host.faults).toEqual([]);
});

const call = (name: string, id: number, args: object, meta: object = {}) => ({
  jsonrpc: "2.0",
  id,
  method: "tools/call",
  params: { name, arguments: args, ...meta },
});

const acts = ["raw", "pid", "progress", "slow", "sample", "abort", "cancel", "foreign", "exit", "delete"] as const;
const step = fc.record({
  place: fc.nat(connections * sessionsOfEach - 1),
  act: fc.constantFrom(...acts),
  ms: fc.nat(30),
  delayMs: fc.nat(40),
});

test("every answer is its asker's, whatever is cancelled, cut off, ended and opened in between", async () => {
  const owners = new Map<string, string>();
  const counts = { answered: 0, over: 0, reopened: 0 };
  let lastId = 0;

  async function perform({ place: index, act, ms, delayMs }: { place: number; act: string; ms: number; delayMs: number }) {
    await new Promise((resolve) => setTimeout(resolve, delayMs));
    const place = places[index];
    if (place === undefined) return;
    const { raw } = place;
    // Many sessions use the same ids, so that an answer that went astray would be taken for the right one.
    const id = (lastId++ % 500) + 1000 * index;
    const mark = `${raw.id} ${lastId}`;

    /** The last message: an answer to this request, or the word that the session has ended, when it has. */
    function answer(messages: Received[]): Received | undefined {
      const last = messages.at(-1);
      if (last?.error !== undefined) {
        expect(place?.isEnding).toBe(true);
        counts.over++;
        return undefined;
      }
      expect(last).toMatchObject({ id });
      counts.answered++;
      return last;
    }

    if (act === "raw") {
      const messages = await messagesOf(await raw.post(call("raw", id, { mark })));
      const found = answer(messages);
      if (found === undefined) return;
      expect(messages).toHaveLength(1);
      expect(JSON.parse(text(found)).params.arguments.mark).toBe(mark);
    } else if (act === "pid") {
      const found = answer(await messagesOf(await raw.post(call("pid", id, {}))));
      if (found === undefined) return;
      const owner = owners.get(text(found)) ?? raw.id;
      owners.set(text(found), owner);
      expect(owner).toBe(raw.id);
    } else if (act === "progress") {
      const messages = await messagesOf(await raw.post(call("progress", id, {}, { _meta: { progressToken: mark } })));
      if (answer(messages) === undefined) return;
      expect(messages.slice(0, -1).map(({ params }) => params?.progressToken)).toEqual([mark, mark, mark]);
    } else if (act === "sample") {
      const response = await raw.post(call("sample", id, {}));
      const found = answer(await messagesOf(response, (question) => answerQuestion(raw, question)));
      if (found !== undefined) expect(JSON.parse(text(found))).toEqual({ mark: raw.id });
    } else if (act === "slow") {
      answer(await messagesOf(await raw.post(call("slow", id, { ms }))));
    } else if (act === "cancel") {
      const calling = raw.post(call("slow", id, { ms })).then((response) => messagesOf(response));
      calling.catch(() => undefined);
      await raw.post({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: id } });
      const messages = await calling;
      // A server that takes its time is not waited for.
      const isGivenUp = messages.length === 1 && messages[0]?.error?.message === "The request was cancelled.";
      if (!isGivenUp) answer(messages);
    } else if (act === "abort") {
      const body = JSON.stringify(call("slow", id, { ms, mark }));
      const cut = { method: "POST", headers: raw.headers, body, signal: AbortSignal.timeout(ms + 1) };
      await fetch(host.url, cut)
        .then((response) => messagesOf(response))
        .catch((error: Error) => expect(error.name).toBe("TimeoutError"));
    } else if (act === "foreign") {
      const other = host.headers(`${(Number(place.token) % connections) + 1}`);
      const headers = { ...raw.headers, ...other };
      const stolen = await fetch(host.url, { method: "POST", headers, body: JSON.stringify(call("raw", id, { mark })) });
      expect(stolen.status).toBe(404);
    } else if (!place.isEnding) {
      // Either leaves calls in the middle; what is opened in its place gets a process that nobody had.
      place.isEnding = true;
      if (act === "exit") await raw.post(call("exit", id, {})).then((response) => response.text());
      else await fetch(host.url, { method: "DELETE", headers: raw.headers });
      places[index] = await openPlace(place.token);
      counts.reopened++;
    }
  }

  const steps = fc.array(step, { minLength: 60, maxLength: 160 });
  // What has happened to the sessions stays, so there is nothing to shrink; a failure prints its seed and its steps.
  await fc.assert(
    fc.asyncProperty(steps, async (all) => void (await Promise.all(all.map(perform)))),
    { numRuns: runs, endOnFailure: true },
  );
  expect(counts.answered).toBeGreaterThan(runs * 20);
  expect(counts.reopened).toBeGreaterThan(runs);
  await until(() => host.gateway.sessionCount("probe") === connections * sessionsOfEach);
}, 120_000);

type Received = {
  id?: number | string;
  method?: string;
  params?: { progressToken?: string };
  result?: { content?: { text?: string }[] };
  error?: { message?: string };
};

/** Everything an answer brought, in order. */
async function messagesOf(response: Response, onQuestion?: (question: Received) => Promise<unknown>): Promise<Received[]> {
  if (response.headers.get("content-type") !== "text/event-stream") return [JSON.parse(await response.text())];
  const messages: Received[] = [];
  for await (const { data } of eventsOf(response)) {
    if (data === "") continue;
    const message = JSON.parse(data);
    messages.push(message);
    if (message.method === "sampling/createMessage") await onQuestion?.(message);
  }
  return messages;
}

function text({ result }: Received): string {
  return result?.content?.[0]?.text ?? "";
}
