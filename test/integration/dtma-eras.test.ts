import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Bench, createBench, type DtmaProcess, imageRequest } from "../fixtures/dtma.ts";
import { parts } from "../setup/parts.ts";

/* What a server speaks, from its deploy to the next start of the DTMA. */

describe.skipIf(!parts.docker)("a server that is stateless only", () => {
  let bench: Bench;
  beforeEach(() => {
    bench = createBench();
  });
  afterEach(() => bench.close());

  async function echo(dtma: DtmaProcess, name: string): Promise<unknown> {
    const client = new Client({ name: "test", version: "1" });
    const transport = new StreamableHTTPClientTransport(new URL(`/mcp/servers/${name}/mcp`, dtma.ready.url), {
      requestInit: { headers: { authorization: `Bearer ${dtma.token}` } },
    });
    await client.connect(transport);
    try {
      expect(client.getNegotiatedProtocolVersion()).toBe("2025-11-25");
      return (await client.callTool({ name: "echo", arguments: { text: "hello" } })).content;
    } finally {
      await transport.terminateSession();
      await client.close();
    }
  }

  const hello = [{ type: "text", text: "hello" }];

  /** How often its processes were asked something, since this DTMA has started. */
  async function asked(dtma: DtmaProcess, name: string, what: string): Promise<number> {
    const { body } = await dtma.call("GET", `/v1/servers/${name}/logs`);
    return String(body).split(what).length - 1;
  }

  it("is found out by its deploy, and not again: by sessions, a new container or the next DTMA; one that nobody knows is asked first", async () => {
    const data = await bench.folder();
    const image = await bench.serverImage("stateless.mjs");
    const first = await bench.start({ data });
    expect((await first.perform("PUT", "/v1/servers/one", imageRequest("one", image))).error).toBeUndefined();
    const found = await first.seen("one", ({ health }) => health.state === "ready");
    expect(found).toMatchObject({ health: { protocolVersion: "2026-07-28" }, tools: [{ name: "echo" }] });
    expect(await asked(first, "one", "initialized")).toBe(1);
    expect(await echo(first, "one")).toEqual(hello);
    expect((await first.perform("POST", "/v1/servers/one/restart")).error).toBeUndefined();
    expect(await echo(first, "one")).toEqual(hello);
    expect((await first.perform("PUT", "/v1/servers/two", imageRequest("two", image))).error).toBeUndefined();
    expect(await asked(first, "one", "initialized")).toBe(1);
    expect(await asked(first, "two", "probed")).toBeGreaterThan(0);
    expect(await asked(first, "two", "initialized")).toBe(0);
    await first.kill("SIGTERM");

    const second = await bench.start({ data });
    expect(await echo(second, "one")).toEqual(hello);
    await second.seen("one", ({ health }) => health.state === "ready");
    expect(await asked(second, "one", "probed")).toBeGreaterThan(0);
    expect(await asked(second, "one", "initialized")).toBe(0);
    expect(JSON.parse(await readFile(join(data, "speeches.json"), "utf8"))).toEqual([
      { key: expect.stringMatching(/^sha256:/), speech: { sessions: false, stateless: true } },
    ]);
    await second.kill("SIGTERM");

    const forgetful = await bench.start();
    expect(await echo(forgetful, "one")).toEqual(hello);
    expect(await asked(forgetful, "one", "initialized")).toBe(1);
  });
});
