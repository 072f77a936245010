import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { AppError } from "../../shared/errors.ts";

/*
INVARIANTS
- Parsed once, by the host's entry; nothing else reads argv or the environment for settings.
- Frozen, and free of secrets: a token never comes in by flag or variable.
- No flag or variable names the address of a service; a toolbox has an address because someone gave it one.
*/

export const logLevels = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof logLevels)[number];

export const hostKinds = ["electron", "browser"] as const;
export type HostKind = (typeof hostKinds)[number];

export type Settings = Readonly<{
  host: HostKind;
  /** Absolute. Holds the SQLite file, the log files and the DTMA of this computer; made by who writes there first. */
  dataFolder: string;
  /** Port of the browser host on 127.0.0.1; 0 lets the system choose. */
  port: number;
  /** Whether the browser host opens the system's browser. */
  openWindow: boolean;
  logLevel: LogLevel;
  /** The folder that holds package.json, out/, resources/ and dtma/. */
  appRoot: string;
  version: string;
  /** The DTMA's program: the bundle, or its source when it was never built. */
  dtmaEntry: string;
  /** Runs the DTMA. May be Electron's own binary: start it with ELECTRON_RUN_AS_NODE=1 in its environment. */
  nodeBinary: string;
  /** DOCKER_HOST as it was given; undefined means the platform's usual socket. */
  dockerHost: string | undefined;
  /** `key=value` labels that this computer's DTMA puts on every container it makes, besides its own. */
  dtmaLabels: readonly string[];
  /** Base image for servers from npm packages; undefined leaves the choice to the DTMA. */
  npmNodeImage: string | undefined;
}>;

export type SettingsInput = {
  /** Without the binary and the script: `process.argv.slice(2)`. */
  argv: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
  appRoot: string;
  version: string;
  /** What the machine is like; the defaults ask the real one. */
  platform?: NodeJS.Platform;
  home?: string;
  cwd?: string;
  execPath?: string;
  exists?: (path: string) => boolean;
};

/** Every flag and what it is for. */
export const flagHelp: Readonly<Record<string, string>> = {
  "--host=electron|browser": "a window of its own, or one in the browser of this computer",
  "--port=NUMBER": "port of the browser host; 0 (the default) takes a free one",
  "--data=FOLDER": "where the workspace is kept",
  "--no-open": "do not open a browser; the address is in the one line on standard output",
  [`--log-level=${logLevels.join("|")}`]: "how much is logged",
  "--dtma-label=KEY=VALUE": "label on every container that this computer's DTMA makes; can be repeated",
  "--npm-node-image=IMAGE": "base image for servers from npm packages",
};

/** Chromium and Node read these themselves; Electron leaves them in argv. */
const chromiumSwitches = new Set([
  "allow-file-access-from-files",
  "disable-dev-shm-usage",
  "disable-features",
  "disable-gpu",
  "enable-features",
  "enable-logging",
  "force-device-scale-factor",
  "inspect",
  "inspect-brk",
  "lang",
  "no-sandbox",
  "original-process-start-time",
  "ozone-platform",
  "ozone-platform-hint",
  "password-store",
  "remote-debugging-port",
]);

/**
 * Flags win over environment variables, which win over defaults.
 * Throws AppError INVALID_INPUT with `field` naming the flag or variable and a message that says what is accepted.
 */
