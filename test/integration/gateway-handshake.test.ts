import { createServer, type RequestListener } from "node:http";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { afterEach, describe, expect, test } from "vitest";
import type { ServerProcess } from "../../dtma/src/docker/server-process.ts";
import { handshake } from "../../dtma/src/gateway/servers/handshake.ts";
import { freePort } from "../fixtures/free-port.ts";
import {
  everythingServer,
  fixtureServer,
  type LocalServer,
  startHttpEverything,
  startHttpFixture,
} from "../fixtures/mcp-servers/local-process.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const never = new AbortController().signal;
const options = { deadlineMs: 10_000, signal: never };

test("finds the revision and the tools of a server, and leaves no process", async () => {
  const local = everythingServer();
  const found = await handshake(local.endpoint, options);
  expect(found.protocolVersion).toBe("2025-11-25");
  expect(found.tools.find((tool) => tool.name === "echo")).toMatchObject({ inputSchema: { type: "object" } });
  expect(local.alive()).toEqual([]);
});

test("reads every page of the tools", async () => {
  const { tools } = await handshake(fixtureServer("probe.mjs").endpoint, options);
  expect(tools.map((tool) => tool.name)).toEqual(["raw", "secret", "secret-two", "big"]);
});

test("a server without the tools capability has none", async () => {
  expect(await handshake(fixtureServer("probe.mjs", "--no-tools").endpoint, options)).toMatchObject({ tools: [] });
});

test("a process that ignores the end of its input is ended", async () => {
  const local = fixtureServer("probe.mjs", "--ignore-stdin-end");
  await handshake(local.endpoint, options);
  expect(local.alive()).toEqual([]);
});

test("a server that exits says so with its last lines", async () => {
  const local = fixtureServer("exits-at-once.mjs");
  const failure = await handshake(local.endpoint, options).catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: "SERVER_EXITED", message: "The server ended with exit code 3 before it answered." });
  const { output } = failure as { output: string };
  expect(output.endsWith("The variable API_KEY is not set.")).toBe(true);
  expect(output.startsWith("earlier line\n")).toBe(true);
  expect(Buffer.byteLength(output)).toBeLessThanOrEqual(4_096);
  expect(local.alive()).toEqual([]);
});

test("a silent server is given up at the deadline", async () => {
  const local = fixtureServer("silent.mjs");
  await expect(handshake(local.endpoint, { deadlineMs: 400, signal: never })).rejects.toMatchObject({
    code: "SERVER_SILENT",
    output: "waiting for something else",
  });
  expect(local.alive()).toEqual([]);
});

test("a cancelled handshake ends its process", async () => {
  const local = fixtureServer("silent.mjs");
  const cancel = new AbortController();
  const shaking = handshake(local.endpoint, { deadlineMs: 10_000, signal: cancel.signal });
  setTimeout(() => cancel.abort(), 100);
  await expect(shaking).rejects.toMatchObject({ code: "CANCELLED" });
  expect(local.alive()).toEqual([]);
  await expect(handshake(local.endpoint, { deadlineMs: 10_000, signal: cancel.signal })).rejects.toMatchObject({
    code: "CANCELLED",
  });
  expect(local.started()).toBe(1);
});

test("a process that opens only after the deadline is ended", async () => {
  const local = fixtureServer("silent.mjs");
  let ended = 0;
  const open = async (): Promise<ServerProcess> => {
    await new Promise((resolve) => setTimeout(resolve, 300));
    const process = await local.endpoint.open();
    return { ...process, end: () => process.end().then(() => void ended++) };
  };
  await expect(handshake({ type: "stdio", open }, { deadlineMs: 50, signal: never })).rejects.toMatchObject({
    code: "SERVER_SILENT",
  });
  await expect.poll(() => ended, { timeout: 5_000 }).toBe(1);
});

test("an HTTP server may take its time to listen", async () => {
  const port = await freePort();
  const shaking = handshake({ type: "http", url: `http://127.0.0.1:${port}/mcp` }, options);
  await new Promise((resolve) => setTimeout(resolve, 400));
  const server = await startHttpEverything(port);
  closers.push(() => server.kill());
  expect((await shaking).tools.map((tool) => tool.name)).toContain("echo");
});

