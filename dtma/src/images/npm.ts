import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { z } from "zod";
import { AppError } from "../../../shared/errors.ts";
import type { EngineInfo } from "../docker/docker.ts";
import { isSamePackage, toIntegrity } from "./integrity.ts";

/*
INVARIANTS
- npm runs as a child of this very Node with the package names as its arguments, never through a shell, and with the
  registry and proxies that are configured for the user the DTMA runs as.
- Install scripts never run here: a package of a stranger must not run code on the toolbox outside a container.
- Everything comes from the registry: what a package names by a repository, an address or a path is refused before git is
  started, an address is called or a file is read.
- What is installed is what was resolved: npm checks the tarball against the hash that the registry names, and that hash
  is compared with the one from before, because a registry can answer twice in two ways.
*/

const outputLines = 30;
const registryOnly = ["git", "remote", "file", "directory"].map((kind) => `--allow-${kind}=none`);
/** The npm that comes with the DTMA; whole in itself. */
export const npmFolder = dirname(createRequire(import.meta.url).resolve("npm/package.json"));
const npmPath = join(npmFolder, "bin", "npm-cli.js");

/** npm would go on after a DTMA that was killed; the end of its standard input tells it. */
const endWithParent =
  "data:text/javascript,process.stdin.on('end',()=>process.exit(1)).on('error',()=>process.exit(1)).resume().unref()";

export type ResolvedPackage = { name: string; version: string; integrity: string };

const viewed = z.object({
  version: z.string(),
  "dist.integrity": z.string().optional(),
  "dist.shasum": z.string().optional(),
});

/** The exact version that a version, range or tag means now. PACKAGE_NOT_FOUND, PACKAGE_INSTALL_FAILED. */
export async function resolvePackage(
  name: string,
  version: string,
  folder: string,
  signal: AbortSignal,
): Promise<ResolvedPackage> {
  const wanted = `${name}@${version}`;
  const text = await runNpm(["view", wanted, "version", "dist.integrity", "dist.shasum", "--json"], folder, signal, wanted);
  const parsed: unknown = text.trim() === "" ? [] : JSON.parse(text);
  // A range answers with every version in it, lowest first.
  const candidates = z.array(viewed).parse(Array.isArray(parsed) ? parsed : [parsed]);
  const found = candidates.at(-1);
  if (found === undefined) throw notFound(wanted);
  return { name, version: found.version, integrity: toIntegrity(found["dist.integrity"], found["dist.shasum"]) };
}

/**
 * Installs into `folder/node_modules` for the Engine's platform. PACKAGE_INSTALL_FAILED with npm's last lines, or when the
 * registry gave another package than the one that was resolved.
 */
export async function installPackage(
  { name, version, integrity }: ResolvedPackage,
  folder: string,
  engine: Pick<EngineInfo, "os" | "arch">,
  signal: AbortSignal,
): Promise<void> {
  const wanted = `${name}@${version}`;
  await runNpm(
    [
      "install",
      wanted,
      "--ignore-scripts",
      "--omit=dev",
      "--no-audit",
      "--no-fund",
      "--save-exact",
      "--install-strategy=hoisted",
      `--os=${engine.os}`,
      `--cpu=${engine.arch}`,
      "--libc=glibc",
    ],
    folder,
    signal,
    wanted,
  );
  const installed = await readInstalled(name, folder);
  if (installed.version === version && isSamePackage(integrity, installed.integrity)) return;
  throw new AppError("PACKAGE_INSTALL_FAILED", {
    message: `The registry gave another ${wanted} than the one it had named just before.`,
    output: `named: ${version} ${integrity}\ngiven: ${installed.version} ${installed.integrity}`,
  });
}

/** What npm wrote down about the package it has put into `node_modules`. */
async function readInstalled(name: string, folder: string): Promise<{ version: string; integrity: string }> {
  const entry = z.object({ version: z.string(), integrity: z.string().default("") });
  const lock = z
    .object({ packages: z.record(z.string(), z.unknown()) })
    .parse(JSON.parse(await readFile(join(folder, "node_modules", ".package-lock.json"), "utf8")));
  return entry.parse(lock.packages[`node_modules/${name}`]);
}

