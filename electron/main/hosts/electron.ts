import { join } from "node:path";
import { RPCHandler } from "@orpc/server/message-port";
import {
  app,
  BrowserWindow,
  ipcMain,
  Menu,
  type MenuItemConstructorOptions,
  type MessagePortMain,
  nativeTheme,
  net,
  powerMonitor,
  protocol,
  type Session,
  session,
  shell,
  Tray,
  type WebContents,
} from "electron";
import type { ControlCentre } from "../control-centre.ts";
import type { Logger } from "../log.ts";
import type { Settings } from "../settings.ts";
import { openWindowFiles, securityHeaders, type WindowFiles } from "./window-files.ts";

/*
INVARIANTS
- The window runs sandboxed, isolated and without Node. It loads files of our own scheme and nothing else; other
  addresses are opened, when they are https, in the system's browser.
- RPC is answered on one MessagePort per window, taken only from the main frame of our own page. A reload brings a new
  port and closes the old one, with every stream that runs on it.
- No permission is granted but writing to the clipboard.
*/

export type ElectronHost = {
  /** Opens the window, or brings the open one to the front. */
  showWindow(): Promise<void>;
  close(): void;
};

const scheme = "app";
const windowOrigin = `${scheme}://control-centre`;
const portChannel = "dtma:rpc-port";
/** `--canvas` of renderer/styles.css, light and dark, so that nothing flashes before the page is painted. */
const backgrounds = { light: "#f6f6f8", dark: "#0e0f11" } as const;

/** Must be called before Electron is ready: a scheme gets its rights only then. */
export function registerWindowScheme(): void {
  protocol.registerSchemesAsPrivileged([{ scheme, privileges: { standard: true, secure: true, supportFetchAPI: true } }]);
}

/** Call when Electron is ready. `developmentUrl` is the dev server of `npm run dev`; a packaged app has none. */
export function openElectronHost(
  controlCentre: Pick<ControlCentre, "routes">,
  settings: Pick<Settings, "appRoot">,
  log: Logger,
  developmentUrl: string | undefined,
): ElectronHost {
  const rpc = new RPCHandler(controlCentre.routes);
  const ports = new Map<number, MessagePortMain>();
  const origin = developmentUrl === undefined ? windowOrigin : new URL(developmentUrl).origin;
  let window: BrowserWindow | undefined;

  if (developmentUrl === undefined) serveWindowFiles(openWindowFiles(join(settings.appRoot, "out", "renderer")));
  guardSession(session.defaultSession, origin, log);
  app.on("web-contents-created", (_event, contents) => guardContents(contents, origin, log));

  ipcMain.on(portChannel, (event) => {
    const { sender, senderFrame } = event;
    const [port] = event.ports;
    if (port === undefined) return;
    if (senderFrame === null || senderFrame !== sender.mainFrame || !isOurs(senderFrame.url, origin)) {
      log.warn("electron.port-refused");
      port.close();
      return;
    }
    closePort(sender.id);
    ports.set(sender.id, port);
    rpc.upgrade(port, { context: { host: "electron", roles: ["admin", "user"] } });
    port.start();
    log.info("electron.window-connected");
  });

  function closePort(contentsId: number): void {
    const port = ports.get(contentsId);
    ports.delete(contentsId);
    if (port === undefined) return;
    port.close();
    // Electron tells only the other side of a closed port; oRPC ends its streams when it hears of it.
    port.emit("close");
  }

  async function createWindow(): Promise<void> {
    const created = new BrowserWindow({
      title: app.name,
      icon: join(settings.appRoot, "resources", "icons", "icon.png"),
      width: 1280,
      height: 840,
      minWidth: 880,
      minHeight: 560,
      show: false,
      backgroundColor: nativeTheme.shouldUseDarkColors ? backgrounds.dark : backgrounds.light,
      webPreferences: {
        preload: join(settings.appRoot, "out", "preload", "index.cjs"),
        sandbox: true,
        contextIsolation: true,
        nodeIntegration: false,
        nodeIntegrationInWorker: false,
        nodeIntegrationInSubFrames: false,
        webSecurity: true,
        allowRunningInsecureContent: false,
        webviewTag: false,
        navigateOnDragDrop: false,
        spellcheck: false,
      },
    });
    window = created;
    const contentsId = created.webContents.id;
    created.once("ready-to-show", () => created.show());
    created.on("closed", () => {
      closePort(contentsId);
      if (window === created) window = undefined;
    });
    created.webContents.on("render-process-gone", (_event, details) => {
      log.error("electron.window-gone", { reason: details.reason, exitCode: details.exitCode });
      closePort(contentsId);
      if (details.reason !== "clean-exit" && !created.isDestroyed()) created.reload();
    });
    await created.loadURL(developmentUrl ?? `${windowOrigin}/`);
  }

  async function showWindow(): Promise<void> {
    if (window === undefined) return createWindow();
    if (window.isMinimized()) window.restore();
    window.show();
    window.focus();
  }

  const show = () => {
    showWindow().catch((error: unknown) => log.error("electron.show-failed", { error }));
  };
  Menu.setApplicationMenu(Menu.buildFromTemplate(applicationMenu()));
  const tray = createTray(settings.appRoot, show, log);
  const onTheme = () => {
    window?.setBackgroundColor(nativeTheme.shouldUseDarkColors ? backgrounds.dark : backgrounds.light);
  };
  nativeTheme.on("updated", onTheme);
  powerMonitor.on("suspend", () => log.info("power.suspended"));
  powerMonitor.on("resume", () => log.info("power.resumed", { online: net.isOnline() }));

  return {
    showWindow,
    close() {
      nativeTheme.off("updated", onTheme);
      for (const contentsId of [...ports.keys()]) closePort(contentsId);
      tray?.destroy();
      window?.destroy();
    },
  };
}

