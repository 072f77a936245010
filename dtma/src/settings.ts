import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { clearName, hashName, parseConfiguration } from "./configuration.ts";
import { hashToken, tokenHash } from "./token-hash.ts";
import type { ConfiguredToken, Enrolment } from "./tokens.ts";

/*
INVARIANTS
- Flags win over the environment, which wins over the configuration file.
- A setting that is wrong stops the start with one sentence; nothing is guessed.
- Plain HTTP is for loopback only.
- A token is never a flag: argument lists are public on the machine. It is known here by its hash.
*/

export class SettingsError extends Error {}

/** What `--help` prints: every flag, with the variable that does the same. */
export const helpText = `Usage: dtma [options]
       dtma doctor [--json]   what is wrong on this host; exit code 1 when something must be mended
       dtma fingerprint       the fingerprint of this toolbox, to compare with what a control centre shows
       dtma health            whether this toolbox answers

Drives Docker on this machine for a control centre, and carries MCP traffic to the servers it runs.
Prints one line of JSON once it answers: its address, the fingerprint of its certificate and, the
first time, the token it made. Everything else goes to standard error.

  --host=ADDRESS             where it listens (127.0.0.1; 0.0.0.0 is every address)       DTMA_HOST
  --port=NUMBER              0 takes any free port (30000)                                PORT
  --data=FOLDER              its certificate, token and access list (/var/lib/dtma for    DTMA_DATA
                             root, else dtma in the data folder of the user)
  --http                     plain HTTP; on loopback only                                 DTMA_HTTP=true
  --allow-host=NAME          a name clients may address it by; may be repeated             DTMA_ALLOWED_HOSTS
                             (as a variable: separated by commas)
  --token-file=FILE          the token clients need, at least 16 characters               DTMA_AUTH_TOKEN
                             or its SHA-256, in hex                                  DTMA_AUTH_TOKEN_SHA256
  --client-ca=FILE           only clients with a certificate of this authority (PEM)      DTMA_CLIENT_CA
                             may connect
  --changes-per-minute=NUMBER  changing calls of one token, 1 to 100000 (600)            DTMA_CHANGES_PER_MINUTE
  --calls-per-second=NUMBER  MCP messages of one connection, 1 to 100000 (50); four       DTMA_CALLS_PER_SECOND
                             times as many at once after a pause
  --reporting-file=FILE      where to report to until a control centre says so            DTMA_REPORTING_FILE
  --scope=NAME               keeps several on one Docker engine apart (default)           DTMA_SCOPE
  --label=NAME=VALUE         put on everything it makes in Docker; may be repeated
  --node-image=IMAGE         base image for npm packages; none pulls no image             DTMA_NODE_IMAGE
                             (node:24-slim)
  --uv-image=IMAGE           base image with uv for PyPI packages; none pulls no image    DTMA_UV_IMAGE
                             (astral/uv:python3.13-bookworm-slim)
  --node-runtime=FILE        Node binary for npm packages without a base image            DTMA_NODE_RUNTIME
  --answer-seconds=NUMBER    how long a server may take to answer first, 1 to 600 (30)    DTMA_ANSWER_SECONDS
  --sessions=NUMBER          open sessions of one server, 1 to 10000 (64)                 DTMA_SESSIONS
  --connection-sessions=NUMBER  open sessions of one connection (16)          DTMA_CONNECTION_SESSIONS
  --queue-seconds=NUMBER     how long a session beyond them may wait, 0 to 60 (10)   DTMA_QUEUE_SECONDS
  --idle-seconds=NUMBER      how long a session that nobody uses is kept, 1 to 86400 (900)  DTMA_IDLE_SECONDS
  --spares=NUMBER            processes kept ready for each server in use, 0 to 4 (1)        DTMA_SPARES
  --stop-servers-on-exit     stop the servers when it ends; else they go on
  --parent-pipe              end when standard input ends
  --config=FILE              lines of NAME=value; none reads no file (/etc/dtma.conf)
  --help                     this text

DTMA_ENROLMENT=SHA256:SECONDS lets the holder of that key fetch a token, once and until then (Unix
time). A token in clear in the configuration file is replaced by its hash at the first start.

Flags win over the environment, which wins over the configuration file. A token is never a flag:
argument lists are public on the machine. DOCKER_HOST says which Docker engine it drives.
`;

