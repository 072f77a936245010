import type { Pack } from "tar-stream";
import { AppError, toAppError } from "../../shared/errors.ts";
import type { ServerId } from "../../shared/model/ids.ts";
import type { OperationStep } from "../../shared/model/operation.ts";
import type { ServerSpec } from "../../shared/model/spec.ts";
import type { Tool } from "../../shared/model/tool.ts";
import type { AccessList } from "./access.ts";
import { checkSpec } from "./check-spec.ts";
import type { DataFolder } from "./data-folder.ts";
import type { ContainerView, Docker } from "./docker/docker.ts";
import type { BuildTarget, Images, PulledImage } from "./images/images.ts";
import { serverUser } from "./images/runtime.ts";
import { secretVariablesVariable } from "./images/secret-preload.ts";
import { sendTar } from "./images/tar.ts";
import {
  containerName,
  kindLabels,
  readServerLabels,
  type Scope,
  type ServerLabels,
  scopeFilter,
  serverIdLabel,
  serverLabels,
  serverNameLabel,
  volumeLabels,
  volumeName,
} from "./labels.ts";
import type { Log } from "./log.ts";
import type { Network } from "./network.ts";
import type { PackageSource, PlanStep } from "./plan.ts";
import type { Secrets, WrittenSecrets } from "./secrets.ts";
import type { Handshake, Servers } from "./servers.ts";

/*
INVARIANTS
- Each step can be ended by its signal; `undo` can follow any step of a deploy and leaves what was there before.
- New volumes are written down before they are made and struck out when the deploy has succeeded, so that the next start
  removes those of a deploy that was killed and never one with a person's data.
*/

const stopGraceSeconds = 10;
const lastLines = 40;
const pendingVolumesFile = "pending-volumes.json";
const secretsPath = "/run/secrets";

/** What a run of steps knows and finds out. */
export type Run = {
  name: string;
  /** Only of a deploy. */
  request: { serverId: ServerId; spec: ServerSpec; secretValues: Record<string, string> } | undefined;
  signal: AbortSignal;
  /** Of the step that runs now. */
  report(update: Pick<OperationStep, "doneBytes" | "totalBytes" | "detail">): void;
  /** The server's container when the run began. */
  before: ContainerView | undefined;
  made: {
    image?: PulledImage;
    target?: BuildTarget;
    containerId?: string;
    secrets?: WrittenSecrets;
    volumes: string[];
    hasStoppedOld: boolean;
    isFinished: boolean;
    answer?: { protocolVersion: string; tools: Tool[] };
  };
};

export interface Executor {
  /** What can be known to fail before anything is done: SECRET_MISSING, INVALID_INPUT, PERMISSION_REFUSED. */
  check(request: NonNullable<Run["request"]>, before: ContainerView | undefined): Promise<void>;
  run(step: PlanStep, run: Run): Promise<void>;
  /** Takes a deploy back that did not succeed. */
  undo(run: Run): Promise<void>;
  /** What a killed DTMA or a lost Docker left half done, for servers without a running operation. */
  recover(containers: ContainerView[], isFirst: boolean, isBusy: (name: string) => boolean): Promise<void>;
}

type ExecutorDeps = {
  docker: Docker;
  scope: Scope;
  images: Images;
  secrets: Secrets;
  network: Network;
  access: AccessList;
  data: DataFolder;
  servers(): Servers;
  handshake: Handshake;
  answerMs: number;
  closeSessions(name: string): Promise<void>;
  log: Log;
};

