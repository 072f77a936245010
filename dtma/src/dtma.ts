import { createRequire } from "node:module";
import { cpus, freemem, hostname, networkInterfaces, totalmem } from "node:os";
import { type DtmaInfo, type DtmaReadyLine, dtmaProtocolVersion, type ShutdownRequest } from "../../shared/dtma-protocol.ts";
import { openAccessList } from "./access.ts";
import { createApi } from "./api/api.ts";
import { createGuard } from "./api/guard.ts";
import { createLimits } from "./api/limits.ts";
import type { RouteFace } from "./api/route.ts";
import { openAudit } from "./audit.ts";
import { openCertificate } from "./certificate.ts";
import { createCollector } from "./collector.ts";
import { hideToken } from "./configuration.ts";
import { type DataFolder, openDataFolder } from "./data-folder.ts";
import { createCgroups } from "./docker/cgroups.ts";
import type { Docker } from "./docker/docker.ts";

import { createDocker } from "./docker/engine.ts";
import { createPipes } from "./docker/pipes.ts";
import { createDrains } from "./drains.ts";
import { createEgressProxy } from "./egress/egress-proxy.ts";
import { createFindClient } from "./egress/find-client.ts";
import { createEventHub } from "./events.ts";
import { createExecutor } from "./execute.ts";
import { exposureOf } from "./exposure.ts";
import { createMcpGateway } from "./gateway/index.ts";
import { handshake } from "./gateway/servers/handshake.ts";
import { engineGaps } from "./host/engine-gaps.ts";
import { createFirewall } from "./host/firewall.ts";
import { createHostLoad } from "./host/host-load.ts";
import { listeningSockets, type Socket } from "./host/listening.ts";
import { createSystemMetrics } from "./host/system-metrics.ts";
import { createHostContainers } from "./host-containers.ts";
import { createImages } from "./images/images.ts";
import { openRegistries } from "./images/registries.ts";
import { openJournal } from "./journal.ts";
import { createScope, networkName, scopeFilter, serverNameLabel } from "./labels.ts";
import { openLegacy } from "./legacy/index.ts";
import { createLog, createLogTail, type Log } from "./log.ts";
import { wakeAfter } from "./memory.ts";
import { createMetrics } from "./metrics/metrics.ts";
import { createNetwork } from "./network.ts";
import { createOperations } from "./operations.ts";
import { createRecover } from "./recover.ts";
import { openReleases } from "./releases.ts";
import { openFulfiller } from "./report/fulfil.ts";
import { createReporter } from "./report/index.ts";
import { openTargetStore } from "./report/target.ts";
import { createSecrets } from "./secrets.ts";
import { removeServerContainer, secretsFolderOf } from "./server-container.ts";
import { createServerLogs, type LogOptions } from "./server-logs.ts";
import { createServers } from "./servers.ts";
import { isLoopback, reachableHost, type Settings, SettingsError } from "./settings.ts";
import { openSpeeches } from "./speeches.ts";
import { createStats } from "./stats.ts";
import { openTokens } from "./tokens.ts";
import { openUsageTotals } from "./usage-totals.ts";
import { createVolumes } from "./volumes.ts";

/*
INVARIANTS
- Standard output gets exactly one line, once the DTMA answers, or the help that was asked for; everything else goes to
  standard error.
- The process ends by itself on SIGTERM, SIGINT, a shutdown request, and when the parent that holds its standard input
  or its IPC channel goes; nothing it started in containers is left then.
*/

const drainMs = 30_000;
const stopGraceSeconds = 10;
/** A toolbox that carries no MCP traffic does without V8's compilers and the memory they take (memory.ts). */
const requestsUntilFast = 100;
/** No spare process is started on a machine with less of its memory available. */
const roomForSpares = 0.15;
/** Servers brought up at the same time, also by a machine with one core. */
const minAtOnce = 4;
const gatewayLimits = {
  spareIdleMs: 15 * 60_000,
  answerMs: 300_000,
  messageBytes: 16 * 2 ** 20,
};

/** A client that starts asks for a lot at once. */
const secondsInBurst = 4;

