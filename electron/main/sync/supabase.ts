import { createClient, type Session, type SupabaseClient } from "@supabase/supabase-js";
import { AppError } from "../../../shared/errors.ts";
import type { DatabaseTarget } from "../../../shared/model/sync.ts";
import { nudgeTable } from "../../../shared/sync-protocol.ts";
import { certificateCodes, DatabaseError, fromDatabaseMessage, fromNetworkFailure, type Transport } from "./database.ts";
import { hasNetwork, isLoopback } from "./network.ts";

/*
INVARIANTS
- The refresh token is handed out to be kept before the access token that came with it is used.
- One renewal at a time; a call that finds its session expired renews it once and asks once more.
- Realtime only says "pull"; where the server has none, whoever uses this asks from time to time.
*/

export type SupabaseTarget = Extract<DatabaseTarget, { transport: "supabase" }>;
export type KeepSession = (refreshToken: string) => Promise<void>;

const callTimeoutMs = 30_000;
/** Renewed this long before it expires. */
const renewAheadMs = 60_000;

export type SupabaseSignIn =
  | { kind: "password"; email: string; password: string }
  | { kind: "session"; refreshToken: string }
  /** The way back from a provider in the system's browser. */
  | { kind: "made"; client: SupabaseClient; session: Session };

/** Signs in and opens the way to a project's functions. Rejects with what keeps it from working, as an AppError. */
export async function openSupabase(target: SupabaseTarget, signIn: SupabaseSignIn, keep: KeepSession): Promise<Transport> {
  const closing = new AbortController();
  const client = signIn.kind === "made" ? signIn.client : createProjectClient(target, closing.signal);
  let session = await begin();
  await keep(session.refresh_token);
  let renewing: Promise<Session> | undefined;

  async function begin(): Promise<Session> {
    switch (signIn.kind) {
      case "made":
        return signIn.session;
      case "password":
        return sessionOf(() => client.auth.signInWithPassword({ email: signIn.email, password: signIn.password }), target);
      case "session":
        return sessionOf(() => client.auth.refreshSession({ refresh_token: signIn.refreshToken }), target);
    }
  }

  function renew(): Promise<Session> {
    renewing ??= sessionOf(() => client.auth.refreshSession({ refresh_token: session.refresh_token }), target)
      .then(async (next) => {
        await keep(next.refresh_token);
        session = next;
        await client.realtime.setAuth(next.access_token);
        return next;
      })
      .finally(() => {
        renewing = undefined;
      });
    return renewing;
  }

  const expiresAtMs = () => (session.expires_at ?? Number.POSITIVE_INFINITY) * 1_000;

  async function call(name: string, args: Readonly<Record<string, unknown>>): Promise<unknown> {
    if (expiresAtMs() - Date.now() < renewAheadMs) await renew();
    try {
      return await rpc(client, name, args, target);
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== "SIGN_IN_REFUSED" || closing.signal.aborted) throw error;
      await renew();
      return rpc(client, name, args, target);
    }
  }

  const listeners = new Set<() => void>();
  let hasNudges = false;
  await client.realtime.setAuth(session.access_token);
  const channel = client
    .channel(nudgeTable)
    .on("postgres_changes", { event: "INSERT", schema: "public", table: nudgeTable }, () => {
      for (const listener of listeners) listener();
    })
    .subscribe((status) => {
      const was = hasNudges;
      hasNudges = status === "SUBSCRIBED";
      if (was !== hasNudges) for (const listener of listeners) listener();
    });

  return {
    call,
    onNudge(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    hasNudges: () => hasNudges,
    async close() {
      listeners.clear();
      closing.abort();
      await client.removeChannel(channel).catch(() => undefined);
      client.realtime.disconnect();
    },
  };
}

/** A client that keeps nothing by itself. */
export function createProjectClient(target: SupabaseTarget, closing: AbortSignal): SupabaseClient {
  const url = new URL(target.url);
  if (url.protocol === "http:" && !isLoopback(url.hostname))
    throw new AppError("INVALID_INPUT", {
      message: "Use https: a session is never sent over a network in the clear.",
      field: "target.url",
    });
  const kept = new Map<string, string>();
  return createClient(url.origin, target.publishableKey, {
    auth: {
      flowType: "pkce",
      persistSession: true,
      autoRefreshToken: false,
      detectSessionInUrl: false,
      storage: {
        getItem: (key) => kept.get(key) ?? null,
        setItem: (key, value) => void kept.set(key, value),
        removeItem: (key) => void kept.delete(key),
      },
    },
    global: { fetch: (input, init) => guardedFetch(input, init, closing, url.host) },
  });
}

