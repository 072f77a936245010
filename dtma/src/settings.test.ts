import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { asksForHelp, helpText, reachableHost, readSettings, SettingsError } from "./settings.ts";
import { hashToken } from "./token-hash.ts";

const token = "a-token-of-enough-length";

const known = (text: string, isShort = false) => ({ hash: hashToken(text), isShort });

function read(argv: string[] = [], env: NodeJS.ProcessEnv = {}, files: Record<string, string> = {}) {
  return readSettings({ argv, env, readFile: (path) => files[path], isRoot: true, execPath: "/usr/bin/node" });
}

describe("readSettings", () => {
  it("needs nothing", () => {
    expect(read()).toMatchObject({
      host: "127.0.0.1",
      port: 30_000,
      http: false,
      scope: "default",
      nodeRuntime: "/usr/bin/node",
      nodeImage: "node:24-slim",
      uvImage: "astral/uv:python3.13-bookworm-slim",
      stopServersOnExit: false,
      token: undefined,
      enrolment: undefined,
      clientCa: undefined,
      changesPerMinute: 600,
      callsPerSecond: 50,
    });
  });

  it("takes flags before the environment, and that before the configuration file", () => {
    const files = {
      "/etc/dtma.conf": `# comment\nPORT=1\nDTMA_HOST="10.0.0.1"\nexport DTMA_AUTH_TOKEN=${token}\nDTMA_SCOPE=file\n`,
    };
    const settings = read(["--port=3"], { PORT: "2", DTMA_SCOPE: "env" }, files);
    expect(settings).toMatchObject({ port: 3, scope: "env", host: "10.0.0.1", token: known(token) });
    expect(read(["--config=none"], {}, files)).toMatchObject({ port: 30_000, token: undefined });
  });

  it("reads the token from a file, which wins over the variable", () => {
    const settings = read(["--token-file=/t"], { DTMA_AUTH_TOKEN: "another-long-enough-token" }, { "/t": `${token}\n` });
    expect(settings.token).toEqual(known(token));
  });

  it("takes the names it may be addressed by from flags, or from one variable", () => {
    const files = { "/etc/dtma.conf": "DTMA_ALLOWED_HOSTS=One.example, two.example\n" };
    expect(read([], {}, files).allowedHosts).toEqual(["one.example", "two.example"]);
    expect(read(["--allow-host=Three.example"], {}, files).allowedHosts).toEqual(["three.example"]);
    expect(read().allowedHosts).toEqual([]);
  });

  it("takes the numbers of sessions and spares, each within its bounds", () => {
    expect(read().sessions).toEqual({
      sessionsPerServer: 64,
      sessionsPerConnection: 16,
      queueMs: 10_000,
      idleMs: 900_000,
      spares: 1,
    });
    expect(
      read(["--sessions=200", "--spares=0"], { DTMA_QUEUE_SECONDS: "0", DTMA_CONNECTION_SESSIONS: "200" }).sessions,
    ).toEqual({
      sessionsPerServer: 200,
      sessionsPerConnection: 200,
      queueMs: 0,
      idleMs: 900_000,
      spares: 0,
    });
    expect(() => read(["--spares=5"])).toThrow("--spares must be a number from 0 to 4");
  });

  it("reads the text of the reporting file", () => {
    expect(read([], { DTMA_REPORTING_FILE: "/r" }, { "/r": "{}" }).reporting).toBe("{}");
    expect(read().reporting).toBeUndefined();
  });

  it.each(["127.0.0.1", "127.1.2.3", "::1", "localhost"])("serves plain HTTP on %s", (host) => {
    expect(read(["--http", `--host=${host}`])).toMatchObject({ http: true, host });
  });

  it.each([
    [["--http", "--host=0.0.0.0"], /Plain HTTP is only for loopback/],
    [["--http", "--host=192.168.1.1"], /Plain HTTP is only for loopback/],
    [["--port=http"], /--port must be a number/],
    [["--port=65536"], /--port must be a number/],
    [["--scope=a b"], /--scope must be/],
    [["--label=novalue"], /--label must be/],
    [["--reporting-file=/none"], /The reporting file \/none does not exist/],
    [["--changes-per-minute=0"], /--changes-per-minute must be a number/],
    [["--calls-per-second=0"], /--calls-per-second must be a number/],
    [["--client-ca=/none"], /The file of the client authority \/none does not exist/],
    [["--client-ca=/none", "--http"], /need HTTPS/],
    [["--token-file=/none"], /The token file \/none does not exist/],
    [["--config=/none"], /The configuration file \/none does not exist/],
    [["--frobnicate"], /--frobnicate/],
    [["stray"], /stray/],
  ])("refuses %j with a sentence", (argv, sentence) => {
    expect(() => read(argv)).toThrow(SettingsError);
    expect(() => read(argv)).toThrow(sentence);
  });

  it("refuses a token that could be guessed or would not fit into a header", () => {
    expect(() => read([], { DTMA_AUTH_TOKEN: "short" })).toThrow(/too short/);
    expect(() => read([], { DTMA_AUTH_TOKEN: "with a space in the middle" })).toThrow(/printable ASCII/);
  });
});

