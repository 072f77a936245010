import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { AppError } from "../../../shared/errors.ts";

/** Where the Engine API is, as options of a request of node:http or node:https. */
export type EngineAddress =
  | { via: "socket"; options: { socketPath: string } }
  | { via: "http" | "https"; options: { host: string; port: number; ca?: Buffer; cert?: Buffer; key?: Buffer } };

const ports = { http: 2375, https: 2376 };

/**
 * `dockerHost` as DOCKER_HOST; undefined is the first of the usual sockets of Docker, rootless Docker and Docker Desktop.
 * DOCKER_TLS_VERIFY and DOCKER_CERT_PATH mean what they mean to Docker's own client. DOCKER_UNAVAILABLE for what is no
 * address, or one that only Docker's own client can reach.
 */
export function engineAddress(dockerHost: string | undefined, env: NodeJS.ProcessEnv): EngineAddress {
  if (dockerHost === undefined) return socket(usualSocket(env));
  const [, scheme, rest = ""] = /^(unix|npipe|tcp|http|https):\/\/(.+)$/.exec(dockerHost) ?? [];
  if (scheme === "unix" || scheme === "npipe") return socket(rest);
  const url = URL.parse(`http://${rest}`);
  if (scheme === undefined || url === null) {
    throw new AppError("DOCKER_UNAVAILABLE", {
      message: "DOCKER_HOST must start with unix://, npipe://, tcp://, http:// or https://.",
    });
  }
  const verifies = (env.DOCKER_TLS_VERIFY ?? "") !== "";
  const via = scheme === "https" || (scheme === "tcp" && verifies) ? "https" : "http";
  // The default port of http:// is not one of Docker's.
  const port = /:80(?:\/|$)/.test(rest) ? 80 : Number(url.port || ports[via]);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  return { via, options: { host, port, ...(via === "https" ? certificates(env) : {}) } };
}

function socket(socketPath: string): EngineAddress {
  return { via: "socket", options: { socketPath } };
}

function certificates(env: NodeJS.ProcessEnv): { ca?: Buffer; cert?: Buffer; key?: Buffer } {
  const folder = env.DOCKER_CERT_PATH ?? join(homedir(), ".docker");
  const read = (name: string) => (existsSync(join(folder, name)) ? readFileSync(join(folder, name)) : undefined);
  const [ca, cert, key] = [read("ca.pem"), read("cert.pem"), read("key.pem")];
  return { ...(ca === undefined ? {} : { ca }), ...(cert === undefined || key === undefined ? {} : { cert, key }) };
}

function usualSocket(env: NodeJS.ProcessEnv): string {
  const rootless = env.XDG_RUNTIME_DIR === undefined ? [] : [join(env.XDG_RUNTIME_DIR, "docker.sock")];
  if (process.platform === "win32") return "//./pipe/docker_engine";
  const candidates = ["/var/run/docker.sock", ...rootless, join(homedir(), ".docker", "run", "docker.sock")];
  return candidates.find((path) => existsSync(path)) ?? "/var/run/docker.sock";
}
