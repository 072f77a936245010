import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Bench, createBench, type DtmaProcess, imageRequest } from "../fixtures/dtma.ts";
import { firstPid, sessionProcesses } from "../fixtures/session-processes.ts";
import { parts } from "../setup/parts.ts";

const name = "probe";
const openSessions = 6;

type Session = { id: string; call(tool: string): Promise<{ id: unknown; error?: unknown; result?: unknown }> };

const ways = [
  { way: "pipes", isBare: false },
  { way: "streams of the Engine", isBare: true },
];

describe.skipIf(!parts.docker).each(ways)(
  "when processes of sessions behind $way, or their container, are killed",
  ({ isBare }) => {
    let bench: Bench;
    let dtma: DtmaProcess;
    let container: string;

    beforeEach(async () => {
      bench = createBench();
      const image = await bench.serverImage("probe.mjs", { isBare });
      dtma = await bench.start();
      expect((await dtma.perform("PUT", `/v1/servers/${name}`, imageRequest(name, image))).error).toBeUndefined();
      container = `${bench.scope}.${name}`;
    }, 120_000);
    afterEach(() => bench.close());

    function post(body: object, session?: string): Promise<Response> {
      const headers: Record<string, string> = {
        authorization: `Bearer ${dtma.token}`,
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        ...(session === undefined ? {} : { "mcp-session-id": session }),
      };
      const url = new URL(`/mcp/servers/${name}/mcp`, dtma.ready.url);
      return fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
    }

    async function open(): Promise<Session> {
      const params = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "raw", version: "1" } };
      const answer = await post({ jsonrpc: "2.0", id: 0, method: "initialize", params });
      const id = answer.headers.get("mcp-session-id");
      if (answer.status !== 200 || id === null) throw new Error(`No session: ${answer.status} ${await answer.text()}`);
      await answer.text();
      return {
        id,
        async call(tool) {
          const body = { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: tool, arguments: {} } };
          const lines = (await (await post(body, id)).text()).trim().split("\n");
          return JSON.parse(lines.at(-1)?.replace(/^data: /, "") ?? "");
        },
      };
    }

    /** Calls that are never answered by the server, in each session, and what they are answered with after the blow. */
    async function strike(sessions: Session[], blow: () => unknown) {
      const answers = Promise.all(sessions.map((session) => session.call("never")));
      // Long enough that some have become event streams.
      await delay(1_500);
      await blow();
      return await answers;
    }

    it("the open calls of just those sessions are answered, and the next session works at once", async () => {
      const sessions = await Promise.all(Array.from({ length: openSessions }, open));
      const spared = await open();
      const { result } = (await spared.call("pid")) as { result: { content: { text: string }[] } };
      const pid = result.content[0]?.text ?? "";
      const victims = sessionProcesses(await firstPid(container)).filter((host) => pidInside(host) !== pid);
      expect(victims.length).toBeGreaterThanOrEqual(openSessions);
      const answers = await strike(sessions, () => {
        for (const victim of victims) process.kill(victim, "SIGKILL");
      });
      for (const answer of answers) expect(answer).toMatchObject({ id: 1, error: { data: { code: "SERVER_EXITED" } } });
      expect(await spared.call("pid")).toMatchObject({ result });
      expect(await (await open()).call("pid")).toMatchObject({ result: {} });
      for (const { id } of sessions) expect((await post({ jsonrpc: "2.0", id: 2, method: "ping" }, id)).status).toBe(404);
    }, 60_000);

    it("every open call is answered when the container goes, and sessions work once Docker has started it again", async () => {
      const sessions = await Promise.all(Array.from({ length: openSessions }, open));
      const first = await firstPid(container);
      const answers = await strike(sessions, () => process.kill(first, "SIGKILL"));
      for (const answer of answers) expect(answer).toMatchObject({ id: 1, error: { data: { code: expect.any(String) } } });
      await dtma.seen(name, (server) => server.container.state === "running" && server.sessions === 0);
      for (;;) {
        const again = await open().catch(() => undefined);
        if (again === undefined) await delay(100);
        else {
          expect(await again.call("pid")).toMatchObject({ result: {} });
          break;
        }
      }
    }, 60_000);
  },
);

/** What the process itself takes for its pid. */
function pidInside(pid: number): string | undefined {
  return /^NSpid:.*\s(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
}
