import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { json } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Bench, createBench, type DtmaProcess, startDtma } from "../fixtures/dtma.ts";

/* Who may call, what is gone, and the calls that need no Docker. */

const noDocker = { DOCKER_HOST: "unix:///nonexistent/docker.sock" };
const routes = [
  ["POST", "/tools"],
  ["POST", "/tools/any/start"],
  ["POST", "/tools/any/stop"],
  ["DELETE", "/tools/any"],
  ["GET", "/tools/status"],
  ["GET", "/status"],
  ["GET", "/system"],
  ["POST", "/mcp/groups"],
  ["DELETE", "/mcp/groups/any"],
  ["GET", "/mcp/health/any"],
  ["POST", "/mcp/servers/any/restart"],
  ["GET", "/mcp/servers/any/logs"],
  ["GET", "/mcp/templates"],
  ["POST", "/mcp/validate"],
  ["GET", "/mcp/status"],
  ["POST", "/restart"],
  ["GET", "/logs"],
  ["POST", "/ssh/execute"],
  ["GET", "/diagnostics/docker"],
  ["GET", "/diagnostics/system"],
  ["GET", "/diagnostics/logs"],
  ["POST", "/redeploy"],
] as const;

describe("the edge towards callers of the agent before", () => {
  let bench: Bench;
  let dtma: DtmaProcess;
  beforeAll(async () => {
    bench = createBench();
    dtma = await bench.start({ env: noDocker });
  });
  afterAll(() => bench.close());

  async function callFrom(localAddress: string, method: string, path: string, authorization?: string) {
    const headers = authorization === undefined ? {} : { authorization };
    const sent = request(new URL(path, dtma.ready.url), { localAddress, method, headers }).end();
    const [response] = (await once(sent, "response")) as [IncomingMessage];
    return { status: response.statusCode ?? 0, body: await json(response) };
  }
  const call = (method: string, path: string, authorization?: string) => callFrom("127.0.0.1", method, path, authorization);

  it("asks for the token on every route, in the words of before", async () => {
    const missing = { status: 401, body: { error: "Unauthorized: Missing or invalid token format" } };
    const wrong = { status: 403, body: { error: "Forbidden: Invalid token" } };
    for (const [index, [method, path]] of routes.entries()) {
      // Each from an address of its own, for none of them to be slowed down.
      const from = `127.0.${index + 1}.1`;
      expect([method, path, await callFrom(from, method, path)]).toEqual([method, path, missing]);
      expect([method, path, await callFrom(from, method, path, `Basic ${dtma.token}`)]).toEqual([method, path, missing]);
      const guessed = await callFrom(from, method, path, "Bearer not-the-token-of-it");
      expect([method, path, guessed]).toEqual([method, path, wrong]);
    }
  });

  it("slows down who guesses tokens there", async () => {
    const statuses: number[] = [];
    for (let attempt = 0; attempt < 12; attempt += 1) {
      statuses.push((await callFrom("127.1.1.1", "GET", "/tools/status", `Bearer wrong-token-number-${attempt}`)).status);
    }
    expect(statuses).toEqual([...Array(10).fill(403), 429, 429]);
    expect((await dtma.call("GET", "/tools/status")).status).toBe(200);
  });

  it("answers 404 for what does not exist, and in its own words below /v1", async () => {
    for (const path of ["/nothing", "/tools", "/tools/any", "/mcp/health"]) {
      expect(await dtma.call("GET", path)).toEqual({ status: 404, body: { error: "Not Found" } });
      expect(await call("GET", path)).toEqual({ status: 404, body: { error: "Not Found" } });
    }
    expect(await dtma.call("GET", "/v1/nothing")).toMatchObject({ status: 404, body: { error: { code: "NOT_FOUND" } } });
    expect(await call("GET", "/v1/nothing")).toMatchObject({ status: 401 });
  });

  it("has no shell, no diagnostics and no redeploy: 410 with a sentence, by any method", async () => {
    for (const [method, path] of [
      ["POST", "/ssh/execute"],
      ["GET", "/ssh/execute"],
      ["GET", "/diagnostics/docker"],
      ["GET", "/diagnostics/logs?lines=1;id"],
      ["GET", "/diagnostics/system"],
      ["POST", "/redeploy"],
      ["GET", "/redeploy"],
    ] as const) {
      const answer = await dtma.call(method, path, method === "POST" ? { command: "id", timeout: 1 } : undefined);
      expect([path, answer]).toEqual([path, { status: 410, body: { error: expect.stringMatching(/^Gone: .+\.$/) } }]);
    }
  });

  it("speaks no plain HTTP but where it was asked to, on loopback", async () => {
    const token = randomUUID();
    const secure = await startDtma(
      [`--data=${await bench.folder()}`, "--config=none", "--port=0", "--host=127.0.0.1"],
      { ...noDocker, DTMA_AUTH_TOKEN: token },
      token,
    );
    try {
      const { port } = new URL(secure.ready.url);
      const plain = request({ host: "127.0.0.1", port, path: "/status", headers: { authorization: `Bearer ${token}` } }).end();
      await expect(once(plain, "response")).rejects.toThrow();
      expect(secure.ready.url).toMatch(/^https:/);
    } finally {
      await secure.kill("SIGTERM");
    }
  });

  it("shows the true last lines of its own log", async () => {
    const { body } = await dtma.call("GET", "/logs");
    const { success, logs } = body as { success: boolean; logs: string[] };
    expect(success).toBe(true);
    const written = dtma.log().trimEnd().split("\n");
    expect(logs).toEqual(written.slice(0, logs.length));
    expect(logs.map((line) => JSON.parse(line).event)).toContain("dtma.ready");
    expect(logs.join("")).not.toContain(dtma.token);
    expect(((await dtma.call("GET", "/logs?lines=1")).body as { logs: string[] }).logs).toHaveLength(1);
  });

  it("answers a restart with 200, then ends for whoever starts it again", async () => {
    const other = await bench.start({ env: { ...noDocker, AGENTOPIA_API_BASE_URL: "https://service.example" } });
    expect((await other.call("GET", "/status")).body).toMatchObject({ environment: { hasApiBaseUrl: true } });
    expect(await other.call("POST", "/restart")).toMatchObject({ status: 200, body: { success: true } });
    const [code] = other.child.exitCode === null ? await once(other.child, "close") : [other.child.exitCode];
    expect(code).toBe(0);
  });

  it("validates servers by the reading that a deploy starts with, and its own templates are valid", async () => {
    const { data } = (await dtma.call("GET", "/mcp/templates")).body as { data: { templates: { server: object }[] } };
    const [good] = data.templates.map(({ server }) => server);
    const servers = [
      ...data.templates.map(({ server }) => server),
      { ...good, instanceNameOnToolbox: "Not Ours" },
      { ...good, instanceNameOnToolbox: "Noted.One", mcpTransportType: "sse", portBindings: { "80/tcp": "8080" } },
      { ...good, baseConfigOverrideJson: { HostConfig: { Privileged: true } } },
      { dockerImageUrl: "only:1" },
      7,
    ];
    const answer = await dtma.call("POST", "/mcp/validate", { servers });
    const line = (instanceName: string, valid: boolean, warnings: number, errors: number) => ({
      instanceName,
      valid,
      warnings: Array(warnings).fill(expect.any(String)),
      errors: Array(errors).fill(expect.any(String)),
    });
    expect(answer).toEqual({
      status: 200,
      body: {
        success: true,
        data: {
          valid: false,
          results: [
            line("my-stdio-server", true, 0, 0),
            line("my-http-server", true, 0, 0),
            line("Not Ours", false, 0, 1),
            line("Noted.One", true, 3, 0),
            line("my-stdio-server", false, 0, 1),
            line("", false, 0, 1),
            line("", false, 0, 1),
          ],
          summary: { total: 7, valid: 3, invalid: 4, withWarnings: 1 },
        },
      },
    });
    expect(await dtma.call("POST", "/mcp/validate", {})).toMatchObject({ status: 400, body: { success: false } });
  });

  it("invents nothing while it has never seen Docker", async () => {
    expect((await dtma.call("GET", "/tools/status")).body).toMatchObject({
      status: "degraded",
      observed_at: null,
      docker: { state: "down" },
      tool_instances: [],
    });
    expect((await dtma.call("GET", "/mcp/health/none")).status).toBe(404);
  });
});
