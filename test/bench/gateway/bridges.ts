import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { once } from "node:events";
import { cp } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { createDocker } from "../../../dtma/src/docker/engine.ts";
import { containerName, createScope } from "../../../dtma/src/labels.ts";
import { type Bench, everythingRequest } from "../../fixtures/dtma.ts";
import { freePort } from "../../fixtures/free-port.ts";
import { type BenchSession, type HttpSession, openCommand, openHttp, slowTool } from "./client.ts";

/*
What is measured: our DTMA and its peers in front of one server in one container, and the floor, which is nothing in front
of it. Each is a process of its own that speaks plain HTTP on loopback.
*/

export type Bridge<Session extends BenchSession = BenchSession> = {
  open(): Promise<Session>;
  /** Its process; the floor has none, and its clients are children of the bench. */
  pid: number | undefined;
  end(): Promise<void>;
};

export type BridgeName = "floor" | "dtma" | "dtma with a spare" | "supergateway" | "mcp-proxy";

export type Bridges = {
  start(name: BridgeName): Promise<Bridge>;
  /** Ours, with a spare. */
  startOurs(): Promise<Bridge<HttpSession>>;
  /** The server's. */
  container: string;
  versions: Record<string, string>;
};

const serverName = "everything";
const connectionId = "00000000-0000-4000-8000-000000000001";
const peers = join(import.meta.dirname, "../peers");

/** Deploys the server, and fetches the peers from the npm registry into a folder of the bench. */
export async function createBridges(bench: Bench, program: string, sessions: number): Promise<Bridges> {
  const data = await bench.folder();
  const token = randomUUID();
  // The limits are on, and out of the way.
  const flags = [`--sessions=${2 * sessions}`, `--connection-sessions=${2 * sessions}`, "--calls-per-second=100000"];
  const startDtma = (spares: number) => bench.start({ data, program, flags: [...flags, `--spares=${spares}`] });

  const dtma = await startDtma(0);
  // As much as the sessions need, so that no limit of the container is what is measured.
  const permissions = { memoryBytes: 16 * 2 ** 30, cpus: cpus().length, pids: 32_768 };
  const request = everythingRequest(serverName, { permissions });
  const deployed = await dtma.perform("PUT", `/v1/servers/${serverName}`, request);
  if (deployed.state !== "succeeded") throw new Error(`The server was not deployed: ${JSON.stringify(deployed.error)}`);
  const tokenHash = createHash("sha256").update(token).digest("hex");
  const entry = { connectionId, server: serverName, tokenHash, allowedTools: ["echo", "get-sum", slowTool] };
  const put = await dtma.call("PUT", `/v1/access/${connectionId}`, entry);
  if (put.status !== 204) throw new Error(`No access: ${JSON.stringify(put.body)}`);
  await dtma.kill("SIGTERM");

  const container = await createDocker(undefined, process.env).getContainer(
    containerName(createScope(bench.scope, {}), serverName),
  );
  if (container === undefined) throw new Error("The server's container is gone.");
  const exec = ["docker", "exec", "-i", container.id, ...container.command];

  const folder = await bench.folder();
  await cp(peers, folder, { recursive: true });
  await run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", folder]);
  const peer = (name: string) => join(folder, "node_modules/.bin", name);

  async function startPeer(path: string, args: (port: number) => string[]): Promise<Bridge> {
    const port = await freePort();
    const child = spawn(process.execPath, [path, ...args(port)], { stdio: "ignore" });
    const url = `http://127.0.0.1:${port}/mcp`;
    await answers(url, child);
    return {
      pid: child.pid,
      open: () => openHttp(url),
      async end() {
        // Both leave the docker clients they have started behind when they are killed at once.
        child.kill("SIGTERM");
        if ((await Promise.race([once(child, "exit"), delay(5_000)])) === undefined) child.kill("SIGKILL");
      },
    };
  }

  async function startOurs(spares: number): Promise<Bridge<HttpSession>> {
    const ours = await startDtma(spares);
    await ours.seen(serverName, ({ health }) => health.state === "ready");
    const url = new URL(`/mcp/servers/${serverName}/mcp`, ours.ready.url).href;
    return {
      pid: ours.child.pid,
      open: () => openHttp(url, { authorization: `Bearer ${token}` }),
      async end() {
        await ours.kill("SIGTERM");
      },
    };
  }

  const starts: Record<BridgeName, () => Promise<Bridge>> = {
    floor: async () => ({ pid: undefined, open: () => openCommand(exec), end: async () => undefined }),
    dtma: () => startOurs(0),
    "dtma with a spare": () => startOurs(1),
    supergateway: () =>
      startPeer(peer("supergateway"), (port) => [
        ...["--stdio", exec.join(" "), "--outputTransport", "streamableHttp", "--stateful"],
        ...["--logLevel", "none", "--port", String(port)],
      ]),
    "mcp-proxy": () =>
      startPeer(peer("mcp-proxy"), (port) => [
        ...["--server", "stream", "--host", "127.0.0.1", "--port", String(port), "--", ...exec],
      ]),
  };
  return {
    start: (name) => starts[name](),
    startOurs: () => startOurs(1),
    container: container.id,
    versions: { supergateway: "4.0.0", "mcp-proxy": "6.7.19" },
  };
}

async function answers(url: string, child: ChildProcess): Promise<void> {
  while (child.exitCode === null && child.signalCode === null) {
    const isThere = await fetch(url, { method: "OPTIONS" }).then(
      (response) => response.body?.cancel().then(() => true) ?? true,
      () => false,
    );
    if (isThere) return;
    await delay(100);
  }
  throw new Error("The peer ended before it answered.");
}

async function run(program: string, args: string[]): Promise<void> {
  const child = spawn(program, args, { stdio: ["ignore", "ignore", "inherit"] });
  const [code] = await once(child, "exit");
  if (code !== 0) throw new Error(`${program} ended with ${code}.`);
}
