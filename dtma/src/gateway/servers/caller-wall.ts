import { ambiguous, areAmbiguous } from "../messages/ambiguity.ts";
import {
  errorAnswer,
  errorCodes,
  type JsonRpcError,
  type Message,
  made,
  memberOf,
  membersIn,
  progressTokenOf,
  readMessage,
  stringAt,
  tokenAt,
} from "../messages/json-rpc.ts";
import { ofProgress, type Progress, underToken } from "../messages/progress.ts";
import { spliced, withId } from "../messages/splice.ts";
import { isWithin, listChanges, maxSubscriptions, tooManySubscriptions } from "../messages/subscriptions.ts";
import { asksForTask, namingNoTask, taskNotifications, withoutTask, withoutTasks } from "../messages/tasks.ts";

/*
One caller of a server over HTTP that answered `initialize` without a session id: it cannot tell its callers apart, so what one
of them names may be another one's.

INVARIANTS
- Ids and progress tokens at the server are ours, and no two callers have the same at once; what comes back has the client's.
- The client names nothing at the server but its own requests and the questions that it was asked.
- Nothing of a request outlives its stream here, and subscriptions are bounded.
- It has no tasks there, and of what comes on no stream of its requests it hears what the server says about itself as a whole
  only: who is meant by anything else nobody knows.
*/

export type CallerWall = {
  /** What may go to the server of what its client says; why not, the answer to it, or undefined when nobody wants it. */
  out(message: Message, streamId: number | undefined): Message | JsonRpcError | { answer: Buffer } | undefined;
  /** What the client hears of it; `streamId` is undefined where it came on no stream of a request. */
  in(bytes: Buffer, streamId: number | undefined): Buffer | { decline: Message } | undefined;
  /** Nothing more comes on this stream. */
  over(streamId: number): void;
};

type Open = { id: string; progress: Progress | undefined; streamId: number | undefined; isWelcome: boolean };

/** `initialize` has been sent as it was; `nextId` gives every id once. */
export function createCallerWall({ id = "null" }: Message, streamId: number | undefined, nextId: () => number): CallerWall {
  /** By the id at the server. */
  const open = new Map<string, Open>([[id, { id, progress: undefined, streamId, isWelcome: true }]]);
  /** By the id of the question; the server may want to hear of progress. */
  const asked = new Map<string, { token: string | undefined; streamId: number | undefined }>();
  const uris = new Set<string>();

  function request(message: Message, stream: number | undefined): Message | JsonRpcError {
    const params = membersIn(message.text, message.params);
    const named = namingNoTask(message, params);
    if ("code" in named) return named;
    const own = named.method === "tools/call" && asksForTask(params) ? made(withoutTask(named)) : named;
    const uri = own.method === "resources/subscribe" ? uriOf(own) : undefined;
    if (uri !== undefined && uris.size >= maxSubscriptions) return tooManySubscriptions;
    const tagged = underToken(own, nextId);
    if (tagged !== undefined && "code" in tagged) return tagged;
    const ours = String(nextId());
    open.set(ours, { id: own.id ?? "null", progress: tagged?.progress, streamId: stream, isWelcome: false });
    if (uri !== undefined) uris.add(uri);
    return made(withId(tagged?.message ?? own, ours));
  }

  function notification(message: Message): Message | JsonRpcError | undefined {
    const named = namingNoTask(message);
    if ("code" in named) return named;
    const { text, bytes, method, params } = named;
    if (method !== "notifications/cancelled" && method !== "notifications/progress") return named;
    const key = method === "notifications/cancelled" ? "requestId" : "progressToken";
    if (areAmbiguous(membersIn(text, params), [key])) return ambiguous;
    const at = memberOf(text, params, key);
    const said = tokenAt(text, at);
    if (at === undefined || said === undefined) return undefined;
    if (method === "notifications/progress") return [...asked.values()].some(({ token }) => token === said) ? named : undefined;
    const [ours] = [...open].find(([, one]) => one.id === said && !one.isWelcome) ?? [];
    return ours === undefined ? undefined : made(spliced(bytes, [{ at, text: ours }]));
  }

  function answered(message: Message): Buffer | undefined {
    const ours = message.id ?? "null";
    const request = open.get(ours);
    if (request === undefined) return undefined;
    open.delete(ours);
    return request.isWelcome ? withoutTasks(message.bytes) : withId(message, request.id);
  }

  function told(message: Message, isAlone: boolean): Buffer | undefined {
    const { text, bytes, method = "", params } = message;
    if (listChanges.has(method)) return bytes;
    if (taskNotifications.has(method)) return undefined;
    switch (method) {
      case "notifications/resources/updated":
        return isWithin(uriOf(message), uris) ? bytes : undefined;
      case "notifications/cancelled": {
        const id = tokenAt(text, memberOf(text, params, "requestId"));
        return id !== undefined && asked.delete(id) ? bytes : undefined;
      }
      case "notifications/progress":
        return ofProgress(
          message,
          [...open.values()].map(({ progress }) => progress),
        );
    }
    return isAlone ? undefined : bytes;
  }

  return {
    out(message, stream) {
      if (message.kind === "notification") return notification(message);
      if (message.kind === "response") {
        if (areAmbiguous(message.members)) return ambiguous;
        return asked.delete(message.id ?? "null") ? message : undefined;
      }
      if (message.method === "resources/unsubscribe" && !areAmbiguous(message.members)) {
        // At the server the subscription is everybody's.
        uris.delete(uriOf(message) ?? "");
        return { answer: Buffer.from(`{"jsonrpc":"2.0","id":${message.id ?? "null"},"result":{}}`) };
      }
      return request(message, stream);
    },

    in(bytes, streamId) {
      const message = readMessage(bytes);
      if (message === undefined) return undefined;
      if (message.kind === "response") return answered(message);
      if (message.kind === "notification") return told(message, streamId === undefined);
      const id = message.id ?? "null";
      if (streamId === undefined && message.method !== "ping") return { decline: made(errorAnswer(id, nobodyMeant)) };
      asked.set(id, { token: progressTokenOf(message), streamId });
      return bytes;
    },

    over(stream) {
      for (const those of [open, asked]) for (const [id, one] of those) if (one.streamId === stream) those.delete(id);
    },
  };
}

const nobodyMeant: JsonRpcError = { code: errorCodes.failed, message: "Nobody knows which client is asked." };

function uriOf({ text, params }: Message): string | undefined {
  return stringAt(text, memberOf(text, params, "uri"));
}
