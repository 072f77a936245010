import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { Agent, request } from "undici";
import type { Facts } from "../../../shared/model/facts.ts";

const answerTimeoutMs = 3_000;

/**
 * Whether a Docker engine answers on this computer: at DOCKER_HOST when it is set, else at the usual local sockets.
 * Tells an engine that is not installed from one that does not run and from one this person may not use. Never rejects.
 */
export async function probeDocker(dockerHost: string | undefined): Promise<Facts["docker"]> {
  const sockets = dockerHost === undefined ? localSockets() : [dockerHost];
  let worst: { problem: "not-running" | "no-permission"; reason: string } | undefined;
  for (const address of sockets) {
    const path = address.replace(/^(unix|npipe):\/\//, "");
    const isLocal = !/^(tcp|https?|ssh):/.test(address);
    if (isLocal && process.platform !== "win32" && !existsSync(path)) continue;
    try {
      const engineVersion = await askVersion(address, isLocal ? path : undefined);
      return { state: "up", engineVersion, checkedAt: Date.now() };
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === "EACCES" || code === "EPERM")
        worst = { problem: "no-permission", reason: `${path} may not be used by this person.` };
      else worst ??= { problem: "not-running", reason: `${path} does not answer (${code ?? message}).` };
    }
  }
  if (worst !== undefined) return { state: "down", checkedAt: Date.now(), ...worst };
  return isInstalled()
    ? {
        state: "down",
        checkedAt: Date.now(),
        problem: "not-running",
        reason: "Docker is installed, but its engine is not running.",
      }
    : {
        state: "down",
        checkedAt: Date.now(),
        problem: "not-installed",
        reason: "No Docker engine was found on this computer.",
      };
}

async function askVersion(address: string, socketPath: string | undefined): Promise<string> {
  const agent = new Agent(socketPath === undefined ? {} : { connect: { socketPath } });
  try {
    const origin = socketPath === undefined ? address.replace(/^tcp:/, "http:") : "http://docker";
    const response = await request(new URL("/version", origin), {
      dispatcher: agent,
      headersTimeout: answerTimeoutMs,
      bodyTimeout: answerTimeoutMs,
    });
    const { Version } = (await response.body.json()) as { Version?: unknown };
    if (typeof Version !== "string") throw new Error("something else than Docker answers there");
    return Version;
  } finally {
    await agent.destroy();
  }
}

function localSockets(): string[] {
  if (process.platform === "win32") return ["npipe:////./pipe/docker_engine"];
  const home = homedir();
  return [
    "/var/run/docker.sock",
    join(home, ".docker/run/docker.sock"),
    join(home, ".docker/desktop/docker.sock"),
    join(home, ".colima/default/docker.sock"),
  ];
}

function isInstalled(): boolean {
  if (process.platform === "darwin" && existsSync("/Applications/Docker.app")) return true;
  const names = process.platform === "win32" ? ["dockerd.exe", "Docker Desktop.exe"] : ["dockerd"];
  const folders = [
    ...(process.env.PATH ?? "").split(delimiter),
    "/usr/sbin",
    "/usr/local/sbin",
    "C:\\Program Files\\Docker\\Docker",
  ];
  return folders.some((folder) => names.some((name) => existsSync(join(folder, name))));
}
