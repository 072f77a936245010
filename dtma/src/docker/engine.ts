import { isIPv4 } from "node:net";
import { cpus, release } from "node:os";
import type { Readable } from "node:stream";
import type { LogLine } from "../../../shared/dtma-protocol.ts";
import { AppError } from "../../../shared/errors.ts";
import type { Log } from "../log.ts";
import { createSlots } from "../slots.ts";
import { createDockerCalls, dockerMessage, translate } from "./calls.ts";
import { containerBody, pipesFolderOf, programBody, volumeMounts } from "./container-body.ts";
import type { ContainerSummary, ContainerView, Docker, DockerEvent, ImageView, Labels, NetworkView } from "./docker.ts";
import { endAllProcesses, openProcess, type PipeState } from "./exec.ts";
import { digestOf } from "./image-name.ts";
import { type EngineStats, toReading } from "./load.ts";
import type { Pipes } from "./pipes.ts";
import { pullImage } from "./pull.ts";
import type { Reading } from "./reading.ts";
import { createLogReader, readJsonLines } from "./streams.ts";

const minStartsAtOnce = 4;

type Inspect = {
  Id: string;
  Name: string;
  Image: string;
  RestartCount: number;
  Path: string;
  Args: string[];
  ExecIDs: string[] | null;
  State: { Status: string; StartedAt: string; ExitCode: number; Pid: number };
  Config: { Labels: Labels | null; Env: string[] | null };
  HostConfig: { RestartPolicy: { Name: string } };
  Mounts: { Type: string; Source: string; Destination: string }[];
  NetworkSettings: {
    Networks: Record<string, { IPAddress: string }> | null;
    Ports: Record<string, { HostIp: string; HostPort: string }[] | null> | null;
  };
};
type NetworkInspect = {
  Id: string;
  Labels: Labels | null;
  IPAM: { Config: { Gateway?: string }[] | null };
  Containers: Record<string, { IPv4Address: string }> | null;
};
type ImageInspect = {
  Id: string;
  RepoTags: string[] | null;
  RepoDigests: string[] | null;
  Config: {
    Labels: Labels | null;
    Entrypoint: string[] | null;
    Cmd: string[] | null;
    ExposedPorts?: Record<string, unknown> | null;
  };
};
type ListedContainer = {
  Id: string;
  Names: string[] | null;
  Image: string;
  ImageID: string;
  Command: string;
  Created: number;
  State: string;
  Status: string;
  Ports: { IP?: string; PrivatePort: number; PublicPort?: number; Type: string }[] | null;
  Labels: Labels | null;
};

/**
 * Docker over its Engine API. `dockerHost` as in DOCKER_HOST; undefined takes the usual sockets. Nothing is dialled yet.
 * With `pipes`, processes are spoken to through them where containers share this machine's kernel; `log` says where not.
 */
