import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { RPCHandler } from "@orpc/server/ws";
import { type WebSocket, WebSocketServer } from "ws";
import { AppError, errorCatalogue } from "../../../shared/errors.ts";
import type { ControlCentre } from "../control-centre.ts";
import type { Logger } from "../log.ts";
import type { Settings } from "../settings.ts";
import { createSessions } from "./sessions.ts";
import { openWindowFiles, securityHeaders } from "./window-files.ts";

/*
INVARIANTS
- Listens on 127.0.0.1 only. Any other program on this computer can reach it, so every request needs the session.
- Order of the checks: Host (a foreign name that resolves to 127.0.0.1), Origin (a foreign page), session. What fails
  gets 403, 403, 401 and no detail.
- A one-time token reaches the browser in a URL and nowhere else; it is never logged.
*/

export type BrowserHost = {
  /** `http://127.0.0.1:PORT` */
  readonly origin: string;
  /** A URL that opens the window once; good until it is used, or for `lifetimeMs`. */
  mintUrl(lifetimeMs?: number): string;
  /** Ends open windows and stops listening. */
  close(): Promise<void>;
};

const maxMessageBytes = 4 * 1024 * 1024;
const maxWindows = 32;
const heartbeatMs = 20_000;
/** A window that takes nothing while this much waits for it is ended; it reconnects and resumes from its cursor. */
const maxBufferedBytes = 64 * 1024 * 1024;

/** Serves the control centre's window and routes on loopback. Throws INVALID_INPUT when the port is taken. */
export async function serveBrowser(
  controlCentre: Pick<ControlCentre, "routes">,
  settings: Pick<Settings, "appRoot" | "port">,
  log: Logger,
): Promise<BrowserHost> {
  const files = openWindowFiles(join(settings.appRoot, "out", "renderer"));
  const sessions = createSessions();
  const rpc = new RPCHandler(controlCentre.routes);
  const sockets = new WebSocketServer({ noServer: true, maxPayload: maxMessageBytes, perMessageDeflate: false });
  const server = createServer({ maxHeaderSize: 16 * 1024, requestTimeout: 30_000, headersTimeout: 10_000 });
  server.maxConnections = 256;

  const port = await listen(server, settings.port);
  const origin = `http://127.0.0.1:${port}`;
  const hosts = new Set([`127.0.0.1:${port}`, `localhost:${port}`]);
  // Cookies ignore ports: without the port in its name, two control centres would overwrite each other's session.
  const cookieName = `dtma_session_${port}`;

  function refusal(request: IncomingMessage, originRequired: boolean): 401 | 403 | undefined {
    const host = request.headers.host;
    if (host === undefined || !hosts.has(host)) return 403;
    const from = request.headers.origin;
    if (from === undefined ? originRequired : from !== `http://${host}`) return 403;
    if (request.headers["sec-fetch-site"] === "cross-site" && request.headers["sec-fetch-mode"] !== "navigate") return 403;
    const secret = readCookie(request.headers.cookie, cookieName);
    return secret !== undefined && sessions.isSession(secret) ? undefined : 401;
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const safe = request.method === "GET" || request.method === "HEAD";
    const url = URL.parse(request.url ?? "/", origin);
    const refused = refusal(request, !safe);
    if (refused !== 403 && request.method === "GET" && url?.pathname === "/open") {
      open(request, response, url.searchParams.get("token") ?? "");
      return;
    }
    if (refused !== undefined || !safe || url === null) {
      sendText(response, refused ?? (safe ? 400 : 405));
      return;
    }
    const { pathname } = url;
    const file = await files.read(pathname);
    response.writeHead(file.status, { ...file.headers, "content-length": file.body.length });
    response.end(request.method === "HEAD" ? undefined : file.body);
  }

  function open(request: IncomingMessage, response: ServerResponse, token: string): void {
    // A browser that only looks ahead must not use the token up.
    const onlyLooking = String(request.headers["sec-purpose"] ?? "").includes("prefetch");
    const secret = onlyLooking ? undefined : sessions.exchange(token);
    if (secret === undefined) {
      log.warn("browser.token-refused");
      sendText(response, 403, staleAddress);
      return;
    }
    log.info("browser.session-opened");
    response.writeHead(303, {
      ...securityHeaders,
      location: "/",
      "cache-control": "no-store",
      "set-cookie": `${cookieName}=${secret}; Path=/; HttpOnly; SameSite=Strict`,
    });
    response.end();
  }

  function obstacle(request: IncomingMessage): 404 | 503 | undefined {
    if (URL.parse(request.url ?? "/", origin)?.pathname !== "/rpc") return 404;
    return sockets.clients.size >= maxWindows ? 503 : undefined;
  }

  function upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on("error", (error) => log.debug("browser.socket-error", { error }));
    const status = refusal(request, true) ?? obstacle(request);
    if (status !== undefined) {
      refuseUpgrade(socket, status);
      return;
    }
    sockets.handleUpgrade(request, socket, head, (window) => {
      keepAlive(window, log);
      void rpc.upgrade(window, { context: { host: "browser", roles: ["admin", "user"] } });
      log.info("browser.window-connected", { windows: sockets.clients.size });
      window.on("close", (code) => log.info("browser.window-closed", { code, windows: sockets.clients.size }));
    });
  }

  server.on("request", (request, response) => {
    answer(request, response).catch((error: unknown) => {
      log.error("browser.request-failed", { error });
      if (response.headersSent) response.destroy();
      else sendText(response, 500);
    });
  });
  server.on("upgrade", (request, socket, head) => {
    try {
      upgrade(request, socket, head);
    } catch (error) {
      log.error("browser.upgrade-failed", { error });
      socket.destroy();
    }
  });

  return {
    origin,
    mintUrl: (lifetimeMs) => `${origin}/open?token=${sessions.mintToken(lifetimeMs)}`,
    async close() {
      for (const window of sockets.clients) window.close(1001);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      const deadline = setTimeout(() => {
        for (const window of sockets.clients) window.terminate();
        server.closeAllConnections();
      }, 500);
      server.closeIdleConnections();
      await closed;
      clearTimeout(deadline);
    },
  };
}

