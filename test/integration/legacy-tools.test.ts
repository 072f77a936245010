import { randomUUID } from "node:crypto";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mcpEndpointPath } from "../../shared/dtma-protocol.ts";
import { type Bench, createBench, type DtmaProcess, docker, imageRequest, inspect } from "../fixtures/dtma.ts";
import { freePort } from "../fixtures/free-port.ts";
import { parts } from "../setup/parts.ts";

/* `POST /tools`, `POST /tools/{name}/start|stop`, `DELETE /tools/{name}`: written from what the agent before answered. */

const canary = `canary-${randomUUID()}`;

type Deployed = { success: boolean; message: string; data: Record<string, unknown> & { container_id: string } };
type Inspected = Record<"HostConfig" | "Config" | "State", Record<string, unknown>>;

describe.skipIf(!parts.docker)("tools of a caller of the agent before", () => {
  let bench: Bench;
  let dtma: DtmaProcess;
  let probe: string;
  let brief: string;

  beforeAll(async () => {
    bench = createBench();
    dtma = await bench.start();
    probe = await bench.serverImage("probe.mjs");
    brief = await bench.serverImage("exits-at-once.mjs");
  });
  afterAll(() => bench.close());

  const body = (name: string, more: object = {}) => ({
    dockerImageUrl: probe,
    instanceNameOnToolbox: name,
    accountToolInstanceId: randomUUID(),
    ...more,
  });
  const post = (path: string, sent?: object) => dtma.call("POST", path, sent);
  async function deploy(name: string, more: object = {}): Promise<Deployed> {
    const answer = await post("/tools", body(name, more));
    expect(answer).toMatchObject({ status: 201 });
    return answer.body as Deployed;
  }
  const missing = (name: string) => ({
    status: 404,
    body: { success: false, error: `Tool instance '${name}' not found or not managed by this DTMA.` },
  });

  it("deploys an image that speaks stdio: it stays up, and a tool call reaches it", async () => {
    const accountToolInstanceId = randomUUID();
    const answer = await post("/tools", body("stays", { accountToolInstanceId }));
    expect(answer).toEqual({
      status: 201,
      body: {
        success: true,
        message: expect.any(String),
        data: {
          container_id: expect.stringMatching(/^[0-9a-f]{64}$/),
          instance_name_on_toolbox: "stays",
          account_tool_instance_id: accountToolInstanceId,
          image: expect.any(String),
          ports: [],
          state: "running",
        },
      },
    });
    const { container_id: id } = (answer.body as Deployed).data;
    expect(await dtma.seen("stays", ({ health }) => health.state === "ready")).toMatchObject({
      serverId: accountToolInstanceId,
      container: { id, restartCount: 0 },
    });

    const client = new Client({ name: "test", version: "1" });
    const url = new URL(mcpEndpointPath("stays"), dtma.ready.url);
    const requestInit = { headers: { authorization: `Bearer ${dtma.token}` } };
    await client.connect(new StreamableHTTPClientTransport(url, { requestInit }));
    const called = await client.callTool({ name: "length", arguments: { text: "four" } });
    expect(called.content).toEqual([{ type: "text", text: "4" }]);
    await client.close();
  });

  it("uses the image that is here when its registry gives none, and says so", async () => {
    const image = `127.0.0.1:9/${bench.scope}/probe:1`;
    await docker("tag", probe, image);
    try {
      const { message, data } = await deploy("offline", { dockerImageUrl: image });
      expect(message).toContain("Its image could not be pulled; the one on the toolbox is used.");
      expect(data.state).toBe("running");
      expect((await dtma.call("DELETE", "/tools/offline")).status).toBe(200);
    } finally {
      await docker("rmi", image);
    }
    const answer = await post("/tools", body("nowhere", { dockerImageUrl: image }));
    expect(answer).toMatchObject({
      status: 500,
      body: { success: false, message: expect.stringContaining("does not answer") },
    });
  });

  it("says which fields are missing, and which one is wrong", async () => {
    const required = "Missing required fields: dockerImageUrl, instanceNameOnToolbox, accountToolInstanceId";
    for (const sent of [undefined, {}, { ...body("x"), accountToolInstanceId: "" }, { dockerImageUrl: probe }]) {
      expect(await post("/tools", sent)).toEqual({ status: 400, body: { success: false, error: required } });
    }
    for (const [wrong, field] of [
      [{ dockerImageUrl: "UPPER CASE" }, "dockerImageUrl"],
      [{ instanceNameOnToolbox: "a b" }, "instanceNameOnToolbox"],
      [{ baseConfigOverrideJson: { Env: "A=b" } }, "baseConfigOverrideJson.Env"],
      [{ baseConfigOverrideJson: { Env: ["A"] } }, "baseConfigOverrideJson.Env.0"],
      [{ baseConfigOverrideJson: { HostConfig: { PortBindings: { "70000/tcp": [] } } } }, "PortBindings.70000/tcp"],
    ] as const) {
      const answer = await post("/tools", body("wrong", wrong));
      expect(answer).toMatchObject({ status: 400, body: { success: false, error: expect.stringContaining(field) } });
    }
  });

  it("refuses by name what would open the host", async () => {
    for (const [key, value] of Object.entries({
      Privileged: true,
      Binds: ["/:/host"],
      Mounts: [{ Type: "bind", Source: "/var/run/docker.sock", Target: "/docker.sock" }],
      NetworkMode: "host",
      PidMode: "host",
      IpcMode: "host",
      Devices: [{ PathOnHost: "/dev/sda" }],
      VolumesFrom: ["other"],
      SecurityOpt: ["seccomp=unconfined"],
      CapAdd: ["SYS_ADMIN"],
    })) {
      const answer = await post("/tools", body("greedy", { baseConfigOverrideJson: { HostConfig: { [key]: value } } }));
      const error = expect.stringContaining(`HostConfig.${key}`);
      expect([key, answer]).toMatchObject([key, { status: 400, body: { success: false, error } }]);
    }
    expect((await dtma.servers()).map(({ spec }) => spec.name)).not.toContain("greedy");
  });

  it("honours limits, command and labels, and keeps the values of variables out of all but the server", async () => {
    const { data: made, message } = await deploy("limited", {
      baseConfigOverrideJson: {
        Env: [`API_KEY=${canary}`, "EMPTY=", "MODE=plain=text"],
        Cmd: ["--no-tools"],
        Labels: { "com.example.team": "one" },
        WorkingDir: "/tmp",
        HostConfig: { Memory: 64 * 2 ** 20, NanoCpus: 5e8, PidsLimit: 64, ReadonlyRootfs: true, ShmSize: 1 },
      },
    });
    const found = (await inspect(made.container_id)) as Inspected;
    expect(found.HostConfig).toMatchObject({
      Memory: 64 * 2 ** 20,
      NanoCpus: 5e8,
      PidsLimit: 64,
      ReadonlyRootfs: true,
      Privileged: false,
    });
    expect(found.Config).toMatchObject({ Cmd: ["--no-tools"], Labels: { "com.example.team": "one" } });
    expect(found.Config.Env).toEqual(expect.arrayContaining(["EMPTY=", "MODE=plain=text"]));
    expect(message).toContain("baseConfigOverrideJson.WorkingDir, baseConfigOverrideJson.HostConfig.ShmSize");
    expect(JSON.stringify([found.Config.Labels, await dtma.servers(), dtma.log()])).not.toContain(canary);
    const seen = await docker("exec", made.container_id, "node", "-p", "process.env.API_KEY");
    expect(seen.trim()).toBe(canary);
  });

  it("publishes ports that the image does not expose, on 127.0.0.1 only, and says so", async () => {
    const port = await freePort();
    const web = await bench.serverImage("probe-http.mjs");
    const bindings = { "8080/tcp": [{ HostIp: "0.0.0.0", HostPort: String(port) }] };
    const { data: made, message } = await deploy("web", {
      dockerImageUrl: web,
      baseConfigOverrideJson: { Env: ["PORT=8080", "HOST=0.0.0.0"], HostConfig: { PortBindings: bindings } },
    });
    expect(made.ports).toEqual([{ ip: "127.0.0.1", private_port: 8080, public_port: port, type: "tcp" }]);
    expect(message).toContain("127.0.0.1");
    expect((await docker("port", made.container_id)).trim()).toBe(`8080/tcp -> 127.0.0.1:${port}`);
    const reached = await fetch(`http://127.0.0.1:${port}/`, { method: "GET" });
    expect(reached.status).toBe(405);
    await dtma.seen("web", ({ health, tools }) => health.state === "ready" && (tools?.length ?? 0) > 0);

    const second = body("web-two", { baseConfigOverrideJson: { HostConfig: { PortBindings: bindings } } });
    const inUse = { success: false, error: `The host port ${port} is already in use by 'web'.` };
    expect(await post("/tools", second)).toEqual({ status: 409, body: inUse });
    expect((await post("/tools/web/stop")).status).toBe(200);
    expect(await post("/tools", second)).toEqual({ status: 409, body: inUse });
    expect((await dtma.call("DELETE", "/tools/web")).status).toBe(200);
  });

  it("makes one server of three deploys of a name at the same time, and tells the others that it exists", async () => {
    const answers = await Promise.all([1, 2, 3].map(() => post("/tools", body("once"))));
    const exists = { status: 409, body: { success: false, error: "Instance with name 'once' already exists." } };
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 409, 409]);
    expect(answers.filter(({ status }) => status === 409)).toEqual([exists, exists]);
    expect(await post("/tools", body("once"))).toEqual(exists);
    expect((await bench.left()).containers).toHaveLength((await dtma.servers()).length);
  });

  it("starts what runs and stops what is stopped, with 200", async () => {
    const { data: made } = await deploy("turns");
    expect(await post("/tools/turns/start")).toMatchObject({ status: 200, body: { success: true } });
    expect(await Promise.all([post("/tools/turns/stop"), post("/tools/turns/stop")])).toMatchObject([
      { status: 200, body: { success: true, data: { state: "exited" } } },
      { status: 200 },
    ]);
    expect(((await inspect(made.container_id)) as Inspected).State).toMatchObject({ Running: false });
    expect((await post("/tools/turns/stop")).status).toBe(200);
    expect(await post("/tools/turns/start")).toMatchObject({ status: 200, body: { data: { state: "running" } } });
    expect((await dtma.call("DELETE", "/tools/turns")).body).toMatchObject({ success: true });
    await expect(inspect(made.container_id)).rejects.toThrow();
  });

  it("answers 404 for names it does not manage, among them those of other people's containers", async () => {
    const foreign = `${bench.scope}-foreign`;
    await docker("create", "--name", foreign, "--label", bench.label, probe);
    for (const name of ["nobody", foreign, "No Name", "a/b"]) {
      const path = `/tools/${encodeURIComponent(name)}`;
      for (const verb of ["start", "stop"]) expect(await post(`${path}/${verb}`)).toEqual(missing(name));
      expect(await dtma.call("DELETE", path)).toEqual(missing(name));
    }
    await inspect(foreign);
    await docker("rm", foreign);
  });

  it("forgets a container that is removed behind its back: 404, and the name can be deployed again", async () => {
    const sent = body("vanishes");
    const first = (await post("/tools", sent)).body as Deployed;
    await docker("rm", "-f", first.data.container_id);
    await expect.poll(async () => (await dtma.servers()).map(({ spec }) => spec.name)).not.toContain("vanishes");
    expect(await post("/tools/vanishes/start")).toEqual(missing("vanishes"));
    expect(await dtma.call("DELETE", "/tools/vanishes")).toEqual(missing("vanishes"));
    const second = await post("/tools", sent);
    expect(second).toMatchObject({ status: 201, body: { data: { state: "running" } } });
    expect((second.body as Deployed).data.container_id).not.toBe(first.data.container_id);
  });

  it("removes what is left of a server whose container is gone", async () => {
    const { data: made } = await deploy("remains");
    const connectionId = randomUUID();
    const entry = { connectionId, server: "remains", tokenHash: "a".repeat(64), allowedTools: null };
    expect((await dtma.call("PUT", `/v1/access/${connectionId}`, entry)).status).toBe(204);
    await docker("rm", "-f", made.container_id);
    await expect.poll(async () => (await dtma.servers()).map(({ spec }) => spec.name)).not.toContain("remains");
    expect((await dtma.call("DELETE", "/tools/remains")).status).toBe(200);
    expect((await dtma.call("GET", "/v1/access")).body).toEqual([]);
    expect(await dtma.call("DELETE", "/tools/remains")).toEqual(missing("remains"));
  });

  it("tells of a container that ends at once, instead of calling it running, and leaves nothing of it", async () => {
    const answer = await post("/tools", body("brief", { dockerImageUrl: brief }));
    expect(answer).toMatchObject({
      status: 500,
      body: {
        success: false,
        message: expect.stringContaining("exit code 3"),
        error: expect.stringContaining("API_KEY is not set"),
      },
    });
    expect((await post("/tools", body("brief"))).status).toBe(201);
  });

  it("answers 500 with a reason for an image that cannot be had", async () => {
    const answer = await post("/tools", body("none", { dockerImageUrl: "127.0.0.1:9/none/such:1" }));
    expect(answer).toMatchObject({
      status: 500,
      body: { success: false, message: expect.any(String), error: expect.any(String) },
    });
  });

  it("takes names and ids that are not ours, and goes on to know them by these", async () => {
    const name = "Team_A.Search-Tool";
    const made = await deploy(name, { accountToolInstanceId: "instance 7" });
    expect(made.data).toMatchObject({ instance_name_on_toolbox: name, account_tool_instance_id: "instance 7" });
    const labels = ((await inspect(made.data.container_id)) as Inspected).Config.Labels;
    expect(labels).toMatchObject({ "dtma.legacy/name": name, "dtma.legacy/instance-id": "instance 7" });
    expect(await post("/tools", body(name))).toMatchObject({ status: 409 });
    expect(await post(`/tools/${name}/stop`)).toMatchObject({ status: 200 });
    const listed = (await dtma.call("GET", "/tools/status")).body as { tool_instances: Record<string, unknown>[] };
    expect(listed.tool_instances).toContainEqual(
      expect.objectContaining({ instance_name_on_toolbox: name, account_tool_instance_id: "instance 7", status: "exited" }),
    );
    expect((await deploy("second", { accountToolInstanceId: "instance 7" })).data.state).toBe("running");
  });

  it("commands servers that a control centre has deployed", async () => {
    expect((await dtma.perform("PUT", "/v1/servers/modern", imageRequest("modern", probe))).error).toBeUndefined();
    expect(await post("/tools", body("modern"))).toMatchObject({ status: 409 });
    expect(await post("/tools/modern/stop")).toMatchObject({ status: 200, body: { data: { state: "exited" } } });
    expect(await post("/tools/modern/start")).toMatchObject({ status: 200, body: { data: { state: "running" } } });
    expect(await dtma.call("DELETE", "/tools/modern")).toMatchObject({ status: 200 });
  });

  it("reads bodies as before: an empty one called JSON is none, and one of another kind is not read", async () => {
    const headers = { authorization: `Bearer ${dtma.token}` };
    const send = (path: string, type: string, text: string, method = "POST") =>
      fetch(new URL(path, dtma.ready.url), { method, headers: { ...headers, "content-type": type }, body: text });
    expect((await send("/tools/nobody/stop", "application/json", "")).status).toBe(404);
    expect((await send("/tools/nobody", "application/json", "", "DELETE")).status).toBe(404);
    expect((await send("/tools", "text/plain", JSON.stringify(body("plain")))).status).toBe(400);
    expect((await send("/tools", "application/json", "{")).status).toBe(400);
    const large = await send("/tools", "application/json", JSON.stringify({ padding: "x".repeat(101 * 1024) }));
    expect([large.status, await large.json()]).toMatchObject([413, { success: false }]);
  });
});
