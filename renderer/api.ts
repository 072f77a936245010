import { createORPCClient, DynamicLink, ORPCError } from "@orpc/client";
import { RPCLink as PortLink } from "@orpc/client/message-port";
import { RPCLink as SocketLink } from "@orpc/client/websocket";
import type { ContractRouterClient } from "@orpc/contract";
import type { Contract } from "../shared/contract/index.ts";
import { AppError, errorShape } from "../shared/errors.ts";
import { text } from "./text.ts";

/*
The only file that knows how to reach the control centre.

INVARIANTS
- A call made while the link is down waits for it for a while and then fails; it is never sent twice.
- Every failure that leaves this file is an `AppError`.
*/

export type Api = ContractRouterClient<Contract>;

/** An open way to the control centre. `closed` settles once it is of no more use. */
export type Carrier = { link: PortLink<Record<never, never>> | SocketLink<Record<never, never>>; closed: Promise<void> };

export type LinkState =
  | { state: "connecting" }
  | { state: "connected"; since: number }
  | { state: "lost"; since: number; attempt: number }
  /** The session of this window is not accepted (any more); trying again would not help. */
  | { state: "refused" };

const callPatienceMs = 10_000;
const firstPauseMs = 250;
const longestPauseMs = 10_000;

type Open = { carrier: Carrier | null; state: LinkState; listeners: Set<() => void> };

const open: Open = { carrier: null, state: { state: "connecting" }, listeners: new Set() };

/** Where the link of the window to the control centre stands, in the form of `useSyncExternalStore`. */
export const linkState = {
  get: (): LinkState => open.state,
  subscribe(listener: () => void): () => void {
    open.listeners.add(listener);
    return () => open.listeners.delete(listener);
  },
};

/** The control centre, typed by the contract. Wrap calls in `call`, streams in `listen`. */
export const api: Api = createORPCClient(new DynamicLink(async () => (await untilConnected()).link));

/**
 * Keeps the window connected: opens the carrier, opens it again with growing pauses when it breaks. Returns a function
 * that stops it.
 */
export function keepConnected(openCarrier: () => Promise<Carrier>): () => void {
  const stop = new AbortController();
  void run(openCarrier, stop.signal);
  return () => {
    stop.abort();
    become({ state: "connecting" }, null);
  };
}

async function run(openCarrier: () => Promise<Carrier>, signal: AbortSignal): Promise<void> {
  let attempt = 0;
  let lostSince: number | null = null;
  while (!signal.aborted) {
    try {
      const carrier = await openCarrier();
      if (signal.aborted) return;
      attempt = 0;
      lostSince = null;
      become({ state: "connected", since: Date.now() }, carrier);
      await carrier.closed;
    } catch (error) {
      if (error instanceof SessionRefused) {
        become({ state: "refused" }, null);
        return;
      }
    }
    if (signal.aborted) return;
    attempt += 1;
    lostSince ??= Date.now();
    become({ state: "lost", since: lostSince, attempt }, null);
    const pause = Math.min(longestPauseMs, firstPauseMs * 2 ** (attempt - 1));
    await delay(pause * (0.5 + Math.random() / 2), signal);
  }
}

function become(state: LinkState, carrier: Carrier | null): void {
  open.carrier = carrier;
  open.state = state;
  for (const listener of [...open.listeners]) listener();
}

function untilConnected(): Promise<Carrier> {
  if (open.carrier !== null) return Promise.resolve(open.carrier);
  if (open.state.state === "refused") return Promise.reject(new AppError("UNAUTHORIZED"));
  return new Promise((resolve, reject) => {
    const end = (done: () => void) => {
      clearTimeout(timer);
      unsubscribe();
      done();
    };
    const unsubscribe = linkState.subscribe(() => {
      const { carrier, state } = open;
      if (carrier !== null) end(() => resolve(carrier));
      else if (state.state === "refused") end(() => reject(new AppError("UNAUTHORIZED")));
    });
    const timer = setTimeout(
      () => end(() => reject(new AppError("DEADLINE_EXCEEDED", { message: text.link.noAnswer }))),
      callPatienceMs,
    );
  });
}

class SessionRefused extends Error {}

