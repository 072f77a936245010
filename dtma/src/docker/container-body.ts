import type { ContainerConfig } from "./docker.ts";

/*
INVARIANTS (DESIGN.md section 4)
- Every capability dropped, no new privileges, an init process, limits on processes, memory and CPU, no swap on top.
- Nothing is published but, where bridge addresses cannot be reached, one port on 127.0.0.1.
- The only host path mounted is the server's own folder of secrets, read-only. Never the Docker socket.
*/

const tmpBytes = 64 * 2 ** 20;

/** The body of `POST /containers/create` for a server. */
export function containerBody(config: ContainerConfig): Record<string, unknown> {
  const port = config.publishPort === undefined ? undefined : `${config.publishPort}/tcp`;
  return {
    Image: config.image,
    Labels: config.labels,
    ...(config.command === undefined ? {} : { Cmd: config.command }),
    Env: config.environment,
    OpenStdin: config.openStdin,
    StdinOnce: false,
    Tty: false,
    // Without ExposedPorts, Engine 20.10 publishes nothing for a port binding.
    ...(port === undefined ? {} : { ExposedPorts: { [port]: {} } }),
    HostConfig: {
      NetworkMode: config.network,
      RestartPolicy: { Name: "no" },
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges:true"],
      Privileged: false,
      Init: true,
      PidsLimit: config.pids,
      Memory: config.memoryBytes,
      MemorySwap: config.memoryBytes,
      NanoCpus: Math.round(config.cpus * 1e9),
      ReadonlyRootfs: config.readOnlyRoot,
      // Executable, because tools unpack and run helpers there; setuid bits and devices do not count.
      Tmpfs: { "/tmp": `rw,nosuid,nodev,exec,mode=1777,size=${tmpBytes}` },
      IpcMode: "private",
      LogConfig: { Type: "json-file", Config: { "max-size": "10m", "max-file": "3" } },
      PortBindings: port === undefined ? {} : { [port]: [{ HostIp: "127.0.0.1", HostPort: "" }] },
      Mounts: [
        ...volumeMounts(config.volumes),
        ...(config.secretsFolder === undefined
          ? []
          : [{ Type: "bind", Source: config.secretsFolder, Target: "/run/secrets", ReadOnly: true }]),
      ],
    },
  };
}

export function volumeMounts(volumes: ContainerConfig["volumes"]): Record<string, unknown>[] {
  return volumes.map(({ volume, path }) => ({ Type: "volume", Source: volume, Target: path }));
}
