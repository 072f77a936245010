import { setTimeout as sleep } from "node:timers/promises";
import type { DockerCondition, DtmaEvent, ServerObservation } from "../../shared/dtma-protocol.ts";
import { AppError, toAppError } from "../../shared/errors.ts";
import type { ServerId } from "../../shared/model/ids.ts";
import type { Tool } from "../../shared/model/tool.ts";
import type { ContainerView, Docker, EngineInfo } from "./docker/docker.ts";
import type { ServerEndpoint, Speech } from "./docker/server-process.ts";
import {
  containerName,
  containerRole,
  kindFilter,
  labelledName,
  readServerLabels,
  type Scope,
  type ServerLabels,
  scopeLabel,
} from "./labels.ts";
import type { Log } from "./log.ts";
import { createSlots } from "./slots.ts";
import type { Speeches } from "./speeches.ts";

/*
INVARIANTS
- What is in memory came from Docker: events say which container to look at, inspection says what is true, and a full
  list follows every (re)connection. Nothing is assumed from what was asked for.
- The handshake alone makes a server ready. It holds for one start of one container; a restart makes health unknown again.
- While an operation works on a server, only the operation does handshakes with it.
- Without Docker the last observations stay, and the condition says that they are not confirmed.
*/

const pingMs = 5_000;
const pingTimeoutMs = 4_000;
const maxBackOffMs = 10_000;
/** Each handshake starts a process of its server: all at once they would bring down a small toolbox that has just booted. */
const checksAtOnce = 4;
const recheckDelaysMs = [2_000, 5_000, 15_000, 60_000];

export type Handshake = (
  endpoint: ServerEndpoint,
  options: { deadlineMs: number; signal: AbortSignal },
) => Promise<{ protocolVersion: string; tools: Tool[]; speech: Speech }>;

export type Health = ServerObservation["health"];

/** A server as it is on the toolbox. */
export type Server = ServerLabels & {
  container: ContainerView;
  desired: "running" | "stopped";
  health: Health;
  tools: Tool[] | undefined;
};

export interface Servers {
  condition(): DockerCondition;
  /** DOCKER_UNAVAILABLE while Docker is down. */
  mustHaveEngine(): EngineInfo;
  all(): Server[];
  get(name: string): Server | undefined;
  findById(id: ServerId): Server | undefined;
  /** Asks a server first whose speech nobody knows. NOT_FOUND, SERVER_NOT_RUNNING, DOCKER_UNAVAILABLE. */
  endpointOf(name: string): Promise<ServerEndpoint>;
  endpoint(container: ContainerView, labels: ServerLabels): ServerEndpoint;
  observations(): ServerObservation[];
  /** Looks at the server's containers now, instead of waiting for the event. */
  refresh(name: string): Promise<void>;
  /** The outcome of a handshake that an operation did with this start of the container. */
  noteHealth(name: string, containerId: string, health: Health, tools: Tool[] | undefined): void;
  noteSpeech(container: ContainerView, labels: ServerLabels, speech: Speech): void;
  noteSessions(name: string, count: number): void;
  /** An operation begins or ends on the server. */
  setBusy(name: string, isBusy: boolean): void;
  isUp(container: ContainerView): boolean;
  close(): Promise<void>;
}

type ServersDeps = {
  docker: Docker;
  scope: Scope;
  log: Log;
  handshake: Handshake;
  speeches: Speeches;
  answerMs: number;
  emit(event: DtmaEvent): void;
  /** Called with every full list, before it is shown: puts in order what an earlier DTMA left. */
  onConnected(containers: ContainerView[], isFirst: boolean): Promise<void>;
  /** The container of a server stopped or went. One that was replaced may still have sessions and is no concern here. */
  onDown(name: string): void;
  /** The server does not exist any more. */
  onGone(name: string): void;
  /** Where a new process of the server writes its complaints. */
  logWriter(name: string): (chunk: Buffer) => void;
  /** Takes the values of the server's secrets out of what a process printed. */
  scrub(container: ContainerView, text: string): Promise<string>;
};

type Entry = { server: Server; check: AbortController | undefined; lastEmitted: string };