export type Settings = Readonly<{
  host: string;
  port: number;
  dataFolder: string;
  /** Plain HTTP instead of HTTPS. */
  http: boolean;
  scope: string;
  /** On everything the DTMA makes in Docker, next to its own labels. */
  labels: Readonly<Record<string, string>>;
  /** The Node binary of the runtime image. */
  nodeRuntime: string;
  /** Base image for npm packages; null never pulls one. */
  nodeImage: string | null;
  /** Base image with uv for PyPI packages; null never pulls one. */
  uvImage: string | null;
  stopServersOnExit: boolean;
  /** End when standard input ends. */
  parentPipe: boolean;
  /** Names by which clients may address this DTMA, beside addresses, `localhost` and the host's own name. */
  allowedHosts: readonly string[];
  /** How long a server may take to answer the MCP handshake. */
  answerMs: number;
  sessions: Readonly<{
    sessionsPerServer: number;
    sessionsPerConnection: number;
    queueMs: number;
    idleMs: number;
    spares: number;
  }>;
  /** As DOCKER_HOST. */
  dockerHost: string | undefined;
  /** Known by its hash, wherever it was read from. */
  token: ConfiguredToken | undefined;
  /** The single-use key with which somebody may fetch a token. */
  enrolment: Enrolment | undefined;
  /** PEM of the authority whose clients may connect; undefined lets everybody in to show a token. */
  clientCa: string | undefined;
  changesPerMinute: number;
  /** MCP messages of one connection. */
  callsPerSecond: number;
  /** null reads none. It need not exist. */
  configurationFile: string | null;
  /** What is read but means nothing here any more, as sentences. */
  remarks: readonly string[];
  /** Whether a service is named that the agent before sent its heartbeats to. */
  hasApiBaseUrl: boolean;
  /** Text of the file that says where to report to, until a control centre says so. */
  reporting: string | undefined;
}>;

const defaultPort = 30_000;
const minTokenLength = 16;
const configurationPath = "/etc/dtma.conf";

type Sources = {
  argv: readonly string[];
  env: NodeJS.ProcessEnv;
  /** undefined when there is no such file. */
  readFile(path: string): string | undefined;
  isRoot: boolean;
  execPath: string;
};

/** Whether help was asked for; it then wins over everything else, also over what is wrong. */
export function asksForHelp(argv: readonly string[]): boolean {
  return argv.includes("--help") || argv.includes("-h");
}

/** Reads all settings. SettingsError with a sentence for the person who starts the DTMA. */
export function readSettings({ argv, env, readFile, isRoot, execPath }: Sources): Settings {
  const flags = parseFlags(argv);
  const configuration = flags.config === "none" ? {} : readConfiguration(flags.config, readFile);
  const from = (flag: string | undefined, name: string) => flag ?? nonEmpty(env[name]) ?? nonEmpty(configuration[name]);

  const host = from(flags.host, "DTMA_HOST") ?? "127.0.0.1";
  const http = flags.http === true || from(undefined, "DTMA_HTTP") === "true";
  if (http && !isLoopback(host)) {
    throw new SettingsError(
      `Plain HTTP is only for loopback: use --host 127.0.0.1, or leave out --http to serve ${host} over HTTPS.`,
    );
  }
  const nodeImage = from(flags["node-image"], "DTMA_NODE_IMAGE") ?? "node:24-slim";
  const uvImage = from(flags["uv-image"], "DTMA_UV_IMAGE") ?? "astral/uv:python3.13-bookworm-slim";
  return Object.freeze({
    host,
    port: readNumber("--port", from(flags.port, "PORT") ?? String(defaultPort), 0, 65_535),
    dataFolder: resolve(from(flags.data, "DTMA_DATA") ?? defaultDataFolder(env, isRoot)),
    http,
    scope: readScope(from(flags.scope, "DTMA_SCOPE") ?? "default"),
    labels: Object.freeze(Object.fromEntries((flags.label ?? []).map(readLabel))),
    nodeRuntime: from(flags["node-runtime"], "DTMA_NODE_RUNTIME") ?? execPath,
    nodeImage: nodeImage === "none" ? null : nodeImage,
    uvImage: uvImage === "none" ? null : uvImage,
    stopServersOnExit: flags["stop-servers-on-exit"] === true,
    parentPipe: flags["parent-pipe"] === true,
    allowedHosts: Object.freeze(
      (flags["allow-host"] ?? from(undefined, "DTMA_ALLOWED_HOSTS")?.split(/[\s,]+/) ?? []).map((name) => name.toLowerCase()),
    ),
    answerMs: readNumber("--answer-seconds", from(flags["answer-seconds"], "DTMA_ANSWER_SECONDS") ?? "30", 1, 600) * 1_000,
    sessions: readSessions((flag, name) => from(flags[flag], name)),
    dockerHost: nonEmpty(env.DOCKER_HOST) ?? nonEmpty(configuration.DOCKER_HOST),
    token: readToken(flags["token-file"], env, configuration, readFile),
    enrolment: readEnrolment(from(undefined, "DTMA_ENROLMENT")),
    clientCa: readClientCa(from(flags["client-ca"], "DTMA_CLIENT_CA"), http, readFile),
    changesPerMinute: readNumber(
      "--changes-per-minute",
      from(flags["changes-per-minute"], "DTMA_CHANGES_PER_MINUTE") ?? "600",
      1,
      100_000,
    ),
    callsPerSecond: readNumber(
      "--calls-per-second",
      from(flags["calls-per-second"], "DTMA_CALLS_PER_SECOND") ?? "50",
      1,
      100_000,
    ),
    configurationFile: flags.config === "none" ? null : (flags.config ?? configurationPath),
    remarks: Object.freeze(remarksOn(configuration)),
    hasApiBaseUrl: from(undefined, "AGENTOPIA_API_BASE_URL") !== undefined,
    reporting: readReporting(from(flags["reporting-file"], "DTMA_REPORTING_FILE"), readFile),
  });
}

