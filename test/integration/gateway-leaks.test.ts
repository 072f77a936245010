import { createHash } from "node:crypto";
import { Agent, request } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Bench, createBench, type DtmaProcess, imageRequest, inspect, processesIn } from "../fixtures/dtma.ts";
import { parts } from "../setup/parts.ts";

/*
The leak budget of the MCP endpoint, counted where a leak would show: processes in the container, execs known to Docker,
open files of the DTMA (its sockets among them) and its heap.
*/

const sessions = 1_000;
const atOnce = 24;
const name = "probe";
const path = `/mcp/servers/${name}/mcp`;
/** Of a thousand sessions: three kilobytes each would not go through. */
const heapBudget = 3 * 2 ** 20;
/** What the DTMA opens and closes for itself, as its event stream of Docker. */
const filesBudget = 4;

type Holding = { processes: number; execs: number; files: number };
type Answer = { status: number; session: string | undefined; text: string };

describe.skipIf(!parts.docker)("a thousand sessions, opened and abandoned in every way", () => {
  let bench: Bench;
  beforeEach(() => {
    bench = createBench();
  });
  afterEach(() => bench.close());

  it("leave no process, no exec, no socket and no memory behind", async () => {
    const image = await bench.serverImage("probe.mjs");
    const program = fileURLToPath(new URL("../fixtures/dtma-measured.ts", import.meta.url));
    const flags = [
      "--sessions=64",
      "--connection-sessions=64",
      "--queue-seconds=60",
      "--idle-seconds=2",
      "--changes-per-minute=100000",
    ];
    const dtma = await bench.start({ program, flags });
    const spec = { permissions: { memoryBytes: 8 * 2 ** 30, cpus: 2, pids: 8_192 } };
    expect((await dtma.perform("PUT", `/v1/servers/${name}`, imageRequest(name, image, spec as never))).error).toBeUndefined();
    const container = `${bench.scope}.${name}`;
    const client = createClient(dtma);

    async function holding(): Promise<Holding & { heap: number }> {
      const { heap, files } = await measured(dtma);
      const { ExecIDs } = (await inspect(container)) as { ExecIDs: string[] | null };
      return { heap, files, processes: (await processesIn(container)).length, execs: ExecIDs?.length ?? 0 };
    }
    /** Once nothing is open any more, and the spare is there. */
    async function atRest(): Promise<Holding & { heap: number }> {
      await dtma.seen(name, (server) => server.sessions === 0);
      client.cutAll();
      for (let before = await holding(); ; ) {
        await delay(1_500);
        const now = await holding();
        const isStill = now.execs === 1 && now.processes === before.processes && now.files === before.files;
        if (isStill) return now;
        before = now;
      }
    }

    // Whatever is loaded or compiled at its first use is there before it counts.
    await abandonAll(client, 10 * client.ways.length);
    const before = await atRest();
    await abandonAll(client, sessions);
    const after = await atRest();
    expect([after.processes, after.execs]).toEqual([before.processes, before.execs]);
    expect(after.files - before.files).toBeLessThan(filesBudget);
    expect(after.heap - before.heap).toBeLessThan(heapBudget);
    expect(dtma.log()).not.toContain("not-ended");
  }, 600_000);
});

async function abandonAll(client: ReturnType<typeof createClient>, count: number): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await client.ways[next++ % client.ways.length]?.();
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

async function measured(dtma: DtmaProcess): Promise<{ heap: number; files: number }> {
  const from = dtma.log().length;
  dtma.child.kill("SIGUSR2");
  for (;;) {
    const [, heap, files] = /^holds (\d+) (\d+)$/m.exec(dtma.log().slice(from)) ?? [];
    if (files !== undefined) return { heap: Number(heap), files: Number(files) };
    await delay(20);
  }
}

