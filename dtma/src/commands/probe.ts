import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import type { TLSSocket } from "node:tls";
import type { Settings } from "../settings.ts";

/** What answers where the DTMA listens. `publicKey` is the certificate's, as DER (SPKI); absent over plain HTTP. */
export type Probe =
  | { state: "nobody" }
  | { state: "answers"; status: number; text: string; publicKey?: Buffer }
  | { state: "strange"; reason: string };

const timeoutMs = 5_000;

/** Asks `GET /health` on this machine. The certificate is not judged here: the caller compares its key. */
export function probeHealth({ host, port, http }: Pick<Settings, "host" | "port" | "http">): Promise<Probe> {
  return new Promise((resolve) => {
    const target = { host: localAddress(host), port, path: "/health", timeout: timeoutMs, agent: false };
    const request = http ? requestHttp(target) : requestHttps({ ...target, rejectUnauthorized: false });
    const fail = (reason: string) => resolve({ state: "strange", reason });
    request.on("response", (response) => {
      const publicKey = http ? undefined : (response.socket as TLSSocket).getPeerX509Certificate()?.publicKey;
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk.slice(0, 200 - text.length);
      });
      response.on("error", (error) => fail(error.message));
      response.on("end", () =>
        resolve({
          state: "answers",
          status: response.statusCode ?? 0,
          text: text.trim(),
          ...(publicKey === undefined ? {} : { publicKey: publicKey.export({ type: "spki", format: "der" }) }),
        }),
      );
    });
    request.on("timeout", () => request.destroy(new Error(`no answer within ${timeoutMs / 1_000} s`)));
    request.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNREFUSED") resolve({ state: "nobody" });
      else fail(error.message);
    });
    request.end();
  });
}

/** A listener on every address is asked over loopback. */
function localAddress(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  return host === "::" ? "::1" : host;
}
