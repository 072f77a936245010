import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { createDocker } from "../../dtma/src/docker/engine.ts";
import { createPipes, pipesPath } from "../../dtma/src/docker/pipes.ts";
import { type DeployRequestInput, mcpEndpointPath } from "../../shared/dtma-protocol.ts";
import { makeBaseImage } from "../fixtures/base-image.ts";
import {
  type Bench,
  createBench,
  type DtmaProcess,
  docker,
  everythingRequest,
  imageRequest,
  inspect,
} from "../fixtures/dtma.ts";
import { firstPid, sessionProcesses } from "../fixtures/session-processes.ts";
import { parts } from "../setup/parts.ts";

const script = (name: string) => readFile(join(import.meta.dirname, "../fixtures/mcp-servers", name), "utf8");
/** A shell that never comes to its pipes. */
const idler = "#!/usr/local/bin/node\nsetInterval(() => {}, 1000);\n";

describe.skipIf(!parts.docker)("the way to the processes of sessions", () => {
  let bench: Bench;
  let dtma: DtmaProcess;
  let data: string;

  beforeAll(async () => {
    bench = createBench();
    data = await bench.folder();
    dtma = await bench.start({ data });
  }, 120_000);
  afterAll(() => bench.close());

  const containerOf = (name: string) => `${bench.scope}.${name}`;

  async function deploy(body: DeployRequestInput): Promise<void> {
    expect((await dtma.perform("PUT", `/v1/servers/${body.spec.name}`, body)).error).toBeUndefined();
  }

  async function deployProbe(name: string, more: Partial<Parameters<typeof makeBaseImage>[1]>): Promise<void> {
    const texts = { "/app/probe.mjs": await script("probe.mjs"), "/app/package.json": "{}", ...more.texts };
    const options = { copies: {}, entrypoint: ["node", "/app/probe.mjs"], ...more, texts };
    await deploy(imageRequest(name, await makeBaseImage(bench, options)));
  }

  /** Where the processes of a server's sessions read, write and complain, those of spares among them. */
  async function ways(name: string): Promise<string[][]> {
    const pids = sessionProcesses(await firstPid(containerOf(name)));
    return pids.map((pid) => [0, 1, 2].map((stream) => readlinkOf(`/proc/${pid}/fd/${stream}`)));
  }

  async function withSession(name: string, use: (mcp: Client) => Promise<unknown>): Promise<void> {
    const mcp = new Client({ name: "test", version: "1" });
    const requestInit = { headers: { authorization: `Bearer ${dtma.token}` } };
    const transport = new StreamableHTTPClientTransport(new URL(mcpEndpointPath(name), dtma.ready.url), { requestInit });
    await mcp.connect(transport);
    await use(mcp);
    await transport.terminateSession();
    await mcp.close();
  }

  /** A process that has just been started is not there yet. */
  async function allGo(name: string, way: unknown[]): Promise<void> {
    await vi.waitFor(async () => {
      const found = await ways(name);
      expect(found.length).toBeGreaterThan(0);
      for (const one of found) expect(one).toEqual(way);
    }, 10_000);
  }

  async function sourceOf(name: string): Promise<string> {
    const found = (await inspect(containerOf(name))) as { Mounts: { Source: string; Destination: string; RW: boolean }[] };
    expect(found.Mounts).toMatchObject([{ Destination: pipesPath, RW: false }]);
    return found.Mounts[0]?.Source ?? "";
  }

  const named = [
    expect.stringMatching(/^\/run\/dtma\/[\w-]+\.in \(deleted\)$/),
    expect.stringMatching(/^\/run\/dtma\/[\w-]+\.out \(deleted\)$/),
    expect.stringMatching(/^pipe:/),
  ];
  const engines = Array.from({ length: 3 }, () => expect.stringMatching(/^pipe:/));

  it("are pipes without the Engine for a package, whose names are gone once they are open", async () => {
    await deploy(everythingRequest("package"));
    await withSession("package", async (mcp) => {
      await allGo("package", named);
      const message = "x".repeat(2 * 2 ** 20);
      const answer = await mcp.callTool({ name: "echo", arguments: { message } });
      expect(answer.content).toEqual([{ type: "text", text: `Echo: ${message}` }]);
      const variables = JSON.stringify((await mcp.callTool({ name: "get-env", arguments: {} })).content);
      expect(variables).toContain("DTMA_SESSION");
      expect(variables).not.toContain("DTMA_PIPES");
    });
  });

  it("are those pipes for an image with a shell, too", async () => {
    await deployProbe("shell", { copies: { "/bin/sh": "/bin/sh" } });
    await withSession("shell", async (mcp) => {
      await allGo("shell", named);
      expect((await mcp.callTool({ name: "pid", arguments: {} })).isError).not.toBe(true);
    });
  });

  it.each([
    ["bare", "without a shell", {}],
    ["odd", "with variables that a shell loses", { copies: { "/bin/sh": "/bin/sh" }, environment: ["spring.profile=one"] }],
    ["broken", "with a shell that fails", { texts: { "/bin/sh": "#!/usr/local/bin/node\nprocess.exit(3);\n" } }],
  ])("are the Engine's streams for an image (%s) %s", async (name, _what, more) => {
    await deployProbe(name, more);
    for (let session = 0; session < 2; session++) {
      await withSession(name, async (mcp) => {
        await allGo(name, engines);
        expect((await mcp.callTool({ name: "pid", arguments: {} })).isError).not.toBe(true);
      });
    }
    const said = dtma
      .log()
      .split("\n")
      .filter((line) => line.includes("pipes.not-used") && line.includes(containerOf(name)));
    expect(said).toHaveLength(1);
  });

  it("of a container whose processes do not come are given up, and hold up nobody else", async () => {
    const engine = createDocker(undefined, process.env, createPipes(data));
    await deployProbe("slow", { texts: { "/bin/sh": idler } });
    const views = await Promise.all(["slow", "package"].map((name) => engine.getContainer(containerOf(name))));
    const [slow, other] = views.map((view) => {
      if (view === undefined) throw new Error("no container");
      return view;
    });
    const over: string[] = [];
    const open = async (view: typeof slow) => {
      if (view === undefined) throw new Error("no container");
      const process = await engine.openProcess(view, view.command, () => {});
      over.push(view.name);
      return process;
    };
    const opened = [...Array.from({ length: 12 }, () => open(slow)), open(other)];
    const processes = await Promise.all(opened);
    expect(over[0]).toBe(containerOf("package"));
    // One process for each that was asked for: those that did not come are gone.
    const pids = sessionProcesses(await firstPid(containerOf("slow")));
    expect(pids.filter((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("/bin/sh"))).toEqual([]);
    await Promise.all(processes.map((process) => process.end(0)));
  }, 120_000);

  it("lead to one container only, also for a root with capabilities in another", async () => {
    const [own, other] = [await sourceOf("package"), await sourceOf("shell")];
    expect(own).not.toBe(other);
    const permissions = { capabilities: ["DAC_OVERRIDE" as const] };
    const texts = { "/app/probe.mjs": await script("probe.mjs"), "/app/package.json": "{}" };
    const image = await makeBaseImage(bench, { copies: {}, entrypoint: ["node", "/app/probe.mjs"], texts });
    await deploy(imageRequest("curious", image, { permissions }));
    // Everything there is while sessions of the other one are opened.
    const look = `const fs=require("fs");const seen=new Set();setInterval(()=>{for(const n of fs.readdirSync("${pipesPath}"))seen.add(n)},1);setTimeout(()=>{console.log(JSON.stringify([...seen]));process.exit()},4000)`;
    const looking = docker("exec", "-u", "0:0", containerOf("curious"), "node", "-e", look);
    for (let session = 0; session < 3; session++) await withSession("package", async () => undefined);
    expect(JSON.parse(await looking)).toEqual([]);
    const write = `const fs=require("fs");const tried=(what)=>{try{what();return "done"}catch(e){return e.code}};console.log(JSON.stringify([tried(()=>fs.writeFileSync("${pipesPath}/x","")),tried(()=>fs.chmodSync("${pipesPath}",0o777))]))`;
    expect(JSON.parse(await docker("exec", "-u", "0:0", containerOf("curious"), "node", "-e", write))).toEqual([
      "EROFS",
      "EROFS",
    ]);
  });

  it("are closed with their session", async () => {
    const open = () => readdirSync(`/proc/${dtma.child.pid}/fd`).map((fd) => readlinkOf(`/proc/${dtma.child.pid}/fd/${fd}`));
    const held = () => open().filter((target) => target.includes("/pipes/")).length;
    // One spare of each server that has pipes.
    const kept = 2 * ["package", "shell"].length;
    await vi.waitFor(() => expect(held()).toBe(kept), 10_000);
    await withSession("package", () => vi.waitFor(() => expect(held()).toBe(kept + 2), 10_000));
    await vi.waitFor(() => expect(held()).toBe(kept), 10_000);
    const folder = await sourceOf("package");
    await vi.waitFor(() => expect(readdirSync(folder)).toEqual([]), 10_000);
  });

  it("are there again when the DTMA was killed and their folder is gone, and go with their server", async () => {
    const folder = await sourceOf("package");
    await dtma.kill("SIGKILL");
    await docker("stop", "-t", "0", containerOf("package"));
    await rm(folder, { recursive: true });
    dtma = await bench.start({ data });
    await dtma.seen("package", ({ health }) => health.state === "ready");
    await withSession("package", () => allGo("package", named));
    expect((await dtma.perform("DELETE", "/v1/servers/package")).error).toBeUndefined();
    expect(readdirSync(join(data, "pipes"))).not.toContain(folder.split("/").at(-1));
  });

  it("are none where the Engine cannot mount their folder", async () => {
    const engine = createDocker(undefined, process.env, {
      ...createPipes(data),
      makeFolder: async () => join(data, "not-there"),
    });
    await engine.info(5_000);
    const image = await bench.serverImage("probe.mjs");
    const id = await engine.createContainer(`${bench.scope}.unmounted`, {
      image,
      labels: { "dtma-bench": bench.scope },
      command: undefined,
      environment: [],
      openStdin: true,
      network: "none",
      resolver: undefined,
      ports: [],
      capabilities: [],
      writablePaths: [],
      memoryBytes: 128 * 2 ** 20,
      cpus: 1,
      pids: 64,
      readOnlyRoot: true,
      volumes: [],
      secretsFolder: undefined,
    });
    expect((await engine.getContainer(id))?.bindSources).toEqual({});
    await engine.removeContainer(id);
  });
});

function readlinkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}
