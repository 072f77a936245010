import { execFileSync, spawnSync } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { DtmaEvent } from "../../shared/dtma-protocol.ts";
import { mcpEndpointPath } from "../../shared/dtma-protocol.ts";
import {
  type Bench,
  createBench,
  type DtmaProcess,
  docker,
  everythingRequest,
  inspect,
  processesIn,
} from "../fixtures/dtma.ts";
import { parts } from "../setup/parts.ts";

const canary = `canary-${randomUUID()}`;

/** One server from its deploy to its deletion; each test goes on where the one before has stopped. */
describe.skipIf(!parts.docker)("a server from npm on a toolbox", () => {
  let bench: Bench;
  let dtma: DtmaProcess;
  let data: string;
  const events: DtmaEvent[] = [];
  const listening = new AbortController();
  const request = everythingRequest("life", {
    environment: { MODE: "plain" },
    secrets: [{ name: "API_KEY", variable: "SERVICE_KEY", required: true }],
    permissions: {
      volumes: [
        { name: "notes", path: "/notes" },
        { name: "data", path: "/data" },
      ],
    },
  });

  beforeAll(async () => {
    bench = createBench();
    data = await bench.folder();
    dtma = await bench.start({ data });
    void (async () => {
      for await (const event of dtma.events({ stats: true, signal: listening.signal })) events.push(event);
    })().catch(() => {});
  });
  afterAll(async () => {
    listening.abort();
    await bench.close();
  });

  const containerId = async () => (await dtma.seen("life", () => true)).container.id;

  async function client(token: string): Promise<Client> {
    const mcp = new Client({ name: "test", version: "1" });
    const url = new URL(mcpEndpointPath("life"), dtma.ready.url);
    await mcp.connect(
      new StreamableHTTPClientTransport(url, { requestInit: { headers: { authorization: `Bearer ${token}` } } }),
    );
    return mcp;
  }

  it("is refused without its required secret, by name and before anything is made", async () => {
    const answer = await dtma.call("PUT", "/v1/servers/life", request);
    expect(answer).toMatchObject({ status: 400, body: { error: { code: "SECRET_MISSING", field: "secretValues.API_KEY" } } });
  });

  it("is deployed: fetched, built, created, started, and ready only by its handshake", async () => {
    const deploy = dtma.begin("PUT", "/v1/servers/life", { ...request, secretValues: { API_KEY: canary } });
    const operationId = await deploy;
    expect(await dtma.call("POST", "/v1/servers/life/stop")).toMatchObject({ status: expect.toBeOneOf([404, 409]) });
    const ended = await dtma.ended(operationId);
    expect(ended.error).toBeUndefined();
    expect(ended.steps.map(({ id, state }) => `${id} ${state}`)).toEqual(
      ["fetch", "build", "create", "start", "handshake", "tools"].map((id) => `${id} done`),
    );
    const [server] = await dtma.servers();
    expect(server).toMatchObject({ desired: "running", container: { state: "running" }, health: { state: "ready" } });
    expect(server?.tools?.map(({ name }) => name)).toContain("echo");
  });

  it("is hardened", async () => {
    const found = (await inspect(await containerId())) as Record<
      "HostConfig" | "Config" | "NetworkSettings",
      Record<string, unknown>
    >;
    expect(found.HostConfig).toMatchObject({
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges:true"],
      Privileged: false,
      Init: true,
      PidsLimit: 1024,
      Memory: 512 * 2 ** 20,
      MemorySwap: 512 * 2 ** 20,
      NanoCpus: 1e9,
      ReadonlyRootfs: true,
      PortBindings: {},
      RestartPolicy: { Name: "unless-stopped" },
      LogConfig: { Type: "json-file", Config: { "max-size": "10m", "max-file": "3" } },
    });
    expect(found.Config.User).toBe("1000:1000");
    const mounts = (found as unknown as { Mounts: { Source: string }[] }).Mounts.map(({ Source }) => Source);
    expect(mounts.filter((source) => source.includes("docker.sock"))).toEqual([]);
    const status = await docker(
      "exec",
      await containerId(),
      "node",
      "-p",
      "require('fs').readFileSync('/proc/self/status','utf8')",
    );
    expect(status).toMatch(/^CapEff:\t0+$/m);
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);
    const [network] = JSON.parse(await docker("network", "inspect", `dtma.${bench.scope}`));
    expect(network.Options).toMatchObject({ "com.docker.network.bridge.enable_icc": "false" });
  });

  it("cannot reach the metadata address: the firewall has a rule for its bridge", async (context) => {
    if (process.getuid?.() !== 0) return context.skip("not root");
    const [network] = JSON.parse(await docker("network", "inspect", `dtma.${bench.scope}`));
    const bridge = network.Options["com.docker.network.bridge.name"];
    const rules = execFileSync("iptables", ["-w", "-t", "raw", "-S", "PREROUTING"], { encoding: "utf8" });
    expect(rules).toMatch(new RegExp(`-d 169\\.254\\.0\\.0/16 -i ${bridge} .*-j DROP`));
    const { body } = await dtma.call("GET", "/v1/info");
    expect(body).toMatchObject({ hardeningGaps: [] });
  });

  it("can write to its volumes, and nowhere else", async () => {
    const script = `const fs=require("fs");const r=[];for(const f of ["/notes/x","/data/x","/tmp/x","/app/x"])try{fs.writeFileSync(f,"1");r.push(f)}catch{}console.log(r.join())`;
    expect((await docker("exec", await containerId(), "node", "-e", script)).trim()).toBe("/notes/x,/data/x,/tmp/x");
  });

  it("carries calls of a connection, and refuses what its allow-list does not have", async () => {
    const token = randomUUID();
    const connectionId = randomUUID();
    const entry = { connectionId, server: "life", tokenHash: sha256(token), allowedTools: ["echo", "get-env"] };
    expect((await dtma.call("PUT", `/v1/access/${connectionId}`, entry)).status).toBe(204);
    const mcp = await client(token);
    expect((await mcp.listTools()).tools.map(({ name }) => name).sort()).toEqual(["echo", "get-env"]);
    const answer = await mcp.callTool({ name: "echo", arguments: { message: "hello" } });
    expect(JSON.stringify(answer.content)).toContain("hello");
    await expect(mcp.callTool({ name: "get-sum", arguments: { a: 1, b: 2 } })).rejects.toThrow();
    await dtma.seen("life", ({ sessions }) => sessions === 1);
    await mcp.close();

    const stranger = client(randomUUID());
    await expect(stranger).rejects.toThrow();
    expect((await dtma.call("DELETE", `/v1/access/${connectionId}`)).status).toBe(204);
    await expect(client(token)).rejects.toThrow();
  });

  it("has its secret as a file and as a variable, and the secret is nowhere else", async () => {
    const mcp = await client(dtma.token);
    const environment = JSON.stringify((await mcp.callTool({ name: "get-env", arguments: {} })).content);
    await mcp.close();
    expect(environment).toContain(canary);
    expect(environment).toContain("SERVICE_KEY");
    const file = await docker(
      "exec",
      await containerId(),
      "node",
      "-p",
      "require('fs').readFileSync('/run/secrets/API_KEY','utf8')",
    );
    expect(file.trim()).toBe(canary);

    expect(JSON.stringify(await inspect(await containerId()))).not.toContain(canary);
    expect(JSON.stringify(events)).not.toContain(canary);
    expect(dtma.log()).not.toContain(canary);
    for (const entry of await readdir(data, { recursive: true, withFileTypes: true })) {
      const { name } = entry;
      // A pipe of a process that is being started holds whoever reads it.
      if (!entry.isFile() || name === "API_KEY") continue;
      const content = await readFile(join(entry.parentPath, name), "utf8").catch(() => "");
      expect([name, content.includes(canary)]).toEqual([name, false]);
    }
  });

  it("tells its load every second and its changes at once", async () => {
    await expect
      .poll(() => events.find((event) => event.type === "stats" && "life" in event.servers), { timeout: 20_000 })
      .toBeTruthy();
    expect(events[0]?.type).toBe("snapshot");
    await expect.poll(() => events.filter(({ type }) => type === "heartbeat").length, { timeout: 20_000 }).toBeGreaterThan(0);
    const load = events
      .flatMap((event) => (event.type === "stats" ? [event.servers.life] : []))
      .find((one) => one !== undefined);
    expect(load?.memoryBytes).toBeGreaterThan(1_000_000);
    expect(load?.memoryLimitBytes).toBe(512 * 2 ** 20);
  });

  it("has logs with times and streams, also of its sessions, once and followed", async () => {
    const { body } = await dtma.call("GET", "/v1/servers/life/logs?tail=5");
    const lines = String(body).trim().split("\n");
    expect(JSON.parse(lines[0] ?? "{}")).toMatchObject({ stream: "stderr", text: "Starting default (STDIO) server..." });
    const greetings = lines.filter((line) => line.includes("Starting default"));
    const { stderr } = spawnSync("docker", ["logs", await containerId()], { encoding: "utf8" });
    expect(greetings.length).toBeGreaterThan(stderr.split("Starting default").length - 1);
    const following = new AbortController();
    const response = await fetch(new URL("/v1/servers/life/logs?tail=1&follow=1", dtma.ready.url), {
      headers: { authorization: `Bearer ${dtma.token}` },
      signal: following.signal,
    });
    const reader = response.body?.getReader();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toContain("STDIO");
    following.abort();
  });

  it("stops, starts and restarts, with what is desired kept on the container", async () => {
    const mcp = await client(dtma.token);
    expect(await dtma.perform("POST", "/v1/servers/life/stop")).toMatchObject({ state: "succeeded" });
    expect((await dtma.servers())[0]).toMatchObject({
      desired: "stopped",
      container: { state: "exited" },
      health: { state: "unknown" },
      sessions: 0,
    });
    await mcp.close().catch(() => {});
    expect(await dtma.perform("POST", "/v1/servers/life/stop")).toMatchObject({ state: "succeeded" });
    expect(await dtma.perform("POST", "/v1/servers/life/start")).toMatchObject({ state: "succeeded" });
    const [started] = await dtma.servers();
    expect(started).toMatchObject({ desired: "running", container: { state: "running" }, health: { state: "ready" } });
    expect(await dtma.perform("POST", "/v1/servers/life/restart")).toMatchObject({ state: "succeeded" });
    const [restarted] = await dtma.servers();
    expect(restarted?.container.startedAt).toBeGreaterThan(started?.container.startedAt ?? 0);
    expect(restarted?.health.state).toBe("ready");
  });

  it("is managed in the same way by a DTMA with an empty data folder, and leaves no session process behind", async () => {
    const mcp = await client(dtma.token);
    const id = await containerId();
    // Two of the container itself, the session's, and perhaps a spare.
    expect((await processesIn(id)).filter((line) => line.includes("server-everything")).length).toBeGreaterThanOrEqual(3);
    await dtma.kill("SIGKILL");
    await mcp.close().catch(() => {});
    const before = request.serverId;
    const other = await bench.start();
    const server = await other.seen("life", ({ health }) => health.state === "ready");
    expect(server).toMatchObject({ serverId: before, container: { id }, desired: "running" });
    expect((await processesIn(id)).filter((line) => line.includes("server-everything"))).toHaveLength(2);
    expect(await other.perform("POST", "/v1/servers/life/stop")).toMatchObject({ state: "succeeded" });
    await other.kill("SIGTERM");
    dtma = await bench.start({ data });
    expect((await dtma.servers())[0]).toMatchObject({ desired: "stopped", container: { state: "exited" } });
    expect(await dtma.perform("POST", "/v1/servers/life/start")).toMatchObject({ state: "succeeded" });
  });

  it("is not seen by a DTMA of another scope", async () => {
    const other = await bench.start({ scope: `${bench.scope}-other` });
    expect(await other.servers()).toEqual([]);
    expect(await other.call("DELETE", "/v1/servers/life")).toMatchObject({ status: 404 });
    await other.kill("SIGTERM");
  });

  it("is replaced under the same id and keeps its volumes and secrets; another id may not take its name", async () => {
    const id = await containerId();
    await docker("exec", id, "node", "-e", "require('fs').writeFileSync('/notes/kept','yes')");
    const changed = { ...request, spec: { ...request.spec, environment: { MODE: "changed" } } };
    const foreign = await dtma.call("PUT", "/v1/servers/life", {
      ...changed,
      serverId: randomUUID(),
      secretValues: { API_KEY: "x" },
    });
    expect(foreign).toMatchObject({ status: 409, body: { error: { code: "ALREADY_EXISTS" } } });
    expect((await dtma.perform("PUT", "/v1/servers/life", changed)).error).toBeUndefined();
    const [server] = await dtma.servers();
    expect(server?.container.id).not.toBe(id);
    expect(server?.spec.environment).toEqual({ MODE: "changed" });
    const read =
      "const f=require('fs');console.log(f.readFileSync('/notes/kept','utf8')+f.readFileSync('/run/secrets/API_KEY','utf8'))";
    expect((await docker("exec", server?.container.id ?? "", "node", "-e", read)).trim()).toBe(`yes${canary}`);
    expect((await bench.left()).containers).toHaveLength(1);
  });

  it("leaves nothing when it is deleted", async () => {
    expect(await dtma.perform("DELETE", "/v1/servers/life")).toMatchObject({ state: "succeeded" });
    expect(await dtma.servers()).toEqual([]);
    expect(await bench.left()).toEqual({ containers: [], volumes: [], networks: [], images: [] });
    expect(await readdir(join(data, "secrets"))).toEqual([]);
    expect(await readdir(join(data, "work"))).toEqual([]);
    if (process.getuid?.() === 0) {
      const rules = execFileSync("iptables", ["-w", "-t", "raw", "-S", "PREROUTING"], { encoding: "utf8" });
      expect(rules).not.toContain(`dtma-${createHash("sha256").update(bench.scope).digest("hex").slice(0, 10)}`);
    }
    expect(await dtma.call("DELETE", "/v1/servers/life")).toMatchObject({ status: 404 });
  });
});

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
