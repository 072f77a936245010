import { AppError } from "../../shared/errors.ts";
import type { ServerId } from "../../shared/model/ids.ts";
import type { OperationKind, OperationStep, ToolChanges } from "../../shared/model/operation.ts";
import type { ServerSpec } from "../../shared/model/spec.ts";
import type { AccessList } from "./access.ts";
import { type Answer, createAnswering } from "./answer.ts";
import { checkSpec } from "./check-spec.ts";
import type { Claim, Collector } from "./collector.ts";
import type { ContainerView, Docker, ImageView } from "./docker/docker.ts";
import type { Drains } from "./drains.ts";
import type { BuildTarget, Images, PulledImage } from "./images/images.ts";
import { secretVariablesVariable } from "./images/node-preload.ts";
import {
  containerName,
  drainName,
  type PreviousRelease,
  readServerLabels,
  type Scope,
  type ServerLabels,
  serverIdLabel,
  serverLabels,
} from "./labels.ts";
import type { Log } from "./log.ts";
import type { Network } from "./network.ts";
import type { PackageSource, PlanStep } from "./plan.ts";
import type { Releases } from "./releases.ts";
import type { GivenSecrets, Secrets, WrittenSecrets } from "./secrets.ts";
import { removeServerContainer, secretsFolderOf } from "./server-container.ts";
import type { Handshake, Servers } from "./servers.ts";
import type { Volumes } from "./volumes.ts";

/*
INVARIANTS
- Each step can be ended by its signal; `undo` can follow any step of a deploy and leaves what was there before.
- The new container gets the server's name in one rename. Before it the deploy can be undone, after it the deploy has
  succeeded, and what is still to do is put in order by the next start when it fails.
*/

const stopGraceSeconds = 10;

/** A container to be made in place of the one before: a deploy, a rollback, or other secrets. */
export type ReleaseRequest = {
  kind: OperationKind;
  serverId: ServerId;
  spec: ServerSpec;
  /** What the spec becomes once the image is there, for one that could not say everything before. */
  fit?: (image: ImageView) => ServerSpec;
  secrets: Omit<GivenSecrets, "previousFolder">;
  number: number;
  /** What a rollback from it goes back to. */
  previous: PreviousRelease | undefined;
};

/** What a run of steps knows and finds out. */
export type Run = {
  name: string;
  /** Of what makes a new container; undefined for the rest. */
  request: ReleaseRequest | undefined;
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
    answer?: Answer;
    toolChanges?: ToolChanges;
    claim?: Claim;
  };
};

export interface Executor {
  /** What can be known to fail before anything is done: SECRET_MISSING, INVALID_INPUT, PERMISSION_REFUSED. */
  check(request: Pick<ReleaseRequest, "spec" | "secrets">, before: ContainerView | undefined): Promise<void>;
  /** SECRET_MISSING for a server that is to start and was not given what it requires. */
  checkStart(container: ContainerView): Promise<void>;
  run(step: PlanStep, run: Run): Promise<void>;
  /** Takes a deploy back that did not succeed, and notes why; begins nothing more once the signal has ended. */
  undo(run: Run, failure: AppError, signal: AbortSignal): Promise<void>;
  /** Removes all that there is of a server. */
  removeServer(name: string, containers: ContainerView[]): Promise<void>;
}

type ExecutorDeps = {
  docker: Docker;
  scope: Scope;
  images: Images;
  secrets: Secrets;
  network: Network;
  volumes: Volumes;
  collector: Collector;
  releases: Releases;
  drains: Drains;
  access: AccessList;
  servers(): Servers;
  handshake: Handshake;
  answerMs: number;
  closeSessions(name: string): Promise<void>;
  log: Log;
};

