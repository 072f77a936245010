/*
What a session wants to hear about, as `subscriptions/listen` of a stateless server (MCP 2026-07-28, Subscriptions).

INVARIANTS
- One stream carries everything; when the wishes change a second one is opened first, and the former ends only after the
  server has acknowledged its successor, so that nothing that happens in between is missed.
- After a stream broke off, whatever was listened for is reported as changed: nobody knows what happened meanwhile.
- A wish is settled by the server's word on it, or by why there is none. No timer outlives `stop`.
*/

import { metaKeys } from "../messages/envelope.ts";
import { elementsAt, errorCodes, type JsonRpcError, type Message, memberOf, stringAt, tokenAt } from "../messages/json-rpc.ts";
import { maxSubscriptions } from "../messages/subscriptions.ts";

/** Which lists of the server tell of their changes. */
export type ListChanges = { tools: boolean; prompts: boolean; resources: boolean };

export interface Listening {
  /** Opens the stream for the lists that can change. */
  start(): void;
  /** Settles with why not, when the resource cannot be subscribed to. */
  subscribe(uri: string): Promise<JsonRpcError | undefined>;
  unsubscribe(uri: string): Promise<JsonRpcError | undefined>;
  /** Takes a notification of a stream of ours; `streamId` is the stream it came on, where there are several. */
  take(message: Message, streamId: number | undefined): "not-ours" | Promise<void> | undefined;
  /** The server has ended a stream: with an error of its own, or otherwise. */
  ended(id: number, error: JsonRpcError | undefined): void;
  stop(): void;
}

type Deps = {
  lists: ListChanges;
  /** Sends `subscriptions/listen` with this filter as JSON text; its id. */
  open(filter: string): number;
  /** Ends that request. */
  close(id: number): void;
  /** Passes a notification on to the client. */
  tell(bytes: Buffer): Promise<void> | undefined;
  /** How long a former stream is still read: what it was sent may be on its way on a connection of its own. */
  overlapMs: number;
};

type Stream = { id: number; wishes: number; isEmpty: boolean };
type Waiting = { wishes: number; uri: string | undefined; settle(error: JsonRpcError | undefined): void };

const acknowledgeMs = 10_000;
const retryMs = [250, 1_000, 5_000, 15_000, 30_000];