export function createDocker(dockerHost: string | undefined, env: NodeJS.ProcessEnv, pipes?: Pipes, log?: Log): Docker {
  const calls = createDockerCalls(dockerHost, env);
  /** By container. */
  const pipeStates = new Map<string, PipeState>();
  /** Whether new containers get pipes: once the Engine has said what it runs on, and until it refuses the mount. */
  let mount: "unknown" | "possible" | "refused" = "unknown";
  // Two hundred execs at once starve one another until Docker's answers are late; one after another they all get in.
  const starts = createSlots(Math.max(minStartsAtOnce, 2 * cpus().length));
  const noSignal = new AbortController().signal;

  return {
    async info(timeoutMs) {
      const info = await calls.json<{
        ServerVersion: string;
        OSType: string;
        Architecture: string;
        OperatingSystem: string;
        SecurityOptions: string[] | null;
        KernelVersion: string;
      }>({ method: "GET", path: "/info", timeoutMs });
      const isMapped = info.SecurityOptions?.some((option) => /^name=(?:rootless|userns|selinux)/.test(option)) === true;
      const canMount = calls.isLocal && info.KernelVersion === release() && !isMapped;
      if (mount === "unknown" && canMount) mount = "possible";
      const isRootless = info.SecurityOptions?.some((option) => option.includes("rootless")) === true;
      return {
        version: info.ServerVersion,
        os: info.OSType,
        arch:
          ({ x86_64: "x64", aarch64: "arm64", armv7l: "arm" } as Record<string, string>)[info.Architecture] ??
          info.Architecture,
        // "name=seccomp,profile=default"; without a profile, or "unconfined", nothing is filtered.
        hasSeccomp: info.SecurityOptions?.some((option) => /^name=seccomp(?!.*unconfined)/.test(option)) === true,
        bridgeReachable: calls.isLocal && !isRootless && !info.OperatingSystem.includes("Docker Desktop"),
      };
    },

    async ping(timeoutMs) {
      await calls.json({ method: "GET", path: "/_ping", timeoutMs });
    },

    async watch(labels, onOpen, onEvent, signal) {
      const filters = JSON.stringify({ type: ["container"], label: labelFilter(labels) });
      const stream = await calls.stream({ method: "GET", path: "/events", query: { filters }, signal });
      onOpen();
      try {
        for await (const event of readJsonLines(stream)) {
          const { Action, Actor } = event as { Action: string; Actor: { ID: string; Attributes: Labels } };
          onEvent({ action: Action, containerId: Actor.ID, labels: Actor.Attributes } satisfies DockerEvent);
        }
      } catch (error) {
        throw translate(error, { path: "/events", signal });
      }
      signal.throwIfAborted();
      throw new AppError("DOCKER_UNAVAILABLE", { message: "Docker ended the stream of events." });
    },

    async listContainers(labels, network) {
      const filters = JSON.stringify({
        label: labelFilter(labels),
        ...(network === undefined ? {} : { network: [network] }),
      });
      const list = await calls.json<{ Id: string }[]>({
        method: "GET",
        path: "/containers/json",
        query: { all: true, filters },
      });
      return list.map(({ Id }) => Id);
    },

    async listHostContainers() {
      const list = await calls.json<ListedContainer[]>({ method: "GET", path: "/containers/json", query: { all: true } });
      return list.map(toSummary).sort((left, right) => left.created - right.created || (left.id < right.id ? -1 : 1));
    },

    async getContainer(idOrName) {
      const view = await orUndefined(calls.json<Inspect>({ method: "GET", path: `/containers/${idOrName}/json` }));
      return view === undefined ? undefined : toContainerView(view);
    },

    async createContainer(name, config, signal) {
      const create = async (folder?: string): Promise<string> => {
        const body = containerBody(config, folder);
        const call = { method: "POST", path: "/containers/create", query: { name }, body, ...withSignal(signal) } as const;
        return (await calls.json<{ Id: string }>(call)).Id;
      };
      const folder = mount === "possible" && config.openStdin ? await pipes?.makeFolder() : undefined;
      if (folder === undefined) return await create();
      try {
        return await create(folder);
      } catch (error) {
        await pipes?.removeFolder(folder);
        // An Engine of another file system than ours does not see the folder.
        if (!(error instanceof Error && error.message.includes("mount"))) throw error;
        mount = "refused";
        log?.warn("pipes.not-mounted", { error });
        return await create();
      }
    },

    async startContainer(id, signal) {
      await calls.json({ method: "POST", path: `/containers/${id}/start`, ...withSignal(signal) });
    },

    async stopContainer(id, graceSeconds, signal) {
      const timeoutMs = (graceSeconds + 15) * 1_000;
      await calls.json({
        method: "POST",
        path: `/containers/${id}/stop`,
        query: { t: graceSeconds },
        timeoutMs,
        ...withSignal(signal),
      });
    },

    async removeContainer(id) {
      const found = pipes && (await orUndefined(calls.json<Inspect>({ method: "GET", path: `/containers/${id}/json` })));
      await tolerateGone(calls.json({ method: "DELETE", path: `/containers/${id}`, query: { force: true, v: true } }));
      if (found === undefined) return;
      pipeStates.delete(found.Id);
      const folder = pipesFolderOf(toContainerView(found));
      if (folder !== undefined) await pipes?.removeFolder(folder);
    },

    async renameContainer(id, name) {
      await calls.json({ method: "POST", path: `/containers/${id}/rename`, query: { name } });
    },

    async setRestartPolicy(id, policy) {
      await calls.json({ method: "POST", path: `/containers/${id}/update`, body: { RestartPolicy: { Name: policy } } });
    },

    async waitContainer(id, signal) {
      const path = `/containers/${id}/wait`;
      const answer = await calls.json<{ StatusCode: number }>({
        method: "POST",
        path,
        query: { condition: "not-running" },
        signal,
        timeoutMs: null,
      });
      return answer.StatusCode;
    },

    async putArchive(id, path, tar, signal) {
      await calls.json({
        method: "PUT",
        path: `/containers/${id}/archive`,
        query: { path },
        file: tar,
        timeoutMs: 300_000,
        ...withSignal(signal),
      });
    },

    async getArchive(id, path, signal) {
      return await calls.stream({ method: "GET", path: `/containers/${id}/archive`, query: { path }, signal, timeoutMs: null });
    },

    async *logs(id, { tail, sinceMs, follow, signal }): AsyncGenerator<LogLine> {
      const stream = await calls.stream({
        method: "GET",
        path: `/containers/${id}/logs`,
        query: { stdout: true, stderr: true, timestamps: true, follow, tail, since: sinceMs / 1_000 },
        signal,
      });
      const read = createLogReader();
      try {
        for await (const chunk of stream as AsyncIterable<Buffer>) yield* read(chunk);
      } catch (error) {
        if (!signal.aborted) throw translate(error, { path: "/logs", signal });
      }
    },

    async *stats(id, signal): AsyncGenerator<Reading> {
      const stream = await calls.stream({ method: "GET", path: `/containers/${id}/stats`, query: { stream: true }, signal });
      try {
        for await (const sample of readJsonLines(stream)) yield toReading(sample as EngineStats);
      } catch (error) {
        if (!signal.aborted) throw translate(error, { path: "/stats", signal });
      }
    },

    openProcess(container, command, onStderr) {
      const inTurn = async <T>(start: () => Promise<T>): Promise<T> => {
        const leave = await starts.enter(noSignal);
        try {
          return await start();
        } finally {
          leave();
        }
      };
      const { id, pid, environmentNames: variables } = container;
      const folder = pipesFolderOf(container);
      if (folder === undefined || pipes === undefined) return openProcess(calls, { id, pid }, command, onStderr, inTurn);
      const state = pipeStates.get(id) ?? { hasWorked: false, notBefore: 0 };
      pipeStates.set(id, state);
      const onUnused = (why: string) => log?.warn("pipes.not-used", { container: id, name: container.name, why });
      const way = { take: () => pipes.take(folder), variables, state, onUnused };
      return openProcess(calls, { id, pid, pipes: way }, command, onStderr, inTurn);
    },
    endProcesses: (container) => endAllProcesses(calls, container, container.execIds),

    async getImage(reference) {
      const image = await orUndefined(
        calls.json<ImageInspect>({ method: "GET", path: `/images/${encodeURI(reference)}/json` }),
      );
      return image === undefined ? undefined : toImageView(image, reference);
    },

    async listImages(labels) {
      const filters = JSON.stringify({ label: labelFilter(labels) });
      const list = await calls.json<{ Id: string }[]>({ method: "GET", path: "/images/json", query: { filters } });
      return list.map(({ Id }) => Id);
    },

    async listTags(repository) {
      const filters = JSON.stringify({ reference: [repository] });
      const list = await calls.json<{ RepoTags: string[] | null }[]>({
        method: "GET",
        path: "/images/json",
        query: { filters },
      });
      return list.flatMap(({ RepoTags }) => RepoTags ?? []).filter((tag) => tag.startsWith(`${repository}:`));
    },

    pullImage: (reference, options) => pullImage(calls, reference, options),

    async importImage(tar, reference, { labels, environment }, signal) {
      const changes = [
        ...Object.entries(labels).map(([key, value]) => `LABEL ${JSON.stringify(key)}=${JSON.stringify(value)}`),
        ...environment.map((entry) => `ENV ${entry}`),
      ];
      const { repo, tag } = splitReference(reference);
      const stream = await calls.stream({
        method: "POST",
        path: "/images/create",
        query: { fromSrc: "-", repo, tag, changes },
        file: tar,
        signal,
        timeoutMs: null,
      });
      await drain(stream, signal);
    },

    async createBuildContainer(image, labels, signal, volumes = []) {
      const created = await calls.json<{ Id: string }>({
        method: "POST",
        path: "/containers/create",
        body: {
          Image: image,
          Labels: labels,
          Entrypoint: ["node"],
          Cmd: ["--version"],
          NetworkDisabled: true,
          HostConfig: { Mounts: volumeMounts(volumes) },
        },
        signal,
      });
      return created.Id;
    },

    async createProgramContainer(config, signal) {
      const body = programBody(config);
      const created = await calls.json<{ Id: string }>({ method: "POST", path: "/containers/create", body, signal });
      return created.Id;
    },

    async commitContainer(id, reference, config, signal) {
      const { repo, tag } = splitReference(reference);
      await calls.json({
        method: "POST",
        path: "/commit",
        query: { container: id, repo, tag, pause: false },
        body: {
          Entrypoint: config.entrypoint,
          Cmd: [],
          WorkingDir: config.workingDir,
          User: config.user,
          Env: config.environment,
          Labels: config.labels,
        },
        signal,
        timeoutMs: 300_000,
      });
    },

    async removeImage(idOrTag) {
      await tolerateGone(calls.json({ method: "DELETE", path: `/images/${encodeURI(idOrTag)}`, timeoutMs: 60_000 }));
    },

    async getNetwork(name) {
      const network = await orUndefined(calls.json<NetworkInspect>({ method: "GET", path: `/networks/${name}` }));
      return network === undefined ? undefined : toNetworkView(network);
    },

    async createNetwork(name, bridgeName, labels, { internal } = { internal: false }) {
      await calls.json({
        method: "POST",
        path: "/networks/create",
        body: {
          Name: name,
          CheckDuplicate: true,
          Driver: "bridge",
          Internal: internal,
          EnableIPv6: false,
          Options: {
            "com.docker.network.bridge.name": bridgeName,
            "com.docker.network.bridge.enable_icc": "false",
            "com.docker.network.bridge.enable_ip_masquerade": String(!internal),
          },
          Labels: labels,
        },
      });
    },

    async removeNetwork(name) {
      await tolerateGone(calls.json({ method: "DELETE", path: `/networks/${name}` }));
    },

    async listVolumes(labels) {
      const filters = JSON.stringify({ label: labelFilter(labels) });
      const list = await calls.json<{ Volumes: { Name: string; Labels: Labels | null }[] | null }>({
        method: "GET",
        path: "/volumes",
        query: { filters },
      });
      return (list.Volumes ?? []).map(({ Name, Labels: found }) => ({ name: Name, labels: found ?? {} }));
    },

    async createVolume(name, labels) {
      await calls.json({ method: "POST", path: "/volumes/create", body: { Name: name, Labels: labels } });
    },

    async removeVolume(name) {
      await tolerateGone(calls.json({ method: "DELETE", path: `/volumes/${name}` }));
    },
  };
}