function listen(server: ReturnType<typeof createServer>, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const taken = cause.code === "EADDRINUSE" || cause.code === "EACCES";
      const message = `Port ${port} cannot be used on this computer (${cause.code}): choose another with --port=NUMBER.`;
      reject(taken ? new AppError("INVALID_INPUT", { field: "--port", message, cause }) : cause);
    });
    server.listen(port, "127.0.0.1", () => resolve((server.address() as AddressInfo).port));
  });
}

/** Ends a window whose other side is gone without a word, or that no longer reads. */
function keepAlive(window: WebSocket, log: Logger): void {
  let answered = true;
  window.on("pong", () => {
    answered = true;
  });
  window.on("error", (error) => log.warn("browser.window-error", { error }));
  const heartbeat = setInterval(() => {
    if (!answered || window.bufferedAmount > maxBufferedBytes) return window.terminate();
    answered = false;
    window.ping();
  }, heartbeatMs);
  window.on("close", () => clearInterval(heartbeat));
}

function readCookie(header: string | undefined, name: string): string | undefined {
  const found = header
    ?.split(";")
    .map((pair) => pair.trim())
    .find((pair) => pair.startsWith(`${name}=`));
  return found?.slice(name.length + 1);
}

const statusTexts: Readonly<Record<number, string>> = {
  400: "Bad request",
  401: `${errorCatalogue.UNAUTHORIZED.sentence} ${errorCatalogue.UNAUTHORIZED.nextStep}`,
  403: "Forbidden",
  404: "Not found",
  405: "Method not allowed",
  500: errorCatalogue.INTERNAL.sentence,
  503: "Too many windows",
};

const staleAddress =
  "This address opens the control centre once, and it has been used or is too old. Start the control centre again to get a new one; a window that is already open goes on working.";

function sendText(response: ServerResponse, status: number, body = statusTexts[status] ?? ""): void {
  response.writeHead(status, {
    ...securityHeaders,
    "content-type": "text/plain; charset=utf-8",
    "cache-control": "no-store",
    ...(status === 405 ? { allow: "GET, HEAD" } : {}),
  });
  response.end(`${body}\n`);
}

function refuseUpgrade(socket: Duplex, status: number): void {
  socket.end(
    `HTTP/1.1 ${status} ${status === 401 ? "Unauthorized" : (statusTexts[status] ?? "Refused")}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
  );
}
