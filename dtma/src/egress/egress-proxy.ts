import { lookup } from "node:dns/promises";
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, connect, isIP, type LookupFunction, type Socket } from "node:net";
import { networkInterfaces } from "node:os";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { AppError } from "../../../shared/errors.ts";
import type { Log } from "../log.ts";
import { decideEgress } from "./egress-rule.ts";

/*
The way out of restricted servers: an HTTP proxy (CONNECT, and plain HTTP with an absolute address) on the gateway of
their bridge.

INVARIANTS
- A client is the container whose address it has, as Docker says it at that moment; who is none gets nothing.
- Only what egress-rule.ts allows is connected to, at the address that was judged.
- What a server asked for is logged as a name and a port, never as a path, a header or a byte of content.
- Nothing a client sends can end the process or hold more than its share of connections.
*/

const connectMs = 10_000;
const idleMs = 3_600_000;
const keepAliveMs = 30_000;
const connectionsPerServer = 128;
const maxConnections = 2_048;
/** A server that goes on asking for a denied host is in the log once in this time. */
const logAgainMs = 60_000;
const maxLogged = 1_000;
/** Of one hop (RFC 9110, 7.6.1), beside those that `Connection` names. */
const hopHeaders = new Set([
  ...["connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization"],
  ...["te", "trailer", "transfer-encoding", "upgrade"],
]);

export type EgressClient = { name: string; allowedHosts: readonly string[] };
export type EgressCount = { opened: number; denied: number };

export interface EgressProxy {
  /** Idempotent for the same address. AppError when something else listens there. */
  listen(address: string, port: number): Promise<void>;
  /** Where it listens now. */
  address(): { address: string; port: number } | undefined;
  /** Connections opened and requests denied by server, since the DTMA started. */
  counts(): ReadonlyMap<string, EgressCount>;
  /** Ends the listener and every connection through it. */
  close(): Promise<void>;
}

type EgressDeps = {
  /** The restricted server whose container has this address now. */
  findClient(address: string): Promise<EgressClient | undefined>;
  log: Log;
  resolve?(name: string): Promise<string[]>;
  ownAddresses?(): ReadonlySet<string>;
};

type Target = { host: string; port: number };
type Refused = { status: 400 | 403 | 429 | 502 | 503; reason: string };

export function createEgressProxy(deps: EgressDeps): EgressProxy {
  const { log } = deps;
  const rule = { resolve: deps.resolve ?? resolveName, ownAddresses: deps.ownAddresses ?? ownAddresses };
  const counts = new Map<string, EgressCount>();
  const logged = new Map<string, number>();
  const sockets = new Map<Socket, string>();
  let server: Server | undefined;
  let place: { address: string; port: number } | undefined;

  function countOf(name: string): EgressCount {
    const count = counts.get(name) ?? { opened: 0, denied: 0 };
    counts.set(name, count);
    return count;
  }

  function noteDenied(client: EgressClient, { host, port }: Target, reason: string): void {
    countOf(client.name).denied += 1;
    const key = `${client.name} ${host} ${port}`;
    const now = Date.now();
    if (now - (logged.get(key) ?? 0) < logAgainMs) return;
    if (logged.size >= maxLogged) logged.clear();
    logged.set(key, now);
    log.warn("egress.denied", { server: client.name, host, port, reason });
  }

  /** Who asks, and the addresses at which the target may be connected to. */
  async function admit(socket: Socket, target: Target | undefined): Promise<{ name: string; addresses: string[] } | Refused> {
    const client = await deps.findClient(toIPv4(socket.remoteAddress ?? ""));
    if (client === undefined) return { status: 403, reason: "This address belongs to no restricted server." };
    if (target === undefined) return { status: 400, reason: "This proxy needs a host and a port." };
    const decision = await decideEgress({ ...target, allowedHosts: client.allowedHosts }, rule);
    if (decision.is === "allowed") return { name: client.name, addresses: decision.addresses };
    if (decision.is === "unknown-name") return { status: 502, reason: `The name ${target.host} leads nowhere.` };
    noteDenied(client, target, decision.reason);
    const why = decision.reason === "not-listed" ? "is not among this server's allowed hosts" : "leads inward";
    return { status: 403, reason: `${target.host}:${target.port} ${why}.` };
  }

  async function tunnel(message: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
    const target = parseAuthority(message.url ?? "");
    const admitted = await admit(client as Socket, target);
    if ("status" in admitted || target === undefined) return answerRaw(client, admitted as Refused);
    const upstream = connect({
      host: target.host,
      port: target.port,
      lookup: fixedLookup(admitted.addresses),
      allowHalfOpen: true,
    });
    client.once("close", () => upstream.destroy());
    countOf(admitted.name).opened += 1;
    try {
      await connected(upstream, connectMs);
    } catch {
      upstream.destroy();
      return answerRaw(client, { status: 502, reason: `${target.host}:${target.port} does not answer.` });
    }
    for (const socket of [client as Socket, upstream]) {
      socket.setKeepAlive(true, keepAliveMs);
      socket.setTimeout(idleMs, () => socket.destroy());
    }
    client.write("HTTP/1.1 200 Connection Established\r\n\r\n");
    if (head.length > 0) upstream.write(head);
    await Promise.allSettled([pipeline(client, upstream), pipeline(upstream, client)]);
    client.destroy();
  }

  async function forward(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = parseAbsolute(message.url ?? "");
    const target = url === undefined ? undefined : { host: url.hostname, port: Number(url.port || 80) };
    const admitted = await admit(message.socket, target);
    if ("status" in admitted || url === undefined || target === undefined) return answer(response, admitted as Refused);
    const upstream = request({
      host: target.host,
      port: target.port,
      lookup: fixedLookup(admitted.addresses),
      method: message.method,
      path: `${url.pathname}${url.search}`,
      headers: { ...endToEnd(message.headers), host: url.host },
      agent: false,
      timeout: idleMs,
    });
    countOf(admitted.name).opened += 1;
    upstream.on("timeout", () => upstream.destroy());
    response.once("close", () => upstream.destroy());
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      upstream.once("response", resolve).once("error", reject);
    });
    pipeline(message, upstream).catch(() => {});
    let incoming: IncomingMessage;
    try {
      incoming = await answered;
    } catch {
      return answer(response, { status: 502, reason: `${target.host}:${target.port} does not answer.` });
    }
    response.writeHead(incoming.statusCode ?? 502, endToEnd(incoming.headers));
    await pipeline(incoming, response).catch(() => response.destroy());
  }

  function start(): Server {
    const created = createServer((message, response) => {
      forward(message, response).catch((error: unknown) => {
        log.error("egress.failed", error);
        if (response.headersSent) response.destroy();
        else answer(response, { status: 503, reason: "The toolbox cannot tell who asks." });
      });
    });
    created.maxConnections = maxConnections;
    created.on("connect", (message, client, head) => {
      client.on("error", () => client.destroy());
      tunnel(message, client, head).catch((error: unknown) => {
        log.error("egress.failed", error);
        answerRaw(client, { status: 503, reason: "The toolbox cannot tell who asks." });
      });
    });
    created.on("clientError", (_error, client) => answerRaw(client, { status: 400, reason: "This is no HTTP request." }));
    created.on("connection", (socket) => {
      const address = socket.remoteAddress ?? "";
      const open = [...sockets.values()].filter((other) => other === address).length;
      if (open >= connectionsPerServer) return answerRaw(socket, tooMany);
      sockets.set(socket, address);
      socket.once("close", () => sockets.delete(socket));
    });
    return created;
  }

  const proxy: EgressProxy = {
    async listen(address, port) {
      if (place?.address === address && place.port === port) return;
      await proxy.close();
      const starting = start();
      try {
        await new Promise<void>((resolve, reject) => {
          starting.once("error", reject).listen({ host: address, port, exclusive: true }, () => resolve());
        });
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        throw new AppError("PERMISSION_REFUSED", {
          message: `The way out of restricted servers cannot listen on ${address}:${port} (${code ?? "unknown reason"}).`,
          field: "spec.permissions.network",
          cause: error,
        });
      }
      starting.on("error", (error) => log.error("egress.listener-failed", error));
      server = starting;
      place = { address, port: (starting.address() as AddressInfo).port };
    },
    address: () => place,
    counts: () => counts,
    async close() {
      const ending = server;
      server = undefined;
      place = undefined;
      if (ending === undefined) return;
      const closed = new Promise<void>((resolve) => ending.close(() => resolve()));
      for (const socket of sockets.keys()) socket.destroy();
      await closed;
    },
  };
  return proxy;
}

