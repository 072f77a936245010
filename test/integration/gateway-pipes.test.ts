import { readdirSync, readlinkSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
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

/** The scripts of the test servers, where an image without an entrypoint has them. */
const script = (name: string) => readFile(join(import.meta.dirname, "../fixtures/mcp-servers", name), "utf8");

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

  const named = [
    expect.stringMatching(/^\/run\/dtma\/[\w-]+\.in \(deleted\)$/),
    expect.stringMatching(/^\/run\/dtma\/[\w-]+\.out \(deleted\)$/),
    expect.stringMatching(/^pipe:/),
  ];
  const engines = [expect.stringMatching(/^pipe:/), expect.stringMatching(/^pipe:/), expect.stringMatching(/^pipe:/)];

  it("are pipes without the Engine for a package, whose names are gone once they are open", async () => {
    await deploy(everythingRequest("package"));
    await withSession("package", async (mcp) => {
      await allGo("package", named);
      const message = "x".repeat(2 * 2 ** 20);
      const answer = await mcp.callTool({ name: "echo", arguments: { message } });
      expect(answer.content).toEqual([{ type: "text", text: `Echo: ${message}` }]);
    });
    const inside = "console.log(JSON.stringify(Object.keys(process.env)))";
    expect(await docker("exec", containerOf("package"), "node", "-e", inside)).not.toContain("DTMA_PIPES");
  });

  it("are those pipes for an image with a shell, too", async () => {
    const texts = { "/app/probe.mjs": await script("probe.mjs"), "/app/package.json": "{}" };
    const entrypoint = ["node", "/app/probe.mjs"];
    await deploy(imageRequest("shell", await makeBaseImage(bench, { copies: { "/bin/sh": "/bin/sh" }, texts, entrypoint })));
    await withSession("shell", async (mcp) => {
      await allGo("shell", named);
      expect((await mcp.callTool({ name: "pid", arguments: {} })).isError).not.toBe(true);
    });
  });

  it("are the Engine's streams for an image without a shell", async () => {
    const image = await bench.serverImage("probe.mjs", { isBare: true });
    await deploy(imageRequest("bare", image));
    for (let session = 0; session < 2; session++) {
      await withSession("bare", async (mcp) => {
        await allGo("bare", engines);
        expect((await mcp.callTool({ name: "pid", arguments: {} })).isError).not.toBe(true);
      });
    }
  });

  it("cannot be seen from another container, nor changed, also by its root", async () => {
    const found = (await inspect(containerOf("package"))) as { Mounts: { Destination: string; RW: boolean }[] };
    expect(found.Mounts).toMatchObject([{ Destination: "/run/dtma", RW: false }]);
    const attempts = `const fs=require("fs");const tried=(what)=>{try{what();return "done"}catch(e){return e.code}};
      console.log(JSON.stringify([tried(()=>fs.readdirSync("/run/dtma")),tried(()=>fs.watch("/run/dtma")),tried(()=>fs.writeFileSync("/run/dtma/x","")),tried(()=>fs.chmodSync("/run/dtma",0o777))]))`;
    for (const user of ["0:0", "1000:1000"]) {
      const said = await docker("exec", "-u", user, containerOf("package"), "node", "-e", attempts);
      expect(JSON.parse(said)).toEqual([
        "EACCES",
        "EACCES",
        expect.stringMatching(/EROFS|EACCES/),
        expect.stringMatching(/EROFS|EPERM/),
      ]);
    }
  });

  it("are closed with their session", async () => {
    const open = () => readdirSync(`/proc/${dtma.child.pid}/fd`).map((fd) => readlinkOf(`/proc/${dtma.child.pid}/fd/${fd}`));
    const named = () => open().filter((target) => target.includes("/pipes/"));
    // One spare of each server that has pipes.
    const kept = 2 * ["package", "shell"].length;
    await vi.waitFor(() => expect(named()).toHaveLength(kept), 10_000);
    await withSession("package", async () => expect(named().length).toBeGreaterThanOrEqual(kept));
    await vi.waitFor(() => expect(named()).toHaveLength(kept), 10_000);
    await vi.waitFor(() => expect(readdirSync(join(data, "pipes"))).toEqual([]), 10_000);
  });
});

function readlinkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}
