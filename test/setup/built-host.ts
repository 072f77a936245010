import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createORPCClient } from "@orpc/client";
import { RPCLink } from "@orpc/client/websocket";
import type { ContractRouterClient } from "@orpc/contract";
import { WebSocket } from "ws";
import type { Contract } from "../../shared/contract/index.ts";
import { parts } from "./parts.ts";

const root = join(import.meta.dirname, "..", "..");

export type BuiltHost = {
  process: ChildProcess;
  dataFolder: string;
  /** Resolves to the URL of the ready line; rejects with what was printed when the host ends before. */
  ready: Promise<string>;
  /** Resolves once the process is gone. */
  ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  stdout(): string;
  stderr(): string;
};

export type StartOptions = {
  /** The built entry, or what `npm start` runs. */
  program?: "out/main/browser.js" | "electron/start.ts";
  args?: readonly string[];
  dataFolder?: string;
  env?: NodeJS.ProcessEnv;
  /** Puts a shell between the test and the host, as npm does; it passes no signal on. */
  throughShell?: boolean;
};

/** Starts the app as people get it, in a process of its own, with everything a test needs to leave nothing behind. */
export function startBuiltHost(options: StartOptions = {}): BuiltHost {
  const { program = "out/main/browser.js", args, dataFolder, env } = options;
  const folder = dataFolder ?? mkdtempSync(join(tmpdir(), "control-centre-"));
  const usual = ["--host=browser", "--port=0"];
  const always = ["--no-open", `--data=${folder}`, `--dtma-label=${parts.containerLabel}`, "--npm-node-image=none"];
  const shell = options.throughShell ? ["sh", "-c", '"$0" "$@"; exit $?'] : [];
  const [command = "", ...rest] = [...shell, process.execPath, join(root, program), ...(args ?? usual), ...always];
  const child = spawn(command, rest, {
    cwd: folder,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.on("close", (code, signal) => resolve({ code, signal }));
  });
  const ready = new Promise<string>((resolve, reject) => {
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
      const newline = stdout.indexOf("\n");
      if (newline < 0) return;
      try {
        resolve((JSON.parse(stdout.slice(0, newline)) as { url: string }).url);
      } catch (cause) {
        reject(new Error(`The first line is no JSON: ${stdout}`, { cause }));
      }
    });
    void ended.then(({ code, signal }) => reject(new Error(`It ended (${signal ?? code}) before it was ready: ${stderr}`)));
  });
  // A test that expects the end does not ask for the ready line.
  ready.catch(() => undefined);
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  return { process: child, dataFolder: folder, ready, ended, stdout: () => stdout, stderr: () => stderr };
}

/** Ends a host the kind way and removes its data folder. */
export async function discardHost(host: BuiltHost): Promise<void> {
  host.process.kill("SIGTERM");
  await host.ended;
  rmSync(host.dataFolder, { recursive: true, force: true });
}

/** Exchanges a one-time URL for the session cookie, as `name=value`. */
export async function openSession(url: string): Promise<string> {
  const response = await fetch(url, { redirect: "manual" });
  const cookie = response.headers.getSetCookie()[0]?.split(";")[0];
  if (cookie === undefined) throw new Error(`No session for the URL: ${response.status}`);
  return cookie;
}

export type Window = { client: ContractRouterClient<Contract>; socket: WebSocket; close(): void };

/** What a window does: the session, the socket, and the contract's client on it. */
export async function openWindow(url: string): Promise<Window> {
  return connectWindow(new URL(url).origin, await openSession(url));
}

/** Another socket of a session that is open already; `cookie` as `name=value`. */
export async function connectWindow(origin: string, cookie: string): Promise<Window> {
  const socket = new WebSocket(`${origin.replace("http", "ws")}/rpc`, { headers: { cookie, origin } });
  await new Promise((resolve, reject) => {
    socket.once("open", resolve);
    socket.once("error", reject);
  });
  const link = new RPCLink({ websocket: socket as unknown as globalThis.WebSocket });
  return { client: createORPCClient(link), socket, close: () => socket.close() };
}

/** Ids of the processes that were started by `pid`, directly or not. */
export function listDescendants(pid: number): number[] {
  const table = execFileSync("ps", ["-A", "-o", "pid=,ppid="], { encoding: "utf8" });
  const rows = table
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number));
  const childrenOf = (parent: number): number[] =>
    rows.flatMap(([child = 0, itsParent]) => (itsParent === parent ? [child, ...childrenOf(child)] : []));
  return childrenOf(pid);
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