export function createExecutor(deps: ExecutorDeps): Executor {
  const { docker, scope, images, secrets, network, data, log } = deps;
  const pendingVolumes = new Set<string>();
  /** Deploys under way: the images they found or make are not unused. */
  const deploys = new Set<Run>();

  const savePending = () => data.write(pendingVolumesFile, JSON.stringify([...pendingVolumes]));

  function mustRequest({ request }: Run) {
    if (request === undefined) throw new AppError("INTERNAL");
    return request;
  }

  function target({ made, before }: Run): string {
    const id = made.containerId ?? before?.id;
    if (id === undefined) throw new AppError("NOT_FOUND", { message: "The server's container does not exist any more." });
    return id;
  }

  async function fetchPackage({ package: name, version }: PackageSource, run: Run): Promise<void> {
    const resolved = await images.resolve(name, version, run.signal);
    run.report({ detail: `${resolved.name} ${resolved.version}` });
    run.made.target = await images.locate(
      resolved,
      (doneBytes, totalBytes) => run.report({ doneBytes, totalBytes }),
      run.signal,
    );
  }

  async function buildImage(run: Run): Promise<void> {
    const build = run.made.target;
    if (build === undefined) throw new AppError("INTERNAL");
    if (build.image !== undefined) run.made.image = build.image;
    else {
      await using installed = await images.install(build.resolved, run.signal);
      run.made.image = await images.build(build, installed.folder, (doneBytes) => run.report({ doneBytes }), run.signal);
    }
    run.report({ detail: run.made.image?.reference ?? "" });
  }

  async function createVolumes(run: Run, spec: ServerSpec, id: ServerId): Promise<{ volume: string; path: string }[]> {
    const wanted = spec.permissions.volumes.map(({ name, path }) => ({ volume: volumeName(scope, id, name), path }));
    if (wanted.length === 0) return [];
    const existing = new Set(
      (await docker.listVolumes({ ...scopeFilter(scope), [serverIdLabel]: id })).map(({ name }) => name),
    );
    run.made.volumes = wanted.map(({ volume }) => volume).filter((volume) => !existing.has(volume));
    for (const volume of run.made.volumes) pendingVolumes.add(volume);
    await savePending();
    for (const volume of run.made.volumes) await docker.createVolume(volume, volumeLabels(scope, spec, id));
    return wanted;
  }

  async function createContainer(run: Run): Promise<void> {
    const { spec, serverId, secretValues } = mustRequest(run);
    const image = run.made.image;
    if (image === undefined) throw new AppError("INTERNAL");
    const written = await secrets.write(spec, secretValues, run.before?.bindSources[secretsPath]);
    if (written !== undefined) run.made.secrets = written;
    const volumes = await createVolumes(run, spec, serverId);
    const isNpm = spec.source.type === "npm";
    if (isNpm && run.made.volumes.length > 0) await giveToServer(image.id, run.made.volumes, run.signal);
    const isOpen = spec.permissions.network === "open";
    const engine = deps.servers().mustHaveEngine();
    const variables = Object.entries(isNpm ? (written?.files ?? {}) : (written?.variables ?? {}));
    const environment = [
      ...Object.entries(spec.environment).map(([name, value]) => `${name}=${value}`),
      ...(isNpm
        ? [`${secretVariablesVariable}=${variables.map(([variable, name]) => `${variable}:${name}`).join(",")}`]
        : variables.map(([variable, value]) => `${variable}=${value}`)),
    ];
    const labels: ServerLabels = { serverId, spec, image: { reference: image.reference, digest: image.digest } };
    const name = containerName(scope, run.name, "new");
    const id = await docker.createContainer(
      name,
      {
        image: image.id,
        labels: serverLabels(scope, labels),
        command: spec.arguments.length === 0 ? undefined : [...image.command, ...spec.arguments],
        environment,
        openStdin: spec.transport.type === "stdio",
        network: isOpen ? await network.ensure() : "none",
        publishPort: spec.transport.type === "http" && !engine.bridgeReachable ? spec.transport.port : undefined,
        memoryBytes: spec.permissions.memoryBytes,
        cpus: spec.permissions.cpus,
        pids: spec.permissions.pids,
        readOnlyRoot: spec.permissions.readOnlyRoot,
        volumes,
        secretsFolder: written?.folder,
      },
      run.signal,
    );
    run.made.containerId = id;
  }

  /** A new volume belongs to root unless its path is in the image; the package's user must be able to write to it. */
  async function giveToServer(image: string, volumes: string[], signal: AbortSignal): Promise<void> {
    const mounts = volumes.map((volume, index) => ({ volume, path: `/dtma-volumes/${index}` }));
    const container = await docker.createBuildContainer(image, kindLabels(scope, "build"), signal, mounts);
    try {
      const fill = async (tar: Pack) => {
        for (const { path } of mounts) {
          tar.entry({ name: path.slice(1), type: "directory", mode: 0o755, uid: serverUser.uid, gid: serverUser.gid });
        }
        tar.finalize();
      };
      await sendTar(fill, (tar) => docker.putArchive(container, "/", tar, signal));
    } finally {
      await docker.removeContainer(container);
    }
  }

  /** SERVER_EXITED as soon as the container ends, SERVER_SILENT when nothing answers; both with the last lines. */
  async function handshake(run: Run): Promise<void> {
    const id = target(run);
    const view = await docker.getContainer(id);
    const labels = view === undefined ? undefined : readServerLabels(view.labels);
    if (view === undefined || labels === undefined) throw new AppError("NOT_FOUND");
    const ended = new AbortController();
    const signal = AbortSignal.any([run.signal, ended.signal]);
    const died = docker.waitContainer(id, signal).then((exitCode) => {
      throw new AppError("SERVER_EXITED", {
        message: `The server ended right after it was started, with exit code ${exitCode}.`,
      });
    });
    const answered = (async () => {
      if (view.state !== "running") return await died;
      const endpoint = deps.servers().endpoint(view, labels);
      return await deps.handshake(endpoint, { deadlineMs: deps.answerMs, signal });
    })();
    try {
      run.made.answer = await Promise.race([answered, died]);
    } catch (error) {
      ended.abort(new AppError("CANCELLED"));
      await answered.catch(() => {});
      run.signal.throwIfAborted();
      throw await explain(toAppError(error), id);
    } finally {
      ended.abort(new AppError("CANCELLED"));
      died.catch(() => {});
    }
    run.report({ detail: `MCP ${run.made.answer.protocolVersion}` });
  }

  async function explain(failure: AppError, containerId: string): Promise<AppError> {
    const view = await docker.getContainer(containerId).catch(() => undefined);
    const hasEnded = view !== undefined && view.state !== "running";
    const printed = failure.output ?? (await containerOutput(containerId));
    const output = await secrets.scrub(view?.bindSources[secretsPath], printed);
    const code = hasEnded || failure.code === "SERVER_NOT_RUNNING" ? "SERVER_EXITED" : failure.code;
    return new AppError(code, {
      ...(code === failure.code ? { message: failure.message } : {}),
      ...(output === "" ? {} : { output }),
      cause: failure,
    });
  }

  async function containerOutput(id: string): Promise<string> {
    const lines: string[] = [];
    try {
      const options = { tail: lastLines, sinceMs: 0, follow: false, signal: AbortSignal.timeout(5_000) };
      for await (const { text } of docker.logs(id, options)) lines.push(text);
    } catch (error) {
      log.error("server.logs-not-read", error);
    }
    return lines.join("\n").slice(-8_000);
  }

  async function takeOver(run: Run): Promise<void> {
    const id = target(run);
    await docker.setRestartPolicy(id, "unless-stopped");
    if (run.before !== undefined) {
      await deps.closeSessions(run.name);
      await docker.renameContainer(run.before.id, containerName(scope, run.name, "old"));
    }
    await docker.renameContainer(id, containerName(scope, run.name));
    run.made.isFinished = true;
    deploys.delete(run);
    await strikeOut(run);
    if (run.before !== undefined) await removeContainer(run.before);
    await deps.servers().refresh(run.name);
    noteHealth(run);
    await removeUnusedImages();
  }

  async function strikeOut(run: Run): Promise<void> {
    if (run.made.volumes.length === 0) return;
    for (const volume of run.made.volumes) pendingVolumes.delete(volume);
    await savePending();
  }

  function noteHealth(run: Run): void {
    const { answer } = run.made;
    if (answer === undefined) return;
    const health = { state: "ready" as const, checkedAt: Date.now(), protocolVersion: answer.protocolVersion };
    deps.servers().noteHealth(run.name, target(run), health, answer.tools);
  }

  async function removeContainer(container: ContainerView): Promise<void> {
    await docker.removeContainer(container.id);
    const folder = container.bindSources[secretsPath];
    if (folder !== undefined) await secrets.remove(folder);
  }

  async function removeUnusedImages(): Promise<void> {
    if ([...deploys].some(({ made }) => made.target !== undefined && made.image === undefined)) return;
    const ids = await docker.listContainers(scopeFilter(scope));
    const views = await Promise.all(ids.map((id) => docker.getContainer(id)));
    const used = views.flatMap((view) => (view === undefined ? [] : [view.imageId]));
    const awaited = [...deploys].flatMap(({ made }) => (made.image === undefined ? [] : [made.image.id]));
    await images.removeUnused(new Set([...used, ...awaited]));
  }

  async function removeServer(run: Run): Promise<void> {
    if (run.before !== undefined) await removeContainer(run.before);
    for (const { name } of await docker.listVolumes({ ...scopeFilter(scope), [serverNameLabel]: run.name })) {
      await docker.removeVolume(name);
    }
    await deps.access.removeServer(run.name);
    await deps.servers().refresh(run.name);
    await removeUnusedImages();
    await network.removeIfUnused();
  }

  async function recoverServer(name: string, containers: ContainerView[]): Promise<void> {
    const byName = new Map(containers.map((container) => [container.name, container]));
    const current = byName.get(containerName(scope, name));
    const fresh = byName.get(containerName(scope, name, "new"));
    const old = byName.get(containerName(scope, name, "old"));
    if (old !== undefined && current === undefined) await docker.renameContainer(old.id, containerName(scope, name));
    else if (old !== undefined) await removeContainer(old);
    if (fresh !== undefined) await removeContainer(fresh);
    const kept = current ?? old;
    const isInterrupted = fresh !== undefined || old !== undefined;
    if (isInterrupted) log.info("server.recovered", { server: name });
    if (isInterrupted && kept?.restartPolicy === "unless-stopped" && kept.state !== "running")
      await docker.startContainer(kept.id);
  }

  return {
    async check({ spec, secretValues }, before) {
      checkSpec(spec);
      await secrets.check(spec, secretValues, before?.bindSources[secretsPath]);
    },

    async run(step, run) {
      if (run.request !== undefined) deploys.add(run);
      switch (step.do) {
        case "fetch-image": {
          run.made.image = await images.fetchImage(
            step.image,
            (doneBytes, totalBytes) => run.report({ doneBytes, totalBytes }),
            run.signal,
          );
          return run.report({ detail: run.made.image.digest });
        }
        case "fetch-package":
          return await fetchPackage(step.source, run);
        case "build-image":
          return await buildImage(run);
        case "create-container":
          return await createContainer(run);
        case "set-desired":
          return await docker.setRestartPolicy(target(run), step.desired === "running" ? "unless-stopped" : "no");
        case "close-sessions":
          return await deps.closeSessions(run.name);
        case "stop-container": {
          if (run.before === undefined) return;
          run.made.hasStoppedOld = true;
          return await docker.stopContainer(run.before.id, stopGraceSeconds, run.signal);
        }
        case "start-container":
          return await docker.startContainer(target(run), run.signal);
        case "handshake":
          return await handshake(run);
        case "list-tools":
          run.report({ detail: String(run.made.answer?.tools.length ?? 0) });
          if (run.request !== undefined) return;
          await deps.servers().refresh(run.name);
          return noteHealth(run);
        case "take-over":
          return await takeOver(run);
        case "remove-server":
          return await removeServer(run);
      }
    },

    async undo(run) {
      deploys.delete(run);
      if (run.request === undefined || run.made.isFinished) return;
      if (run.made.containerId !== undefined) await docker.removeContainer(run.made.containerId);
      else await removeByName(containerName(scope, run.name, "new"));
      if (run.made.secrets !== undefined) await secrets.remove(run.made.secrets.folder);
      for (const volume of run.made.volumes) await docker.removeVolume(volume);
      await strikeOut(run);
      const { before } = run;
      if (before !== undefined) {
        const now = await docker.getContainer(before.id);
        if (now !== undefined && now.name !== containerName(scope, run.name)) {
          await docker.renameContainer(before.id, containerName(scope, run.name));
        }
        if (run.made.hasStoppedOld && before.restartPolicy === "unless-stopped") await docker.startContainer(before.id);
      }
      await removeUnusedImages();
      await network.removeIfUnused();
    },

    async recover(containers, isFirst, isBusy) {
      const names = new Set(
        containers.map(({ labels }) => labels[serverNameLabel] ?? "").filter((name) => name !== "" && !isBusy(name)),
      );
      for (const name of names) {
        const own = containers.filter(({ labels }) => labels[serverNameLabel] === name);
        await recoverServer(name, own).catch((error: unknown) => log.error("server.not-recovered", error, { server: name }));
      }
      await network.restoreRule();
      if (!isFirst) return;
      await images.removeInterrupted();
      const left = (await Promise.all(containers.map(({ id }) => docker.getContainer(id)))).filter(
        (view) => view !== undefined,
      );
      const leftVolumes = JSON.parse((await data.read(pendingVolumesFile)) ?? "[]") as string[];
      for (const volume of leftVolumes) await docker.removeVolume(volume);
      await data.write(pendingVolumesFile, "[]");
      await secrets.removeUnused(new Set(left.flatMap(({ bindSources }) => bindSources[secretsPath] ?? [])));
      await removeUnusedImages();
      await network.removeIfUnused();
      for (const container of left) {
        if (container.state === "running") {
          await docker.endProcesses(container).catch((error: unknown) => log.error("process.not-ended", error));
        } else if (container.restartPolicy === "unless-stopped" && container.state !== "restarting") {
          await docker.startContainer(container.id).catch((error: unknown) => log.error("server.not-started", error));
        }
      }
    },
  };

  async function removeByName(name: string): Promise<void> {
    const container = await docker.getContainer(name);
    if (container !== undefined && container.labels[serverIdLabel] !== undefined) await docker.removeContainer(container.id);
  }
}
