import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Operation } from "../../shared/model/operation.ts";
import { startDockerProxy } from "../fixtures/docker-proxy.ts";
import {
  type Bench,
  createBench,
  type DtmaProcess,
  docker,
  everythingRequest,
  imageRequest,
  processesIn,
} from "../fixtures/dtma.ts";
import { parts } from "../setup/parts.ts";

const nothing = { containers: [], volumes: [], networks: [], images: [] };
const withRemains = {
  secrets: [{ name: "KEY", required: true }],
  permissions: { volumes: [{ name: "data", path: "/data" }] },
};
const secretValues = { KEY: "value-that-is-kept-nowhere" };

describe.skipIf(!parts.docker)("what goes wrong on a toolbox", () => {
  let bench: Bench;
  beforeEach(() => {
    bench = createBench();
  });
  afterEach(() => bench.close());

  /** What is left of the bench but the images that the test made itself. */
  async function left() {
    const { images: _images, ...rest } = await bench.left();
    return { ...rest, images: [] };
  }

  async function untilStep(dtma: DtmaProcess, id: string, step: string): Promise<Operation> {
    for (;;) {
      const found = await dtma.operation(id);
      if (found.steps.find((candidate) => candidate.id === step)?.state === "running" || found.state !== "running")
        return found;
      await delay(20);
    }
  }

  it("an image or a package that does not exist, and a package that is no server", async () => {
    const dtma = await bench.start();
    const image = await dtma.perform("PUT", "/v1/servers/one", imageRequest("one", "127.0.0.1:9/none/such:1"));
    expect(image).toMatchObject({
      state: "failed",
      error: { code: "IMAGE_PULL_FAILED", output: expect.stringContaining("refused") },
    });
    expect(image.steps[0]).toMatchObject({ id: "fetch", state: "failed" });
    expect(image.steps.at(-1)?.state).toBe("skipped");

    const source = (name: string, version = "latest") => ({ source: { type: "npm" as const, package: name, version } });
    for (const [wanted, code] of [
      [source(`@modelcontextprotocol/no-such-${randomUUID()}`), "PACKAGE_NOT_FOUND"],
      [source("@modelcontextprotocol/server-everything", "0.0.0-none"), "PACKAGE_NOT_FOUND"],
      [source("undici-types"), "PACKAGE_INSTALL_FAILED"],
    ] as const) {
      const ended = await dtma.perform("PUT", "/v1/servers/two", everythingRequest("two", wanted));
      expect([ended.state, ended.error?.code]).toEqual(["failed", code]);
    }
    expect(await dtma.servers()).toEqual([]);
    expect(await bench.left()).toEqual(nothing);
  });

  it("a server that ends at once, with its last words and without the secret in them", async () => {
    const image = await bench.serverImage("exits-at-once.mjs");
    const data = await bench.folder();
    const dtma = await bench.start({ data });
    const request = { ...imageRequest("brief", image, withRemains), secretValues: { KEY: "API_KEY is not" } };
    const ended = await dtma.perform("PUT", "/v1/servers/brief", request);
    expect(ended).toMatchObject({ state: "failed", error: { code: "SERVER_EXITED" } });
    expect(ended.error?.output).toContain("The variable [removed] set.");
    expect(await dtma.servers()).toEqual([]);
    expect(await left()).toEqual(nothing);
    expect(await readdir(join(data, "secrets"))).toEqual([]);
  });

  it("a server that never answers, a deploy that is cancelled, and one that takes too long", async () => {
    const image = await bench.serverImage("silent.mjs");
    const hasty = await bench.start({ flags: ["--answer-seconds=2"] });
    const silent = await hasty.perform("PUT", "/v1/servers/mute", imageRequest("mute", image));
    expect(silent).toMatchObject({
      state: "failed",
      error: { code: "SERVER_SILENT", output: expect.stringContaining("waiting") },
    });
    await hasty.kill("SIGTERM");

    const dtma = await bench.start();
    const request = { ...imageRequest("mute", image, withRemains), secretValues };
    const id = await dtma.begin("PUT", "/v1/servers/mute", request);
    await untilStep(dtma, id, "handshake");
    expect(await dtma.call("POST", "/v1/servers/mute/stop")).toMatchObject({ status: 409 });
    expect(await dtma.call("PUT", "/v1/servers/mute", request)).toMatchObject({
      status: 409,
      body: { error: { code: "CONFLICT" } },
    });
    expect((await dtma.call("DELETE", `/v1/operations/${id}`)).status).toBe(202);
    expect(await dtma.ended(id)).toMatchObject({ state: "cancelled", error: { code: "CANCELLED" } });

    const late = await dtma.perform("PUT", "/v1/servers/mute", { ...request, deadlineMs: 1_500 });
    expect(late).toMatchObject({ state: "failed", error: { code: "DEADLINE_EXCEEDED" } });
    expect(await left()).toEqual(nothing);
  });

  it("a DTMA that is killed in the middle of a deploy: the next start leaves nothing of it", async () => {
    const image = await bench.serverImage("silent.mjs");
    const data = await bench.folder();
    const first = await bench.start({ data });
    const building = await first.begin("PUT", "/v1/servers/built", everythingRequest("built"));
    await untilStep(first, building, "build");
    const id = await first.begin("PUT", "/v1/servers/mute", { ...imageRequest("mute", image, withRemains), secretValues });
    await untilStep(first, id, "handshake");
    await first.kill("SIGKILL");
    expect((await left()).containers).not.toEqual([]);

    const second = await bench.start({ data });
    expect(await second.servers()).toEqual([]);
    expect(await left()).toEqual(nothing);
    expect(await readdir(join(data, "secrets"))).toEqual([]);
    expect(await readdir(join(data, "work")).catch(() => [])).toEqual([]);
  });

  it.each([
    ["beside it", {}],
    ["in its place, because both use its volume", { permissions: { volumes: [{ name: "data", path: "/data" }] } }],
  ])("an update that fails %s goes back to the server as it was", async (_where, spec) => {
    const good = await bench.serverImage("probe.mjs");
    const bad = await bench.serverImage("exits-at-once.mjs");
    const data = await bench.folder();
    const dtma = await bench.start({ data });
    const request = imageRequest("steady", good, spec);
    expect((await dtma.perform("PUT", "/v1/servers/steady", request)).error).toBeUndefined();
    const [before] = await dtma.servers();
    const update = { ...request, spec: { ...request.spec, source: { type: "oci", image: bad } } };
    const failed = await dtma.perform("PUT", "/v1/servers/steady", update);
    expect(failed).toMatchObject({
      state: "failed",
      error: { code: "SERVER_EXITED" },
    });
    const after = await dtma.seen("steady", ({ health }) => health.state === "ready");
    expect(after).toMatchObject({ container: { id: before?.container.id, state: "running" }, image: { reference: good } });

    const silent = await bench.serverImage("silent.mjs");
    const replacing = { ...request, spec: { ...request.spec, source: { type: "oci", image: silent } } };
    await untilStep(dtma, await dtma.begin("PUT", "/v1/servers/steady", replacing), "handshake");
    await dtma.kill("SIGKILL");
    const next = await bench.start({ data });
    const recovered = await next.seen("steady", ({ health }) => health.state === "ready");
    expect(recovered.container).toMatchObject({ id: before?.container.id, state: "running" });
    expect((await bench.left()).containers).toHaveLength(1);
  });

  it("a container that is stopped, restarted, killed and removed behind the DTMA's back", async () => {
    const dtma = await bench.start();
    expect(
      (await dtma.perform("PUT", "/v1/servers/moved", imageRequest("moved", await bench.serverImage("probe.mjs")))).error,
    ).toBeUndefined();
    const { container } = await dtma.seen("moved", () => true);
    await docker("stop", "-t", "2", container.id);
    await dtma.seen(
      "moved",
      (server) => server.container.state === "exited" && server.desired === "running" && server.health.state === "unknown",
    );
    await docker("start", container.id);
    await dtma.seen("moved", ({ health }) => health.state === "ready");
    const server = (await processesIn(container.id)).find(
      (line) => line.includes("probe.mjs") && !line.includes("docker-init"),
    );
    process.kill(Number.parseInt(server?.trim() ?? "", 10), "SIGKILL");
    await dtma.seen("moved", (server) => server.container.restartCount === 1 && server.health.state === "ready");

    const removed = (async () => {
      for await (const event of dtma.events({ stats: false, signal: AbortSignal.timeout(30_000) })) {
        if (event.type === "snapshot") await docker("rm", "-f", container.id);
        if (event.type === "server-removed") return event.name;
      }
    })();
    expect(await removed).toBe("moved");
    expect(await dtma.servers()).toEqual([]);
    expect(await dtma.call("DELETE", "/v1/servers/moved")).toMatchObject({ status: 404 });
  });

  it("Docker that goes away and comes back", async () => {
    const proxy = await startDockerProxy(join(await bench.folder(), "docker.sock"));
    const dtma = await bench.start({ env: { DOCKER_HOST: proxy.host } });
    const image = await bench.serverImage("probe.mjs");
    expect((await dtma.perform("PUT", "/v1/servers/kept", imageRequest("kept", image))).error).toBeUndefined();
    const mute = await bench.serverImage("silent.mjs");
    const id = await dtma.begin("PUT", "/v1/servers/mute", imageRequest("mute", mute));
    await untilStep(dtma, id, "handshake");

    await proxy.down();
    const cut = await dtma.ended(id);
    expect(cut).toMatchObject({ state: "failed", error: { code: "DOCKER_UNAVAILABLE" } });
    const condition = async () => ((await dtma.call("GET", "/v1/info")).body as { docker: { state: string } }).docker;
    await expect.poll(condition, { timeout: 20_000 }).toMatchObject({ state: "down" });
    expect((await dtma.servers()).map(({ spec }) => spec.name)).toEqual(["kept"]);
    expect(await dtma.call("POST", "/v1/servers/kept/stop")).toMatchObject({
      status: 503,
      body: { error: { code: "DOCKER_UNAVAILABLE" } },
    });

    const { container } = await dtma.seen("kept", () => true);
    await docker("restart", "-t", "1", container.id);
    await proxy.up();
    await expect.poll(condition, { timeout: 20_000 }).toMatchObject({ state: "up" });
    await dtma.seen(
      "kept",
      ({ health, container: { startedAt } }) => health.state === "ready" && startedAt !== container.startedAt,
    );
    await expect.poll(async () => (await bench.left()).containers.length, { timeout: 20_000 }).toBe(1);
    await dtma.kill("SIGTERM");
    await proxy.down();
  });

  it("a server over HTTP, its container's port published nowhere", async () => {
    const dtma = await bench.start();
    const image = await bench.serverImage("probe-http.mjs");
    const request = imageRequest("web", image, {
      transport: { type: "http", port: 8080, path: "/mcp" },
      environment: { PORT: "8080", HOST: "0.0.0.0" },
    });
    const ended = await dtma.perform("PUT", "/v1/servers/web", request);
    expect(ended.error).toBeUndefined();
    expect((await dtma.servers())[0]?.tools?.length).toBeGreaterThan(0);
    expect((await docker("port", `${bench.scope}.web`)).trim()).toBe("");
    const closed = { ...request, spec: { ...request.spec, permissions: { network: "none" } } };
    expect(await dtma.call("PUT", "/v1/servers/web", closed)).toMatchObject({
      status: 400,
      body: { error: { field: "spec.permissions.network" } },
    });
  });

  it("permissions that are never given", async () => {
    const dtma = await bench.start();
    for (const path of ["/run/secrets", "/data/../proc", "/"]) {
      const request = imageRequest("greedy", "any:1", {
        permissions: { volumes: [{ name: "x", path: path === "/" ? "/." : path }] },
      });
      expect(await dtma.call("PUT", "/v1/servers/greedy", request)).toMatchObject({
        status: 400,
        body: { error: { code: "PERMISSION_REFUSED", field: "spec.permissions.volumes.0.path" } },
      });
    }
  });

  it("a server without a network has none", async () => {
    const dtma = await bench.start();
    const image = await bench.serverImage("probe.mjs");
    expect(
      (await dtma.perform("PUT", "/v1/servers/alone", imageRequest("alone", image, { permissions: { network: "none" } })))
        .error,
    ).toBeUndefined();
    const interfaces = await docker(
      "exec",
      `${bench.scope}.alone`,
      "node",
      "-p",
      "Object.keys(require('os').networkInterfaces()).join()",
    );
    expect(interfaces.trim()).toBe("lo");
  });

  it("a session whose process ignores the end: nothing of it is left once the session is over", async () => {
    const dtma = await bench.start({ env: { DTMA_SPARES: "0" } });
    const image = await bench.serverImage("probe.mjs", { args: ["--ignore-stdin-end"] });
    expect((await dtma.perform("PUT", "/v1/servers/deaf", imageRequest("deaf", image))).error).toBeUndefined();
    const container = `${bench.scope}.deaf`;
    const idle = await processesIn(container);
    const headers = {
      authorization: `Bearer ${dtma.token}`,
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
    };
    const url = new URL("/mcp/servers/deaf/mcp", dtma.ready.url);
    const params = { protocolVersion: "2025-06-18", capabilities: {}, clientInfo: { name: "t", version: "1" } };
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "initialize", params });
    const opened = await fetch(url, { method: "POST", headers, body });
    await opened.text();
    expect(await processesIn(container)).toHaveLength(idle.length + 1);
    const session = opened.headers.get("mcp-session-id") ?? "";
    await fetch(url, { method: "DELETE", headers: { ...headers, "mcp-session-id": session } });
    await expect.poll(() => processesIn(container), { timeout: 20_000 }).toHaveLength(idle.length);
  });

  it("what a killed DTMA had begun and cannot be finished: it is told, and nothing else waits for it", async () => {
    const data = await bench.folder();
    const dtma = await bench.start({ data });
    const image = await bench.serverImage("probe.mjs");
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const { port } = taken.address() as AddressInfo;
    await new Promise<void>((resolve) => taken.close(() => resolve()));
    const permissions = { ports: [{ container: 8080, host: port }] };
    expect((await dtma.perform("PUT", "/v1/servers/off", imageRequest("off", image, { permissions }))).error).toBeUndefined();
    expect((await dtma.perform("PUT", "/v1/servers/on", imageRequest("on", image))).error).toBeUndefined();
    expect((await dtma.perform("POST", "/v1/servers/off/stop")).error).toBeUndefined();
    await dtma.kill("SIGKILL");

    const id = randomUUID();
    const begun = { id, kind: "start", server: "off", startedAt: Date.now(), steps: [{ id: "start", state: "running" }] };
    await writeFile(join(data, "journal.json"), JSON.stringify([begun, { ...begun, kind: "of-a-newer-dtma" }]));
    await new Promise<void>((resolve) => taken.listen(port, "127.0.0.1", resolve));
    const next = await bench.start({ data });
    expect((await next.call("GET", "/v1/info")).body).toMatchObject({ docker: { state: "up" } });
    await next.seen("on", ({ health }) => health.state === "ready");
    expect(await next.operation(id)).toMatchObject({ state: "cancelled", kind: "start" });
    expect(JSON.parse(await readFile(join(data, "journal.json"), "utf8"))).toEqual([]);
    expect((await next.perform("DELETE", "/v1/servers/off")).error).toBeUndefined();
    await new Promise<void>((resolve) => taken.close(() => resolve()));
  });

  it("the end of the DTMA with its servers, and their return with the next one", async () => {
    const data = await bench.folder();
    const dtma = await bench.start({ data });
    const image = await bench.serverImage("probe.mjs");
    expect((await dtma.perform("PUT", "/v1/servers/back", imageRequest("back", image))).error).toBeUndefined();
    await dtma.call("POST", "/v1/shutdown", { servers: "stop" });
    expect(await dtma.kill("SIGTERM")).toBe(0);
    expect(
      execFileSync("docker", ["inspect", "-f", "{{.State.Status}}", `${bench.scope}.back`], { encoding: "utf8" }).trim(),
    ).toBe("exited");
    const next = await bench.start({ data });
    await next.seen("back", ({ health, desired }) => health.state === "ready" && desired === "running");
  });
});