export function createExecutor(deps: ExecutorDeps): Executor {
  const { docker, scope, images, secrets, network, volumes, collector, releases, log } = deps;
  const { answer, stayUp } = createAnswering(deps);

  function mustRequest({ request }: Run) {
    if (request === undefined) throw new AppError("INTERNAL");
    return request;
  }

  function target({ made, before }: Run): string {
    const id = made.containerId ?? before?.id;
    if (id === undefined) throw new AppError("NOT_FOUND", { message: "The server's container does not exist any more." });
    return id;
  }

  async function fetchPackage(source: PackageSource, run: Run): Promise<void> {
    run.made.target = await images.locate(source, (update) => run.report(update), run.signal);
  }

  async function buildImage(run: Run): Promise<void> {
    const build = run.made.target;
    if (build === undefined) throw new AppError("INTERNAL");
    run.made.image = build.image ?? (await build.make((doneBytes) => run.report({ doneBytes }), run.signal));
    run.report({ detail: run.made.image.reference });
  }

  async function restoreImage({ image: known, imageId, spec }: PreviousRelease, run: Run): Promise<void> {
    const found = await images.find(imageId, known);
    const progress = (doneBytes: number, totalBytes: number) => run.report({ doneBytes, totalBytes });
    if (found !== undefined) run.made.image = found;
    else if (spec.source.type === "oci") {
      const image = exactReference(known.reference, known.digest);
      const pull = spec.source.pull === "never" ? "never" : "missing";
      run.made.image = await images.fetchImage({ image, pull }, progress, run.signal);
    } else {
      await fetchPackage({ ...spec.source, version: known.package?.version ?? spec.source.version }, run);
      await buildImage(run);
    }
    run.report({ detail: run.made.image?.reference ?? "" });
  }

  /** Completes the spec with what its image says; what comes out is checked like what was asked. */
  async function fitToImage(run: Run): Promise<void> {
    const { fit, ...request } = mustRequest(run);
    if (fit === undefined) return;
    const image = await docker.getImage(run.made.image?.id ?? "");
    if (image === undefined) throw new AppError("IMAGE_NOT_FOUND");
    run.request = { ...request, spec: fit(image) };
    checkSpec(run.request.spec);
  }

  async function createContainer(run: Run): Promise<void> {
    const { spec, serverId, secrets: given, number, previous } = mustRequest(run);
    const image = run.made.image;
    if (image === undefined) throw new AppError("INTERNAL");
    const written = await secrets.write(spec, { ...given, previousFolder: run.before && secretsFolderOf(run.before) });
    if (written !== undefined) run.made.secrets = written;
    const mounts = await volumes.create(spec, serverId, (names) => {
      run.made.volumes = names;
    });
    const isPackage = spec.source.type !== "oci";
    if (isPackage && run.made.volumes.length > 0) await volumes.giveToServer(image.id, run.made.volumes, run.signal);
    const engine = deps.servers().mustHaveEngine();
    const variables = Object.entries(isPackage ? (written?.files ?? {}) : (written?.variables ?? {}));
    const { permissions, transport } = spec;
    const ownPort = transport.type === "http" && !engine.bridgeReachable ? [{ container: transport.port, host: 0 }] : [];
    const labels: ServerLabels = {
      serverId,
      spec,
      image: toImageRun(image),
      release: number,
      ...(previous === undefined ? {} : { previous }),
    };
    const name = containerName(scope, run.name, "new");
    // A DTMA that was killed while Docker was still making it never saw it.
    await removeByName(name);
    const id = await network.place(permissions, (place) =>
      docker.createContainer(
        name,
        {
          image: image.id,
          labels: serverLabels(scope, labels),
          command: commandOf(spec, image),
          environment: [
            ...Object.entries({ ...place.environment, ...spec.environment }).map(([name, value]) => `${name}=${value}`),
            ...(isPackage
              ? [`${secretVariablesVariable}=${variables.map(([variable, name]) => `${variable}:${name}`).join(",")}`]
              : variables.map(([variable, value]) => `${variable}=${value}`)),
          ],
          // Who need not speak MCP may speak it on stdin all the same, whatever port its image names.
          openStdin: transport.type === "stdio" || spec.handshake === "optional",
          network: place.network,
          resolver: place.resolver,
          ports: [...permissions.ports, ...ownPort],
          memoryBytes: permissions.memoryBytes,
          cpus: permissions.cpus,
          pids: permissions.pids,
          readOnlyRoot: permissions.readOnlyRoot,
          writablePaths: permissions.writablePaths,
          capabilities: permissions.capabilities,
          volumes: mounts,
          secretsFolder: written?.folder,
        },
        run.signal,
      ),
    );
    run.made.containerId = id;
  }

  async function takeOver(run: Run, desired: "running" | "stopped"): Promise<void> {
    const id = target(run);
    const { before } = run;
    if (desired === "running") await docker.setRestartPolicy(id, "unless-stopped");
    if (before !== undefined) await docker.renameContainer(before.id, containerName(scope, run.name, "old"));
    await docker.renameContainer(id, containerName(scope, run.name));
    run.made.isFinished = true;
    await settle(run);
  }

  /**
   * What follows once the server has its new container. Nothing of it can make the deploy fail any more, and no part waits
   * for another: what fails is logged, and put in order by the next start.
   */
  async function settle(run: Run): Promise<void> {
    const { before, made, name } = run;
    const { kind, number, spec } = mustRequest(run);
    const attempt = (work: () => Promise<void>) =>
      work().catch((error: unknown) => log.error("deploy.not-settled", error, { server: name }));
    if (before !== undefined && made.hasStoppedOld) await attempt(() => removeServerContainer(deps, before));
    else if (before !== undefined) await attempt(() => beginDrain(name, before));
    await attempt(() => volumes.keep(made.volumes));
    const { image, answer: answered, toolChanges } = made;
    const entry = {
      number,
      at: Date.now(),
      kind,
      spec,
      image: image === undefined ? null : toImageRun(image),
      ...(toolChanges === undefined ? {} : { toolChanges }),
    };
    await attempt(() => releases.succeeded(name, entry, answered?.tools));
    await attempt(() => deps.servers().refresh(name));
    noteHealth(run);
    letGo(run);
    await attempt(() => collector.collect());
  }

  async function beginDrain(name: string, before: ContainerView): Promise<void> {
    await docker.setRestartPolicy(before.id, "no");
    await docker.renameContainer(before.id, drainName(scope, name, before.id));
    deps.drains.begin(name, before);
  }

  function letGo({ made }: Run): void {
    if (made.claim !== undefined) collector.release(made.claim);
  }

  function noteHealth(run: Run): void {
    const { answer: answered } = run.made;
    if (answered === undefined) return;
    const health = { state: "ready" as const, checkedAt: Date.now(), protocolVersion: answered.protocolVersion };
    deps.servers().noteHealth(run.name, target(run), health, answered.tools);
  }

  async function removeServer(name: string, containers: ContainerView[]): Promise<void> {
    for (const container of containers) await removeServerContainer(deps, container);
    await deps.drains.end(name);
    await volumes.removeOfServer(name);
    await deps.access.removeServer(name);
    await releases.forget(name).catch((error: unknown) => log.error("releases.not-forgotten", error, { server: name }));
    await deps.servers().refresh(name);
    await collector.collect();
  }

  return {
    async check({ spec, secrets: given }, before) {
      checkSpec(spec);
      network.check(spec.permissions);
      await secrets.check(spec, { ...given, previousFolder: before && secretsFolderOf(before) });
    },

    async checkStart(container) {
      const spec = readServerLabels(container.labels)?.spec;
      if (spec === undefined) return;
      const previousFolder = secretsFolderOf(container);
      await secrets.check(spec, { values: {}, removed: [], previousFolder, mayLack: false });
    },

    async run(step, run) {
      if (run.request !== undefined && run.made.claim === undefined) {
        const { made } = run;
        made.claim = { isFetching: () => made.image === undefined, imageId: () => made.image?.id };
        await collector.hold(made.claim);
      }
      switch (step.do) {
        case "fetch-image": {
          const { source } = mustRequest(run).spec;
          run.made.image = await images.fetchImage(
            { image: step.image, pull: source.type === "oci" ? source.pull : undefined },
            (doneBytes, totalBytes) => run.report({ doneBytes, totalBytes }),
            run.signal,
          );
          return run.report({ detail: run.made.image.digest });
        }
        case "fetch-package":
          return await fetchPackage(step.source, run);
        case "build-image":
          return await buildImage(run);
        case "restore-image":
          return await restoreImage(step.release, run);
        case "create-container":
          await fitToImage(run);
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
        case "stay-up":
          return await stayUp(target(run), run.signal);
        case "handshake":
          run.made.answer = await answer(target(run), run.signal);
          return run.report({ detail: `MCP ${run.made.answer.protocolVersion}` });
        case "list-tools":
          return await noteTools(run);
        case "take-over":
          return await takeOver(run, step.desired);
        case "remove-server":
          return await removeServer(run.name, run.before === undefined ? [] : [run.before]);
      }
    },

    async undo(run, failure, signal) {
      const { request, before, made, name } = run;
      letGo(run);
      if (request === undefined || made.isFinished) return;
      if (made.containerId !== undefined) await docker.removeContainer(made.containerId);
      else await removeByName(containerName(scope, name, "new"));
      signal.throwIfAborted();
      if (made.secrets !== undefined) await secrets.remove(made.secrets.folder);
      await volumes.remove(made.volumes);
      signal.throwIfAborted();
      if (before !== undefined) {
        const now = await docker.getContainer(before.id);
        if (now !== undefined && now.name !== containerName(scope, name)) {
          await docker.renameContainer(before.id, containerName(scope, name));
        }
        signal.throwIfAborted();
        if (made.hasStoppedOld && before.restartPolicy === "unless-stopped") await docker.startContainer(before.id);
        const { kind, number, spec } = request;
        const image = made.image === undefined ? null : toImageRun(made.image);
        await releases.failed(name, { number, at: Date.now(), kind, spec, image, error: failure.toShape() });
      }
      signal.throwIfAborted();
      await collector.collect();
    },

    removeServer,
  };

  async function noteTools(run: Run): Promise<void> {
    const tools = run.made.answer?.tools ?? [];
    run.report({ detail: String(tools.length) });
    if (run.request === undefined) {
      await deps.servers().refresh(run.name);
      return noteHealth(run);
    }
    if (run.before === undefined) return;
    const changes = releases.compare(run.name, tools, deps.servers().get(run.name)?.tools);
    if (changes !== undefined) run.made.toolChanges = changes;
  }

  async function removeByName(name: string): Promise<void> {
    const container = await docker.getContainer(name);
    if (container !== undefined && container.labels[serverIdLabel] !== undefined) await docker.removeContainer(container.id);
  }
}

/** undefined leaves the image's own command as it is. */
function commandOf({ command, arguments: more }: ServerSpec, image: PulledImage): string[] | undefined {
  if (command !== undefined) return [...command, ...more];
  return more.length === 0 ? undefined : [...image.command, ...more];
}

function toImageRun({ reference, digest, package: madeOf }: PulledImage): ServerLabels["image"] {
  return { reference, digest, ...(madeOf === undefined ? {} : { package: madeOf }) };
}

/** A tag may have moved since; the digest names what ran. */
function exactReference(reference: string, digest: string): string {
  if (!/^sha256:[a-f0-9]{64}$/.test(digest)) return reference;
  return `${reference.replace(/@.*$/, "").replace(/:[^:/]*$/, "")}@${digest}`;
}
