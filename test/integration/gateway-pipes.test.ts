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
  const pipes = () => readdirSync(join(data, "pipes"));

  async function deploy(body: DeployRequestInput): Promise<void> {
    expect((await dtma.perform("PUT", `/v1/servers/${body.spec.name}`, body)).error).toBeUndefined();
  }

  /** Opens a session with a server, and tells where its process reads, writes and complains. */
  async function withSession<T>(name: string, use: (mcp: Client, ways: string[][]) => Promise<T>): Promise<T> {
    const first = await firstPid(containerOf(name));
    const before = new Set(sessionProcesses(first));
    const mcp = new Client({ name: "test", version: "1" });
    const requestInit = { headers: { authorization: `Bearer ${dtma.token}` } };
    const transport = new StreamableHTTPClientTransport(new URL(mcpEndpointPath(name), dtma.ready.url), { requestInit });
    await mcp.connect(transport);
    const opened = sessionProcesses(first).filter((pid) => !before.has(pid));
    try {
      return await use(
        mcp,
        opened.map((pid) => [0, 1, 2].map((stream) => readlinkSync(`/proc/${pid}/fd/${stream}`))),
      );
    } finally {
      await transport.terminateSession();
      await mcp.close();
    }
  }

  const named = [
    expect.stringMatching(/^\/run\/dtma\/[\w-]+\.in \(deleted\)$/),
    expect.stringMatching(/^\/run\/dtma\/[\w-]+\.out \(deleted\)$/),
    expect.stringMatching(/^pipe:/),
  ];
  const engines = [expect.stringMatching(/^pipe:/), expect.stringMatching(/^pipe:/), expect.stringMatching(/^pipe:/)];

  it("are pipes without the Engine for a package, whose names are gone once they are open", async () => {
    await deploy(everythingRequest("package"));
    await withSession("package", async (mcp, ways) => {
      expect(ways.length).toBeGreaterThan(0);
      for (const way of ways) expect(way).toEqual(named);
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
    await withSession("shell", async (mcp, ways) => {
      for (const way of ways) expect(way).toEqual(named);
      expect(ways).toHaveLength(1);
      expect((await mcp.callTool({ name: "pid", arguments: {} })).isError).not.toBe(true);
    });
  });

  it("are the Engine's streams for an image without a shell", async () => {
    const image = await bench.serverImage("probe.mjs");
    await deploy(imageRequest("bare", image));
    for (let session = 0; session < 2; session++) {
      await withSession("bare", async (mcp, ways) => {
        expect(ways).toEqual([engines]);
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

  it("are closed with their session, and those that were ready are gone with the DTMA", async () => {
    const open = () => readdirSync(`/proc/${dtma.child.pid}/fd`).map((fd) => readlinkOf(`/proc/${dtma.child.pid}/fd/${fd}`));
    const named = () => open().filter((target) => target.includes("/pipes/"));
    // One spare of each server that has pipes.
    const kept = 2 * ["package", "shell"].length;
    await vi.waitFor(() => expect(named()).toHaveLength(kept), 10_000);
    await withSession("package", async () => expect(named().length).toBeGreaterThanOrEqual(kept));
    await vi.waitFor(() => expect(named()).toHaveLength(kept), 10_000);
    expect(pipes().length).toBeGreaterThan(0);
    await dtma.kill("SIGTERM");
    expect(pipes()).toEqual([]);
  });
});

function readlinkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}
