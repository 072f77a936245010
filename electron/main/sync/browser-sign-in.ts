import { randomBytes } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { AppError } from "../../../shared/errors.ts";
import { createProjectClient, fromSupabaseError, type SupabaseSignIn, type SupabaseTarget, sessionOf } from "./supabase.ts";

/*
Signing in with a provider in the system's browser, with PKCE and a way back over loopback (RFC 8252, 7.3 and 8.1).

INVARIANTS
- Listens on 127.0.0.1 at a port the system chose, for one answer or five minutes.
- An answer without the state that was sent out is not looked at; the code is worthless without the verifier kept here.
*/

const lifetimeMs = 5 * 60_000;
const callbackPath = "/signed-in";

export type BrowserSignIn = {
  /** To be opened in the system's browser. */
  readonly url: string;
  /** Resolves once, with the way in. CANCELLED, DEADLINE_EXCEEDED, SIGN_IN_REFUSED. */
  readonly done: Promise<SupabaseSignIn>;
  cancel(): void;
};

export async function beginBrowserSignIn(target: SupabaseTarget, provider: string): Promise<BrowserSignIn> {
  const client = createProjectClient(target, new AbortController().signal);
  const state = randomBytes(24).toString("base64url");
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 10_000 });
  const port = await listen(server);
  const redirectTo = `http://127.0.0.1:${port}${callbackPath}?state=${state}`;
  const { data, error } = await client.auth.signInWithOAuth({
    provider: provider as Parameters<typeof client.auth.signInWithOAuth>[0]["provider"],
    options: { redirectTo, skipBrowserRedirect: true },
  });
  if (error !== null || data.url === null) {
    server.close();
    throw fromSupabaseError(error, target);
  }

  let settle = (_: { code: string } | AppError) => {};
  const answer = new Promise<{ code: string } | AppError>((resolve) => {
    settle = resolve;
  });
  server.on("request", (request, response) => {
    const url = URL.parse(request.url ?? "", `http://127.0.0.1:${port}`);
    const isOurs = request.headers.host === `127.0.0.1:${port}` && request.method === "GET";
    if (!isOurs || url?.pathname !== callbackPath || url.searchParams.get("state") !== state) {
      response.writeHead(404, { "content-type": "text/plain" }).end("Not found\n");
      return;
    }
    const code = url.searchParams.get("code");
    const refusal = url.searchParams.get("error_description") ?? url.searchParams.get("error");
    response.writeHead(200, { "content-type": "text/html; charset=utf-8", "cache-control": "no-store", connection: "close" });
    response.end(page(code !== null));
    settle(
      code === null ? new AppError("SIGN_IN_REFUSED", { message: refusal ?? "The provider sent nobody back." }) : { code },
    );
  });
  const timer = setTimeout(
    () => settle(new AppError("DEADLINE_EXCEEDED", { message: "Nobody came back from the browser." })),
    lifetimeMs,
  );

  const done = (async (): Promise<SupabaseSignIn> => {
    try {
      const result = await answer;
      if (result instanceof AppError) throw result;
      const session = await sessionOf(() => client.auth.exchangeCodeForSession(result.code), target);
      return { kind: "made", client, session };
    } finally {
      clearTimeout(timer);
      server.close();
    }
  })();
  // Whoever never asks for the outcome must not be an unhandled rejection.
  done.catch(() => undefined);
  return { url: data.url, done, cancel: () => settle(new AppError("CANCELLED")) };
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port));
  });
}

function page(isDone: boolean): string {
  const sentence = isDone ? "You are signed in. You can close this page." : "The sign-in was refused. You can close this page.";
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>DTMA Control Centre</title><p>${sentence}</p></html>\n`;
}