/** In Electron: the page makes a channel, the preload hands its other end to main. */
export function openPort(): Promise<Carrier> {
  const channel = new MessageChannel();
  window.postMessage("dtma:rpc-port", window.location.origin === "null" ? "*" : window.location.origin, [channel.port2]);
  return Promise.resolve(carrierOfPort(channel.port1));
}

/** A carrier over a port whose other end is served already. */
export function carrierOfPort(port: MessagePort): Carrier {
  port.start();
  return {
    link: new PortLink({ port }),
    closed: new Promise((resolve) => port.addEventListener("close", () => resolve(), { once: true })),
  };
}

/** In a browser: a WebSocket to where the page came from; the session cookie goes with it. */
export async function openSocket(): Promise<Carrier> {
  const address = new URL("/rpc", window.location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(address);
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener("open", () => resolve(), { once: true });
    socket.addEventListener("close", () => reject(new Error("The socket closed before it was open.")), { once: true });
  }).catch(async (error: unknown) => {
    if (await isRefused()) throw new SessionRefused();
    throw error;
  });
  return {
    link: new SocketLink({ websocket: socket }),
    closed: new Promise((resolve) => socket.addEventListener("close", () => resolve(), { once: true })),
  };
}

/** A socket does not say why it was refused; the page's own address does. */
async function isRefused(): Promise<boolean> {
  try {
    const answer = await fetch("/", { method: "GET", cache: "no-store", redirect: "manual" });
    return answer.status === 401 || answer.status === 403;
  } catch {
    return false;
  }
}

/** What the promise of a call of `api` resolves to; rejects with an `AppError` only. */
export async function call<Result>(promise: Promise<Result>): Promise<Result> {
  try {
    return await promise;
  } catch (error) {
    throw toAppError(error);
  }
}

type Listener<Event> = {
  onEvent(event: Event): void;
  /** The stream came to its end by itself. */
  onEnd?(): void;
  onError?(error: AppError): void;
};

/**
 * Listens to a stream of `api` until it ends, fails or the returned function is called. `begin` gets the signal that
 * ends the call in the control centre, too.
 */
export function listen<Event>(
  begin: (signal: AbortSignal) => Promise<AsyncIterable<Event>>,
  { onEvent, onEnd, onError }: Listener<Event>,
): () => void {
  const stop = new AbortController();
  const { signal } = stop;
  void (async () => {
    try {
      for await (const event of await begin(signal)) {
        if (signal.aborted) return;
        onEvent(event);
      }
      if (!signal.aborted) onEnd?.();
    } catch (error) {
      if (!signal.aborted) onError?.(toAppError(error));
    }
  })();
  return () => stop.abort();
}

/** The `AppError` behind whatever a call of `api` failed with. */
export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  if (!(error instanceof ORPCError)) {
    const isLinkDown = open.carrier === null || open.state.state !== "connected";
    return isLinkDown
      ? new AppError("DEADLINE_EXCEEDED", { message: text.link.broke, cause: error })
      : new AppError("INTERNAL", { cause: error });
  }
  if (error.code === "APP") {
    const shape = errorShape.safeParse(error.data);
    if (shape.success) return AppError.fromShape(shape.data);
  }
  if (error.code === "UNAUTHORIZED") return new AppError("UNAUTHORIZED", { cause: error });
  if (error.code === "FORBIDDEN") return new AppError("FORBIDDEN", { cause: error });
  if (error.code === "NOT_FOUND") return new AppError("NOT_FOUND", { cause: error });
  if (error.code === "BAD_REQUEST") return new AppError("INVALID_INPUT", firstIssue(error.data));
  return new AppError("INTERNAL", { cause: error });
}

/** Input that the contract itself refuses arrives as a list of issues (Standard Schema). */
function firstIssue(data: unknown): { message?: string; field?: string } {
  const issues = (data as { issues?: { message?: string; path?: unknown[] }[] } | undefined)?.issues;
  const issue = issues?.[0];
  if (issue === undefined) return {};
  const path = (issue.path ?? []).map((part) => String((part as { key?: unknown } | null)?.key ?? part)).join(".");
  return {
    ...(issue.message === undefined ? {} : { message: issue.message }),
    ...(path === "" ? {} : { field: path }),
  };
}

function delay(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