/** Starts to observe; `ready` resolves once Docker was listed for the first time or is known to be down. */
export function createServers(deps: ServersDeps): Servers & { ready: Promise<void> } {
  const { docker, scope, log, emit } = deps;
  const entries = new Map<string, Entry>();
  const sessions = new Map<string, number>();
  const busy = new Set<string>();
  /** Servers without a container when an event said to look, while an operation was at work on them. */
  const missed = new Set<string>();
  const checks = createSlots(checksAtOnce);
  const closing = new AbortController();
  const ready = Promise.withResolvers<void>();
  let engine: EngineInfo | undefined;
  let condition: DockerCondition = { state: "down", since: Date.now(), reason: "Docker was not asked yet." };
  let isFirstConnection = true;
  /** Those that are under way, by container. */
  const handshakes = new Map<string, ReturnType<Handshake>>();
  /** Refreshes of one server follow one another, so that an older look never overwrites a newer one. */
  const queues = new Map<string, Promise<void>>();

  const isUp = ({ state }: ContainerView) => state === "running" || state === "restarting" || state === "paused";

  function endpoint(container: ContainerView, labels: ServerLabels): ServerEndpoint {
    const speech = deps.speeches.of(container, labels);
    return speech === undefined ? reach(container, labels) : { ...reach(container, labels), speech };
  }

  function reach(container: ContainerView, { spec }: ServerLabels): ServerEndpoint {
    const { id } = container;
    if (spec.transport.type === "stdio") {
      const open = () => docker.openProcess(container, container.command, deps.logWriter(spec.name));
      return { type: "stdio", open, container: id, isShared: spec.transport.isolation === "shared" };
    }
    const { port, path } = spec.transport;
    const published = container.publishedPorts[port];
    if (published !== undefined) return { type: "http", url: `http://127.0.0.1:${published}${path}`, container: id };
    if (container.address === undefined) throw new AppError("SERVER_NOT_RUNNING");
    return { type: "http", url: `http://${container.address}:${port}${path}`, container: id };
  }

  function observe({ server }: Entry): ServerObservation {
    const { container } = server;
    return {
      serverId: server.serverId,
      spec: server.spec,
      desired: server.desired,
      container: {
        id: container.id,
        state: container.state,
        ...(container.startedAt === undefined ? {} : { startedAt: container.startedAt }),
        ...(container.exitCode === undefined ? {} : { exitCode: container.exitCode }),
        restartCount: container.restartCount,
      },
      image: server.image,
      ...(server.release === undefined ? {} : { release: server.release }),
      ...(server.previous === undefined ? {} : { previous: server.previous.image }),
      health: server.health,
      ...(server.tools === undefined ? {} : { tools: server.tools }),
      sessions: sessions.get(server.spec.name) ?? 0,
    };
  }

  function show(name: string): void {
    const entry = entries.get(name);
    if (entry === undefined) return;
    const observation = observe(entry);
    const text = JSON.stringify(observation);
    if (text === entry.lastEmitted) return;
    entry.lastEmitted = text;
    emit({ type: "server", server: observation });
  }

  function endCheck(entry: Entry | undefined): void {
    entry?.check?.abort();
    if (entry !== undefined) entry.check = undefined;
  }

  function forget(name: string): void {
    const entry = entries.get(name);
    if (entry === undefined) return;
    entries.delete(name);
    endCheck(entry);
    emit({ type: "server-removed", serverId: entry.server.serverId, name });
    deps.onDown(name);
    deps.onGone(name);
  }

  function take(container: ContainerView): void {
    const labels = readServerLabels(container.labels);
    if (labels === undefined) {
      log.warn("container.labels-not-understood", { container: container.id });
      return;
    }
    const { name } = labels.spec;
    const before = entries.get(name);
    const isSame = before !== undefined && before.server.container.id === container.id;
    const isUnbroken =
      isSame &&
      before.server.container.startedAt === container.startedAt &&
      (container.state === "running" || container.state === "paused");
    const wasUp = isSame && isUp(before.server.container);
    if (!isUnbroken) endCheck(before);
    entries.set(name, {
      server: {
        ...labels,
        container,
        desired: container.restartPolicy === "unless-stopped" ? "running" : "stopped",
        health: isUnbroken ? before.server.health : { state: "unknown" },
        tools: isSame ? before.server.tools : undefined,
      },
      check: before?.check,
      lastEmitted: before?.lastEmitted ?? "",
    });
    if (wasUp && !isUnbroken) deps.onDown(name);
    show(name);
    checkLater(name);
  }

  /** Starts the series of handshakes with a running server whose health nobody knows. */
  function checkLater(name: string): void {
    const entry = entries.get(name);
    if (entry === undefined || busy.has(name) || closing.signal.aborted) return;
    const { server } = entry;
    if (server.container.state !== "running" || server.health.state !== "unknown" || entry.check !== undefined) return;
    const check = new AbortController();
    entry.check = check;
    void checkHealth(name, server, check.signal).finally(() => {
      const current = entries.get(name);
      if (current?.check === check) current.check = undefined;
    });
  }

  async function checkHealth(name: string, server: Server, signal: AbortSignal): Promise<void> {
    for (const delayMs of [0, ...recheckDelaysMs]) {
      try {
        await sleep(delayMs, undefined, { signal });
        const result = await shakeHands(server, signal);
        signal.throwIfAborted();
        const health: Health = { state: "ready", checkedAt: Date.now(), protocolVersion: result.protocolVersion };
        servers.noteHealth(name, server.container.id, health, result.tools);
        return;
      } catch (error) {
        if (signal.aborted) return;
        const failure = toAppError(error);
        log.warn("server.handshake-failed", { server: name, code: failure.code });
        servers.noteHealth(
          name,
          server.container.id,
          { state: "failed", checkedAt: Date.now(), error: failure.toShape() },
          undefined,
        );
      }
    }
  }

  function shakeHands(server: Server, signal: AbortSignal): ReturnType<Handshake> {
    const { id } = server.container;
    const shaking = shakeHandsInTurn(server, signal);
    const isOver = () => {
      if (handshakes.get(id) === shaking) handshakes.delete(id);
    };
    handshakes.set(id, shaking);
    shaking.then(isOver, isOver);
    return shaking;
  }

  async function shakeHandsInTurn(server: Server, signal: AbortSignal): ReturnType<Handshake> {
    const leave = await checks.enter(signal);
    try {
      const result = await deps.handshake(endpoint(server.container, server), { deadlineMs: deps.answerMs, signal });
      deps.speeches.note(server.container, server, result.speech);
      return result;
    } finally {
      leave();
    }
  }

  /** Whoever needs a server before it was asked waits for the asking; one that refuses is left to say so by itself. */
  async function knowSpeech(server: Server): Promise<void> {
    const isAsked = deps.speeches.of(server.container, server) !== undefined || server.health.state === "failed";
    if (isAsked || busy.has(server.spec.name)) return;
    const asking = handshakes.get(server.container.id) ?? shakeHands(server, closing.signal);
    await asking.catch((error: unknown) => {
      log.warn("server.speech-not-found", { server: server.spec.name, code: toAppError(error).code });
    });
  }

  function queue(name: string, work: () => Promise<void>): Promise<void> {
    const run = (queues.get(name) ?? Promise.resolve()).catch(() => {}).then(work);
    queues.set(name, run);
    const clear = () => {
      if (queues.get(name) === run) queues.delete(name);
    };
    run.then(clear, clear);
    return run;
  }

  const look = (name: string) =>
    void queue(name, () => refresh(name, true)).catch((error: unknown) =>
      log.error("server.refresh-failed", error, { server: name }),
    );

  async function listAll(): Promise<ContainerView[]> {
    const ids = await docker.listContainers(kindFilter(scope, "server"));
    const views = await Promise.all(ids.map((id) => docker.getContainer(id)));
    return views.filter((view) => view !== undefined);
  }

  async function connect(): Promise<never> {
    const found = await docker.info(pingTimeoutMs);
    const lost = new AbortController();
    const signal = AbortSignal.any([closing.signal, lost.signal]);
    const opened = Promise.withResolvers<void>();
    // Until everything was listed and put in order, what an event is about is only noted.
    let noted: Set<string> | undefined = new Set();
    const watching = docker.watch(
      kindFilter(scope, "server"),
      opened.resolve,
      ({ labels, action }) => {
        const name = labelledName(labels);
        // Execs come and go with every session and change nothing that is shown.
        if (name === undefined || action.startsWith("exec_")) return;
        if (noted === undefined) look(name);
        else noted.add(name);
      },
      signal,
    );
    try {
      await Promise.race([opened.promise, watching]);
      engine = found;
      let containers = await listAll();
      await deps.onConnected(containers, isFirstConnection);
      if (isFirstConnection) containers = await listAll();
      isFirstConnection = false;
      const own = containers.filter(({ name }) => containerRole(name) === "current");
      const names = new Set(own.map(({ labels }) => readServerLabels(labels)?.spec.name));
      for (const name of [...entries.keys()]) if (!names.has(name)) forget(name);
      for (const container of own) take(container);
      const missed = noted;
      noted = undefined;
      for (const name of missed) look(name);
      setCondition({ state: "up", engineVersion: found.version });
      ready.resolve();
      return await Promise.race([watching, pings(signal)]);
    } finally {
      lost.abort();
      watching.catch(() => {});
    }
  }

  /** An Engine that hangs keeps its stream of events open, so it is asked again and again. */
  async function pings(signal: AbortSignal): Promise<never> {
    for (;;) {
      await sleep(pingMs, undefined, { signal });
      await docker.ping(pingTimeoutMs);
    }
  }

  function setCondition(next: DockerCondition): void {
    if (condition.state === next.state) return;
    condition = next;
    log.info("docker.condition", next.state === "up" ? { state: next.state } : { state: next.state, reason: next.reason });
    emit({ type: "heartbeat", at: Date.now(), docker: condition });
  }

  async function observeForever(): Promise<void> {
    for (let waitMs = 250; !closing.signal.aborted; ) {
      try {
        await connect();
      } catch (error) {
        if (closing.signal.aborted) return;
        if (condition.state === "up") waitMs = 250;
        engine = undefined;
        const failure = toAppError(error);
        if (failure.code === "INTERNAL") log.error("docker.observation-failed", error);
        setCondition({ state: "down", since: Date.now(), reason: failure.message });
        if (condition.state === "down") condition = { ...condition, reason: failure.message };
        ready.resolve();
      }
      await sleep(waitMs, undefined, { signal: closing.signal }).catch(() => {});
      waitMs = Math.min(waitMs * 2, maxBackOffMs);
    }
  }

  async function refresh(name: string, isEvent = false): Promise<void> {
    const container = await docker.getContainer(containerName(scope, name));
    const isOurs = container?.labels[scopeLabel] === scope.name && readServerLabels(container.labels)?.spec.name === name;
    if (container !== undefined && isOurs) take(container);
    // An operation that replaces the container has none under the server's name for a moment.
    else if (isEvent && busy.has(name)) missed.add(name);
    else forget(name);
  }

  const observing = observeForever();

  const servers: Servers = {
    condition: () => condition,
    mustHaveEngine() {
      if (engine !== undefined && condition.state === "up") return engine;
      const why = condition.state === "down" ? condition.reason : "";
      throw new AppError("DOCKER_UNAVAILABLE", why === "" ? {} : { message: why });
    },
    all: () => [...entries.values()].map(({ server }) => server),
    get: (name) => entries.get(name)?.server,
    findById: (id) => [...entries.values()].find(({ server }) => server.serverId === id)?.server,
    async endpointOf(name) {
      const server = entries.get(name)?.server;
      if (server === undefined) throw new AppError("NOT_FOUND", { message: `This toolbox has no server named ${name}.` });
      servers.mustHaveEngine();
      if (server.container.state !== "running") throw new AppError("SERVER_NOT_RUNNING");
      await knowSpeech(server);
      return endpoint(server.container, server);
    },
    endpoint,
    observations: () => [...entries.values()].map(observe),
    refresh: (name) => queue(name, () => refresh(name)),
    noteHealth(name, containerId, health, tools) {
      const entry = entries.get(name);
      if (entry === undefined || entry.server.container.id !== containerId) return;
      entry.server.health = health;
      if (tools !== undefined) entry.server.tools = tools;
      show(name);
    },
    noteSpeech: deps.speeches.note,
    noteSessions(name, count) {
      if (count === 0) sessions.delete(name);
      else sessions.set(name, count);
      show(name);
    },
    setBusy(name, isBusy) {
      if (isBusy) {
        busy.add(name);
        endCheck(entries.get(name));
        return;
      }
      busy.delete(name);
      if (missed.delete(name)) look(name);
      checkLater(name);
    },
    isUp,
    async close() {
      closing.abort();
      for (const entry of entries.values()) endCheck(entry);
      await observing;
    },
  };
  return Object.assign(servers, { ready: ready.promise });
}
