import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createORPCClient } from "@orpc/client";
import { RPCLink } from "@orpc/client/message-port";
import { os } from "@orpc/server";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import * as electron from "../../../test/fakes/electron.ts";
import { createLog } from "../log.ts";
import { type ElectronHost, openElectronHost, registerWindowScheme } from "./electron.ts";

vi.mock("electron", () => import("../../../test/fakes/electron.ts"));

type Context = { host: string; roles: string[] };
let streams: string[];
const router = {
  whoami: os.$context<Context>().handler(({ context }) => context),
  endless: os.$context<Context>().handler(async function* ({ signal }) {
    streams.push("open");
    try {
      yield 0;
      await new Promise((resolve) => signal?.addEventListener("abort", resolve));
    } finally {
      streams.push("ended");
    }
  }),
};
type Client = { whoami(): Promise<Context>; endless(): Promise<AsyncIterable<number>> };

let appRoot: string;
let host: ElectronHost;
let window: electron.BrowserWindow;

beforeEach(async () => {
  streams = [];
  for (const emitter of [
    electron.app,
    electron.ipcMain,
    electron.nativeTheme,
    electron.powerMonitor,
    electron.session.defaultSession,
  ]) {
    emitter.removeAllListeners();
  }
  electron.shell.opened.length = 0;
  appRoot = mkdtempSync(join(tmpdir(), "electron-host-"));
  mkdirSync(join(appRoot, "out", "renderer"), { recursive: true });
  writeFileSync(join(appRoot, "out", "renderer", "index.html"), "<!doctype html><title>window</title>");
  writeFileSync(join(appRoot, "secret.txt"), "outside");
  registerWindowScheme();
  host = openElectronHost({ routes: router as never }, { appRoot }, createLog({ level: "error" }), undefined);
  await host.showWindow();
  window = electron.BrowserWindow.opened.at(-1) as electron.BrowserWindow;
});
afterEach(() => {
  host.close();
  rmSync(appRoot, { recursive: true, force: true });
});

/** What the preload does: hands one end of a new channel over, from a frame of the window. */
function connect(frame: object | null = window.webContents.mainFrame) {
  const { port1, port2 } = new MessageChannel();
  electron.ipcMain.emit("dtma:rpc-port", { sender: window.webContents, senderFrame: frame, ports: [port2] });
  port1.start();
  const closed = new Promise((resolve) => port1.addEventListener("close", resolve, { once: true }));
  return { client: createORPCClient<Client>(new RPCLink({ port: port1 })), closed, end: () => port1.close() };
}

describe("the window", () => {
  it("is sandboxed, isolated and without Node, and loads our own scheme", () => {
    expect(window.options.webPreferences).toMatchObject({
      sandbox: true,
      contextIsolation: true,
      nodeIntegration: false,
      nodeIntegrationInSubFrames: false,
      nodeIntegrationInWorker: false,
      webSecurity: true,
      webviewTag: false,
      preload: join(appRoot, "out", "preload", "index.cjs"),
    });
    expect(window.calls).toContain("load app://control-centre/");
    expect(electron.protocol.schemes).toEqual([
      { scheme: "app", privileges: expect.objectContaining({ standard: true, secure: true }) },
    ]);
    expect(JSON.stringify(electron.protocol.schemes)).not.toMatch(/bypassCSP|allowServiceWorkers/);
  });

  it("comes to the front when it is asked for again", async () => {
    await host.showWindow();
    expect(electron.BrowserWindow.opened.at(-1)).toBe(window);
    expect(window.calls).toEqual(expect.arrayContaining(["show", "focus"]));
  });

  it("has the colour of the system's theme before it is painted, and follows it", () => {
    expect(window.options.backgroundColor).toBe("#0e0f11");
    electron.nativeTheme.shouldUseDarkColors = false;
    electron.nativeTheme.emit("updated");
    electron.nativeTheme.shouldUseDarkColors = true;
    expect(window.calls).toContain("background #f6f6f8");
  });

  it("is loaded again when its process ended", () => {
    window.webContents.emit("render-process-gone", {}, { reason: "oom", exitCode: 5 });
    expect(window.calls).toContain("reload");
  });
});

describe("our scheme", () => {
  const get = (url: string, method = "GET") =>
    electron.protocol.handlers.get("app")?.(new Request(url, { method })) as Promise<Response>;

  it("answers with the window's files under the strict policy", async () => {
    for (const path of ["", "servers/1"]) {
      const response = await get(`app://control-centre/${path}`);
      expect(await response.text()).toContain("<title>window</title>");
      expect(response.headers.get("content-security-policy")).toMatch(/^default-src 'none'/);
      expect(response.headers.get("content-security-policy")).not.toContain("unsafe");
    }
  });

  it("knows one host, and nothing outside of the window's files", async () => {
    expect((await get("app://elsewhere/")).status).toBe(403);
    expect((await get("app://control-centre/", "POST")).status).toBe(403);
    for (const path of ["../../secret.txt", "..%2f..%2fsecret.txt", "%2e%2e/%2e%2e/secret.txt"]) {
      expect(await (await get(`app://control-centre/${path}`)).text()).not.toContain("outside");
    }
  });
});

