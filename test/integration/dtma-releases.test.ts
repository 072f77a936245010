import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DtmaEvent, mcpEndpointPath, release, secretState } from "../../shared/dtma-protocol.ts";
import { type Bench, createBench, type DtmaProcess, docker, dockerLines, imageRequest, inspect } from "../fixtures/dtma.ts";
import { parts } from "../setup/parts.ts";

const script = "tools-of-args.mjs";

describe.skipIf(!parts.docker)("releases of a server", () => {
  let bench: Bench;
  let dtma: DtmaProcess;
  let data: string;
  let first: string;
  let second: string;
  let broken: string;
  const serverId = randomUUID();
  const clients: Client[] = [];

  beforeAll(async () => {
    bench = createBench();
    data = await bench.folder();
    first = await bench.serverImage(script, { args: ["pid=tells its pid", "old=goes", "same=stays"] });
    second = await bench.serverImage(script, { args: ["pid=tells another story", "new=comes", "same=stays"] });
    broken = await bench.serverImage("exits-at-once.mjs");
    dtma = await bench.start({ data });
  });
  afterAll(async () => {
    for (const client of clients) await client.close().catch(() => {});
    await bench.close();
  });

  const deploy = (image: string, spec: object = {}) =>
    dtma.perform("PUT", "/v1/servers/app", { ...imageRequest("app", image, spec), serverId });
  const containers = () => dockerLines("ps", "-a", "--format", "{{.Names}}", "--filter", `label=${bench.label}`);
  const releases = async () => release.array().parse((await dtma.call("GET", "/v1/servers/app/releases")).body);

  async function connect(): Promise<Client> {
    const client = new Client({ name: "test", version: "1" });
    const url = new URL(mcpEndpointPath("app"), dtma.ready.url);
    const requestInit = { headers: { authorization: `Bearer ${dtma.token}` } };
    await client.connect(new StreamableHTTPClientTransport(url, { requestInit }));
    clients.push(client);
    return client;
  }

  async function call(client: Client, name: string): Promise<string> {
    const { content } = await client.callTool({ name, arguments: {} });
    return (content as { text: string }[])[0]?.text ?? "";
  }

  it("begin with the first, which has nowhere to go back to", async () => {
    const ended = await deploy(first);
    expect(ended.error).toBeUndefined();
    expect(ended.toolChanges).toBeUndefined();
    expect((await dtma.servers())[0]).toMatchObject({ release: 1, image: { reference: first } });
    expect((await dtma.servers())[0]?.previous).toBeUndefined();
    expect(await dtma.call("POST", "/v1/servers/app/rollback")).toMatchObject({
      status: 404,
      body: { error: { code: "NOT_FOUND", message: expect.stringContaining("no release before") } },
    });
  });

  it("follow one another without a dropped session: the old container stays until its last session ends", async () => {
    const old = await connect();
    const pid = await call(old, "pid");
    const before = (await dtma.servers())[0]?.container.id ?? "";

    const ended = await deploy(second);
    expect(ended.error).toBeUndefined();
    expect(ended.toolChanges).toEqual({
      added: ["new"],
      removed: ["old"],
      changed: [{ name: "pid", description: true, schema: false }],
    });

    expect(await call(old, "pid")).toBe(pid);
    expect((await old.listTools()).tools.map(({ name }) => name)).toContain("old");
    const fresh = await connect();
    expect((await fresh.listTools()).tools.map(({ name }) => name)).toContain("new");
    expect((await containers()).sort()).toEqual([`${bench.scope}.app`, `${bench.scope}.app_drain-${before.slice(0, 12)}`]);
    expect(await dtma.seen("app", ({ sessions }) => sessions === 2)).toMatchObject({
      release: 2,
      previous: { reference: first },
    });

    await (old.transport as StreamableHTTPClientTransport).terminateSession();
    await expect.poll(containers, { timeout: 20_000 }).toEqual([`${bench.scope}.app`]);
    expect(await call(fresh, "new")).toBe("new");
  });

  it("that fail leave the one before as it is, sessions too, and the reason is kept", async () => {
    const client = await connect();
    const pid = await call(client, "pid");
    const ended = await deploy(broken);
    expect(ended).toMatchObject({ state: "failed", error: { code: "SERVER_EXITED" } });
    expect(await call(client, "pid")).toBe(pid);
    expect((await dtma.servers())[0]).toMatchObject({ release: 2, health: { state: "ready" } });
    const [failed, current, replaced] = await releases();
    expect(failed).toMatchObject({ number: 3, outcome: "failed", error: { code: "SERVER_EXITED" } });
    expect(current).toMatchObject({ number: 2, outcome: "current", toolChanges: { added: ["new"] } });
    expect(replaced).toMatchObject({ number: 1, outcome: "replaced", image: { reference: first } });
  });

  it("go back with one call to the very image before, also when its tag has moved on and the data folder is lost", async () => {
    const imageId = execFileSync("docker", ["inspect", "-f", "{{.Id}}", first], { encoding: "utf8" }).trim();
    await docker("tag", broken, first);
    await dtma.kill("SIGTERM");
    data = await bench.folder();
    dtma = await bench.start({ data });
    await dtma.seen("app", ({ health }) => health.state === "ready");

    const back = await dtma.perform("POST", "/v1/servers/app/rollback");
    expect(back.error).toBeUndefined();
    expect(back).toMatchObject({ kind: "rollback", toolChanges: { added: ["old"], removed: ["new"] } });
    const [server] = await dtma.servers();
    expect(server).toMatchObject({ release: 3, previous: { reference: second } });
    expect((await inspect(server?.container.id ?? "")).Image).toBe(imageId);

    expect((await dtma.perform("POST", "/v1/servers/app/rollback")).error).toBeUndefined();
    expect((await dtma.servers())[0]).toMatchObject({ release: 4, image: { reference: second } });
  });

  it("end with the server: sessions, draining containers and history go with it", async () => {
    await connect();
    expect((await deploy(second, { environment: { A: "1" } })).error).toBeUndefined();
    expect(await containers()).toHaveLength(2);
    expect((await dtma.perform("DELETE", "/v1/servers/app")).error).toBeUndefined();
    expect(await containers()).toEqual([]);
    expect(JSON.parse(await readFile(join(data, "releases.json"), "utf8"))).toEqual({});
    expect(await dtma.call("GET", "/v1/servers/app/releases")).toMatchObject({ status: 404 });
  });
});

