import type { Readable } from "node:stream";
import type { LogLine } from "../../../shared/dtma-protocol.ts";
import type { Reading } from "./reading.ts";
import type { ServerProcess } from "./server-process.ts";

/*
The part of Docker the DTMA needs. Every call takes a signal and ends with it; without one it has a deadline of its own.
Errors are AppErrors: DOCKER_UNAVAILABLE, NOT_FOUND, CONFLICT, DISK_FULL, LIMIT_REACHED, INTERNAL, and those named below.
*/

export type Labels = Record<string, string>;

/** What is needed of a tar archive that is written while it is sent. */
export type TarStream = {
  pipe<T extends NodeJS.WritableStream>(destination: T): T;
  on(event: "error", listener: (error: Error) => void): unknown;
};

export type EngineInfo = {
  version: string;
  /** As the Engine says it: `linux`. */
  os: string;
  /** As in Node's `process.arch`. */
  arch: string;
  /** Whether containers' bridge addresses can be reached from this process. */
  bridgeReachable: boolean;
  /** Whether containers run under a seccomp profile unless they ask for none. */
  hasSeccomp: boolean;
};

/** A container as Docker describes it, cut to what is used here. */
export type ContainerView = {
  id: string;
  name: string;
  labels: Labels;
  imageId: string;
  /** Docker's word. */
  state: string;
  startedAt: number | undefined;
  /** Of its first process, as the Engine's machine counts; undefined while it does not run. */
  pid: number | undefined;
  exitCode: number | undefined;
  restartCount: number;
  restartPolicy: "no" | "unless-stopped";
  /** Entrypoint and command: what `docker exec` must start to get a second process of the server. */
  command: string[];
  /** Names of the variables of its first process; values stay where they are. */
  environmentNames: string[];
  address: string | undefined;
  /** Container port → port on 127.0.0.1 of the host. */
  publishedPorts: Record<number, number>;
  /** Where the host listens for it now. */
  publishedAt: { address: string; port: number }[];
  bindSources: Record<string, string>;
  /** Execs that run now. */
  execIds: string[];
};

export type ImageView = {
  id: string;
  /** `repository:tag`, as Docker lists them. */
  tags: string[];
  /** Of the registry it came from; its own id when it came from none. */
  digest: string;
  labels: Labels;
  hasEntrypoint: boolean;
  command: string[];
  /** TCP ports, lowest first. */
  exposedPorts: number[];
};

/** One container of the host, whoever made it, as Docker's list has it. */
export type ContainerSummary = {
  id: string;
  name: string;
  image: string;
  imageId: string;
  command: string;
  /** Seconds since 1970, as Docker counts here. */
  created: number;
  /** Docker's word. */
  state: string;
  /** Docker's sentence without the time in it, which would be wrong a moment later: `Up (healthy)`, `Exited (137)`. */
  status: string;
  ports: { ip: string | undefined; privatePort: number; publicPort: number | undefined; type: string }[];
  labels: Labels;
};

/** What a container is created from; container-body.ts adds what holds for every server. */
export type ContainerConfig = {
  image: string;
  labels: Labels;
  command: string[] | undefined;
  environment: string[];
  openStdin: boolean;
  network: string;
  /** undefined leaves it to the Engine. */
  resolver: { nameServers: string[]; options: string[] } | undefined;
  /** On 127.0.0.1; host 0 is any free port. */
  ports: { container: number; host: number }[];
  capabilities: string[];
  writablePaths: string[];
  memoryBytes: number;
  cpus: number;
  pids: number;
  readOnlyRoot: boolean;
  volumes: { volume: string; path: string }[];
  secretsFolder: string | undefined;
};

/** A program of a build, in a container that is hardened as a server's. */
export type ProgramConfig = {
  image: string;
  labels: Labels;
  command: string[];
  environment: string[];
  /** `uid:gid`. */
  user: string;
  workingDir: string;
  network: string;
  memoryBytes: number;
  cpus: number;
  pids: number;
};

export type RegistryCredentials = { registry: string; username: string; password: string };

export type PullOptions = {
  onProgress(doneBytes: number, totalBytes: number): void;
  signal: AbortSignal;
  login: RegistryCredentials | undefined;
  /** The pull is given up when nothing is told of it for so long. */
  stallMs: number;
};

export type ImageConfig = { entrypoint: string[]; workingDir: string; user: string; environment: string[]; labels: Labels };

