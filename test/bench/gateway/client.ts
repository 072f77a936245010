import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { openConnection } from "./http-connection.ts";

/*
The one client for everything that is measured: as little as the protocol allows, so that what is measured is not it.
*/

/** A session that has been initialized. */
export type BenchSession = {
  /** Calls the tool `echo`; rejects unless the answer holds the text. */
  echo(text: string): Promise<void>;
  close(): Promise<void>;
};

export type HttpSession = BenchSession & {
  /** Calls a tool that takes a minute; resolves with the first answer, and rejects when that is no error. */
  hold(): Promise<void>;
};

const protocolVersion = "2025-11-25";
const initialize = {
  jsonrpc: "2.0",
  id: 0,
  method: "initialize",
  params: { protocolVersion, capabilities: {}, clientInfo: { name: "bench", version: "1" } },
};
const initialized = { jsonrpc: "2.0", method: "notifications/initialized" };

const toolCall = (id: number, name: string, args: object) => ({
  jsonrpc: "2.0",
  id,
  method: "tools/call",
  params: { name, arguments: args },
});
const echoCall = (id: number, message: string) => toolCall(id, "echo", { message });
/** A tool of the server that takes as long as one wants. */
export const slowTool = "trigger-long-running-operation";

type Answer = { id?: unknown; result?: { content?: { text?: string }[] }; error?: unknown };

function check(answer: Answer, id: number, text: string): void {
  const said = answer.result?.content?.[0]?.text;
  if (answer.id !== id || !said?.includes(text)) throw new Error(`A wrong answer: ${JSON.stringify(answer).slice(0, 200)}`);
}

/** Over Streamable HTTP, on a connection of its own that is kept. */
export async function openHttp(url: string, headers: Record<string, string> = {}): Promise<HttpSession> {
  const { hostname, port, pathname: path } = new URL(url);
  const connection = await openConnection(hostname, Number(port));
  const common: Record<string, string> = {
    ...headers,
    "content-type": "application/json",
    accept: "application/json, text/event-stream",
  };

  async function post(message: object): Promise<Answer | undefined> {
    const answer = await connection.request("POST", path, common, JSON.stringify(message));
    if (answer.status >= 300) throw new Error(`HTTP ${answer.status}: ${answer.text.slice(0, 200)}`);
    const session = answer.headers.get("mcp-session-id");
    if (session !== undefined) common["mcp-session-id"] = session;
    if (answer.text === "") return undefined;
    const isStream = answer.headers.get("content-type")?.startsWith("text/event-stream");
    return JSON.parse(isStream ? lastData(answer.text) : answer.text);
  }

  let lastId = 0;
  try {
    const answer = await post(initialize);
    if (answer?.result === undefined) throw new Error(`Not initialized: ${JSON.stringify(answer)}`);
    common["mcp-protocol-version"] = protocolVersion;
    await post(initialized);
  } catch (error) {
    connection.close();
    throw error;
  }
  return {
    async echo(text) {
      lastId += 1;
      check((await post(echoCall(lastId, text))) ?? {}, lastId, text);
    },
    async hold() {
      lastId += 1;
      const answer = await post(toolCall(lastId, slowTool, { duration: 60, steps: 1 }));
      if (answer?.error === undefined) throw new Error(`Not an error: ${JSON.stringify(answer)}`);
    },
    async close() {
      await connection.request("DELETE", path, common);
      connection.close();
    },
  };
}

function lastData(events: string): string {
  const from = events.lastIndexOf("data: ") + 6;
  return events.slice(from, events.indexOf("\n", from));
}

/** On the standard streams of a command. */
export async function openCommand([program = "", ...args]: string[]): Promise<BenchSession> {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "ignore"] });
  const waiting = new Map<unknown, (answer: Answer) => void>();
  createInterface({ input: child.stdout }).on("line", (line) => {
    const answer = JSON.parse(line) as Answer;
    waiting.get(answer.id)?.(answer);
    waiting.delete(answer.id);
  });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const send = (message: object) => child.stdin.write(`${JSON.stringify(message)}\n`);
  const ask = (message: { id: number }): Promise<Answer> => {
    const answered = new Promise<Answer>((resolve) => waiting.set(message.id, resolve));
    send(message);
    return Promise.race([
      answered,
      ended.then(() => {
        throw new Error("The command ended.");
      }),
    ]);
  };
  let lastId = 0;
  await ask(initialize);
  send(initialized);
  return {
    async echo(text) {
      lastId += 1;
      check(await ask(echoCall(lastId, text)), lastId, text);
    },
    async close() {
      child.stdin.end();
      await ended;
    },
  };
}
