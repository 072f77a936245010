import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { AppError } from "../shared/errors.ts";
import { buildIfChanged } from "./build.ts";
import { flagHelp, parseSettings } from "./main/settings.ts";

/*
What `npm start` runs: builds what changed, then opens the control centre.

INVARIANTS
- Nothing but the host itself writes to standard output, except the help somebody asked for.
- A command line that cannot be understood ends here, before anything is built, fetched or opened.
- Whatever keeps Electron from opening a window ends in the browser host and one line that says why, never in a stack.
- The sandbox is never switched off by itself. Electron refuses to run as root with it, so root gets the browser host,
  unless `--no-sandbox` is asked for by name.
- When npm is told to end, so is the control centre.
*/

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const fetchDeadlineMs = 60_000;
const fetchSilenceMs = 2_000;
const parentCheckMs = 250;
const neededNode = 24;

const help = [
  "Opens the DTMA Control Centre.",
  "",
  "npm start -- [OPTION]…",
  "",
  ...Object.entries(flagHelp).map(([flag, meaning]) => `  ${flag.padEnd(36)}  ${meaning}`),
].join("\n");

endWithNpm();
await start(process.argv.slice(2));

async function start(args: string[]): Promise<void> {
  if (Number(process.versions.node.split(".")[0]) < neededNode) {
    say(`This needs Node ${neededNode} and runs under ${process.version}. Use "npm start", which brings its own Node.`);
    process.exit(1);
  }
  if (args.includes("--help") || args.includes("-h")) {
    process.stdout.write(`${help}\n`);
    process.exit(0);
  }
  checkCommandLine(args);
  try {
    await buildIfChanged();
  } catch (error) {
    say(error instanceof Error ? error.message : String(error));
    process.exit(1);
  }
  if (!wantsBrowser(args)) {
    const obstacle = (await findObstacle(args)) ?? (await runElectron(args));
    say(`${obstacle}; opening the control centre in the browser instead.`);
  }
  // In this process: there is no one in between who would have to pass signals and the exit code on.
  await import(pathToFileURL(join(root, "out", "main", "browser.js")).href);
}

function checkCommandLine(args: string[]): void {
  try {
    parseSettings({ argv: args, env: process.env, appRoot: root, version: "0.0.0" });
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    say(`${error.message} (${error.code})`);
    process.exit(1);
  }
}

/** npm passes SIGTERM on to the shell between it and this process, and that shell dies of it without a word. */
function endWithNpm(): void {
  const parent = process.ppid;
  if (process.env.npm_lifecycle_event === undefined || process.platform === "win32") return;
  const watch = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(watch);
    process.kill(process.pid, "SIGTERM");
  }, parentCheckMs);
  watch.unref();
}

function wantsBrowser(args: readonly string[]): boolean {
  const flag = args.findLast((arg, index) => arg.startsWith("--host=") || args[index - 1] === "--host");
  return (flag?.replace("--host=", "") ?? process.env.DTMA_CC_HOST) === "browser";
}

/** Why Electron cannot open a window here, as the start of a sentence; undefined when nothing is known against it. */
async function findObstacle(args: readonly string[]): Promise<string | undefined> {
  if (electronBinary() === undefined && !(await fetchElectron())) return "Electron's binary could not be fetched";
  if (process.platform !== "linux") return undefined;
  if (!process.env.DISPLAY && !process.env.WAYLAND_DISPLAY) return "There is no display for Electron's window";
  if (process.getuid?.() === 0 && !args.includes("--no-sandbox")) return "Electron's sandbox does not work for root";
  return undefined;
}

/** Electron's own file says where the binary lies; reading it, unlike importing the package, fetches nothing. */
function electronBinary(): string | undefined {
  const folder = join(root, "node_modules", "electron");
  try {
    const binary = join(
      process.env.ELECTRON_OVERRIDE_DIST_PATH ?? join(folder, "dist"),
      readFileSync(join(folder, "path.txt"), "utf8"),
    );
    return existsSync(binary) ? binary : undefined;
  } catch {
    return undefined;
  }
}

function fetchElectron(): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [join(root, "node_modules", "electron", "install.js")], { stdio: "ignore" });
    const deadline = setTimeout(() => child.kill("SIGKILL"), fetchDeadlineMs);
    const patience = setTimeout(() => say("Fetching Electron; this happens once …"), fetchSilenceMs);
    const end = () => {
      clearTimeout(deadline);
      clearTimeout(patience);
      resolve(electronBinary() !== undefined);
    };
    child.on("error", end);
    child.on("exit", end);
  });
}

/** Ends this process with Electron's exit code, or resolves to why Electron never came up. */
function runElectron(args: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    const binary = electronBinary() ?? "";
    const child = spawn(binary, [root, ...args], { stdio: ["inherit", "inherit", "inherit", "ipc"] });
    let spoke = false;
    child.on("message", () => {
      spoke = true;
    });
    const forward = (signal: NodeJS.Signals) => child.kill(signal);
    const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
    let signalled = false;
    for (const signal of signals) {
      process.on(signal, () => {
        signalled = true;
        forward(signal);
      });
    }
    child.on("error", (error) => resolve(`Electron could not be started (${error.message})`));
    child.on("exit", (code, signal) => {
      if (spoke || signalled || code === 0) process.exit(code ?? 1);
      for (const name of signals) process.removeAllListeners(name);
      resolve(`Electron could not open a window (${signal ?? `exit code ${code}`})`);
    });
  });
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
