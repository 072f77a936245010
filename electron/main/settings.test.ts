import { describe, expect, it } from "vitest";
import { AppError } from "../../shared/errors.ts";
import { parseSettings, type SettingsInput } from "./settings.ts";

function parse(argv: string[] = [], changes: Partial<SettingsInput> = {}) {
  return parseSettings({
    argv,
    env: {},
    appRoot: "/app",
    version: "1.2.3",
    platform: "linux",
    home: "/home/me",
    cwd: "/somewhere",
    execPath: "/bin/other-node",
    exists: () => false,
    ...changes,
  });
}

function failureOf(action: () => unknown): AppError {
  try {
    action();
  } catch (error) {
    if (error instanceof AppError) return error;
  }
  throw new Error("It did not fail with an AppError.");
}

describe("settings", () => {
  it("are complete without any flag", () => {
    expect(parse()).toEqual({
      host: "electron",
      dataFolder: "/home/me/.local/share/dtma-control-centre",
      port: 0,
      openWindow: true,
      logLevel: "info",
      appRoot: "/app",
      version: "1.2.3",
      dtmaEntry: "/app/dtma/src/index.ts",
      nodeBinary: "/bin/other-node",
      dockerHost: undefined,
      dtmaLabels: [],
      npmNodeImage: undefined,
    });
  });

  it("take flags in both spellings, and the last of several", () => {
    const settings = parse([
      "--host",
      "electron",
      "--port=4000",
      "--data=work",
      "--no-open",
      "--log-level=debug",
      "--host=browser",
    ]);
    expect(settings).toMatchObject({
      host: "browser",
      port: 4000,
      dataFolder: "/somewhere/work",
      openWindow: false,
      logLevel: "debug",
    });
  });

  it("take variables where there is no flag", () => {
    const env = { DTMA_CC_DATA: "/data", DTMA_CC_PORT: "1", DTMA_CC_HOST: "browser", DTMA_CC_LOG_LEVEL: "warn" };
    expect(parse([], { env })).toMatchObject({ dataFolder: "/data", port: 1, host: "browser", logLevel: "warn" });
    expect(parse(["--data=/flag", "--port=2"], { env })).toMatchObject({ dataFolder: "/flag", port: 2 });
  });

  it("collect every label", () => {
    expect(parse(["--dtma-label=a=1", "--dtma-label=b=x=y"]).dtmaLabels).toEqual(["a=1", "b=x=y"]);
  });

  it("cannot be changed", () => {
    const settings = parse(["--dtma-label=a=1"]);
    expect(Object.isFrozen(settings) && Object.isFrozen(settings.dtmaLabels)).toBe(true);
  });

  it.each([
    ["darwin", {}, "/home/me/Library/Application Support/DTMA Control Centre"],
    ["win32", {}, "/home/me/AppData/Roaming/DTMA Control Centre"],
    ["win32", { APPDATA: "/roaming" }, "/roaming/DTMA Control Centre"],
    ["linux", { XDG_DATA_HOME: "/xdg" }, "/xdg/dtma-control-centre"],
    ["linux", { XDG_DATA_HOME: "relative" }, "/home/me/.local/share/dtma-control-centre"],
    ["linux", { XDG_DATA_HOME: "" }, "/home/me/.local/share/dtma-control-centre"],
  ] as const)("keep data where %s programs do (%o)", (platform, env, folder) => {
    expect(parse([], { platform, env }).dataFolder).toBe(folder);
  });

  it("prefer the built DTMA and the app's own Node", () => {
    expect(parse([], { exists: () => true })).toMatchObject({
      dtmaEntry: "/app/dtma/dist/dtma.mjs",
      nodeBinary: "/app/node_modules/node/bin/node",
    });
  });

  it("look for programs beside the archive of a packaged app, where other processes can read them", () => {
    expect(parse([], { appRoot: "/app/app.asar", exists: () => true })).toMatchObject({
      appRoot: "/app/app.asar",
      dtmaEntry: "/app/app.asar.unpacked/dtma/dist/dtma.mjs",
    });
  });

  it("leave Chromium's own switches alone", () => {
    expect(parse(["--no-sandbox", "--ozone-platform=wayland", "--remote-debugging-port=0"]).host).toBe("electron");
  });

  it.each([
    [["--prot=1"], "--prot", "--port=NUMBER"],
    [["file.txt"], "file.txt", "--port=NUMBER"],
    [["--port=65536"], "--port", "0 to 65535"],
    [["--port=1e3"], "--port", "0 to 65535"],
    [["--port="], "--port", "0 to 65535"],
    [["--host=tui"], "--host", "electron, browser"],
    [["--log-level=loud"], "--log-level", "debug, info, warn, error"],
    [["--data="], "--data", "folder"],
    [["--data"], "--data", "--data=FOLDER"],
    [["--no-open=1"], "--no-open", "--no-open"],
    [["--dtma-label=novalue"], "--dtma-label", "KEY=VALUE"],
  ])("refuse %o and say where and what instead", (argv, field, advice) => {
    const failure = failureOf(() => parse(argv));
    expect(failure).toMatchObject({ code: "INVALID_INPUT", field });
    expect(failure.message).toContain(advice);
  });

  it("name the variable when it is the variable that is wrong", () => {
    expect(failureOf(() => parse([], { env: { DTMA_CC_PORT: "abc" } }))).toMatchObject({ field: "DTMA_CC_PORT" });
  });
});