export type NetworkView = {
  id: string;
  labels: Labels;
  /** The host's address on it. */
  gateway: string | undefined;
  /** Those that run: container id → address. */
  addresses: Record<string, string>;
};

export type DockerEvent = { action: string; containerId: string; labels: Labels };

export interface Docker {
  /** DOCKER_UNAVAILABLE when it does not answer within `timeoutMs`. */
  info(timeoutMs: number): Promise<EngineInfo>;
  ping(timeoutMs: number): Promise<void>;
  /** Calls back for every container event with these labels; resolves `onOpen` once listening; rejects when the stream ends. */
  watch(labels: Labels, onOpen: () => void, onEvent: (event: DockerEvent) => void, signal: AbortSignal): Promise<never>;

  /** Running or not; with `network` only those that are made for it. */
  listContainers(labels: Labels, network?: string): Promise<string[]>;
  /** Every container of the host, oldest first. */
  listHostContainers(): Promise<ContainerSummary[]>;
  /** undefined when it does not exist. */
  getContainer(idOrName: string): Promise<ContainerView | undefined>;
  createContainer(name: string, config: ContainerConfig, signal?: AbortSignal): Promise<string>;
  startContainer(id: string, signal?: AbortSignal): Promise<void>;
  /** SIGTERM, then SIGKILL after `graceSeconds`. Nothing happens to one that does not run. */
  stopContainer(id: string, graceSeconds: number, signal?: AbortSignal): Promise<void>;
  /** Kills and removes it with its anonymous volumes; succeeds when it is already gone. */
  removeContainer(id: string): Promise<void>;
  renameContainer(id: string, name: string): Promise<void>;
  setRestartPolicy(id: string, policy: "no" | "unless-stopped"): Promise<void>;
  /** Resolves with the exit code once it does not run any more. */
  waitContainer(id: string, signal: AbortSignal): Promise<number>;
  putArchive(id: string, path: string, tar: TarStream, signal?: AbortSignal): Promise<void>;
  /** A tar of what is at `path`, under the name of its last part. */
  getArchive(id: string, path: string, signal: AbortSignal): Promise<Readable>;
  logs(
    id: string,
    options: { tail: number | "all"; sinceMs: number; follow: boolean; signal: AbortSignal },
  ): AsyncIterable<LogLine>;
  /** About one sample a second until the signal. */
  stats(id: string, signal: AbortSignal): AsyncIterable<Reading>;
  /** `onStderr` sees what the process writes there, also when nobody reads it. SERVER_NOT_RUNNING. */
  openProcess(container: ContainerView, command: string[], onStderr: (chunk: Buffer) => void): Promise<ServerProcess>;
  /** Ends every process that any DTMA ever opened in this container. */
  endProcesses(container: ContainerView): Promise<void>;

  /** undefined when it is not on this machine. */
  getImage(reference: string): Promise<ImageView | undefined>;
  listImages(labels: Labels): Promise<string[]>;
  /** `repository:tag` of every image in this repository on this machine. */
  listTags(repository: string): Promise<string[]>;
  /** The digest that the registry named. IMAGE_NOT_FOUND, IMAGE_PULL_FAILED. */
  pullImage(reference: string, options: PullOptions): Promise<string | undefined>;
  importImage(
    tar: TarStream,
    reference: string,
    config: { labels: Labels; environment: string[] },
    signal: AbortSignal,
  ): Promise<void>;
  /** A container that is never started, only filled and committed. `volumes` are mounted while it is filled. */
  createBuildContainer(
    image: string,
    labels: Labels,
    signal: AbortSignal,
    volumes?: { volume: string; path: string }[],
  ): Promise<string>;
  /** A container whose program is one of a build's, created and not yet started. */
  createProgramContainer(config: ProgramConfig, signal: AbortSignal): Promise<string>;
  commitContainer(id: string, reference: string, config: ImageConfig, signal: AbortSignal): Promise<void>;
  /** Without force: an image in use stays. */
  removeImage(idOrTag: string): Promise<void>;

  getNetwork(name: string): Promise<NetworkView | undefined>;
  /** An internal one has no way out of the host. */
  createNetwork(name: string, bridgeName: string, labels: Labels, options?: { internal: boolean }): Promise<void>;
  removeNetwork(name: string): Promise<void>;

  listVolumes(labels: Labels): Promise<{ name: string; labels: Labels }[]>;
  createVolume(name: string, labels: Labels): Promise<void>;
  removeVolume(name: string): Promise<void>;
}
