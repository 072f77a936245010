import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync, openSync, readdirSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { removeLeftContainers } from "./left-containers.ts";
import { partVariables } from "./parts.ts";
import { findProgram, runProgram } from "./program.ts";
import { removeWithMounts } from "./tidy.ts";

/*
Makes the machine ready for the tests with real parts.

INVARIANTS
- Packages are installed only as root on Debian; elsewhere the missing part is named.
- Only what was started here is ended, by its process id; a Docker engine that already answers is used and left alone.
- Everything written lies in one folder that is removed at the end, also what tests and their programs write to the
  temporary folder, and with it what still runs or is mounted there.
*/

export type Machine = {
  /** What is there, as environment variables (see parts.ts). */
  readonly env: NodeJS.ProcessEnv;
  /** A sentence per part that is not there. */
  readonly missing: readonly string[];
  /** Puts a program and its arguments into the private session in which the keychain can be used. */
  inSession(command: readonly string[]): readonly string[];
  /** Removes the containers that the tests left, and says which those were. */
  removeLeftContainers(): Promise<string[]>;
  /** Never rejects; says what it could not tidy up. */
  close(): Promise<void>;
};

const debianPackages = [
  "chromium",
  "dbus-x11",
  "docker-registry",
  "docker.io",
  "gnome-keyring",
  "iproute2",
  "iptables",
  "libsecret-1-0",
  "mmdebstrap",
  "postgresql-15",
  "procps",
  "python3",
  "shellcheck",
];

// biome-ignore lint/suspicious/noTemplateCurlyInString: the placeholders are those of dpkg-query.
const dpkgFormat = "${Package} ${db:Status-Status}\\n";

/** Never rejects for a part that is missing; says what it does on standard error. */
export async function prepareMachine(): Promise<Machine> {
  await installPackages();
  const folder = await mkdtemp(join(tmpdir(), "dtma-tests-"));
  // Programs that a test starts as another user reach what is theirs in it.
  await chmod(folder, 0o711);
  const temporary = join(folder, "tmp");
  await mkdir(temporary);
  await chmod(temporary, 0o1777);
  const env: NodeJS.ProcessEnv = { ...process.env, TMPDIR: temporary, NODE_COMPILE_CACHE: join(folder, "compiled") };
  const missing: string[] = [];

  await compileOnce(env);
  const dockerd = (await dockerAnswers()) ? undefined : await startDockerd(folder);
  if (await dockerAnswers()) env[partVariables.docker] = "1";
  else missing.push("Docker: no engine answers, and none could be started (package docker.io, or Docker Desktop).");

  const chromium = findChromium();
  if (chromium === undefined) missing.push("Chromium: not found (package chromium).");
  else env[partVariables.chromium] = chromium;

  const registry = findProgram("docker-registry");
  if (registry === undefined) missing.push("A Docker registry: not found (package docker-registry).");
  else env[partVariables.dockerRegistry] = registry;

  const postgres = findPostgres();
  if (postgres === undefined) missing.push("PostgreSQL: version 15 or newer was not found (package postgresql-15).");
  else env[partVariables.postgres] = postgres;

  if (findProgram("mmdebstrap") !== undefined && process.getuid?.() === 0) env[partVariables.debian] = "1";
  else missing.push("A Debian of its own: it is made by root with mmdebstrap (package mmdebstrap).");

  const shellcheck = findProgram("shellcheck");
  if (shellcheck === undefined) missing.push("shellcheck: not found (package shellcheck).");
  else env[partVariables.shellcheck] = shellcheck;

  const session = await prepareKeychain(folder);
  if (session === undefined) missing.push("Keychain: needs packages gnome-keyring, dbus-x11 and libsecret-1-0.");
  else env[partVariables.keychain] = "1";

  const label = `dtma-test=${randomUUID()}`;
  env[partVariables.containerLabel] = label;

  return {
    env,
    missing,
    inSession: (command) => session?.(command) ?? command,
    removeLeftContainers: async () => (env[partVariables.docker] === "1" ? removeLeftContainers(label) : []),
    async close() {
      await end(dockerd);
      await removeWithMounts(folder).catch((error: unknown) => say(`${folder} could not be removed: ${String(error)}`));
    },
  };
}

/** The DTMA starts hundreds of times in a run and is mostly killed, so it keeps no compiled code for the next one. */
async function compileOnce(env: NodeJS.ProcessEnv): Promise<void> {
  const dtma = new URL("../../dtma/src/dtma.ts", import.meta.url).href;
  // It starts itself anew with a flag of V8, for which code is compiled apart.
  for (const flags of [[], ["--max-semi-space-size=1"]]) {
    await runProgram(process.execPath, [...flags, "--input-type=module", "-e", `await import("${dtma}")`], { env });
  }
}

