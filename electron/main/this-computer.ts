import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type DtmaReadyLine, dtmaReadyLine } from "../../shared/dtma-protocol.ts";
import { AppError, toAppError } from "../../shared/errors.ts";
import type { Facts } from "../../shared/model/facts.ts";
import type { ToolboxId } from "../../shared/model/ids.ts";
import type { Toolbox } from "../../shared/model/toolbox.ts";
import type { Links } from "./links.ts";
import type { Logger } from "./log.ts";
import { probeDocker } from "./remote/docker-probe.ts";
import type { ReportingTokens } from "./reporting.ts";
import type { Settings } from "./settings.ts";
import type { Store } from "./store/index.ts";
import { toolboxCreated } from "./sync/payloads.ts";
import type { Vault } from "./vault/index.ts";

/*
INVARIANTS
- The DTMA of this computer is a child process on loopback; its token is in the vault and reaches it in its environment.
- Its address stays the same from run to run as long as the port is free, so that clients keep working.
- It ends with the app, also when the app is killed: it watches its standard input, which ends with us.
- A child that dies is started again, ever more slowly while it keeps dying.
*/

export interface ThisComputer {
  /** Watches for a Docker engine, and starts the DTMA when this computer is a toolbox already. */
  start(): void;
  /** Looks for a Docker engine now. */
  check(): Promise<Facts["docker"]>;
  /** Makes this computer a toolbox. ALREADY_EXISTS, DOCKER_UNAVAILABLE. */
  add(): Promise<ToolboxId>;
  /** Ends the DTMA and forgets that this computer was a toolbox; called before its row goes. */
  remove(): Promise<void>;
  /** Ends the DTMA, with its servers or without them as the person chose. */
  stop(): Promise<void>;
}

export type ThisComputerDeps = {
  settings: Settings;
  store: Store;
  vault: Vault;
  links: Links;
  reportingTokens: ReportingTokens;
  log: Logger;
  onDocker(condition: Facts["docker"]): void;
};

const readyTimeoutMs = 30_000;
const drainTimeoutMs = 30_000;
const firstDelayMs = 1_000;
const longestDelayMs = 30_000;
const steadyAfterMs = 60_000;
const probeIntervalMs = { up: 30_000, down: 5_000 };

export function createThisComputer(deps: ThisComputerDeps): ThisComputer {
  const { settings, store, vault, links, reportingTokens, log } = deps;
  const stopping = new AbortController();
  let probeTimer: NodeJS.Timeout | undefined;
  let isDraining = false;
  let supervision: { ended: Promise<void>; stop(): void } | undefined;

  const row = (): Toolbox | undefined => store.list("toolboxes").find(({ kind }) => kind === "this-computer");

  async function check(): Promise<Facts["docker"]> {
    clearTimeout(probeTimer);
    const condition = await probeDocker(settings.dockerHost);
    deps.onDocker(condition);
    if (!stopping.signal.aborted) {
      clearTimeout(probeTimer);
      probeTimer = setTimeout(() => void check(), probeIntervalMs[condition.state === "up" ? "up" : "down"]);
      probeTimer.unref();
    }
    return condition;
  }

  async function supervise(id: ToolboxId, signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted; ) {
      const startedAt = Date.now();
      try {
        const child = await launch(id, signal);
        await child.ended;
      } catch (error) {
        if (signal.aborted) return;
        log.warn("dtma.failed", { error });
        if (store.get("toolboxes", id) !== undefined) links.report(id, toAppError(error));
      }
      if (signal.aborted || isDraining) return;
      failures = Date.now() - startedAt > steadyAfterMs ? 0 : failures + 1;
      const delayMs = Math.min(longestDelayMs, firstDelayMs * 2 ** (failures - 1));
      log.warn("dtma.restarting", { failures, delayMs });
      await sleep(delayMs, signal);
    }
  }

  /** Starts one DTMA and settles once it is ready; `ended` settles once it is gone. */
  async function launch(id: ToolboxId, signal: AbortSignal): Promise<{ ended: Promise<void> }> {
    const token = (await vault.get({ kind: "toolbox", id })) ?? (await makeToken(id));
    const { url, serversOnQuit } = store.mustGet("toolboxes", id);
    const port = url === null ? 0 : Number(new URL(url).port);
    const child = await spawnDtma(settings, { port, token, scope: store.workspaceId, log, signal });
    log.info("dtma.started", { pid: child.process.pid, url: child.ready.url, serversOnQuit });
    store.write((tx) => tx.patch("toolboxes", id, { url: child.ready.url, fingerprint: child.ready.fingerprint }));
    links.reconnectNow(id);
    return child;
  }

  async function makeToken(id: ToolboxId): Promise<string> {
    const token = newToken();
    await vault.set({ kind: "toolbox", id }, token);
    return token;
  }

  function begin(id: ToolboxId): void {
    const own = new AbortController();
    const ended = supervise(id, AbortSignal.any([own.signal, stopping.signal]));
    supervision = { ended, stop: () => own.abort() };
  }

  async function end(): Promise<void> {
    supervision?.stop();
    await supervision?.ended;
    supervision = undefined;
  }

  return {
    start() {
      void check();
      const existing = row();
      if (existing !== undefined) begin(existing.id);
    },
    check,
    async add() {
      if (row() !== undefined) throw new AppError("ALREADY_EXISTS", { message: "This computer is a toolbox already." });
      const docker = await check();
      if (docker.state !== "up")
        throw new AppError("DOCKER_UNAVAILABLE", docker.state === "down" ? { message: docker.reason } : {});
      const id = randomUUID() as ToolboxId;
      const created = newRow(id);
      await makeToken(id);
      const tokenHash = await reportingTokens.hash(id);
      store.write((tx) => {
        tx.put("toolboxes", created);
        tx.enqueue(toolboxCreated(created, tokenHash));
      });
      begin(id);
      links.open(id);
      return id;
    },
    remove: end,
    async stop() {
      clearTimeout(probeTimer);
      const existing = row();
      if (existing?.serversOnQuit === "stop") await drain(existing.id);
      stopping.abort();
      await end();
    },
  };

  /** Lets the DTMA stop its servers and end by itself; what is desired stays, so the next start brings them back. */
  async function drain(id: ToolboxId): Promise<void> {
    if (supervision === undefined || !links.isUp(id)) return;
    isDraining = true;
    try {
      await links.client(id).shutdown({ servers: "stop" });
      await Promise.race([supervision.ended, sleep(drainTimeoutMs, stopping.signal)]);
    } catch (error) {
      log.warn("dtma.servers-not-stopped", { error });
    }
  }
}

