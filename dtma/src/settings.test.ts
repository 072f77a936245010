import { describe, expect, it } from "vitest";
import { readSettings, SettingsError } from "./settings.ts";

const token = "a-token-of-enough-length";

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
      stopServersOnExit: false,
      token: undefined,
    });
  });

  it("takes flags before the environment, and that before the configuration file", () => {
    const files = {
      "/etc/dtma.conf": `# comment\nPORT=1\nDTMA_HOST="10.0.0.1"\nexport DTMA_AUTH_TOKEN=${token}\nDTMA_SCOPE=file\n`,
    };
    const settings = read(["--port=3"], { PORT: "2", DTMA_SCOPE: "env" }, files);
    expect(settings).toMatchObject({ port: 3, scope: "env", host: "10.0.0.1", token });
    expect(read(["--config=none"], {}, files)).toMatchObject({ port: 30_000, token: undefined });
  });

  it("reads the token from a file, which wins over the variable", () => {
    expect(read(["--token-file=/t"], { DTMA_AUTH_TOKEN: "another-long-enough-token" }, { "/t": `${token}\n` }).token).toBe(
      token,
    );
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
