import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Message, readMessage } from "../messages/json-rpc.ts";
import { createSessionFace } from "./session-face.ts";
import type { UpstreamSink } from "./upstream.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

type Said = {
  id?: number;
  method?: string;
  params?: { _meta?: object; [key: string]: unknown };
  result?: unknown;
  error?: { code: number; message: string };
};

function message(value: object): Message {
  const read = readMessage(Buffer.from(JSON.stringify({ jsonrpc: "2.0", ...value })));
  if (read === undefined) throw new Error("no message");
  return read;
}

/** A face between a client and a server that both are this test. */
async function open({ isHttp = false, capabilities = { tools: {} } as object } = {}) {
  const sent: (Said & { stream: number | undefined; headers?: Record<string, string> })[] = [];
  const cancelled: number[] = [];
  const told: (Said & { stream: number | undefined })[] = [];
  const unanswered: number[] = [];
  let server: UpstreamSink | undefined;
  const face = createSessionFace(
    (sink) => {
      server = sink;
      return {
        async send(messages, stream, headers) {
          for (const { bytes } of messages)
            sent.push({ ...JSON.parse(bytes.toString()), stream, ...(headers === undefined ? {} : { headers }) });
        },
        ...(isHttp ? { cancel: (id: number) => void cancelled.push(id) } : {}),
        ready: () => undefined,
        listen() {},
        setProtocolVersion() {},
        async end() {},
      };
    },
    {
      message(bytes, stream) {
        told.push({ ...JSON.parse(bytes.toString()), stream });
        return undefined;
      },
      unanswered: (stream) => void unanswered.push(stream),
      gone() {},
    },
    { isHttp },
  );
  const answer = (value: object) => {
    server?.message(message(value).bytes, isHttp ? (value as Said).id : undefined);
    return vi.advanceTimersByTimeAsync(0);
  };
  const request = (id: unknown, method: string, params?: object, stream = 5) =>
    face.send([message({ id, method, params })], stream);
  await request("init", "initialize", { protocolVersion: "2025-06-18", capabilities: {} }, 1);
  await answer({ id: 1, result: { supportedVersions: ["2026-07-28"], capabilities } });
  expect(told).toMatchObject([{ id: "init", result: { protocolVersion: "2025-06-18" }, stream: 1 }]);
  told.length = 0;
  sent.length = 0;
  const fail = (id: number) => server?.unanswered(id, { status: 502, error: { code: -32000, message: "broke" } });
  return { face, sent, cancelled, told, unanswered, answer, request, fail };
}

const form = { method: "elicitation/create", params: { message: "Name?" } };

