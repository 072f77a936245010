import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ServerEndpoint } from "../../dtma/src/docker/server-process.ts";
import { freePort } from "../fixtures/free-port.ts";
import { connection, type GatewayHost, startGateway } from "../fixtures/mcp-servers/gateway-host.ts";
import { fixtureServer, startHttpFixture } from "../fixtures/mcp-servers/local-process.ts";

/*
Every revision of the protocol towards the client, in front of a server of each era over each transport. What a revision
does not have, its client does not declare; then the server must not be able to ask for it.
*/

const revisions = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"];
const servers = (["stdio", "HTTP"] as const).flatMap((transport) =>
  (["old", "new"] as const).map((era) => ({ transport, era })),
);
/** Processes start slowly on a busy machine. */
const patience = { timeout: 30_000 };
const stateless = "2026-07-28";
const textOf = (result: unknown): string => (result as { content: { text: string }[] }).content[0]?.text ?? "";

describe.each(servers)("a server of the $era era over $transport", ({ transport, era }) => {
  let host: GatewayHost;
  const closers: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    const speech = { sessions: era === "old", stateless: era === "new" };
    let endpoint: ServerEndpoint;
    if (transport === "stdio") {
      const local = fixtureServer("eras.mjs", `--era=${era}`);
      closers.push(async () => expect(local.alive()).toEqual([]));
      endpoint = { ...local.endpoint, speech };
    } else {
      const server = await startHttpFixture("eras.mjs", await freePort(), `--era=${era}`);
      closers.push(() => server.kill());
      endpoint = { type: "http", url: server.url, speech };
    }
    host = await startGateway({ probe: endpoint }, { queueMs: 10_000 });
    host.tokens.set("one", { type: "connection", entry: connection(1) });
    closers.push(() => host.close());
  });
  afterAll(async () => {
    for (const close of closers.reverse()) await close();
    expect(host.faults).toEqual([]);
  });

  describe.each(revisions)("in front of it a client of %s", (revision) => {
    const canElicit = revision >= "2025-06-18";
    let client: Client;
    const updated: string[] = [];
    const call = (name: string, args: Record<string, unknown> = {}) => client.callTool({ name, arguments: args });

    beforeAll(async () => {
      client = new Client(
        { name: "matrix", version: "1" },
        {
          capabilities: { sampling: {}, ...(canElicit ? { elicitation: { form: {} } } : {}) },
          ...(revision === stateless
            ? { versionNegotiation: { mode: { pin: stateless } } }
            : { supportedProtocolVersions: [revision] }),
        },
      );
      client.setRequestHandler("sampling/createMessage", async () => ({
        role: "assistant",
        model: "none",
        content: { type: "text", text: "sampled words" },
      }));
      if (canElicit) {
        client.setRequestHandler("elicitation/create", async () => ({ action: "accept", content: { name: "Ada" } }));
      }
      client.setNotificationHandler("notifications/resources/updated", ({ params }) => void updated.push(params.uri));
      await client.connect(
        new StreamableHTTPClientTransport(host.url, { requestInit: { headers: { authorization: "Bearer one" } } }),
      );
    });
    afterAll(() => client.close());

    test("calls a tool", async () => {
      expect(client.getNegotiatedProtocolVersion()).toBe(revision);
      expect((await client.listTools()).tools.map(({ name }) => name)).toContain("echo");
      expect(textOf(await call("echo", { text: "hä🙂" }))).toBe("hä🙂");
    });

    test("is told of progress", async () => {
      const progress: number[] = [];
      await client.callTool(
        { name: "slow", arguments: { ms: 100, steps: 4 } },
        { onprogress: (one) => progress.push(one.progress) },
      );
      expect(progress).toEqual([1, 2, 3, 4]);
    });

    test("cancels a call, and the server hears of it", async () => {
      const before = Number(textOf(await call("cancelled-count")));
      const stop = new AbortController();
      const never = client.callTool({ name: "never", arguments: {} }, { signal: stop.signal });
      never.catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 200));
      stop.abort();
      await expect(never).rejects.toThrow();
      // A call that may lead to questions is not followed by others in its process once it was cancelled.
      const isReplaced = revision === stateless && transport === "stdio" && era === "old";
      const expected = isReplaced ? 0 : before + 1;
      await expect.poll(async () => Number(textOf(await call("cancelled-count"))), patience).toBe(expected);
    });

    test("answers what the server asks a person", async () => {
      const answer = call("ask-form");
      if (canElicit) expect(textOf(await answer)).toContain("Ada");
      else expect(await answer.then(JSON.stringify, String)).not.toContain("Ada");
    });

    test("answers what the server asks a model", async () => {
      expect(textOf(await call("ask-sampling"))).toContain("sampled words");
    });

    test("hears that a resource has changed", async () => {
      if (revision === stateless) await client.listen({ resourceSubscriptions: ["memo://one"] });
      else await client.subscribeResource({ uri: "memo://one" });
      updated.length = 0;
      await call("touch", { text: revision });
      await expect.poll(() => updated, patience).toContain("memo://one");
      const { contents } = await client.readResource({ uri: "memo://one" });
      expect(contents).toMatchObject([{ text: revision }]);
    });
  });
});