function serveWindowFiles(files: WindowFiles): void {
  protocol.handle(scheme, async (request) => {
    const url = new URL(request.url);
    if (`${url.protocol}//${url.host}` !== windowOrigin || request.method !== "GET") {
      return new Response("Forbidden\n", { status: 403, headers: securityHeaders });
    }
    const file = await files.read(url.pathname);
    return new Response(new Uint8Array(file.body), { status: file.status, headers: file.headers });
  });
}

/** Permissions, devices and network of everything that runs in the window. */
function guardSession(guarded: Session, origin: string, log: Logger): void {
  guarded.setPermissionRequestHandler((_contents, permission, decide) => {
    const granted = permission === "clipboard-sanitized-write";
    if (!granted) log.warn("electron.permission-refused", { permission });
    decide(granted);
  });
  guarded.setPermissionCheckHandler((_contents, permission) => permission === "clipboard-sanitized-write");
  guarded.setDevicePermissionHandler(() => false);
  guarded.on("will-download", (event, item) => {
    // The window saves logs and results as blobs of its own; nothing else is a download.
    if (!item.getURL().startsWith(`blob:${origin}/`)) event.preventDefault();
  });
  guarded.webRequest.onBeforeRequest((details, decide) => {
    const { protocol: kind } = new URL(details.url);
    const own = isOurs(details.url, origin) || ["blob:", "data:", "devtools:"].includes(kind);
    const development = !origin.startsWith(`${scheme}:`) && isOurs(details.url.replace(/^ws/, "http"), origin);
    decide({ cancel: !own && !development });
  });
}

function guardContents(contents: WebContents, origin: string, log: Logger): void {
  const refuseForeign = (event: { preventDefault(): void; url: string }) => {
    if (isOurs(event.url, origin)) return;
    event.preventDefault();
    openOutside(event.url, log);
  };
  contents.on("will-navigate", refuseForeign);
  contents.on("will-redirect", refuseForeign);
  contents.on("will-frame-navigate", (event) => {
    if (!event.isMainFrame) event.preventDefault();
  });
  contents.on("will-attach-webview", (event) => event.preventDefault());
  contents.setWindowOpenHandler(({ url }) => {
    openOutside(url, log);
    return { action: "deny" };
  });
}

/** In the system's browser, and nothing but https. */
export function openOutside(address: string, log: Logger): void {
  const url = URL.parse(address);
  if (url?.protocol !== "https:" || url.username !== "" || url.password !== "") {
    log.warn("electron.link-refused", { scheme: url?.protocol });
    return;
  }
  shell.openExternal(url.href).catch((error: unknown) => log.warn("electron.link-failed", { error }));
}

/** `URL.origin` is "null" for our own scheme, so scheme and host are compared. */
function isOurs(address: string, origin: string): boolean {
  const url = URL.parse(address);
  return url !== null && `${url.protocol}//${url.host}` === origin;
}

function applicationMenu(): MenuItemConstructorOptions[] {
  const isMac = process.platform === "darwin";
  return [
    ...(isMac ? [{ role: "appMenu" } as const] : []),
    { role: "fileMenu" },
    { role: "editMenu" },
    {
      label: "&View",
      submenu: [
        { role: "reload" },
        { role: "toggleDevTools" },
        { type: "separator" },
        { role: "resetZoom" },
        { role: "zoomIn" },
        { role: "zoomOut" },
        { type: "separator" },
        { role: "togglefullscreen" },
      ],
    },
    { role: "windowMenu" },
  ];
}

/** A desktop without a tray is not an error: the window and its menu do everything. */
function createTray(appRoot: string, show: () => void, log: Logger): Tray | undefined {
  try {
    const tray = new Tray(join(appRoot, "resources", "icons", "tray.png"));
    tray.setToolTip(app.name);
    tray.setContextMenu(
      Menu.buildFromTemplate([
        { label: `Open ${app.name}`, click: show },
        { type: "separator" },
        { label: "Quit", click: () => app.quit() },
      ]),
    );
    tray.on("click", show);
    return tray;
  } catch (error) {
    log.warn("electron.tray-failed", { error });
    return undefined;
  }
}
