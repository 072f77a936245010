import { createHash, X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { Agent, buildConnector, type RequestInit, type Response, fetch as undiciFetch } from "undici";
import { AppError } from "../../../shared/errors.ts";

/*
INVARIANTS
- Nothing is sent, not even the request line, before the peer has shown the pinned key. A pin is the SHA-256 of the public
  key, which a renewed certificate keeps; one that was stored earlier may be that of the certificate, and is good as long
  as that one is shown.
- Every request has a deadline; streams have one for their start and then end with their signal.
- Redirects are errors: a DTMA never redirects, and a token must not follow one.
*/

export type PinnedHttp = {
  fetch(url: string | URL, init?: RequestInit): Promise<Response>;
  close(): Promise<void>;
};

const connectTimeoutMs = 10_000;

/**
 * HTTP towards one DTMA. With a fingerprint, TLS is accepted from the holder of that key only, whoever signed its certificate
 * and whatever name that carries. Failures arrive as TOOLBOX_UNREACHABLE, FINGERPRINT_MISMATCH, DEADLINE_EXCEEDED or CANCELLED.
 */
export function createPinnedHttp(fingerprint: string | null): PinnedHttp {
  const agent = new Agent({ connect: pinningConnector(fingerprint), bodyTimeout: 0, headersTimeout: 0 });
  return {
    async fetch(url, init = {}) {
      try {
        return await undiciFetch(url, { ...init, redirect: "error", dispatcher: agent });
      } catch (error) {
        throw fromFetchError(error, new URL(url));
      }
    },
    close: () => agent.destroy(),
  };
}

/** A resumed TLS session carries no certificate to compare, so sessions are not cached. */
function pinningConnector(fingerprint: string | null): buildConnector.connector {
  const connect = buildConnector({ rejectUnauthorized: false, maxCachedSessions: 0, timeout: connectTimeoutMs });
  return (options, callback) => {
    connect(options, (...[error, socket]) => {
      if (error !== null) return callback(error, null);
      if (options.protocol === "https:") {
        const shown = fingerprintsOf(socket as TLSSocket);
        if (fingerprint === null || (shown?.key !== fingerprint && shown?.certificate !== fingerprint)) {
          socket.destroy();
          return callback(mismatch(options.hostname, shown?.key, fingerprint), null);
        }
      }
      callback(null, socket);
    });
  };
}

function mismatch(hostname: string, shown: string | undefined, pinned: string | null): AppError {
  const message =
    pinned === null
      ? `${hostname} answers with TLS, but no certificate is pinned for it.`
      : `${hostname} shows the fingerprint ${shown ?? "(none)"}, not the pinned one.`;
  return new AppError("FINGERPRINT_MISMATCH", { message });
}

/** Both in the form of the protocol: upper-case hex pairs with colons. */
function fingerprintsOf(socket: TLSSocket): { key: string; certificate: string } | undefined {
  // Not getPeerX509Certificate: of Node 24 it answers only once for each connection.
  const { raw } = socket.getPeerCertificate() as { raw?: Buffer };
  if (raw === undefined) return undefined;
  const certificate = new X509Certificate(raw);
  const key = createHash("sha256").update(certificate.publicKey.export({ type: "spki", format: "der" }));
  return {
    key: (key.digest("hex").toUpperCase().match(/../g) ?? []).join(":"),
    certificate: certificate.fingerprint256,
  };
}

/** The SHA-256 fingerprint of the key that answers at an address, without sending anything to it. */
export async function readFingerprint(url: URL, signal: AbortSignal): Promise<string> {
  const connect = buildConnector({ rejectUnauthorized: false, maxCachedSessions: 0, timeout: connectTimeoutMs });
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(fromFetchError(signal.reason, url));
    signal.addEventListener("abort", onAbort, { once: true });
    connect({ hostname: url.hostname, protocol: url.protocol, port: url.port || "443" }, (...[error, socket]) => {
      signal.removeEventListener("abort", onAbort);
      if (error !== null) return reject(fromFetchError(error, url));
      const shown = fingerprintsOf(socket as TLSSocket);
      socket.destroy();
      if (shown === undefined) reject(mismatch(url.hostname, undefined, null));
      else resolve(shown.key);
    });
  });
}

/** Translates what undici and the platform throw, once, into what people understand. */
export function fromFetchError(error: unknown, url: URL): AppError {
  if (error instanceof AppError) return error;
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  if (cause instanceof AppError) return cause;
  const name = error instanceof Error ? error.name : "";
  if (name === "TimeoutError")
    return new AppError("DEADLINE_EXCEEDED", { message: `${url.host} did not answer in time.`, cause: error });
  if (name === "AbortError") return new AppError("CANCELLED", { cause: error });
  const code = (cause as { code?: unknown } | undefined)?.code;
  return new AppError("TOOLBOX_UNREACHABLE", { message: `${url.host} ${reasonOf(String(code ?? ""))}.`, cause: error });
}

function reasonOf(code: string): string {
  switch (code) {
    case "ECONNREFUSED":
      return "refuses connections; its DTMA is probably not running";
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return "is not a name this computer can find";
    case "EHOSTUNREACH":
    case "ENETUNREACH":
      return "cannot be reached from this network";
    case "UND_ERR_CONNECT_TIMEOUT":
    case "ETIMEDOUT":
      return "did not answer the connection in time";
    case "ECONNRESET":
    case "UND_ERR_SOCKET":
      return "closed the connection";
    case "EPROTO":
    case "ERR_SSL_WRONG_VERSION_NUMBER":
      return "does not speak TLS; its address may have to start with http";
    default:
      return code === "" ? "does not answer" : `does not answer (${code})`;
  }
}

/** Whether a host is this computer itself, where nothing has to be encrypted. */
export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127(?:\.\d{1,3}){3}$/.test(hostname);
}
