import { EventEmitter } from "node:events";

/*
What the Electron host uses of Electron, as far as a test has to see or cause it. The real one needs its binary, which
cannot be had everywhere; its types are checked against the host by the compiler.
*/

type Guard = (...args: never[]) => unknown;

export class FakeWebContents extends EventEmitter {
  static count = 0;
  readonly id = ++FakeWebContents.count;
  readonly mainFrame = { url: "app://control-centre/" };
  openHandler: ((details: { url: string }) => { action: string }) | undefined;
  setWindowOpenHandler(handler: (details: { url: string }) => { action: string }): void {
    this.openHandler = handler;
  }
}

export class BrowserWindow extends EventEmitter {
  static opened: BrowserWindow[] = [];
  readonly webContents = new FakeWebContents();
  readonly calls: string[] = [];
  readonly options: { backgroundColor: string; webPreferences: Record<string, unknown> };
  constructor(options: BrowserWindow["options"]) {
    super();
    this.options = options;
    BrowserWindow.opened.push(this);
    app.emit("web-contents-created", {}, this.webContents);
  }
  loadURL(url: string): Promise<void> {
    this.calls.push(`load ${url}`);
    return Promise.resolve();
  }
  isMinimized = () => false;
  isDestroyed = () => false;
  show = () => void this.calls.push("show");
  focus = () => void this.calls.push("focus");
  reload = () => void this.calls.push("reload");
  restore = () => void this.calls.push("restore");
  setBackgroundColor = (color: string) => void this.calls.push(`background ${color}`);
  destroy = () => void this.emit("closed");
}

class FakeApp extends EventEmitter {
  name = "DTMA Control Centre";
  quit = () => void this.emit("before-quit");
}

class FakeSession extends EventEmitter {
  /** What was handed to the session, by the name of the setter. */
  readonly guards: Record<string, Guard> = {};
  readonly webRequest = { onBeforeRequest: (guard: Guard) => this.keep("request", guard) };
  setPermissionRequestHandler = (guard: Guard) => this.keep("permission", guard);
  setPermissionCheckHandler = (guard: Guard) => this.keep("permissionCheck", guard);
  setDevicePermissionHandler = (guard: Guard) => this.keep("device", guard);
  private keep(name: string, guard: Guard): void {
    this.guards[name] = guard;
  }
}

export const app = new FakeApp();
export const ipcMain = new EventEmitter();
export const nativeTheme = Object.assign(new EventEmitter(), { shouldUseDarkColors: true });
export const powerMonitor = new EventEmitter();
export const net = { isOnline: () => true };
export const session = { defaultSession: new FakeSession() };
export const Menu = { setApplicationMenu: () => undefined, buildFromTemplate: (template: unknown) => template };

export const shell = {
  opened: [] as string[],
  openExternal(url: string): Promise<void> {
    shell.opened.push(url);
    return Promise.resolve();
  },
};

type Scheme = { scheme: string; privileges: Record<string, boolean> };
type SchemeHandler = (request: Request) => Promise<Response>;

export const protocol = {
  schemes: [] as Scheme[],
  handlers: new Map<string, SchemeHandler>(),
  registerSchemesAsPrivileged(schemes: Scheme[]): void {
    protocol.schemes = schemes;
  },
  handle(scheme: string, handler: SchemeHandler): void {
    protocol.handlers.set(scheme, handler);
  },
};

/** A desktop without a tray. */
export class Tray {
  constructor() {
    throw new Error("No tray on this desktop.");
  }
}