/** Where tests may reach in: what changes the world, seen before anybody else has it, and the routes there are. */
export type Seams = {
  docker?(docker: Docker): Docker;
  data?(data: DataFolder): DataFolder;
  onRoute?(route: RouteFace): void;
};

/** Builds everything, in a readable order, and serves until it is ended. SettingsError for what a person has to mend. */
export async function startDtma(settings: Settings, seams: Seams = {}): Promise<void> {
  const logTail = createLogTail();
  const log = createLog((line) => {
    logTail.add(line);
    process.stderr.write(line);
  });
  process.removeAllListeners("warning");
  // Node's own word on node:sqlite, of which only the file lock is used here.
  process.on(
    "warning",
    ({ name, message }) => name === "ExperimentalWarning" || log.warn("process.warning", { name, message }),
  );

  const version = (createRequire(import.meta.url)("../package.json") as { version: string }).version;
  const folder = await openDataFolder(settings.dataFolder);
  const data = seams.data?.(folder) ?? folder;
  for (const remark of settings.remarks) log.warn("settings.remark", { remark });
  const tokens = await openTokens({ data, configured: settings.token, enrolment: settings.enrolment });
  if (settings.token?.isShort) log.warn("access.short", { remark: "The configured token is short: change it." });
  await hideConfiguredToken(settings.configurationFile, log);
  const targets = await openTargetStore(data, settings.reporting, log);
  const certificate = settings.http ? undefined : await openCertificate(data, log);
  const audit = await openAudit(data.path, log);
  const scope = createScope(settings.scope, settings.labels);
  const hub = createEventHub();
  const pipes = createPipes(data.path);
  const engine = createDocker(settings.dockerHost, process.env, pipes, log);
  const docker = seams.docker?.(engine) ?? engine;
  const secrets = createSecrets(data.path);
  const volumes = createVolumes({ docker, scope, data, log });
  const releases = await openReleases(data, log);
  const speeches = await openSpeeches(data, log);
  const journal = await openJournal(data, log);
  const egress = createEgressProxy({ findClient: createFindClient(docker, networkName(scope, "restricted")), log });
  const network = createNetwork({
    docker,
    scope,
    firewall: createFirewall(),
    egress,
    engine: () => servers.mustHaveEngine(),
    log,
  });
  const registries = await openRegistries(data, log);
  const images = createImages({
    docker,
    scope,
    log,
    data,
    registries,
    nodeRuntime: settings.nodeRuntime,
    nodeImage: settings.nodeImage,
    uvImage: settings.uvImage,
    engine: () => servers.mustHaveEngine(),
    openNetwork: (create) => network.place({ network: "open" }, ({ network: name }) => create(name)),
    env: process.env,
  });
  const serverLogs = createServerLogs();
  const access = await openAccessList(data, (id, entry) => gateway.accessChanged(id, entry), log);
  const totals = await openUsageTotals(data, () => gateway.usage(), log);
  const connections = new Set(access.all().map(({ connectionId }) => connectionId));
  const gateway = createMcpGateway({
    endpointOf: (name) => servers.endpointOf(name),
    usageTotals: totals.kept.filter(({ connectionId }) => connections.has(connectionId)),
    onUsage(usage) {
      totals.noteChange();
      hub.emit({ type: "usage", usage });
    },
    isListed: (name, tool) => servers.get(name)?.tools?.some((listed) => listed.name === tool) === true,
    onSessions(name, count) {
      servers.noteSessions(name, count);
      drains.look(name);
    },
    onFault: ({ server, error }) => log.error("session.not-ended", error, { server }),
    onRequest: wakeAfter(requestsUntilFast),
    hasRoom: () => freemem() > totalmem() * roomForSpares,
    limits: {
      ...gatewayLimits,
      ...settings.sessions,
      calls: { perSecond: settings.callsPerSecond, burst: secondsInBurst * settings.callsPerSecond },
    },
  });
  const collector = createCollector({ docker, scope, images, network });
  const drains = createDrains({
    sessionCount: (name, container) => gateway.sessionCount(name, container),
    closeSessions: (name, container) => gateway.closeServer(name, container),
    async remove(container) {
      await removeServerContainer({ docker, secrets }, container);
      await collector.collect();
    },
    drainMs: settings.sessions.idleMs,
    log,
  });
  const executor = createExecutor({
    docker,
    scope,
    images,
    secrets,
    network,
    volumes,
    collector,
    releases,
    drains,
    log,
    access,
    servers: () => servers,
    handshake,
    answerMs: settings.answerMs,
    closeSessions: (name) => gateway.closeServer(name),
  });
  const servers = createServers({
    docker,
    scope,
    log,
    handshake,
    speeches,
    answerMs: settings.answerMs,
    emit: hub.emit,
    onConnected: (containers, isFirst) => recover(containers, isFirst),
    onDown: (name) => void gateway.closeServer(name).catch((error: unknown) => log.error("sessions.not-closed", error)),
    onGone: serverLogs.forget,
    logWriter: serverLogs.writer,
    scrub: (container, text) => secrets.scrub(secretsFolderOf(container), text),
  });
  const operations = createOperations({
    servers,
    executor,
    releases,
    journal,
    atOnce: Math.max(minAtOnce, 2 * cpus().length),
    async hasRemains(name) {
      const volumes = await docker.listVolumes({ ...scopeFilter(scope), [serverNameLabel]: name });
      return volumes.length > 0 || access.all().some(({ server }) => server === name);
    },
    onChange: (operation) => hub.emit({ type: "operation", operation: structuredClone(operation) }),
    log,
  });
  const recover = createRecover({
    docker,
    scope,
    executor,
    images,
    secrets,
    pipes,
    volumes,
    network,
    drains,
    journal,
    isBusy: (name) => operations.isBusy(name),
    wasUp(name) {
      const server = servers.get(name);
      return server !== undefined && servers.isUp(server.container);
    },
    onOutcome: (entry, isDone) => operations.adopt(entry, isDone),
    collect: () => collector.collect(),
    log,
  });
  const seen = () => (servers.condition().state === "up" ? servers.all() : []);
  const stats = createStats({ docker, openCgroup: createCgroups(), servers: seen, hostLoad: createHostLoad(data.path), log });

  const engineGapsNow = () => (servers.condition().state === "up" ? engineGaps(servers.mustHaveEngine()) : []);
  let ownSocket: Socket | undefined;
  const exposure = async () =>
    exposureOf({
      sockets: await listeningSockets(),
      dtma: ownSocket,
      egress: egress.address(),
      servers: servers.all().map(({ spec, container }) => ({ name: spec.name, publishedAt: container.publishedAt })),
    });
  const info = (): DtmaInfo => ({
    protocol: dtmaProtocolVersion,
    version,
    now: Date.now(),
    docker: servers.condition(),
    hostname: hostname(),
    platform: `${process.platform}/${process.arch}`,
    cpus: cpus().length,
    memoryBytes: totalmem(),
    hardeningGaps: [...network.gaps(), ...engineGapsNow()],
    ...reporting(),
  });
  const fulfiller = await openFulfiller({
    data,
    operations,
    servers,
    isSomebodyLinked: () => api.linkCount() > 0,
    listen: hub.listen,
    log,
  });
  const reporter = createReporter({
    ready: servers.ready,
    targets,
    access,
    fulfiller,
    stats,
    info,
    observations: servers.observations,
    usage: gateway.usageSinceStart,
    listen: hub.listen,
    log,
  });
  function reporting(): Pick<DtmaInfo, "reporting"> {
    const { condition } = reporter.state();
    return condition === null ? {} : { reporting: condition };
  }
  const hostContainers = createHostContainers({ docker, log });
  const logs = async function* (name: string, options: LogOptions) {
    const server = servers.get(name);
    if (server === undefined) return;
    yield* serverLogs.read(name, (which) => docker.logs(server.container.id, which), options);
  };
  const legacy = await openLegacy({
    data,
    scope,
    servers,
    operations,
    hostContainers,
    metrics: createSystemMetrics(createHostLoad(data.path), data.path),
    getImage: docker.getImage,
    listen: hub.listen,
    logs,
    version,
    hasApiBaseUrl: settings.hasApiBaseUrl,
    log,
  });
  const metrics = createMetrics({
    listen: hub.listen,
    stats,
    info,
    observations: servers.observations,
    usage: gateway.usage,
    access: access.all,
  });
  const api = createApi({
    certificate,
    clientCa: settings.clientCa,
    tokens,
    audit,
    guard: createGuard({
      tokens,
      allowedHosts: [hostname().toLowerCase(), ...settings.allowedHosts],
      isOnLoopback: isLoopback(settings.host),
    }),
    limits: createLimits(settings),
    servers,
    operations,
    releases,
    secretsOf: (server) => secrets.list(server.spec, secretsFolderOf(server.container)),
    access,
    registries,
    gateway,
    hub,
    stats,
    metrics,
    reporter,
    info,
    exposure,
    logs,
    legacy,
    logTail,
    shutdown: (request) => void end(request),
    log,
    ...(seams.onRoute === undefined ? {} : { onRoute: seams.onRoute }),
  });

  let ending: Promise<void> | undefined;
  function end(request: ShutdownRequest): Promise<void> {
    ending ??= drain(request);
    return ending;
  }

  async function drain(request: ShutdownRequest): Promise<void> {
    log.info("dtma.ending", { servers: request.servers });
    setTimeout(() => {
      log.warn("dtma.not-drained");
      process.exit(1);
    }, drainMs).unref();
    try {
      fulfiller.close();
      await reporter.close();
      await operations.close();
      metrics.close();
      stats.close();
      await gateway.close();
      await drains.close().catch((error: unknown) => log.error("server.not-drained", error));
      await totals.close();
      await speeches.close();
      if (request.servers === "stop") {
        const up = servers.all().filter(({ container }) => servers.isUp(container));
        await Promise.all(up.map(({ container }) => docker.stopContainer(container.id, stopGraceSeconds)));
      }
      await servers.close();
      await hostContainers.close();
      await api.close();
      await audit.close();
      data.close();
    } catch (error) {
      log.error("dtma.not-drained", error);
      process.exit(1);
    }
    process.exit(0);
  }

  const endAsSet = () => void end({ servers: settings.stopServersOnExit ? "stop" : "keep" });
  process.on("SIGTERM", endAsSet);
  process.on("SIGINT", endAsSet);
  process.on("disconnect", endAsSet);
  if (settings.parentPipe) process.stdin.on("error", endAsSet).on("end", endAsSet).on("close", endAsSet).resume();

  await Promise.all([servers.ready, hostContainers.ready]);
  const { port } = await api.listen(settings.host, settings.port).catch((error: NodeJS.ErrnoException) => {
    if (error.code === undefined) throw error;
    throw new SettingsError(`The DTMA cannot listen on ${settings.host}:${settings.port}: ${listenProblem(error.code)}.`);
  });
  ownSocket = { address: settings.host, port };
  const host = reachableHost(settings.host, networkInterfaces(), hostname());
  const ready: DtmaReadyLine = {
    event: "ready",
    url: `${certificate === undefined ? "http" : "https"}://${host}:${port}`,
    fingerprint: certificate?.fingerprint ?? null,
    ...(tokens.made === undefined ? {} : { token: tokens.made }),
  };
  process.stdout.write(`${JSON.stringify(ready)}\n`);
  log.info("dtma.ready", { port, scope: scope.name });
}

/** What cannot be hidden is served all the same: the token in the file is as good as before. */
async function hideConfiguredToken(file: string | null, log: Log): Promise<void> {
  try {
    if (file !== null && (await hideToken(file))) log.info("configuration.hashed");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOENT") log.warn("configuration.not-hashed", { code });
  }
}

function listenProblem(code: string): string {
  if (code === "EADDRINUSE") return "another program listens there";
  if (code === "EACCES") return "this user may not";
  return code === "EADDRNOTAVAIL" || code === "ENOTFOUND" ? "this machine has no such address" : code;
}
