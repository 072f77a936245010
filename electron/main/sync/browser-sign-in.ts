import { AppError } from "../../../shared/errors.ts";
import { openWayBack } from "../way-back.ts";
import { createProjectClient, fromSupabaseError, type SupabaseSignIn, type SupabaseTarget, sessionOf } from "./supabase.ts";

/*
Signing in with a provider in the system's browser, with PKCE: the code that comes back is worthless without the verifier
kept here.
*/

export type BrowserSignIn = {
  /** To be opened in the system's browser. */
  readonly url: string;
  /** Resolves once, with the way in. CANCELLED, DEADLINE_EXCEEDED, SIGN_IN_REFUSED. */
  readonly done: Promise<SupabaseSignIn>;
  cancel(): void;
};

export async function beginBrowserSignIn(target: SupabaseTarget, provider: string): Promise<BrowserSignIn> {
  const client = createProjectClient(target, new AbortController().signal);
  const wayBack = await openWayBack();
  const { data, error } = await client.auth.signInWithOAuth({
    provider: provider as Parameters<typeof client.auth.signInWithOAuth>[0]["provider"],
    options: { redirectTo: `${wayBack.redirectUrl}?state=${wayBack.state}`, skipBrowserRedirect: true },
  });
  if (error !== null || data.url === null) {
    wayBack.close();
    throw fromSupabaseError(error, target);
  }

  const done = (async (): Promise<SupabaseSignIn> => {
    const answer = await wayBack.answer;
    const code = answer.get("code");
    if (code === null) {
      const message = answer.get("error_description") ?? answer.get("error") ?? "The provider sent nobody back.";
      throw new AppError("SIGN_IN_REFUSED", { message });
    }
    const session = await sessionOf(() => client.auth.exchangeCodeForSession(code), target);
    return { kind: "made", client, session };
  })();
  // Whoever never asks for the outcome must not be an unhandled rejection.
  done.catch(() => undefined);
  return { url: data.url, done, cancel: () => wayBack.close() };
}