/** A client that can leave in the middle of anything. */
function createClient(dtma: DtmaProcess) {
  const agent = new Agent({ keepAlive: true, maxSockets: 256 });
  const { hostname, port } = new URL(dtma.ready.url);
  const params = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "leaver", version: "1" } };
  const initialize = { jsonrpc: "2.0", id: 0, method: "initialize", params };
  const call = (tool: string, more = {}) => ({
    jsonrpc: "2.0",
    id: 1,
    method: "tools/call",
    params: { name: tool, arguments: {}, ...more },
  });
  let connections = 0;

  /** Undefined when it was cut before it was answered, by us after a while or by the other end. */
  function send(method: string, token: string, session: string | undefined, body?: object, cutMs?: number) {
    return new Promise<Answer | undefined>((resolve) => {
      const headers = {
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        ...(session === undefined ? {} : { "mcp-session-id": session }),
      };
      const sent = request({ hostname, port, path, method, headers, agent }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => {
          text += chunk;
        });
        response.on("end", () => {
          const id = response.headers["mcp-session-id"];
          resolve({ status: response.statusCode ?? 0, session: typeof id === "string" ? id : undefined, text });
        });
        response.on("close", () => resolve(undefined));
      });
      sent.on("error", () => resolve(undefined));
      sent.on("close", () => resolve(undefined));
      sent.end(body === undefined ? undefined : JSON.stringify(body));
      if (cutMs !== undefined) setTimeout(() => sent.destroy(), cutMs);
    });
  }

  async function open(token: string): Promise<string> {
    const answer = await send("POST", token, undefined, initialize);
    if (answer?.session === undefined) throw new Error(`No session: ${answer?.status} ${answer?.text}`);
    return answer.session;
  }
  const end = (session: string) => send("DELETE", dtma.token, session);

  async function withConnection(work: (token: string, revoke: () => Promise<unknown>) => Promise<void>): Promise<void> {
    const connectionId = `00000000-0000-4000-8000-${String(++connections).padStart(12, "0")}`;
    const token = `token-of-${connectionId}`;
    const tokenHash = createHash("sha256").update(token).digest("hex");
    // It is answered once the processes of the connection are gone, which takes its time while hundreds are started.
    const change = (method: string, body?: object) =>
      fetch(new URL(`/v1/access/${connectionId}`, dtma.ready.url), {
        method,
        headers: {
          authorization: `Bearer ${dtma.token}`,
          ...(body === undefined ? {} : { "content-type": "application/json" }),
        },
        body: body === undefined ? null : JSON.stringify(body),
      });
    expect((await change("PUT", { connectionId, server: name, tokenHash, allowedTools: null })).status).toBe(204);
    await work(token, async () => expect((await change("DELETE")).status).toBe(204));
  }

  const ways: (() => Promise<void>)[] = [
    async () => void (await end(await open(dtma.token))),
    /** Nobody comes back: it is ended when it has been idle. */
    async () => void (await open(dtma.token)),
    async () => void (await send("POST", dtma.token, undefined, initialize, 5)),
    async () => void (await send("POST", dtma.token, undefined, initialize, 60)),
    async () => void (await send("POST", dtma.token, await open(dtma.token), call("never"), 30)),
    async () => void (await send("GET", dtma.token, await open(dtma.token), undefined, 30)),
    async () => void (await send("POST", dtma.token, await open(dtma.token), call("exit"))),
    /** The call is never answered by the server, and the session is ended over it. */
    async () => {
      const session = await open(dtma.token);
      const calling = send("POST", dtma.token, session, call("never"));
      await end(session);
      expect((await calling)?.text).toContain("error");
    },
    /** Large enough to be on its way still when it is cut. */
    async () =>
      void (await send("POST", dtma.token, await open(dtma.token), call("big", { arguments: { bytes: 4_000_000 } }), 25)),
    () =>
      withConnection(async (token, revoke) => {
        const session = await open(token);
        const [listening] = await Promise.all([send("GET", token, session), revoke()]);
        expect([200, 401, undefined]).toContain(listening?.status);
      }),
  ];
  return { ways, cutAll: () => agent.destroy() };
}