/** Whether only this machine can reach a listener on this host. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

type Interfaces = Readonly<Record<string, readonly { address: string; family: string; internal: boolean }[] | undefined>>;

/**
 * The host under which somebody else can connect to a listener on `host`: of a listener on every address the machine's
 * first IPv4 address that is not its loopback, else its name. IPv6 addresses come in brackets, as in a URL.
 */
export function reachableHost(host: string, interfaces: Interfaces, hostname: string): string {
  if (host === "0.0.0.0" || host === "::") {
    const found = Object.values(interfaces).flatMap((each) => each ?? []);
    return found.find(({ family, internal }) => family === "IPv4" && !internal)?.address ?? hostname;
  }
  return host.includes(":") ? `[${host}]` : host;
}

function parseFlags(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      strict: true,
      allowPositionals: false,
      options: {
        host: { type: "string" },
        port: { type: "string" },
        data: { type: "string" },
        http: { type: "boolean" },
        scope: { type: "string" },
        label: { type: "string", multiple: true },
        "node-runtime": { type: "string" },
        "node-image": { type: "string" },
        "uv-image": { type: "string" },
        "stop-servers-on-exit": { type: "boolean" },
        "parent-pipe": { type: "boolean" },
        "allow-host": { type: "string", multiple: true },
        "answer-seconds": { type: "string" },
        sessions: { type: "string" },
        "connection-sessions": { type: "string" },
        "queue-seconds": { type: "string" },
        "idle-seconds": { type: "string" },
        spares: { type: "string" },
        "token-file": { type: "string" },
        "client-ca": { type: "string" },
        "changes-per-minute": { type: "string" },
        "calls-per-second": { type: "string" },
        "reporting-file": { type: "string" },
        config: { type: "string" },
      },
    }).values;
  } catch (error) {
    throw new SettingsError((error as Error).message.split("\n", 1)[0] ?? "The arguments cannot be understood.");
  }
}

type Configuration = Readonly<Record<string, string>>;

function readConfiguration(path: string | undefined, readFile: Sources["readFile"]): Configuration {
  const text = readFile(path ?? configurationPath);
  if (text === undefined) {
    if (path === undefined) return {};
    throw new SettingsError(`The configuration file ${path} does not exist.`);
  }
  const values = parseConfiguration(text);
  if (values === undefined) throw new SettingsError(`A line of ${path ?? configurationPath} is not of the form NAME=value.`);
  return values;
}

/** The one from a file, else in clear, else by its hash; what is nearer to the start of the DTMA wins. */
function readToken(
  file: string | undefined,
  env: NodeJS.ProcessEnv,
  configuration: Configuration,
  readFile: Sources["readFile"],
): ConfiguredToken | undefined {
  if (file !== undefined) {
    const text = readFile(file)?.trim();
    if (text === undefined) throw new SettingsError(`The token file ${file} does not exist.`);
    return tokenOf(text, false);
  }
  // A token that was good for the agent before is good here, also when systemd hands the file over as the environment.
  const older = nonEmpty(configuration[clearName]);
  for (const source of [env, configuration]) {
    const clear = nonEmpty(source[clearName]?.trim());
    if (clear !== undefined) return tokenOf(clear, clear === older);
    const hash = nonEmpty(source[hashName]?.trim().toLowerCase());
    if (hash === undefined) continue;
    if (!tokenHash.test(hash)) throw new SettingsError(`${hashName} must be the SHA-256 of the token, as 64 hex digits.`);
    return { hash, isShort: false };
  }
  return undefined;
}