test("an HTTP server that never listens, or never answers, is silent", async () => {
  const port = await freePort();
  const endpoint = { type: "http", url: `http://127.0.0.1:${port}/mcp` } as const;
  await expect(handshake(endpoint, { deadlineMs: 400, signal: never })).rejects.toMatchObject({ code: "SERVER_SILENT" });
  const silent = createServer(() => undefined);
  await new Promise<void>((resolve) => silent.listen(port, "127.0.0.1", resolve));
  closers.push(async () => {
    silent.closeAllConnections();
    silent.close();
  });
  await expect(handshake(endpoint, { deadlineMs: 400, signal: never })).rejects.toMatchObject({ code: "SERVER_SILENT" });
});

test("an HTTP server that lets nobody in says so at once, and one that is still starting is asked again", async () => {
  const port = await freePort();
  const statuses = [503, 404, 401];
  const server = createServer(({ method }, response) => {
    response.statusCode = method === "POST" ? (statuses.shift() ?? 500) : 405;
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  closers.push(async () => server.close());
  await expect(handshake({ type: "http", url: `http://127.0.0.1:${port}/mcp` }, options)).rejects.toMatchObject({
    code: "SERVER_SILENT",
    message: "The server refused the MCP handshake: The server refused the message with HTTP status 401.",
  });
  expect(statuses).toEqual([]);
});

describe("which eras a server speaks", () => {
  const speeches = {
    old: { sessions: true, stateless: false },
    new: { sessions: false, stateless: true },
    both: { sessions: true, stateless: true },
  };
  const eras = Object.keys(speeches) as (keyof typeof speeches)[];
  const revisionOf = { old: "2025-11-25", new: "2026-07-28", both: "2025-11-25" };

  test.each(eras)("is found over stdio: %s", async (era) => {
    const local = fixtureServer("eras.mjs", `--era=${era}`);
    const found = await handshake(local.endpoint, options);
    expect(found).toMatchObject({ speech: speeches[era], protocolVersion: revisionOf[era] });
    expect(found.tools.map(({ name }) => name)).toContain("ask-all");
    expect([local.alive(), local.started()]).toEqual([[], 1]);
  });

  test.each(eras)("is found over HTTP: %s", async (era) => {
    const server = await startHttpFixture("eras.mjs", await freePort(), `--era=${era}`);
    closers.push(() => server.kill());
    const found = await handshake({ type: "http", url: server.url }, options);
    expect(found).toMatchObject({ speech: speeches[era], protocolVersion: revisionOf[era] });
    expect(found.tools.map(({ name }) => name)).toContain("ask-all");
  });

  test("is not asked for where it is known, unless the server says otherwise", async () => {
    const said = await listening((request, response) => void answer(request, response));
    const asked: string[] = [];
    async function answer(...[request, response]: Parameters<RequestListener>): Promise<void> {
      const { id, method } = JSON.parse((await text(request)) || "{}");
      asked.push(method);
      const isInitialize = method === "initialize";
      const result = isInitialize
        ? { protocolVersion: "2025-11-25", capabilities: {}, serverInfo: { name: "s", version: "1" } }
        : undefined;
      const body = result === undefined ? { error: { code: -32601, message: "unknown" } } : { result };
      response.writeHead(200, { "content-type": "application/json", ...(isInitialize ? { "mcp-session-id": "s" } : {}) });
      response.end(JSON.stringify({ jsonrpc: "2.0", id: id ?? null, ...body }));
    }
    await handshake({ type: "http", url: said, speech: speeches.old }, options);
    expect(asked.slice(0, 2)).toEqual(["initialize", "notifications/initialized"]);
    asked.length = 0;
    const corrected = await handshake({ type: "http", url: said, speech: speeches.new }, options);
    expect(corrected.speech).toEqual(speeches.old);
  });

  test("a server that dies of the probe is started once more, and spared", async () => {
    const local = scripted((line, say, exit) => {
      if (line.method === "server/discover") exit(1);
      if (line.method === "initialize") say({ id: line.id, result: { protocolVersion: "2025-06-18", capabilities: {} } });
    });
    expect(await handshake(local.endpoint, options)).toMatchObject({ speech: speeches.old, protocolVersion: "2025-06-18" });
    expect(local.started()).toBe(2);
  });

  test("a stateless server that dies of initialize is started once more, and spared", async () => {
    const local = scripted((line, say, exit) => {
      if (line.method === "server/discover") {
        say({ id: line.id, result: { supportedVersions: ["2026-07-28"], capabilities: { tools: {} } } });
      }
      if (line.method === "tools/list")
        say({ id: line.id, result: { tools: [{ name: "one", inputSchema: { type: "object" } }] } });
      if (line.method === "initialize") exit(1);
    });
    const found = await handshake(local.endpoint, options);
    expect(found).toMatchObject({ speech: speeches.new, protocolVersion: "2026-07-28" });
    expect(found.tools.map(({ name }) => name)).toEqual(["one"]);
    expect(local.started()).toBe(2);
  });

  test("a server that says nothing to the probe is initialized; one that answers late is believed", async () => {
    const silent = scripted((line, say) => {
      if (line.method === "initialize") say({ id: line.id, result: { protocolVersion: "2024-11-05", capabilities: {} } });
    });
    expect(await handshake(silent.endpoint, options)).toMatchObject({ speech: speeches.old });
    const late = scripted((line, say) => {
      if (line.method === "server/discover") probe = line.id;
      if (line.method !== "initialize") return;
      say({ id: probe, result: { supportedVersions: ["2026-07-28"], capabilities: {} } });
      say({ id: line.id, error: { code: -32022, message: "Unsupported", data: { supported: ["2026-07-28"] } } });
    });
    let probe: unknown;
    expect(await handshake(late.endpoint, options)).toMatchObject({ speech: speeches.new });
  });

  test("over HTTP a session without an id is none, where the server can do without", async () => {
    const url = await listening(async (request, response) => {
      const { id, method } = JSON.parse((await text(request)) || "{}");
      const results: Record<string, object> = {
        "server/discover": { supportedVersions: ["2026-07-28", "2025-11-25"], capabilities: {} },
        initialize: { protocolVersion: "2025-11-25", capabilities: {}, serverInfo: { name: "s", version: "1" } },
      };
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ jsonrpc: "2.0", id, result: results[method] ?? {} }));
    });
    expect(await handshake({ type: "http", url }, options)).toMatchObject({ speech: speeches.new });
  });

  test("tools whose arguments cannot be repeated in headers are left out over HTTP", async () => {
    const properties = { a: { type: "number", "x-mcp-header": "A" } };
    const url = await listening(async (request, response) => {
      const { id, method } = JSON.parse((await text(request)) || "{}");
      const results: Record<string, object> = {
        "server/discover": { supportedVersions: ["2026-07-28"], capabilities: { tools: {} } },
        "tools/list": {
          tools: [
            { name: "sound", inputSchema: { type: "object" } },
            { name: "odd", inputSchema: { type: "object", properties } },
          ],
        },
      };
      const result = results[method];
      response.writeHead(result === undefined ? 404 : 200, { "content-type": "application/json" });
      const body = result === undefined ? { error: { code: -32601, message: "unknown" } } : { result };
      response.end(JSON.stringify({ jsonrpc: "2.0", id, ...body }));
    });
    const found = await handshake({ type: "http", url }, options);
    expect(found.tools.map(({ name }) => name)).toEqual(["sound"]);
  });
});

async function listening(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(async () => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as { port: number }).port}/mcp`;
}

type Line = { id?: unknown; method?: string };

/** A stdio server that lives in this process. */
function scripted(
  onLine: (line: Line, say: (message: object) => void, exit: (code: number) => void) => void,
): Pick<LocalServer, "endpoint" | "started"> {
  let started = 0;
  async function open(): Promise<ServerProcess> {
    started += 1;
    const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
    const { promise, resolve } = Promise.withResolvers<number>();
    const exit = (code: number): void => {
      stdout.end();
      stderr.end();
      resolve(code);
    };
    const say = (message: object) => void stdout.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
    stdin.on("data", (chunk: Buffer) => {
      for (const line of chunk.toString().split("\n").filter(Boolean)) onLine(JSON.parse(line), say, exit);
    });
    return { stdin, stdout, stderr, exited: promise, end: async () => exit(0) };
  }
  return { endpoint: { type: "stdio", open }, started: () => started };
}
