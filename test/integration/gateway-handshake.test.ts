import { createServer } from "node:http";
import { afterEach, expect, test } from "vitest";
import type { ServerProcess } from "../../dtma/src/docker/server-process.ts";
import { handshake } from "../../dtma/src/gateway/handshake.ts";
import { everythingServer, fixtureServer, freePort, startHttpEverything } from "../fixtures/mcp-servers/local-process.ts";

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
  const server = createServer((_request, response) => {
    response.statusCode = statuses.shift() ?? 500;
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