async function installPackages(): Promise<void> {
  if (process.platform !== "linux" || process.getuid?.() !== 0 || !existsSync("/etc/debian_version")) return;
  const { output } = await runProgram("dpkg-query", ["-W", "-f", dpkgFormat, ...debianPackages]);
  const installed = new Set(output.split("\n").flatMap((line) => (line.endsWith(" installed") ? [line.split(" ")[0]] : [])));
  const wanted = debianPackages.filter((name) => !installed.has(name));
  if (wanted.length === 0) return;
  say(`Installing Debian packages: ${wanted.join(" ")}`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const update = await runProgram("apt-get", ["update", "-qq"], { env });
  const install = await runProgram("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...wanted], { env });
  if (install.code !== 0) say(`They could not be installed.\n${update.output}${install.output}`);
}

/** `GET /_ping` on the Unix socket, or on the TCP address of DOCKER_HOST. */
function dockerAnswers(): Promise<boolean> {
  const host = process.env.DOCKER_HOST;
  const tcp = host?.startsWith("tcp://") ? new URL(host) : undefined;
  const usual = process.platform === "win32" ? "//./pipe/docker_engine" : "/var/run/docker.sock";
  const target = tcp
    ? { host: tcp.hostname, port: tcp.port }
    : { socketPath: host?.replace(/^(unix|npipe):\/\//, "") || usual };
  return new Promise((resolve) => {
    const ping = request({ ...target, path: "/_ping", timeout: 3_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    ping.on("timeout", () => ping.destroy());
    ping.on("error", () => resolve(false));
    ping.end();
  });
}

async function startDockerd(folder: string): Promise<ChildProcess | undefined> {
  const program = findProgram("dockerd");
  if (process.platform !== "linux" || process.getuid?.() !== 0 || process.env.DOCKER_HOST || program === undefined) return;
  say("Starting a Docker engine for the tests");
  const logFile = join(folder, "dockerd.log");
  const log = openSync(logFile, "a");
  const child = spawn(
    program,
    [
      `--data-root=${join(folder, "docker")}`,
      `--exec-root=${join(folder, "docker-exec")}`,
      `--pidfile=${join(folder, "dockerd.pid")}`,
    ],
    { stdio: ["ignore", log, log], detached: true },
  );
  for (let attempt = 0; attempt < 120 && child.exitCode === null; attempt += 1) {
    if (await dockerAnswers()) return child;
    await delay(250);
  }
  say(`The Docker engine did not start:\n${(await readFile(logFile, "utf8")).split("\n").slice(-15).join("\n")}`);
  await end(child);
}

/** Ends a process and waits for it; after a minute without mercy. An engine first stops its containers. */
async function end(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.kill("SIGTERM");
  const deadline = setTimeout(() => child.kill("SIGKILL"), 60_000);
  await ended;
  clearTimeout(deadline);
}

/**
 * `$0` data folder, `$1` runtime folder, then the command. The keyring's folders are its own: the tests keep the
 * environment they would have without it. It stays in the foreground, so that it can be ended by its process id.
 */
const keyringScript = `
  XDG_DATA_HOME="$0" XDG_RUNTIME_DIR="$1" gnome-keyring-daemon --foreground --unlock --components=secrets \\
    < <(printf tests) >/dev/null 2>&1 &
  keyring=$!
  trap 'kill "$keyring" 2>/dev/null; wait "$keyring"' EXIT
  for attempt in {1..100}; do
    dbus-send --session --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.NameHasOwner \\
      string:org.freedesktop.secrets 2>/dev/null | grep -q 'boolean true' && break
    kill -0 "$keyring" 2>/dev/null || exit 97
    sleep 0.1
  done
  shift 1
  "$@"`;

/** Debian keeps the programs of each version in a folder of their own; elsewhere they are on the PATH. */
export function findPostgres(): string | undefined {
  const base = "/usr/lib/postgresql";
  const versions = existsSync(base) ? readdirSync(base).map(Number) : [];
  const newest = Math.max(0, ...versions.filter((version) => existsSync(join(base, String(version), "bin", "initdb"))));
  if (newest >= 15) return join(base, String(newest), "bin");
  const initdb = findProgram("initdb");
  return initdb === undefined ? undefined : dirname(initdb);
}

/** On Linux a D-Bus session of our own with an unlocked keyring in `folder`; elsewhere the system's own keychain. */
async function prepareKeychain(folder: string): Promise<Machine["inSession"] | undefined> {
  if (process.platform !== "linux") return (command) => command;
  const programs = ["dbus-run-session", "dbus-send", "gnome-keyring-daemon"].map(findProgram);
  if (programs.includes(undefined)) return undefined;
  const data = join(folder, "keyring");
  const runtime = join(folder, "runtime");
  await mkdir(data, { mode: 0o700 });
  await mkdir(runtime, { mode: 0o700 });
  const inSession: Machine["inSession"] = (command) => [
    "dbus-run-session",
    "--",
    "bash",
    "-c",
    keyringScript,
    data,
    runtime,
    ...command,
  ];
  const [program = "", ...args] = inSession(["true"]);
  const { code, output } = await runProgram(program, args);
  if (code === 0) return inSession;
  say(`The keychain of the tests could not be opened (${code}): ${output}`);
  return undefined;
}

function findChromium(): string | undefined {
  const applications = [
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe",
  ];
  return (
    ["chromium", "chromium-browser", "google-chrome"].map(findProgram).find((path) => path !== undefined) ??
    applications.find((path) => existsSync(path))
  );
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