describe("the port", () => {
  it("answers our page, as admin and user of this host", async () => {
    const { client, end } = connect();
    expect(await client.whoami()).toEqual({ host: "electron", roles: ["admin", "user"] });
    end();
  });

  it.each([
    ["a frame inside of the page", () => ({ url: "app://control-centre/" })],
    ["a frame that is gone", () => null],
    ["a foreign page in the window", () => Object.assign(window.webContents.mainFrame, { url: "https://evil.test/" })],
    ["a page of another host of our scheme", () => Object.assign(window.webContents.mainFrame, { url: "app://elsewhere/" })],
  ])("is closed when it comes from %s", async (_who, frame) => {
    await connect(frame()).closed;
  });

  it("of a page that was loaded again takes over, and what ran on the old one is ended", async () => {
    const before = connect();
    for await (const _value of await before.client.endless()) break;
    const open = await before.client.endless();
    await open[Symbol.asyncIterator]().next();
    const after = connect();
    await before.closed;
    expect(await after.client.whoami()).toMatchObject({ host: "electron" });
    await expect.poll(() => streams).toEqual(["open", "ended", "open", "ended"]);
    after.end();
  });

  it("is closed with the window", async () => {
    const { closed } = connect();
    window.destroy();
    await closed;
  });
});

describe("a page", () => {
  const navigate = (event: string, url: string, isMainFrame = true) => {
    const details = { url, isMainFrame, preventDefault: vi.fn() };
    window.webContents.emit(event, details);
    return details.preventDefault.mock.calls.length > 0 ? "refused" : "allowed";
  };

  it("stays in our scheme; https leads to the system's browser, anything else nowhere", () => {
    expect(navigate("will-navigate", "app://control-centre/servers")).toBe("allowed");
    for (const event of ["will-navigate", "will-redirect"]) {
      for (const url of [
        "https://docs.example/a",
        "http://docs.example/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "smb://x",
        "https://user:pw@docs.example/",
      ]) {
        expect(navigate(event, url)).toBe("refused");
      }
    }
    expect(electron.shell.opened).toEqual(["https://docs.example/a", "https://docs.example/a"]);
  });

  it("opens no window, no frame and no webview", () => {
    expect(window.webContents.openHandler?.({ url: "https://docs.example/" })).toEqual({ action: "deny" });
    expect(window.webContents.openHandler?.({ url: "app://control-centre/" })).toEqual({ action: "deny" });
    expect(electron.shell.opened).toEqual(["https://docs.example/"]);
    expect(navigate("will-frame-navigate", "app://control-centre/", false)).toBe("refused");
    expect(navigate("will-attach-webview", "app://control-centre/")).toBe("refused");
  });

  it("gets no permission but to write to the clipboard", () => {
    const { guards } = electron.session.defaultSession;
    const call = (name: string, ...args: unknown[]) => (guards[name] as (...all: unknown[]) => unknown)(...args);
    for (const permission of ["media", "geolocation", "notifications", "clipboard-read", "openExternal", "hid", "fullscreen"]) {
      const decide = vi.fn();
      call("permission", {}, permission, decide);
      expect([permission, decide.mock.calls]).toEqual([permission, [[false]]]);
      expect(call("permissionCheck", {}, permission)).toBe(false);
    }
    const decide = vi.fn();
    call("permission", {}, "clipboard-sanitized-write", decide);
    expect(decide).toHaveBeenCalledWith(true);
    expect(call("device", {})).toBe(false);
  });

  it("reaches no network", () => {
    const request = electron.session.defaultSession.guards.request as unknown as (
      details: object,
      decide: (answer: object) => void,
    ) => void;
    const answerFor = (url: string) => {
      const decide = vi.fn();
      request({ url }, decide);
      return decide.mock.calls[0]?.[0];
    };
    for (const url of [
      "https://evil.test/",
      "http://127.0.0.1:1/",
      "ws://127.0.0.1:1/",
      "file:///etc/passwd",
      "app://elsewhere/",
    ]) {
      expect([url, answerFor(url)]).toEqual([url, { cancel: true }]);
    }
    expect(answerFor("app://control-centre/assets/a.js")).toEqual({ cancel: false });
  });

  it("saves what it made itself and downloads nothing else", () => {
    const download = (url: string) => {
      const event = { preventDefault: vi.fn() };
      electron.session.defaultSession.emit("will-download", event, { getURL: () => url });
      return event.preventDefault.mock.calls.length;
    };
    expect(download("blob:app://control-centre/1-2")).toBe(0);
    expect(download("https://evil.test/a.exe")).toBe(1);
  });
});