describe("the configuration of the agent that ran here before", () => {
  const conf = (text: string) => ({ "/etc/dtma.conf": text });

  it("is read, a short token too, and what means nothing any more is remarked on", () => {
    const files = conf("DTMA_AUTH_TOKEN=short\nAGENTOPIA_API_BASE_URL=https://api.example\nOFFLINE_MODE=false\n");
    const settings = read([], {}, files);
    expect(settings).toMatchObject({ token: known("short", true), configurationFile: "/etc/dtma.conf" });
    expect(settings.remarks).toEqual([expect.stringContaining("AGENTOPIA_API_BASE_URL")]);
    expect(read([], { DTMA_AUTH_TOKEN: "short" }, files).token).toEqual(known("short", true));
    expect(() => read([], { DTMA_AUTH_TOKEN: "other" }, files)).toThrow(/too short/);
    expect(read([], {}, conf("AGENTOPIA_API_BASE_URL=https://api.example\nOFFLINE_MODE=true\n")).remarks).toEqual([]);
  });

  it("may hold the hash instead, and a token in clear beside it counts", () => {
    const hash = hashToken(token);
    expect(read([], {}, conf(`DTMA_AUTH_TOKEN_SHA256=${hash.toUpperCase()}\n`)).token).toEqual(known(token));
    expect(read([], {}, conf(`DTMA_AUTH_TOKEN_SHA256=${hash}\nDTMA_AUTH_TOKEN=${token}2\n`)).token).toEqual(known(`${token}2`));
    expect(read([], { DTMA_AUTH_TOKEN_SHA256: hash }, conf(`DTMA_AUTH_TOKEN=${token}2\n`)).token).toEqual(known(token));
    expect(() => read([], { DTMA_AUTH_TOKEN_SHA256: "abc" })).toThrow(/64 hex digits/);
  });
});

describe("the enrolment", () => {
  it("is the hash of a key and the time it ends", () => {
    const keyHash = hashToken("key");
    expect(read([], { DTMA_ENROLMENT: `${keyHash}:1700000000` }).enrolment).toEqual({ keyHash, expiresAt: 1_700_000_000_000 });
    for (const wrong of ["key", `${keyHash}`, `${keyHash}:soon`, `${keyHash}1:1`]) {
      expect(() => read([], { DTMA_ENROLMENT: wrong })).toThrow(/DTMA_ENROLMENT must be/);
    }
  });
});

describe("the help", () => {
  it.each(["--help", "-h"])("is asked for with %s, whatever else is there", (flag) => {
    expect(asksForHelp(["--port=none", flag])).toBe(true);
    expect(asksForHelp(["--port=1"])).toBe(false);
  });

  it("names every flag and every variable that is read", () => {
    const source = readFileSync(new URL("./settings.ts", import.meta.url), "utf8");
    const flags = [...source.matchAll(/^ {8}"?([a-z-]+)"?: \{ type: "(?:string|boolean)"/gm)].map(([, name]) => `--${name}`);
    const variables = [...source.matchAll(/"((?:DTMA_[A-Z_]+)|PORT|DOCKER_HOST)"/g)].map(([, name]) => name);
    expect(flags.length).toBeGreaterThan(10);
    expect(variables.length).toBeGreaterThan(5);
    for (const name of [...flags, ...variables]) expect(helpText).toContain(name);
  });
});

describe("the host in the ready line", () => {
  const interfaces = {
    lo: [{ address: "127.0.0.1", family: "IPv4", internal: true }],
    eth0: [
      { address: "fe80::1", family: "IPv6", internal: false },
      { address: "192.0.2.7", family: "IPv4", internal: false },
    ],
  };

  it.each(["0.0.0.0", "::"])("is an address of the machine for a listener on %s", (host) => {
    expect(reachableHost(host, interfaces, "box")).toBe("192.0.2.7");
    expect(reachableHost(host, { lo: interfaces.lo }, "box")).toBe("box");
  });

  it.each([
    ["127.0.0.1", "127.0.0.1"],
    ["198.51.100.4", "198.51.100.4"],
    ["::1", "[::1]"],
  ])("is the address it listens on for %s", (host, shown) => {
    expect(reachableHost(host, interfaces, "box")).toBe(shown);
  });
});