describe("a client with a session in front of a stateless server", () => {
  it("keeps its ids, and the server sees none of them", async () => {
    const { request, answer, sent, told } = await open();
    await request(1, "tools/call", { name: "a" });
    await request("1", "tools/call", { name: "b" }, 6);
    expect(sent.map(({ id, params }) => [id, params?.name])).toEqual([
      [2, "a"],
      [3, "b"],
    ]);
    await answer({ id: 3, result: { of: "b" } });
    await answer({ id: 2, result: { of: "a" } });
    await answer({ id: 1, result: { of: "nobody" } });
    expect(told).toEqual([
      { jsonrpc: "2.0", id: "1", result: { of: "b" }, stream: 6 },
      { jsonrpc: "2.0", id: 1, result: { of: "a" }, stream: 5 },
    ]);
  });

  it("is asked what the server asks, and the request goes again under another id", async () => {
    const { face, request, answer, sent, told } = await open();
    await request(9, "tools/call", { name: "a" });
    await answer({ id: 2, result: { resultType: "input_required", inputRequests: { f: form }, requestState: "s" } });
    expect(told).toEqual([{ jsonrpc: "2.0", id: "dtma-1", ...form, stream: 5 }]);
    await face.send([message({ id: "dtma-1", result: { action: "accept" } })], undefined);
    expect(sent[1]).toMatchObject({
      id: 3,
      method: "tools/call",
      params: { name: "a", inputResponses: { f: { action: "accept" } }, requestState: "s" },
    });
    await answer({ id: 3, result: { resultType: "complete", content: [] } });
    expect(told[1]).toMatchObject({ id: 9, result: { content: [] } });
    await face.send([message({ id: "dtma-1", result: { action: "decline" } })], undefined);
    expect(sent).toHaveLength(2);
  });

  it("that refuses one question is told no more of the others", async () => {
    const { face, request, answer, told, sent } = await open();
    await request(9, "tools/call", { name: "a" });
    await answer({ id: 2, result: { resultType: "input_required", inputRequests: { f: form, g: form } } });
    await face.send([message({ id: "dtma-1", error: { code: -1, message: "never" } })], undefined);
    expect(told.slice(2)).toEqual([
      { jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: "dtma-2" }, stream: 5 },
      { jsonrpc: "2.0", id: 9, error: { code: -1, message: "never" }, stream: 5 },
    ]);
    await face.send([message({ id: "dtma-2", result: {} })], undefined);
    expect(sent).toHaveLength(1);
  });

  it("that cancels is heard by the server, and hears no answer any more", async () => {
    for (const isHttp of [false, true]) {
      const { face, request, answer, sent, told, cancelled } = await open({ isHttp });
      await request(9, "tools/call", { name: "a" });
      await face.send([message({ method: "notifications/cancelled", params: { requestId: 9, reason: "why" } })], undefined);
      if (isHttp) expect(cancelled).toEqual([2]);
      else expect(sent[1]).toMatchObject({ method: "notifications/cancelled", params: { requestId: 2, reason: "why" } });
      await answer({ id: 2, result: {} });
      expect(told).toEqual([]);
    }
  });

  it("that cancels while it is asked, or while the server is not ready, ends that", async () => {
    const { face, request, answer, sent, told } = await open();
    const cancel = () => face.send([message({ method: "notifications/cancelled", params: { requestId: 9 } })], undefined);
    await request(9, "tools/call", { name: "a" });
    await answer({ id: 2, result: { resultType: "input_required", inputRequests: { f: form } } });
    await cancel();
    expect(told[1]).toMatchObject({ method: "notifications/cancelled", params: { requestId: "dtma-1" } });
    await request(9, "tools/call", { name: "a" });
    await answer({ id: 3, result: { resultType: "input_required", requestState: "1" } });
    await answer({ id: 4, result: { resultType: "input_required", requestState: "2" } });
    await cancel();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(sent.map(({ id }) => id)).toEqual([2, 3, 4]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("gets an answer that makes no sense as an error", async () => {
    const { request, answer, told } = await open();
    const results = [
      { resultType: "task" },
      { resultType: "input_required" },
      { resultType: "input_required", inputRequests: { a: { method: "tools/call" } } },
    ];
    for (const [index, result] of results.entries()) {
      await request(index, "tools/call", { name: "a" });
      await answer({ id: index + 2, result });
    }
    expect(told.map(({ id, error }) => [id, error?.code])).toEqual([
      [0, -32000],
      [1, -32000],
      [2, -32000],
    ]);
  });

  it("does not see the errors it cannot know", async () => {
    const { request, answer, told } = await open();
    await request(1, "tools/call", { name: "a" });
    await answer({ id: 2, error: { code: -32021, message: "m", data: { requiredCapabilities: { sampling: {} } } } });
    await request(2, "tools/call", { name: "a" });
    await answer({ id: 3, error: { code: -32601, message: "m" } });
    expect(told).toMatchObject([
      { id: 1, error: { code: -32000, message: "The server needs a client that supports sampling: m" } },
      { id: 2, error: { code: -32601, message: "m" } },
    ]);
  });

  it("is answered by the toolbox where only sessions have a method", async () => {
    const { face, request, told, sent } = await open({ capabilities: { tools: {}, logging: {} } });
    await request(1, "ping");
    await request(2, "logging/setLevel", { level: "warning" });
    await request(3, "logging/setLevel", { level: "loud" });
    await request(4, "resources/subscribe", { uri: "a://" });
    await request(6, "tasks/get", { taskId: "1" });
    await face.send([message({ method: "notifications/roots/list_changed" })], undefined);
    await request(5, "tools/list");
    await face.send([message({ method: "notifications/of/somebody" })], undefined);
    expect(told).toMatchObject([
      { id: 1, result: {} },
      { id: 2, result: {} },
      { id: 3, error: { code: -32602 } },
      { id: 4, error: { code: -32601 } },
      { id: 6, error: { code: -32601 } },
    ]);
    expect(sent.map(({ method }) => method)).toEqual(["tools/list", "notifications/of/somebody"]);
    expect(sent[0]?.params?._meta).toMatchObject({ "io.modelcontextprotocol/logLevel": "warning" });
  });

  it("is told for each request of a batch that there is no answer", async () => {
    const { face, fail, answer, told, unanswered } = await open({ isHttp: true });
    await face.send([message({ id: 1, method: "a" }), message({ id: 2, method: "b" })], 5);
    fail(2);
    await answer({ id: 3, result: {} });
    expect(told).toMatchObject([
      { id: 1, error: { message: "broke" }, stream: 5 },
      { id: 2, result: {}, stream: 5 },
    ]);
    await face.send([message({ id: 3, method: "a" })], 7);
    fail(4);
    expect(unanswered).toEqual([7]);
  });
});

describe("over HTTP", () => {
  const inputSchema = { type: "object", properties: { r: { type: "string", "x-mcp-header": "R" } } };

  it("arguments are in headers once the list of tools is known, and odd tools are not in it", async () => {
    const { request, answer, sent, told } = await open({ isHttp: true });
    await request(1, "tools/list");
    const odd = { name: "odd", inputSchema: { ...inputSchema, "x-mcp-header": "X" } };
    await answer({ id: 2, result: { tools: [{ name: "t", inputSchema }, odd] } });
    expect(told[0]?.result).toEqual({ tools: [{ name: "t", inputSchema }] });
    await request(2, "tools/call", { name: "t", arguments: { r: "eu" } });
    expect(sent[1]?.headers).toEqual({ "mcp-param-r": "eu" });
  });

  it("a mismatch of headers makes the list be read once, all pages of it, and the call go again", async () => {
    const { request, answer, sent, told } = await open({ isHttp: true });
    const mismatch = { code: -32020, message: "Header mismatch" };
    await request(1, "tools/call", { name: "t", arguments: { r: "eu" } });
    await answer({ id: 2, error: mismatch });
    expect(sent[1]).toMatchObject({ id: 3, method: "tools/list" });
    await answer({ id: 3, result: { tools: [], nextCursor: "two" } });
    expect(sent[2]).toMatchObject({ id: 4, method: "tools/list", params: { cursor: "two" } });
    await answer({ id: 4, result: { tools: [{ name: "t", inputSchema }] } });
    expect(sent[3]).toMatchObject({ id: 5, method: "tools/call", headers: { "mcp-param-r": "eu" } });
    await answer({ id: 5, error: mismatch });
    expect(told).toMatchObject([{ id: 1, error: { code: -32000 } }]);
    expect(sent).toHaveLength(4);
  });
});
