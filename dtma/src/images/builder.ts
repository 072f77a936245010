import type { Pack } from "tar-stream";
import { AppError } from "../../../shared/errors.ts";
import type { Docker, ImageConfig } from "../docker/docker.ts";
import { kindLabels, type Scope } from "../labels.ts";
import { serverUser } from "./runtime.ts";
import { type Owner, sendTar } from "./tar.ts";

/*
INVARIANTS
- A stranger's code runs only in a container that is hardened as a server's: the servers' own user and bridge, every
  capability dropped, no new privileges, limits, nothing of the host mounted, no secrets of any server.
- A container of a build never outlives it: it goes with success, failure, cancellation and deadline, and with the next
  start after a DTMA that was killed.
- An image is committed from a container in which nothing ever ran; what a program has made is copied into it as root's.
*/

const memoryBytes = 2 * 2 ** 30;
const pids = 1_024;
const cpus = 1;
const keptLines = 2_000;
const outputLines = 30;

/** Where programs of a build may write: their home, caches and temporary files. Too much for the small /tmp. */
export const buildFolder = "/build";
const buildOwner: Owner = serverUser;

export type Program = {
  base: string;
  command: string[];
  workingDir: string;
  environment: Record<string, string>;
  /** Puts in what the program works on, beside its empty build folder. */
  fill(tar: Pack): Promise<void> | void;
};

export type Finished = { container: string; exitCode: number; stdout: string; stderr: string };

export interface Builder {
  /** Runs a program to its end and hands over what it left, while its container is still there. */
  run<T>(program: Program, signal: AbortSignal, use: (finished: Finished) => Promise<T>): Promise<T>;
  /** Makes an image of a base and what `fill` puts on it. */
  commit(
    base: string,
    reference: string,
    fill: (tar: Pack) => Promise<void>,
    config: Pick<ImageConfig, "entrypoint" | "environment">,
    signal: AbortSignal,
  ): Promise<void>;
}

/** The bridge of open servers, behind its firewall rules; it stays until `create` has made a container on it. */
export type OpenNetwork = (create: (network: string) => Promise<string>) => Promise<string>;

type BuilderDeps = { docker: Docker; scope: Scope; openNetwork: OpenNetwork };

export function createBuilder({ docker, scope, openNetwork }: BuilderDeps): Builder {
  const labels = kindLabels(scope, "build");

  async function output(container: string): Promise<Pick<Finished, "stdout" | "stderr">> {
    const lines: Record<"stdout" | "stderr", string[]> = { stdout: [], stderr: [] };
    const options = { tail: keptLines, sinceMs: 0, follow: false, signal: AbortSignal.timeout(30_000) };
    for await (const { stream, text } of docker.logs(container, options)) lines[stream].push(text);
    return { stdout: lines.stdout.join("\n"), stderr: lines.stderr.join("\n") };
  }

  return {
    async run({ base, command, workingDir, environment, fill }, signal, use) {
      const variables = { HOME: buildFolder, TMPDIR: `${buildFolder}/tmp`, ...environment };
      const container = await openNetwork((network) =>
        docker.createProgramContainer(
          {
            image: base,
            labels,
            command,
            environment: Object.entries(variables).map(([name, value]) => `${name}=${value}`),
            user: `${serverUser.uid}:${serverUser.gid}`,
            workingDir,
            network,
            memoryBytes,
            cpus,
            pids,
          },
          signal,
        ),
      );
      try {
        await sendTar(
          async (tar) => {
            tar.entry({ name: buildFolder.slice(1), type: "directory", mode: 0o755, ...buildOwner });
            tar.entry({ name: `${buildFolder.slice(1)}/tmp`, type: "directory", mode: 0o755, ...buildOwner });
            await fill(tar);
            tar.finalize();
          },
          (tar) => docker.putArchive(container, "/", tar, signal),
        );
        await docker.startContainer(container, signal).catch((error: unknown) => {
          throw asMissingProgram(error, base, command[0] ?? "");
        });
        const exitCode = await docker.waitContainer(container, signal);
        return await use({ container, exitCode, ...(await output(container)) });
      } finally {
        await docker.removeContainer(container);
      }
    },

    async commit(base, reference, fill, { entrypoint, environment }, signal) {
      const container = await docker.createBuildContainer(base, labels, signal);
      try {
        await sendTar(
          async (tar) => {
            tar.entry({ name: "data", type: "directory", mode: 0o755, ...serverUser });
            tar.entry({ name: "app", type: "directory", mode: 0o755 });
            await fill(tar);
            tar.finalize();
          },
          (tar) => docker.putArchive(container, "/", tar, signal),
        );
        await docker.commitContainer(
          container,
          reference,
          {
            entrypoint,
            workingDir: "/data",
            user: `${serverUser.uid}:${serverUser.gid}`,
            environment: ["HOME=/data", ...environment],
            labels: kindLabels(scope, "app-image"),
          },
          signal,
        );
      } finally {
        await docker.removeContainer(container);
      }
    },
  };
}

/** The last lines of a program that failed, and what the exit code alone tells. */
export function lastOutput({ exitCode, stdout, stderr }: Finished): string {
  const lines = `${stdout}\n${stderr}`
    .split("\n")
    .map((line) => line.trimEnd())
    .filter((line) => line !== "");
  // 128 + SIGKILL: nobody here sends it while the program is waited for.
  if (exitCode === 137) lines.push("It was killed, most likely because it used more memory than it may.");
  return lines.slice(-outputLines).join("\n");
}

function asMissingProgram(error: unknown, base: string, program: string): unknown {
  const isMissing = error instanceof AppError && /executable file not found|no such file or directory/i.test(error.message);
  if (!isMissing) return error;
  const message = `The base image ${base} has no ${program}.`;
  return new AppError("PACKAGE_INSTALL_FAILED", { message, cause: error });
}