function tokenOf(token: string, mayBeShort: boolean): ConfiguredToken {
  const isShort = token.length < minTokenLength;
  if (isShort && !mayBeShort) {
    throw new SettingsError(`The token is too short: it needs at least ${minTokenLength} characters.`);
  }
  if (/[^\x21-\x7e]/.test(token)) {
    throw new SettingsError("The token may hold only printable ASCII characters without spaces.");
  }
  return { hash: hashToken(token), isShort };
}

function readEnrolment(text: string | undefined): Enrolment | undefined {
  if (text === undefined) return undefined;
  const [, keyHash, seconds] = /^([a-f0-9]{64}):(\d{1,12})$/i.exec(text) ?? [];
  if (keyHash === undefined) {
    throw new SettingsError(
      "DTMA_ENROLMENT must be the SHA-256 of the key as 64 hex digits, a colon, and the Unix time it ends.",
    );
  }
  return { keyHash: keyHash.toLowerCase(), expiresAt: Number(seconds) * 1_000 };
}

function readClientCa(file: string | undefined, http: boolean, readFile: Sources["readFile"]): string | undefined {
  if (file === undefined) return undefined;
  if (http) throw new SettingsError("Certificates of clients need HTTPS: leave out --http or --client-ca.");
  const text = readFile(file);
  if (text === undefined) throw new SettingsError(`The file of the client authority ${file} does not exist.`);
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0 || !blocks.every(isAuthority)) {
    throw new SettingsError(`The file ${file} does not hold the certificate of an authority in PEM form.`);
  }
  return blocks.join("\n");
}

function isAuthority(pem: string): boolean {
  try {
    return new X509Certificate(pem).ca;
  } catch {
    return false;
  }
}

function remarksOn(configuration: Configuration): string[] {
  const calls = nonEmpty(configuration.AGENTOPIA_API_BASE_URL) !== undefined && configuration.OFFLINE_MODE !== "true";
  return calls ? ["AGENTOPIA_API_BASE_URL is not called: reports go to the shared database of the control centre."] : [];
}

function readReporting(file: string | undefined, readFile: Sources["readFile"]): string | undefined {
  if (file === undefined) return undefined;
  const text = readFile(file);
  if (text === undefined) throw new SettingsError(`The reporting file ${file} does not exist.`);
  return text;
}

function readNumber(flag: string, text: string, min: number, max: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max))
    throw new SettingsError(`${flag} must be a number from ${min} to ${max}, not "${text}".`);
  return value;
}

type SessionFlag = "sessions" | "connection-sessions" | "queue-seconds" | "idle-seconds" | "spares";

function readSessions(from: (flag: SessionFlag, name: string) => string | undefined): Settings["sessions"] {
  return Object.freeze({
    sessionsPerServer: readNumber("--sessions", from("sessions", "DTMA_SESSIONS") ?? "64", 1, 10_000),
    sessionsPerConnection: readNumber(
      "--connection-sessions",
      from("connection-sessions", "DTMA_CONNECTION_SESSIONS") ?? "16",
      1,
      10_000,
    ),
    queueMs: readNumber("--queue-seconds", from("queue-seconds", "DTMA_QUEUE_SECONDS") ?? "10", 0, 60) * 1_000,
    idleMs: readNumber("--idle-seconds", from("idle-seconds", "DTMA_IDLE_SECONDS") ?? "900", 1, 86_400) * 1_000,
    spares: readNumber("--spares", from("spares", "DTMA_SPARES") ?? "1", 0, 4),
  });
}

function readScope(text: string): string {
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_-]{0,63}$/.test(text)) {
    throw new SettingsError(`--scope must be 1 to 64 letters, digits, hyphens and underscores, not "${text}".`);
  }
  return text;
}

function readLabel(text: string): [string, string] {
  const equals = text.indexOf("=");
  if (equals < 1) throw new SettingsError(`--label must be of the form name=value, not "${text}".`);
  return [text.slice(0, equals), text.slice(equals + 1)];
}

function defaultDataFolder(env: NodeJS.ProcessEnv, isRoot: boolean): string {
  if (isRoot) return "/var/lib/dtma";
  return join(nonEmpty(env.XDG_DATA_HOME) ?? join(homedir(), ".local", "share"), "dtma");
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === undefined || text === "" ? undefined : text;
}