/** Every request with a deadline; answers that mean "later" become failures that say when. */
async function guardedFetch(
  input: string | URL | Request,
  init: RequestInit | undefined,
  closing: AbortSignal,
  host: string,
): Promise<Response> {
  const signals = [closing, AbortSignal.timeout(callTimeoutMs), ...(init?.signal == null ? [] : [init.signal])];
  const response = await fetch(input, { ...init, signal: AbortSignal.any(signals) });
  if (response.status === 429 || response.status >= 502) {
    await response.body?.cancel();
    const retryAfterMs = parseRetryAfter(response.headers.get("retry-after"), Date.now());
    throw new DatabaseError("DATABASE_UNREACHABLE", {
      message: `${host} cannot answer at the moment (status ${response.status}).`,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    });
  }
  return response;
}

/** Seconds or a date (RFC 9110, 10.2.3), as milliseconds from now. */
export function parseRetryAfter(text: string | null, nowMs: number): number | undefined {
  if (text === null) return undefined;
  const ms = /^\d+$/.test(text.trim()) ? Number(text) * 1_000 : Date.parse(text) - nowMs;
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

async function rpc(
  client: SupabaseClient,
  name: string,
  args: Readonly<Record<string, unknown>>,
  target: SupabaseTarget,
): Promise<unknown> {
  let answer: { data: unknown; error: { code?: string; message: string } | null; status: number };
  try {
    answer = await client.rpc(name, args).throwOnError();
  } catch (error) {
    throw fromSupabaseError(error, target);
  }
  return answer.data;
}

export async function sessionOf(
  ask: () => Promise<{ data: { session: Session | null }; error: unknown }>,
  target: SupabaseTarget,
): Promise<Session> {
  let answer: Awaited<ReturnType<typeof ask>>;
  try {
    answer = await ask();
  } catch (error) {
    throw fromSupabaseError(error, target);
  }
  if (answer.error !== null && answer.error !== undefined) throw fromSupabaseError(answer.error, target);
  if (answer.data.session === null) throw new DatabaseError("SIGN_IN_REFUSED");
  return answer.data.session;
}

/** Translates what supabase-js throws or answers, once. */
export function fromSupabaseError(error: unknown, target: SupabaseTarget): AppError {
  if (error instanceof AppError) return error;
  const { cause, originalError } = error as { cause?: unknown; originalError?: unknown };
  for (const inner of [cause, originalError]) if (inner instanceof AppError) return inner;
  const {
    code = "",
    message = "",
    status,
    name = "",
  } = error as { code?: string; message?: string; status?: number; name?: string };
  const host = new URL(target.url).host;
  const ours = fromDatabaseMessage(message, error);
  if (ours !== undefined) return ours;
  const networkCode = codeWithin(error);
  if (certificateCodes.has(networkCode))
    return new DatabaseError("DATABASE_NOT_TRUSTED", { message: `The certificate of ${host} is not trusted.`, cause: error });
  if (name === "AbortError" || name === "TimeoutError")
    return new DatabaseError("DATABASE_UNREACHABLE", { message: `${host} did not answer in time.`, cause: error });
  if (code === "PGRST202" || code === "42883" || code === "PGRST106")
    return new DatabaseError("SCHEMA_MISSING", { cause: error });
  if (status === 401 || code === "PGRST301" || code === "PGRST303" || code === "28000")
    return new DatabaseError("SIGN_IN_REFUSED", { cause: error });
  if (name.startsWith("Auth") && status !== undefined && status >= 400 && status < 500) {
    const sentence =
      code === "invalid_credentials"
        ? "The e-mail address or the password is wrong."
        : `${host} refused the sign-in: ${message}`;
    return new DatabaseError("SIGN_IN_REFUSED", { message: sentence, cause: error });
  }
  if (code === "42501") return new DatabaseError("NOT_A_MEMBER", { cause: error });
  const isOnline = isLoopback(new URL(target.url).hostname) || hasNetwork();
  if (networkCode !== "" || name === "TypeError" || name === "AuthRetryableFetchError")
    return fromNetworkFailure(networkCode, host, isOnline, error);
  return new DatabaseError("DATABASE_UNREACHABLE", {
    message: `${host} answered with a failure (${code || (status ?? "unknown")}).`,
    cause: error,
  });
}

/** The system's code in the chain of causes of a failed fetch. */
function codeWithin(error: unknown): string {
  for (let current = error; current instanceof Error; current = current.cause) {
    const { code } = current as { code?: unknown };
    if (typeof code === "string" && /^(E[A-Z]|UND_|ERR_TLS|CERT|DEPTH|SELF|UNABLE)/.test(code)) return code;
  }
  return "";
}
