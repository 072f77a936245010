import { describe, expect, it } from "vitest";
import { createAsker, UnansweredError } from "./asker.ts";
import type { UpstreamSink } from "./upstream.ts";

type Sent = { id?: unknown; method?: string; params?: unknown; result?: unknown; error?: unknown };

/** A server's side that notes what it gets and says what it is told to. */
function open(waits = false) {
  const sent: (Sent & { stream: number | undefined })[] = [];
  const noise: string[] = [];
  let sink: UpstreamSink | undefined;
  const asker = createAsker(
    (given) => {
      sink = given;
      return {
        async send(messages, stream) {
          for (const { bytes } of messages) sent.push({ ...(JSON.parse(bytes.toString()) as Sent), stream });
        },
        ready: () => undefined,
        listen() {},
        setProtocolVersion() {},
        async end() {},
      };
    },
    { waits, onNoise: (bytes) => noise.push(bytes.toString()) },
  );
  const say = (message: unknown) =>
    void sink?.message(Buffer.from(typeof message === "string" ? message : JSON.stringify(message)), undefined);
  return { asker, sent, noise, say, sink: () => sink as UpstreamSink };
}

const failure = (upstreamStatus?: number) => ({
  status: 502,
  error: { code: -32000, message: "there is none" },
  ...(upstreamStatus === undefined ? {} : { upstreamStatus }),
});

describe("a server that is asked by the DTMA itself", () => {
  it("is answered by its own id, whatever else it says meanwhile", async () => {
    const { asker, sent, noise, say } = open();
    const asked = asker.request("tools/list", {});
    say("Listening …");
    say({ jsonrpc: "2.0", method: "notifications/message", params: {} });
    say({ jsonrpc: "2.0", id: 99, result: "of nobody" });
    say({ jsonrpc: "2.0", id: 1, result: { tools: [] } });
    expect(await asked).toEqual({ tools: [] });
    expect(sent).toEqual([{ jsonrpc: "2.0", id: 1, method: "tools/list", params: {}, stream: 1 }]);
    expect(noise).toEqual(["Listening …"]);
  });

  it("has its ping answered, and is told of what is not known here", async () => {
    const { sent, say } = open();
    say({ jsonrpc: "2.0", id: "p", method: "ping" });
    say({ jsonrpc: "2.0", id: 0, method: "roots/list" });
    expect(sent).toMatchObject([
      { id: "p", result: {} },
      { id: 0, error: { code: -32601 } },
    ]);
  });

  it("may refuse, or end without an answer", async () => {
    const { asker, say, sink } = open();
    const refused = asker.request("initialize", {});
    say({ jsonrpc: "2.0", id: 1, error: { code: 1, message: "not like this" } });
    await expect(refused).rejects.toMatchObject({ name: "RefusedError", message: "not like this" });
    const [one, other] = [asker.request("a", {}), asker.request("b", {})];
    sink().gone(failure());
    for (const asked of [one, other]) await expect(asked).rejects.toBeInstanceOf(UnansweredError);
  });

  it("refuses over HTTP with the status that came along", async () => {
    const { asker, say, sink } = open(true);
    const refused = asker.request("initialize", {});
    say({ jsonrpc: "2.0", id: 1, error: { code: 1, message: "still starting" } });
    sink().unanswered(1, failure(503));
    await expect(refused).rejects.toMatchObject({ name: "RefusedError", message: "still starting", status: 503 });
    const silent = asker.request("initialize", {});
    sink().unanswered(2, failure(401));
    await expect(silent).rejects.toMatchObject({ name: "UnansweredError", status: 401 });
  });
});