function withSignal(signal: AbortSignal | undefined): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

function labelFilter(labels: Labels): string[] {
  return Object.entries(labels).map(([key, value]) => `${key}=${value}`);
}

function isNotFound(error: unknown): boolean {
  return error instanceof AppError && error.code === "NOT_FOUND";
}

async function orUndefined<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

async function tolerateGone(call: Promise<unknown>): Promise<void> {
  await orUndefined(call);
}

async function drain(stream: Readable, signal: AbortSignal): Promise<void> {
  try {
    for await (const line of readJsonLines(stream)) {
      const { error } = line as { error?: string };
      if (error !== undefined) throw translate({ statusCode: 500, message: error }, { path: "/images/create", signal });
    }
  } catch (error) {
    throw error instanceof AppError ? error : translate(error, { path: dockerMessage(error), signal });
  }
}

function splitReference(reference: string): { repo: string; tag: string } {
  const colon = reference.lastIndexOf(":");
  return { repo: reference.slice(0, colon), tag: reference.slice(colon + 1) };
}

function toImageView(image: ImageInspect, reference: string): ImageView {
  return {
    id: image.Id,
    tags: image.RepoTags ?? [],
    digest: digestOf(reference, image.RepoDigests ?? [], image.Id),
    labels: image.Config.Labels ?? {},
    hasEntrypoint: (image.Config.Entrypoint ?? []).length > 0,
    command: image.Config.Cmd ?? [],
    exposedPorts: Object.keys(image.Config.ExposedPorts ?? {})
      .filter((port) => !port.includes("/") || port.endsWith("/tcp"))
      .map((port) => Number.parseInt(port, 10))
      .sort((left, right) => left - right),
  };
}