/** Path of the package's command below `node_modules`. PACKAGE_INSTALL_FAILED when there is none, or no single one. */
export async function findCommand(name: string, folder: string): Promise<string> {
  const root = join(folder, "node_modules", name);
  const manifest = z
    .object({ bin: z.union([z.string(), z.record(z.string(), z.string())]).optional() })
    .parse(JSON.parse(await readFile(join(root, "package.json"), "utf8")));
  const path = chooseCommand(name, manifest.bin);
  const firstLine = (await readFile(join(root, path), "utf8").catch(() => "")).split("\n", 1)[0] ?? "";
  if (!/\.[cm]?js$/.test(path) && !/^#!.*\bnode\b/.test(firstLine)) {
    throw new AppError("PACKAGE_INSTALL_FAILED", { message: `The command of ${name} is not a Node program.` });
  }
  return join(name, path);
}

/** The rule of `npx`: the only command, or the one named like the package. */
export function chooseCommand(name: string, bin: string | Record<string, string> | undefined): string {
  if (typeof bin === "string") return bin;
  const commands = Object.entries(bin ?? {});
  const unscoped = name.replace(/^@[^/]*\//, "");
  const only = commands.length === 1 ? commands[0]?.[1] : undefined;
  const path = only ?? bin?.[unscoped];
  if (path !== undefined) return path;
  const message =
    commands.length === 0
      ? `The package ${name} has no command, so it is not a server.`
      : `The package ${name} has several commands and none is named like it: ${commands.map(([key]) => key).join(", ")}.`;
  throw new AppError("PACKAGE_INSTALL_FAILED", { message });
}

async function runNpm(args: string[], folder: string, signal: AbortSignal, wanted: string): Promise<string> {
  signal.throwIfAborted();
  const child = spawn(
    process.execPath,
    [
      "--import",
      endWithParent,
      npmPath,
      ...args,
      ...registryOnly,
      "--prefix",
      folder,
      "--no-update-notifier",
      "--loglevel=error",
      "--no-progress",
      "--color=false",
    ],
    { cwd: folder, env: npmEnvironment(process.env), stdio: ["pipe", "pipe", "pipe"] },
  );
  const kill = () => child.kill("SIGKILL");
  signal.addEventListener("abort", kill, { once: true });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-64_000);
  });
  try {
    const exit = Promise.withResolvers<number | null>();
    child.once("error", exit.reject);
    child.once("close", exit.resolve);
    const code = await exit.promise;
    signal.throwIfAborted();
    if (code === 0) return stdout;
  } finally {
    signal.removeEventListener("abort", kill);
  }
  if (/code (E404|ETARGET|EINVALIDPACKAGENAME|EINVALIDTAGNAME)/.test(stderr + stdout)) throw notFound(wanted);
  const output = stderr
    .trim()
    .split("\n")
    .filter((line) => !line.includes("A complete log of this run"))
    .slice(-outputLines)
    .join("\n");
  if (/ENOSPC/.test(stderr)) throw new AppError("DISK_FULL", { message: "The toolbox's disk is full.", output });
  const message = /code EALLOW(GIT|REMOTE|FILE|DIRECTORY)/.test(stderr)
    ? `${wanted} needs a package that does not come from the registry, and a toolbox fetches from nowhere else.`
    : `The package ${wanted} could not be installed.`;
  throw new AppError("PACKAGE_INSTALL_FAILED", { message, output });
}

/** The environment without what an outer `npm run` put there, and without the toolbox's own token. */
function npmEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const outer =
    /^(npm_(package|lifecycle|command|execpath|node_execpath)|npm_config_(local_prefix|prefix|workspace)|DTMA_|INIT_CWD$)/i;
  return Object.fromEntries(Object.entries(env).filter(([key]) => !outer.test(key)));
}

function notFound(wanted: string): AppError {
  return new AppError("PACKAGE_NOT_FOUND", { message: `The registry has no package ${wanted}.`, field: "spec.source.package" });
}
