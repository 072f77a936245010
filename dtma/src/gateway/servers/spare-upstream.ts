import type { ServerProcess } from "../../docker/server-process.ts";
import type { Message } from "../messages/json-rpc.ts";
import { createStdioUpstream } from "./stdio-upstream.ts";
import { toFailure, type Upstream, type UpstreamSink } from "./upstream.ts";

/** Requests that change nothing, so that they can be sent again. */
const harmless: ReadonlySet<string> = new Set([
  "initialize",
  "server/discover",
  "ping",
  "tools/list",
  "prompts/list",
  "resources/list",
]);

/**
 * Connects a session to a process that may have waited for its use. Such a one can have died just before it was handed out:
 * until it has said something, its end is made good once, by a fresh process that is sent the same messages.
 */
export function createProcessUpstream(process: ServerProcess, sink: UpstreamSink, limits: { messageBytes: number }): Upstream {
  const { replace } = process;
  if (replace === undefined) return createStdioUpstream(process, sink, limits);

  let isReplaceable = true;
  let isEnding = false;
  let sent: Message[] = [];
  let replacing: Promise<void> | undefined;
  const settle = (): void => {
    isReplaceable = false;
    sent = [];
  };

  const first = createStdioUpstream(
    process,
    {
      message(bytes, streamId) {
        if (isReplaceable) settle();
        return sink.message(bytes, streamId);
      },
      unanswered: (streamId, failure) => sink.unanswered(streamId, failure),
      gone(failure) {
        if (isReplaceable) void startAnew();
        else if (replacing === undefined) sink.gone(failure);
      },
    },
    limits,
  );
  let current = first;

  function startAnew(): Promise<void> {
    const again = sent;
    settle();
    replacing = (async () => {
      try {
        current = createStdioUpstream(await (replace as () => Promise<ServerProcess>)(), sink, limits);
        if (!isEnding) await current.send(again, undefined);
      } catch (error) {
        sink.gone(toFailure(error));
      }
    })();
    return replacing;
  }

  return {
    async send(messages, streamId) {
      if (replacing !== undefined) await replacing;
      // What a server may have acted upon is not sent to another one.
      if (messages.some(({ kind, method }) => kind === "request" && !harmless.has(method ?? ""))) settle();
      if (!isReplaceable) return current.send(messages, streamId);
      sent.push(...messages);
      try {
        await first.send(messages, streamId);
      } catch (error) {
        if (!isReplaceable && replacing === undefined) throw error;
        await (replacing ?? startAnew());
      }
    },
    ready: () => current.ready(),
    listen() {},
    setProtocolVersion() {},
    async end() {
      isEnding = true;
      settle();
      await replacing;
      await Promise.all(current === first ? [first.end()] : [first.end(), current.end()]);
    },
  };
}