function toSummary(listed: ListedContainer): ContainerSummary {
  const ports = (listed.Ports ?? []).map(({ IP, PrivatePort, PublicPort, Type }) => ({
    ip: IP,
    privatePort: PrivatePort,
    publicPort: PublicPort,
    type: Type,
  }));
  return {
    id: listed.Id,
    // Links give a container further names, with a slash in them.
    name: (listed.Names ?? []).map((name) => name.replace(/^\//, "")).find((name) => !name.includes("/")) ?? "",
    image: listed.Image,
    imageId: listed.ImageID,
    command: listed.Command,
    created: listed.Created,
    state: listed.State,
    status: listed.Status.replace(/ (?:(?:About an?|Less than a) \w+|\d+ \w+)(?: ago)?/, ""),
    ports: ports.sort((left, right) => left.privatePort - right.privatePort),
    labels: listed.Labels ?? {},
  };
}

function toNetworkView(network: NetworkInspect): NetworkView {
  const containers = Object.entries(network.Containers ?? {});
  return {
    id: network.Id,
    labels: network.Labels ?? {},
    gateway: (network.IPAM.Config ?? []).find(({ Gateway }) => isIPv4(Gateway ?? ""))?.Gateway,
    addresses: Object.fromEntries(containers.map(([id, { IPv4Address }]) => [id, IPv4Address.replace(/\/.*$/, "")])),
  };
}

function toContainerView(inspect: Inspect): ContainerView {
  const hasStarted = !inspect.State.StartedAt.startsWith("0001-");
  const isOver = inspect.State.Status === "exited" || inspect.State.Status === "dead" || inspect.State.Status === "restarting";
  const networks = Object.values(inspect.NetworkSettings.Networks ?? {});
  const ports = Object.entries(inspect.NetworkSettings.Ports ?? {});
  return {
    id: inspect.Id,
    name: inspect.Name.replace(/^\//, ""),
    labels: inspect.Config.Labels ?? {},
    imageId: inspect.Image,
    state: inspect.State.Status,
    startedAt: hasStarted ? Date.parse(inspect.State.StartedAt) : undefined,
    pid: inspect.State.Pid > 0 ? inspect.State.Pid : undefined,
    exitCode: isOver ? inspect.State.ExitCode : undefined,
    restartCount: inspect.RestartCount,
    restartPolicy: inspect.HostConfig.RestartPolicy.Name === "unless-stopped" ? "unless-stopped" : "no",
    command: [inspect.Path, ...inspect.Args],
    environmentNames: (inspect.Config.Env ?? []).map((entry) => entry.split("=", 1)[0] ?? ""),
    address: networks.map(({ IPAddress }) => IPAddress).find((address) => address !== ""),
    publishedPorts: Object.fromEntries(
      ports.flatMap(([port, bindings]) =>
        (bindings ?? []).map(({ HostPort }) => [Number.parseInt(port, 10), Number(HostPort)]),
      ),
    ),
    publishedAt: ports.flatMap(([, bindings]) =>
      (bindings ?? []).map(({ HostIp, HostPort }) => ({ address: HostIp, port: Number(HostPort) })),
    ),
    bindSources: Object.fromEntries(
      inspect.Mounts.filter(({ Type }) => Type === "bind").map(({ Source, Destination }) => [Destination, Source]),
    ),
    execIds: inspect.ExecIDs ?? [],
  };
}
