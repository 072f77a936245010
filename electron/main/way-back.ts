import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { AppError } from "../../shared/errors.ts";

/*
The way back from the system's browser over loopback (RFC 8252, 7.3 and 8.1).

INVARIANTS
- Listens on 127.0.0.1, for one answer or five minutes, at a port the system chose or at the one of a registered address.
- An answer without the state that was made here is not looked at.
- Ways back to one registered address share its port, which is free again when the last of them has ended.
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
  /** An address of this computer that was registered: this one or none. */
  address?: string;
  lifetimeMs?: number;
};

/** Rejects where the port of `address` is taken. */
export type OpenWayBack = (options?: WayBackOptions) => Promise<WayBack>;

export const openWayBack: OpenWayBack = (options) => createWaysBack()(options);

type Expected = { host: string; pathname: string; onAnswer(answer: URLSearchParams): void };
/** Listens from the moment somebody uses it until nobody does any more. */
type Listener = { port: Promise<number>; expected: Map<string, Expected>; users: number; close(): void };

/** Opens ways back that can share the port of an address. */
export function createWaysBack(): OpenWayBack {
  const shared = new Map<number, Listener>();

  function sharedListener(port: number): Listener {
    const known = shared.get(port);
    if (known !== undefined) return known;
    const made = createListener(port, () => shared.delete(port));
    shared.set(port, made);
    return made;
  }

  return async ({ port: wanted = 0, address, lifetimeMs = defaultLifetimeMs } = {}) => {
    const first = address === undefined ? createListener(wanted) : sharedListener(Number(new URL(address).port));
    const [listener, port] = await use(first).catch((error: unknown) => {
      if (address !== undefined || wanted === 0) throw error;
      return use(createListener(0));
    });
    const redirectUrl = address ?? `http://127.0.0.1:${port}${path}`;
    const { host, pathname } = new URL(redirectUrl);
    const state = randomBytes(24).toString("base64url");
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
      if (listener.expected.delete(state)) leave(listener);
    }
    const onAnswer = (params: URLSearchParams) => {
      resolve(params);
      close();
    };
    listener.expected.set(state, { host, pathname, onAnswer });
    return { redirectUrl, state, answer, close };
  };
}

async function use(listener: Listener): Promise<[Listener, port: number]> {
  listener.users += 1;
  try {
    return [listener, await listener.port];
  } catch (error) {
    leave(listener);
    throw error;
  }
}

function leave(listener: Listener): void {
  listener.users -= 1;
  if (listener.users === 0) listener.close();
}

function createListener(wanted: number, onClose = () => {}): Listener {
  const expected: Listener["expected"] = new Map();
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 10_000 }, (request, response) => {
    const { host } = request.headers;
    const url = URL.parse(request.url ?? "", `http://${host}`);
    const found = expected.get(url?.searchParams.get("state") ?? "");
    const isOurs = request.method === "GET" && host === found?.host && url?.pathname === found?.pathname;
    if (!isOurs || url === null || found === undefined) {
      response.writeHead(404, { "content-type": "text/plain" }).end("Not found\n");
      return;
    }
    response.writeHead(200, { "content-type": "text/html; charset=utf-8", "cache-control": "no-store", connection: "close" });
    response.end(page(url.searchParams.has("code")));
    found.onAnswer(url.searchParams);
  });
  const port = new Promise<number>((resolve, reject) => {
    server.once("error", reject);
    server.listen(wanted, "127.0.0.1", () => {
      server.off("error", reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
  return {
    port,
    expected,
    users: 0,
    close() {
      server.close();
      onClose();
    },
  };
}

function page(isDone: boolean): string {
  const sentence = isDone ? "You are signed in. You can close this page." : "The sign-in was refused. You can close this page.";
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>DTMA Control Centre</title><p>${sentence}</p></html>\n`;
}