function newToken(): string {
  // The prefix is how the log knows a token of ours by its shape.
  return `dtma_${randomBytes(32).toString("base64url")}`;
}

function newRow(id: ToolboxId): Toolbox {
  return {
    id,
    name: "This computer",
    kind: "this-computer",
    url: null,
    fingerprint: null,
    serversOnQuit: "keep",
    link: { state: "unknown" },
    confirmedAt: null,
    docker: null,
    dtmaVersion: null,
    hostname: null,
    platform: null,
    hardeningGaps: [],
    load: null,
    createdAt: Date.now(),
  };
}

type Child = { process: ChildProcess; ready: DtmaReadyLine; ended: Promise<void> };

/** Starts the DTMA and waits for its ready line; the signal ends it, at any time. A taken port is given up for a free one. */
async function spawnDtma(
  settings: Settings,
  options: { port: number; token: string; scope: string; log: Logger; signal: AbortSignal },
): Promise<Child> {
  try {
    return await spawnOnce(settings, options);
  } catch (error) {
    if (options.port === 0 || options.signal.aborted) throw error;
    options.log.warn("dtma.port-given-up", { port: options.port, error });
    return spawnOnce(settings, { ...options, port: 0 });
  }
}

async function spawnOnce(
  settings: Settings,
  { port, token, scope, log, signal }: Parameters<typeof spawnDtma>[1],
): Promise<Child> {
  signal.throwIfAborted();
  const args = [
    settings.dtmaEntry,
    ...[
      "--host",
      "127.0.0.1",
      "--port",
      String(port),
      "--data",
      join(settings.dataFolder, "dtma"),
      "--scope",
      scope,
      "--parent-pipe",
    ],
    ...settings.dtmaLabels.flatMap((label) => ["--label", label]),
    ...(settings.npmNodeImage === undefined ? [] : ["--node-image", settings.npmNodeImage]),
  ];
  const child = spawn(settings.nodeBinary, args, {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, DTMA_AUTH_TOKEN: token, ELECTRON_RUN_AS_NODE: "1" },
    windowsHide: true,
  });
  const ended = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
  const onAbort = () => endChild(child);
  signal.addEventListener("abort", onAbort, { once: true });
  void ended.then(() => signal.removeEventListener("abort", onAbort));
  child.stdin?.on("error", () => {});
  const lastLines: string[] = [];
  createInterface({ input: child.stderr }).on("line", (line) => {
    lastLines.splice(0, Math.max(0, lastLines.length - 20));
    lastLines.push(line);
    log.debug("dtma.output", { line });
  });
  const ready = await new Promise<DtmaReadyLine>((resolve, reject) => {
    const fail = (message: string) =>
      reject(new AppError("TOOLBOX_UNREACHABLE", { message, output: lastLines.join("\n").slice(-4_000) }));
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      fail("The DTMA of this computer did not get ready in time.");
    }, readyTimeoutMs);
    child.once("error", (error) => fail(`The DTMA of this computer could not be started: ${error.message}`));
    void ended.then(() => {
      clearTimeout(timer);
      fail("The DTMA of this computer ended while it was starting.");
    });
    createInterface({ input: child.stdout }).once("line", (line) => {
      clearTimeout(timer);
      const parsed = dtmaReadyLine.safeParse(parseJson(line));
      if (parsed.success) resolve(parsed.data);
      else {
        child.kill("SIGKILL");
        fail("The DTMA of this computer said something else than that it is ready.");
      }
    });
  });
  return { process: child, ready, ended };
}

function endChild(child: ChildProcess): void {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), drainTimeoutMs);
  child.once("exit", () => clearTimeout(timer));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