async function resolveName(name: string): Promise<string[]> {
  return (await lookup(name, { all: true })).map(({ address }) => address);
}

function ownAddresses(): ReadonlySet<string> {
  return new Set(Object.values(networkInterfaces()).flatMap((each) => (each ?? []).map(({ address }) => address)));
}

/** `host:port` of a CONNECT; an IPv6 address in brackets. */
function parseAuthority(text: string): Target | undefined {
  const [, bracketed, plain, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([\w.-]{1,253})):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  return host === undefined || Number(port) > 65_535 ? undefined : { host, port: Number(port) };
}

function parseAbsolute(text: string): URL | undefined {
  const url = URL.parse(text);
  return url?.protocol === "http:" && /^[\w.-]{1,253}$/.test(url.hostname) ? url : undefined;
}

/** Leads every name to the addresses that were judged. */
function fixedLookup(addresses: string[]): LookupFunction {
  const found = addresses.map((address) => ({ address, family: isIP(address) }));
  return (_name, { all }, done) => {
    const [first] = found;
    if (all === true) done(null, found);
    else done(null, first?.address ?? "", first?.family ?? 4);
  };
}

function connected(socket: Socket, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("timeout")), timeoutMs);
    const end = (settle: () => void) => () => {
      clearTimeout(timer);
      settle();
    };
    socket.once("connect", end(resolve)).on(
      "error",
      end(() => reject(new Error("refused"))),
    );
  });
}

function endToEnd(headers: IncomingMessage["headers"]): IncomingMessage["headers"] {
  const named = new Set((headers.connection ?? "").toLowerCase().split(/\s*,\s*/));
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !hopHeaders.has(name) && !named.has(name)));
}

function answer(response: ServerResponse, { status, reason }: Refused): void {
  response.writeHead(status, { "content-type": "text/plain", connection: "close" }).end(`${reason}\n`);
}

const tooMany: Refused = { status: 429, reason: "This server has too many connections open." };
const phrases = {
  400: "Bad Request",
  403: "Forbidden",
  429: "Too Many Requests",
  502: "Bad Gateway",
  503: "Service Unavailable",
} as const;

function answerRaw(socket: Duplex, { status, reason }: Refused): void {
  if (!socket.writable) return void socket.destroy();
  const body = `${reason}\n`;
  socket.end(
    `HTTP/1.1 ${status} ${phrases[status]}\r\ncontent-type: text/plain\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}

/** A socket that takes both families shows IPv4 addresses in their mapped form. */
function toIPv4(address: string): string {
  return address.replace(/^::ffff:/i, "");
}