describe.skipIf(!parts.docker)("secrets of a server", () => {
  let bench: Bench;
  let dtma: DtmaProcess;
  let data: string;
  const events: DtmaEvent[] = [];
  const listening = new AbortController();
  const canaries = [`canary-${randomUUID()}`, `canary-${randomUUID()}`];
  const [canary = "", other = ""] = canaries;
  const path = "/v1/servers/app/secrets";

  beforeAll(async () => {
    bench = createBench();
    data = await bench.folder();
    dtma = await bench.start({ data });
    void (async () => {
      for await (const event of dtma.events({ stats: false, signal: listening.signal })) events.push(event);
    })().catch(() => {});
    const image = await bench.serverImage(script, { args: ["secret", "pid"] });
    const secrets = [
      { name: "KEY", variable: "SERVICE_KEY", required: true },
      { name: "EXTRA", required: false },
    ];
    const request = { ...imageRequest("app", image, { secrets }), secretValues: { KEY: canary, EXTRA: other } };
    expect((await dtma.perform("PUT", "/v1/servers/app", request)).error).toBeUndefined();
  });
  afterAll(async () => {
    listening.abort();
    await bench.close();
  });

  async function open(): Promise<Client> {
    const client = new Client({ name: "test", version: "1" });
    const url = new URL(mcpEndpointPath("app"), dtma.ready.url);
    const requestInit = { headers: { authorization: `Bearer ${dtma.token}` } };
    await client.connect(new StreamableHTTPClientTransport(url, { requestInit }));
    return client;
  }

  async function delivered(client: Client): Promise<string> {
    const { content } = await client.callTool({ name: "secret", arguments: {} });
    return (content as { text: string }[])[0]?.text ?? "";
  }

  const listed = async () => secretState.array().parse((await dtma.call("GET", path)).body);

  it("are listed by name, and their values never come back", async () => {
    const { body } = await dtma.call("GET", path);
    expect(body).toMatchObject([
      { name: "KEY", variable: "SERVICE_KEY", required: true, isSet: true, changedAt: expect.any(Number) },
      { name: "EXTRA", required: false, isSet: true },
    ]);
    expect(JSON.stringify(body)).not.toContain("canary");
  });

  it("are replaced in a staged way: the open session keeps the old value, the next one has the new", async () => {
    const before = await open();
    expect(await delivered(before)).toBe(`${canary}|${canary}`);
    const [key] = await listed();
    const rotated = await dtma.perform("PUT", `${path}/KEY`, { value: `${canary}-2` });
    expect(rotated).toMatchObject({ kind: "rotate", state: "succeeded" });
    expect(await delivered(before)).toBe(`${canary}|${canary}`);
    const after = await open();
    expect(await delivered(after)).toBe(`${canary}-2|${canary}-2`);
    const [changed, extra] = await listed();
    expect(changed?.changedAt).toBeGreaterThan(key?.changedAt ?? Number.POSITIVE_INFINITY);
    expect(extra).toMatchObject({ isSet: true });
    await (before.transport as StreamableHTTPClientTransport).terminateSession();
    await after.close();
    await expect.poll(() => readdir(join(data, "secrets")), { timeout: 20_000 }).toHaveLength(1);
  });

  it("are removed by name; a required one only from a server that is stopped, which then does not start, by name", async () => {
    expect(await dtma.perform("DELETE", `${path}/EXTRA`)).toMatchObject({ state: "succeeded" });
    expect(await listed()).toMatchObject([{ isSet: true }, { name: "EXTRA", isSet: false, changedAt: null }]);
    const missing = { status: 400, body: { error: { code: "SECRET_MISSING", field: "secretValues.KEY" } } };
    expect(await dtma.call("DELETE", `${path}/KEY`)).toMatchObject(missing);
    expect(await dtma.call("PUT", `${path}/KEY`, { value: "" })).toMatchObject({
      status: 400,
      body: { error: { code: "INVALID_INPUT", field: "value" } },
    });
    expect(await dtma.call("PUT", `${path}/OTHER`, { value: "x" })).toMatchObject({ status: 404 });

    expect(await dtma.perform("POST", "/v1/servers/app/stop")).toMatchObject({ state: "succeeded" });
    expect(await dtma.perform("DELETE", `${path}/KEY`)).toMatchObject({ state: "succeeded" });
    expect((await dtma.servers())[0]).toMatchObject({ desired: "stopped", container: { state: "created" } });
    for (const verb of ["start", "restart"]) {
      expect(await dtma.call("POST", `/v1/servers/app/${verb}`)).toMatchObject(missing);
    }
    expect(await dtma.perform("PUT", `${path}/KEY`, { value: other })).toMatchObject({ state: "succeeded" });
    expect((await dtma.servers())[0]).toMatchObject({ desired: "stopped" });
    expect(await dtma.perform("POST", "/v1/servers/app/start")).toMatchObject({ state: "succeeded" });
    const client = await open();
    expect(await delivered(client)).toBe(`${other}|${other}`);
    await client.close();
  });

  it("that a person emptied or removed on the disk stop the start, by name", async () => {
    const [folder = ""] = await readdir(join(data, "secrets"));
    const file = join(data, "secrets", folder, "KEY");
    expect(await dtma.perform("POST", "/v1/servers/app/stop")).toMatchObject({ state: "succeeded" });
    execFileSync("truncate", ["-s", "0", file]);
    expect(await dtma.call("POST", "/v1/servers/app/start")).toMatchObject({ body: { error: { code: "SECRET_MISSING" } } });
    expect(await dtma.perform("PUT", `${path}/KEY`, { value: canary })).toMatchObject({ state: "succeeded" });
    expect(await dtma.perform("POST", "/v1/servers/app/start")).toMatchObject({ state: "succeeded" });
  });

  it("are found nowhere: answers, events, logs, labels, processes, image layers, files but their own", async () => {
    const { container, image } = await dtma.seen("app", ({ health }) => health.state === "ready");
    const answers = await Promise.all(
      ["/v1/info", "/v1/servers", "/v1/servers/app/releases", path, "/status", "/v1/access", "/v1/servers/app/logs"].map(
        async (route) => JSON.stringify((await dtma.call("GET", route)).body),
      ),
    );
    const inspected = await inspect(container.id);
    const processes = await Promise.all(
      (await readdir("/proc"))
        .filter((name) => /^\d+$/.test(name))
        .map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")),
    );
    const files = await Promise.all(
      (await readdir(data, { recursive: true, withFileTypes: true }))
        .filter((entry) => entry.isFile() && !entry.parentPath.includes("/secrets/"))
        .map((entry) => readFile(join(entry.parentPath, entry.name), "latin1")),
    );
    const places: Record<string, string> = {
      answers: answers.join(),
      events: JSON.stringify(events),
      log: dtma.log(),
      labels: JSON.stringify((inspected.Config as { Labels: object }).Labels),
      arguments: JSON.stringify([inspected.Path, inspected.Args, ...processes]),
      history: await docker("history", "--no-trunc", image.reference),
      image: await docker("inspect", image.reference),
      output: await docker("logs", container.id),
      files: files.join(),
    };
    expect(events.length).toBeGreaterThan(10);
    for (const [place, text] of Object.entries(places)) {
      for (const value of canaries) expect(text.includes(value), place).toBe(false);
    }
  });

  it("go with the server", async () => {
    expect(await dtma.perform("DELETE", "/v1/servers/app")).toMatchObject({ state: "succeeded" });
    expect(await readdir(join(data, "secrets"))).toEqual([]);
  });
});