export function parseSettings(input: SettingsInput): Settings {
  const platform = input.platform ?? process.platform;
  const exists = input.exists ?? existsSync;
  const cwd = input.cwd ?? process.cwd();
  const { env, appRoot, version } = input;
  const flags = parseFlags(input.argv);

  const host = pick(
    hostKinds,
    flags.host === undefined ? ["DTMA_CC_HOST", env.DTMA_CC_HOST] : ["--host", flags.host],
    "electron",
  );
  const logLevel = pick(
    logLevels,
    flags["log-level"] === undefined ? ["DTMA_CC_LOG_LEVEL", env.DTMA_CC_LOG_LEVEL] : ["--log-level", flags["log-level"]],
    "info",
  );
  const port = parsePort(flags.port === undefined ? ["DTMA_CC_PORT", env.DTMA_CC_PORT] : ["--port", flags.port]);
  const data = flags.data ?? nonEmpty(env.DTMA_CC_DATA);
  if (data === "") throw invalid("--data", "--data needs a folder, for example --data=/home/me/control-centre.");

  // A packaged app is one archive; programs that other processes run lie unpacked beside it.
  const unpacked = appRoot.endsWith("app.asar") ? `${appRoot}.unpacked` : appRoot;
  const builtDtma = join(unpacked, "dtma", "dist", "dtma.mjs");
  const ownNode = join(unpacked, "node_modules", "node", "bin", platform === "win32" ? "node.exe" : "node");

  return Object.freeze({
    host,
    dataFolder: data === undefined ? defaultDataFolder(platform, env, input.home ?? homedir()) : resolve(cwd, data),
    port,
    openWindow: flags["no-open"] !== true,
    logLevel,
    appRoot,
    version,
    dtmaEntry: exists(builtDtma) ? builtDtma : join(unpacked, "dtma", "src", "index.ts"),
    nodeBinary: exists(ownNode) ? ownNode : (input.execPath ?? process.execPath),
    dockerHost: nonEmpty(env.DOCKER_HOST),
    dtmaLabels: Object.freeze((flags["dtma-label"] ?? []).map(parseLabel)),
    npmNodeImage: nonEmpty(flags["npm-node-image"]),
  });
}

function parseFlags(argv: readonly string[]) {
  const ours = argv.filter((argument) => {
    const name = /^--([^=]+)/.exec(argument)?.[1];
    return name === undefined || !chromiumSwitches.has(name);
  });
  try {
    return parseArgs({
      args: ours,
      allowPositionals: false,
      options: {
        host: { type: "string" },
        port: { type: "string" },
        data: { type: "string" },
        "no-open": { type: "boolean" },
        "log-level": { type: "string" },
        "dtma-label": { type: "string", multiple: true },
        "npm-node-image": { type: "string" },
      },
    }).values;
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    const quoted = /'(-{1,2}[^\s'=]+|[^']+)/.exec(text)?.[1] ?? "command line";
    const what = text.startsWith("Option")
      ? `${quoted} on the command line has a missing or unexpected value.`
      : `The command line has ${quoted}, which is not known.`;
    throw invalid(quoted, `${what} Use: ${Object.keys(flagHelp).join(", ")}.`, cause);
  }
}

type Given = readonly [where: string, value: string | undefined];

function pick<Word extends string>(words: readonly Word[], [where, value]: Given, fallback: Word): Word {
  if (value === undefined) return fallback;
  const word = words.find((candidate) => candidate === value);
  if (word === undefined) throw invalid(where, `${where} is "${value}"; use one of: ${words.join(", ")}.`);
  return word;
}

function parsePort([where, value]: Given): number {
  if (value === undefined) return 0;
  const port = Number(value);
  if (!/^\d{1,5}$/.test(value) || port > 65_535) {
    throw invalid(where, `${where} is "${value}"; use a number from 0 to 65535, where 0 lets the system choose.`);
  }
  return port;
}

function parseLabel(label: string): string {
  if (!/^[^=\s]+=.*$/.test(label)) {
    throw invalid("--dtma-label", `--dtma-label is "${label}"; use KEY=VALUE, for example --dtma-label=team=blue.`);
  }
  return label;
}

/** XDG base directories on Linux, Application Support on macOS, roaming application data on Windows. */
function defaultDataFolder(platform: NodeJS.Platform, env: SettingsInput["env"], home: string): string {
  if (platform === "darwin") return join(home, "Library", "Application Support", "DTMA Control Centre");
  if (platform === "win32") return join(nonEmpty(env.APPDATA) ?? join(home, "AppData", "Roaming"), "DTMA Control Centre");
  const xdg = nonEmpty(env.XDG_DATA_HOME);
  // The XDG specification tells programs to ignore a relative path here.
  const base = xdg !== undefined && isAbsolute(xdg) ? xdg : join(home, ".local", "share");
  return join(base, "dtma-control-centre");
}

function nonEmpty(value: string | undefined): string | undefined {
  return value === "" ? undefined : value;
}

function invalid(field: string, message: string, cause?: unknown): AppError {
  return new AppError("INVALID_INPUT", { field, message, cause });
}
