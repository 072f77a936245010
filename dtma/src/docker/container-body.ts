import type { ContainerConfig, ContainerView, ProgramConfig } from "./docker.ts";
import { pipesPath } from "./pipes.ts";

/*
INVARIANTS (DESIGN.md section 4)
- Every capability dropped but those that were asked for, no new privileges, an init process, limits on processes, memory
  and CPU, no swap on top. The Engine's own seccomp profile, masked paths and namespaces: none is ever named here.
- Nothing is published but on 127.0.0.1: ports that were asked for and, where bridge addresses cannot be reached, the
  server's own.
- The only host paths mounted are the server's own folders of secrets and, for a server on stdio, of pipes; both read-only.
  Never the Docker socket.
*/

/** Executable, because tools unpack and run helpers there; setuid bits and devices do not count. */
const tmpfsOptions = `rw,nosuid,nodev,exec,mode=1777,size=${64 * 2 ** 20}`;

/** Where a server finds its secrets. */
export const secretsPath = "/run/secrets";

/** The folder of the host that holds the pipes to a container's processes; undefined when it was given none. */
export function pipesFolderOf({ bindSources }: ContainerView): string | undefined {
  return bindSources[pipesPath];
}

/** The body of `POST /containers/create` for a server, with its folder of pipes where it has one. */
export function containerBody(config: ContainerConfig, pipesFolder?: string): Record<string, unknown> {
  return {
    Image: config.image,
    Labels: config.labels,
    ...(config.command === undefined ? {} : { Cmd: config.command }),
    Env: config.environment,
    OpenStdin: config.openStdin,
    StdinOnce: false,
    Tty: false,
    // Without ExposedPorts, Engine 20.10 publishes nothing for a port binding.
    ExposedPorts: Object.fromEntries(config.ports.map(({ container }) => [`${container}/tcp`, {}])),
    HostConfig: {
      NetworkMode: config.network,
      RestartPolicy: { Name: "no" },
      CapDrop: ["ALL"],
      CapAdd: config.capabilities,
      SecurityOpt: ["no-new-privileges:true"],
      Privileged: false,
      Init: true,
      PidsLimit: config.pids,
      Memory: config.memoryBytes,
      MemorySwap: config.memoryBytes,
      NanoCpus: Math.round(config.cpus * 1e9),
      ReadonlyRootfs: config.readOnlyRoot,
      Tmpfs: Object.fromEntries(["/tmp", ...config.writablePaths].map((path) => [path, tmpfsOptions])),
      IpcMode: "private",
      LogConfig: { Type: "json-file", Config: { "max-size": "10m", "max-file": "3" } },
      ...(config.resolver === undefined ? {} : { Dns: config.resolver.nameServers, DnsOptions: config.resolver.options }),
      PortBindings: portBindings(config.ports),
      Mounts: [
        ...volumeMounts(config.volumes),
        ...folderMount(config.secretsFolder, secretsPath),
        ...folderMount(pipesFolder, pipesPath),
      ],
    },
  };
}

function folderMount(source: string | undefined, target: string): Record<string, unknown>[] {
  return source === undefined ? [] : [{ Type: "bind", Source: source, Target: target, ReadOnly: true }];
}

function portBindings(ports: ContainerConfig["ports"]): Record<string, unknown[]> {
  const bindings: Record<string, unknown[]> = {};
  for (const { container, host } of ports) {
    const key = `${container}/tcp`;
    bindings[key] = [...(bindings[key] ?? []), { HostIp: "127.0.0.1", HostPort: host === 0 ? "" : String(host) }];
  }
  return bindings;
}

/** The body of `POST /containers/create` for a program of a build: hardened as a server, with a root it may write to. */
export function programBody({ command, user, workingDir, ...config }: ProgramConfig): Record<string, unknown> {
  const server = containerBody({
    ...config,
    command: undefined,
    openStdin: false,
    resolver: undefined,
    ports: [],
    capabilities: [],
    writablePaths: [],
    readOnlyRoot: false,
    volumes: [],
    secretsFolder: undefined,
  });
  return { ...server, Entrypoint: command, Cmd: [], User: user, WorkingDir: workingDir };
}

export function volumeMounts(volumes: ContainerConfig["volumes"]): Record<string, unknown>[] {
  return volumes.map(({ volume, path }) => ({ Type: "volume", Source: volume, Target: path }));
}
