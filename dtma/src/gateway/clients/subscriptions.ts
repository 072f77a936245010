import { type Envelope, metaKeys } from "../messages/envelope.ts";
import { type Message, memberOf } from "../messages/json-rpc.ts";
import { insertion, rawMember, spliced } from "../messages/splice.ts";
import { isWithin, maxSubscriptions } from "../messages/subscriptions.ts";
import type { Listener, Worker } from "../servers/worker.ts";
import type { AnswerStream } from "./answer-stream.ts";

type ListenFilter = {
  toolsListChanged?: boolean;
  promptsListChanged?: boolean;
  resourcesListChanged?: boolean;
  resourceSubscriptions?: string[];
};

/** Notifications that wait for the acknowledgement of their stream. */
const maxHeld = 1_000;

/** `subscriptions/listen` in front of a server with sessions, until the signal fires. */
export async function listenTo(worker: Worker, stream: AnswerStream, envelope: Envelope, signal: AbortSignal): Promise<void> {
  const filter = filterOf(envelope.message);
  const offered = worker.welcome;
  const offers = (kind: string, ability: string): boolean => {
    if (offered === undefined) return false;
    const { message, result } = offered;
    const known = memberOf(message.text, memberOf(message.text, memberOf(message.text, result, "capabilities"), kind), ability);
    return known !== undefined && message.text.startsWith("true", known.start);
  };
  const granted: ListenFilter = {
    ...(filter.toolsListChanged && offers("tools", "listChanged") ? { toolsListChanged: true } : {}),
    ...(filter.promptsListChanged && offers("prompts", "listChanged") ? { promptsListChanged: true } : {}),
    ...(filter.resourcesListChanged && offers("resources", "listChanged") ? { resourcesListChanged: true } : {}),
  };
  const uris: string[] = [];
  const tagged = `{${JSON.stringify(metaKeys.subscription)}:${envelope.id}}`;
  // Nothing comes before the acknowledgement.
  let held: Buffer[] | undefined = [];
  const tell = (message: Buffer): Promise<void> | undefined => {
    if (held === undefined) return stream.notify(message);
    if (held.length < maxHeld) held.push(message);
    return undefined;
  };
  const listener: Listener = {
    wants: (method, uri) =>
      (granted.toolsListChanged === true && method === "notifications/tools/list_changed") ||
      (granted.promptsListChanged === true && method === "notifications/prompts/list_changed") ||
      (granted.resourcesListChanged === true && method === "notifications/resources/list_changed") ||
      (method === "notifications/resources/updated" && isWithin(uri, uris)),
    onNotification: (message) => tell(withSubscription(message, envelope.id, tagged)),
    onGone: () =>
      void stream.answer(
        Buffer.from(`{"jsonrpc":"2.0","id":${envelope.id},"result":{"resultType":"complete","_meta":${tagged}}}`),
      ),
  };
  signal.throwIfAborted();
  const stop = worker.listen(listener);
  const asked = offers("resources", "subscribe") ? [...new Set(filter.resourceSubscriptions)] : [];
  signal.addEventListener("abort", () => {
    stop();
    for (const uri of asked) worker.unsubscribe(uri);
  });
  await Promise.all(asked.map(async (uri) => (await worker.subscribe(uri)) && uris.push(uri)));
  if (signal.aborted) return;
  stream.isAtWork = true;
  const notifications = JSON.stringify({ ...granted, ...(uris.length > 0 ? { resourceSubscriptions: uris } : {}) });
  const acknowledged = `{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":${tagged},"notifications":${notifications}}}`;
  void stream.notify(Buffer.from(acknowledged));
  for (const message of held ?? []) void stream.notify(message);
  held = undefined;
}

function filterOf(message: Message): ListenFilter {
  const raw = rawMember(message, message.params, "notifications");
  const said = (raw === undefined ? {} : JSON.parse(raw.toString("utf8"))) as Record<string, unknown> | null;
  const uris = Array.isArray(said?.resourceSubscriptions) ? said.resourceSubscriptions : [];
  return {
    toolsListChanged: said?.toolsListChanged === true,
    promptsListChanged: said?.promptsListChanged === true,
    resourcesListChanged: said?.resourcesListChanged === true,
    resourceSubscriptions: uris.filter((uri): uri is string => typeof uri === "string").slice(0, maxSubscriptions),
  };
}

function withSubscription(message: Message, id: string, tagged: string): Buffer {
  const { text, bytes, params } = message;
  if (params === undefined) {
    const end = text.lastIndexOf("}");
    return spliced(bytes, [{ at: { start: end, end }, text: `,"params":{"_meta":${tagged}}` }]);
  }
  const meta = memberOf(text, params, "_meta");
  if (meta !== undefined) return spliced(bytes, insertion(text, meta, [[metaKeys.subscription, id]]));
  return spliced(bytes, insertion(text, params, [["_meta", tagged]]));
}
