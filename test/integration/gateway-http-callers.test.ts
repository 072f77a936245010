import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { describe, expect, onTestFinished, test } from "vitest";
import type { ServerEndpoint } from "../../dtma/src/docker/server-process.ts";
import { statelessRequest } from "../fixtures/mcp-servers/careless.ts";
import { connection, type GatewayHost, openRaw, startGateway } from "../fixtures/mcp-servers/gateway-host.ts";

/*
Servers over HTTP that cannot tell their callers apart: everything of one connection that another one could name there.
*/

type Asked = { id?: number; method?: string; params: { taskId?: string; [key: string]: unknown } };

/** A server that takes member names in any case, as Go's encoding/json does, and the last one of them. */
function asGoReads(raw: string): Asked {
  const members = Object.entries(JSON.parse(raw) as object);
  return { params: {}, ...Object.fromEntries(members.map(([key, value]) => [key.toLowerCase(), value])) };
}

/** A server that has one memory for everybody, behind a gateway with the connections 1 and 2. */
async function serverOf(
  speech: ServerEndpoint["speech"],
  answer: (asked: Asked) => object | undefined,
): Promise<{ host: GatewayHost; got: Asked[] }> {
  const got: Asked[] = [];
  const server = createServer(async (request, response) => {
    if (request.method !== "POST") return void response.writeHead(405).end();
    const asked = asGoReads(await text(request));
    got.push(asked);
    const said = answer(asked);
    if (asked.id === undefined) return void response.writeHead(202).end();
    const result = said ?? { error: { code: -32601, message: "There is no such method." } };
    response.setHeader("content-type", "application/json").end(JSON.stringify({ jsonrpc: "2.0", id: asked.id, ...result }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
  const host = await startGateway({ probe: { type: "http", url, ...(speech === undefined ? {} : { speech }) } });
  onTestFinished(async () => {
    await host.close();
    server.closeAllConnections();
    server.close();
    expect(host.faults).toEqual([]);
  });
  for (const number of [1, 2]) host.tokens.set(`${number}`, { type: "connection", entry: connection(number) });
  return { host, got };
}

const extension = { extensions: { "io.modelcontextprotocol/tasks": {} } };
const relatedTask = { "io.modelcontextprotocol/related-task": { taskId: "the task" } };

/** What a client says that wants another one's task, in all ways that some reader understands. */
const strange = [
  `"method":"resources/templates/list","Method":"tasks/get","params":{"taskId":"the task"}`,
  `"METHOD":"tasks/get","method":"tools/list","params":{"taskId":"the task"}`,
  `"method":"Tasks/get","params":{"taskId":"the task"}`,
  `"method":"tools/list","method":"tasks/get","params":{"taskId":"the task"}`,
  `"method":"tools/call","params":{"name":"x","_meta":{},"_META":${JSON.stringify(relatedTask)}}`,
];

describe("sessions in front of a stateless server", () => {
  const speech = { sessions: false, stateless: true };

  async function opened() {
    const { host, got } = await serverOf(speech, ({ method, params: { taskId } }) => {
      const task = { taskId: "the task", status: "working", ttlMs: null };
      if (method === "server/discover") {
        return { result: { supportedVersions: ["2026-07-28"], capabilities: { tools: {}, ...extension } } };
      }
      if (method === "tools/call") return { result: { resultType: "task", ...task } };
      return { result: { resultType: "complete", ...task, taskId, secret: "SECRET of A" } };
    });
    const { headers, body } = statelessRequest(host, "1", "tools/call", { name: "work" }, extension);
    const made = await fetch(host.url, { method: "POST", headers, body: JSON.stringify(body) });
    expect(await made.text()).toContain('"taskId":"the task"');
    const b = await openRaw(host, "2");
    got.length = 0;
    return { got, b };
  }

  test("reach no task of another connection, however they name it", async () => {
    const { got, b } = await opened();
    const errorOf = async (rest: string) => {
      const answer = await b.post(`{"jsonrpc":"2.0","id":1,${rest}}`);
      return ((await answer.json()) as { error?: { code: number } }).error?.code;
    };
    for (const method of ["tasks/get", "tasks/result", "tasks/cancel", "tasks/update", "tasks/list"]) {
      expect(await errorOf(`"method":"${method}","params":{"taskId":"the task"}`)).toBe(-32601);
    }
    for (const rest of strange) expect(await errorOf(rest), rest).toBeOneOf([-32600, -32601]);
    const meta = JSON.stringify(relatedTask);
    expect(await errorOf(`"method":"tools/call","params":{"name":"x","_meta":${meta}}`)).toBe(-32602);
    expect(got).toEqual([]);
  });

  test("cannot do to it what needs no answer", async () => {
    const { got, b } = await opened();
    const cancelling = `"method":"notifications/mine","Method":"tasks/cancel","Id":1,"params":{"taskId":"the task"}`;
    expect((await b.post(`{"jsonrpc":"2.0",${cancelling}}`)).status).toBe(400);
    expect((await b.post({ jsonrpc: "2.0", method: "tasks/cancel", params: { taskId: "the task" } })).status).toBe(400);
    expect(got).toEqual([]);
    expect((await b.post({ jsonrpc: "2.0", method: "notifications/mine" })).status).toBe(202);
    expect(got).toMatchObject([{ method: "notifications/mine" }]);
  });

  test("hear of no task of another connection", async () => {
    const { got, b } = await opened();
    const notifications = { taskIds: ["the task"], toolsListChanged: true };
    await (await b.post({ jsonrpc: "2.0", id: 1, method: "subscriptions/listen", params: { notifications } })).text();
    expect(got).toMatchObject([{ params: { notifications: { taskIds: [], toolsListChanged: true } } }]);
  });
});
