import { randomBytes } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { AppError } from "../../shared/errors.ts";

/*
The way back from the system's browser over loopback (RFC 8252, 7.3 and 8.1).

INVARIANTS
- Listens on 127.0.0.1 at a port the system chose, for one answer or five minutes.
- An answer without the state that was made here is not looked at.
*/

const defaultLifetimeMs = 5 * 60_000;
const path = "/signed-in";

export type WayBack = {
  /** Where the browser is to come back to, with the state. */
  readonly redirectUrl: string;
  readonly state: string;
  /** What came back: at least `code`, or why there is none. DEADLINE_EXCEEDED, CANCELLED. */
  readonly answer: Promise<URLSearchParams>;
  /** Stops listening. Whoever still waits gets the reason: CANCELLED when there is none. */
  close(reason?: AppError): void;
};

type WayBackOptions = {
  /** One that was used before, where an authorization server may know it; another one when it is taken. */
  port?: number;
  lifetimeMs?: number;
};

export async function openWayBack({ port: wanted = 0, lifetimeMs = defaultLifetimeMs }: WayBackOptions = {}): Promise<WayBack> {
  const state = randomBytes(24).toString("base64url");
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 10_000 });
  const port = await listen(server, wanted).catch((error: unknown) => {
    if (wanted === 0) throw error;
    return listen(server, 0);
  });
  const { promise: answer, resolve, reject } = Promise.withResolvers<URLSearchParams>();
  // Whoever never asks for the outcome must not be an unhandled rejection.
  answer.catch(() => undefined);
  const timer = setTimeout(
    () => close(new AppError("DEADLINE_EXCEEDED", { message: "Nobody came back from the browser." })),
    lifetimeMs,
  );
  function close(reason = new AppError("CANCELLED")): void {
    clearTimeout(timer);
    reject(reason);
    server.close();
  }

  server.on("request", (request, response) => {
    const url = URL.parse(request.url ?? "", `http://127.0.0.1:${port}`);
    const isOurs = request.headers.host === `127.0.0.1:${port}` && request.method === "GET";
    if (!isOurs || url?.pathname !== path || url.searchParams.get("state") !== state) {
      response.writeHead(404, { "content-type": "text/plain" }).end("Not found\n");
      return;
    }
    response.writeHead(200, { "content-type": "text/html; charset=utf-8", "cache-control": "no-store", connection: "close" });
    response.end(page(url.searchParams.has("code")));
    resolve(url.searchParams);
    close();
  });
  return { redirectUrl: `http://127.0.0.1:${port}${path}`, state, answer, close };
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => {
      server.off("error", reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

function page(isDone: boolean): string {
  const sentence = isDone ? "You are signed in. You can close this page." : "The sign-in was refused. You can close this page.";
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>DTMA Control Centre</title><p>${sentence}</p></html>\n`;
}