export function createListening({ lists, open, close, tell, overlapMs }: Deps): Listening {
  const uris = new Set<string>();
  const timers = new Set<NodeJS.Timeout>();
  const former = new Set<number>();
  let waiting: Waiting[] = [];
  let current: Stream | undefined;
  let opening: Stream | undefined;
  /** Counts changes of the wishes; a stream carries those of its number. */
  let wishes = 0;
  let failures = 0;
  let hasGap = false;
  let isRetrying = false;
  let isStopped = false;

  function later(ms: number, what: () => void): void {
    const timer = setTimeout(() => {
      timers.delete(timer);
      what();
    }, ms).unref();
    timers.add(timer);
  }

  function settle(until: number, errorFor: (uri: string) => JsonRpcError | undefined): void {
    const settled = waiting.filter((one) => one.wishes <= until);
    waiting = waiting.filter((one) => one.wishes > until);
    for (const one of settled) {
      const error = one.uri === undefined ? undefined : errorFor(one.uri);
      if (error !== undefined && one.uri !== undefined) uris.delete(one.uri);
      one.settle(error);
    }
  }

  const filter = (): string[] => [
    ...(lists.tools ? ['"toolsListChanged":true'] : []),
    ...(lists.prompts ? ['"promptsListChanged":true'] : []),
    ...(lists.resources ? ['"resourcesListChanged":true'] : []),
    ...(uris.size > 0 ? [`"resourceSubscriptions":${JSON.stringify([...uris])}`] : []),
  ];

  function advance(): void {
    if (isStopped || isRetrying || opening !== undefined || current?.wishes === wishes) return;
    const wanted = filter();
    if (wanted.length === 0) {
      if (current !== undefined) close(current.id);
      current = undefined;
      return settle(wishes, () => undefined);
    }
    const opened = { id: open(`{${wanted.join(",")}}`), wishes, isEmpty: false };
    opening = opened;
    later(acknowledgeMs, () => {
      if (opening !== opened) return;
      close(opened.id);
      ended(opened.id, silent);
    });
  }

  function retire({ id, isEmpty }: Stream): void {
    if (isEmpty) return;
    if (overlapMs === 0) return close(id);
    former.add(id);
    later(overlapMs, () => {
      if (former.delete(id)) close(id);
    });
  }

  function acknowledged({ text, params }: Message): void {
    if (opening === undefined) return;
    if (current !== undefined) retire(current);
    current = opening;
    opening = undefined;
    failures = 0;
    const agreed = memberOf(text, params, "notifications");
    const agreedUris = memberOf(text, agreed, "resourceSubscriptions");
    const elements = (agreedUris && elementsAt(text, agreedUris.start)) ?? [];
    const heard = new Set(elements.map((span) => stringAt(text, span)));
    current.isEmpty = agreed === undefined || /^\{\s*\}$/.test(text.slice(agreed.start, agreed.end));
    settle(current.wishes, (uri) => (heard.has(uri) ? undefined : notSubscribable));
    if (hasGap) report();
    hasGap = false;
    advance();
  }

  function report(): void {
    const names = (["tools", "prompts", "resources"] as const).filter((name) => lists[name]);
    for (const name of names) void tell(Buffer.from(`{"jsonrpc":"2.0","method":"notifications/${name}/list_changed"}`));
    for (const uri of uris) {
      const params = JSON.stringify({ uri });
      void tell(Buffer.from(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":${params}}`));
    }
  }

  function retry(): void {
    isRetrying = true;
    later(retryMs[Math.min(failures, retryMs.length - 1)] ?? 0, () => {
      isRetrying = false;
      advance();
    });
    failures += 1;
  }

  function ended(id: number, error: JsonRpcError | undefined): void {
    if (former.delete(id) || isStopped) return;
    if (id === opening?.id) {
      const tried = opening.wishes;
      opening = undefined;
      settle(tried, () => error ?? broken);
      if (tried !== wishes) advance();
      else if (current !== undefined) current.wishes = wishes;
      else if (hasGap || error === undefined) retry();
    } else if (id === current?.id && !current.isEmpty) {
      current = undefined;
      hasGap = true;
      if (opening === undefined) retry();
    }
  }

  function change(isChange: boolean, uri: string | undefined): Promise<JsonRpcError | undefined> {
    if (isChange) wishes += 1;
    if (current?.wishes === wishes) return Promise.resolve(undefined);
    const { promise, resolve } = Promise.withResolvers<JsonRpcError | undefined>();
    waiting.push({ wishes, uri, settle: resolve });
    advance();
    return promise;
  }

  return {
    start() {
      wishes += 1;
      advance();
    },

    async subscribe(uri) {
      if (uris.size >= maxSubscriptions && !uris.has(uri)) return tooMany;
      const isNew = !uris.has(uri);
      uris.add(uri);
      return change(isNew, uri);
    },

    unsubscribe: (uri) => change(uris.delete(uri), undefined),

    take(message, streamId) {
      const { text, params, method } = message;
      if (method === "notifications/cancelled") {
        ended(Number(tokenAt(text, memberOf(text, params, "requestId"))), undefined);
        return undefined;
      }
      const token = tokenAt(text, memberOf(text, memberOf(text, params, "_meta"), metaKeys.subscription));
      const id = Number(token ?? streamId);
      if (method === "notifications/subscriptions/acknowledged") {
        if (id === opening?.id) acknowledged(message);
        return undefined;
      }
      if (id === current?.id || former.has(id)) return tell(message.bytes);
      return token === undefined ? "not-ours" : undefined;
    },

    ended,

    stop() {
      isStopped = true;
      for (const timer of timers) clearTimeout(timer);
      timers.clear();
      settle(wishes, () => broken);
    },
  };
}

const broken: JsonRpcError = { code: errorCodes.failed, message: "The server ended the stream of its notifications." };
const silent: JsonRpcError = { code: errorCodes.failed, message: "The server did not confirm the subscription." };
const notSubscribable: JsonRpcError = {
  code: errorCodes.invalidParams,
  message: "The server does not tell of changes to this resource.",
};
const tooMany: JsonRpcError = {
  code: errorCodes.failed,
  message: `A session can subscribe to ${maxSubscriptions} resources at once.`,
};
