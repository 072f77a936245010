import {
  auth,
  computeScopeUnion,
  discoverAuthorizationServerMetadata,
  discoverOAuthProtectedResourceMetadata,
  isStrictScopeSuperset,
  type OAuthClientProvider,
  type OAuthDiscoveryState,
  OAuthError,
  validateAuthorizationResponseIssuer,
} from "@modelcontextprotocol/client";
import { AppError } from "../../../shared/errors.ts";
import { openWayBack } from "../way-back.ts";
import type { AccessNeeded } from "./access.ts";
import { isLoopback } from "./http.ts";
import type { KeptAccess } from "./kept-access.ts";
import type { McpTarget } from "./mcp.ts";

/*
One sign-in by the authorization rules of MCP: an access token is renewed without anybody when it can be, else a person signs
in in the browser (OAuth 2.1, PKCE with S256).

INVARIANTS
- Only metadata of the endpoint (RFC 9728) names an authorization server; none is guessed.
- The endpoint is spoken to under its pin, everything else over TLS that the system trusts. Plain HTTP is for an endpoint on
  loopback, and then on loopback only.
- A connection's own token is never sent here.
- Why a sign-in was refused is read only from an answer of the issuer that was asked (RFC 9207).
*/

type Endpoint = McpTarget["endpoint"];
type Fetch = (url: string | URL, init?: RequestInit) => Promise<Response>;

export type Attempt = {
  endpoint: Endpoint;
  needed: AccessNeeded;
  kept: KeptAccess;
  keep(access: KeptAccess): Promise<void>;
  /** A person has to go to this page. */
  onPage(url: URL): void;
  signal: AbortSignal;
  lifetimeMs?: number | undefined;
};

/** Where the endpoint says that people sign in; undefined where it names no place. */
export async function findAuthorizationServer(
  { url }: Endpoint,
  { resourceMetadataUrl }: AccessNeeded,
  fetch: Fetch,
): Promise<OAuthDiscoveryState | undefined> {
  const options = resourceMetadataUrl === undefined ? {} : { resourceMetadataUrl };
  const resourceMetadata = await discoverOAuthProtectedResourceMetadata(url, options, fetch).catch((error: unknown) => {
    if (error instanceof AppError || error instanceof TypeError) throw error;
    return undefined;
  });
  const server = resourceMetadata?.authorization_servers?.[0];
  if (resourceMetadata === undefined || server === undefined) return undefined;
  return {
    authorizationServerUrl: server,
    resourceMetadata,
    ...(resourceMetadataUrl === undefined ? {} : { resourceMetadataUrl: resourceMetadataUrl.href }),
  };
}

/** Brings new tokens. SIGN_IN_REFUSED, DEADLINE_EXCEEDED, CANCELLED. */
export async function signIn(attempt: Attempt, found: OAuthDiscoveryState, fetchFn: Fetch): Promise<void> {
  const { endpoint, needed, kept, signal } = attempt;
  const place = new URL(found.authorizationServerUrl).host;
  const metadata = await discoverAuthorizationServerMetadata(found.authorizationServerUrl, { fetchFn });
  if (metadata === undefined) throw refused(`${place} does not say how to sign in there.`);
  if (metadata.code_challenge_methods_supported?.includes("S256") !== true)
    throw refused(`${place} does not protect sign-ins with PKCE (S256).`);
  const discovery: OAuthDiscoveryState = { ...found, authorizationServerMetadata: metadata };

  const before = portOf(kept.client);
  const wayBack = await openWayBack({
    ...(before === undefined ? {} : { port: before }),
    ...(attempt.lifetimeMs === undefined ? {} : { lifetimeMs: attempt.lifetimeMs }),
  });
  const onAbort = () => wayBack.close(toSignInError(signal.reason, place));
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    signal.throwIfAborted();
    const access: KeptAccess = { ...kept };
    let page: URL | undefined;
    let verifier = "";
    const provider: OAuthClientProvider = {
      redirectUrl: wayBack.redirectUrl,
      clientMetadata: {
        client_name: "DTMA Control Centre",
        redirect_uris: [wayBack.redirectUrl],
        grant_types: ["authorization_code", "refresh_token"],
        response_types: ["code"],
        // A program on somebody's computer has no secret of its own; one that is given all the same is kept like a token.
        ...(metadata.token_endpoint_auth_methods_supported?.includes("none") ? { token_endpoint_auth_method: "none" } : {}),
      },
      state: () => wayBack.state,
      discoveryState: () => discovery,
      saveDiscoveryState: () => undefined,
      clientInformation: () => access.client,
      saveClientInformation: async (client) => {
        access.client = client;
        await attempt.keep({ ...access });
      },
      tokens: () => access.tokens,
      saveTokens: async ({ id_token: _, ...tokens }) => {
        // A server leaves the scope out where it is the one that was asked for (RFC 6749, 5.1).
        const scope = tokens.scope ?? page?.searchParams.get("scope") ?? access.tokens?.scope;
        access.tokens = { ...tokens, ...(scope === undefined || scope === null ? {} : { scope }) };
        await attempt.keep({ ...access });
      },
      redirectToAuthorization: (url) => {
        page = url;
      },
      saveCodeVerifier: (value) => {
        verifier = value;
      },
      codeVerifier: () => verifier,
      invalidateCredentials: async (what) => {
        if (what === "client" || what === "all") access.client = undefined;
        if (what === "tokens" || what === "all") access.tokens = undefined;
        await attempt.keep({ ...access });
      },
    };
    const { resourceMetadataUrl } = needed;
    const common = { serverUrl: endpoint.url, fetchFn, ...(resourceMetadataUrl === undefined ? {} : { resourceMetadataUrl }) };
    const granted = kept.tokens?.scope;
    const scope = needed.status === 403 ? computeScopeUnion(granted, needed.scope) : needed.scope;
    const asked = {
      ...common,
      ...(scope === undefined ? {} : { scope }),
      forceReauthorization: needed.status === 403 && isStrictScopeSuperset(scope, granted),
    };
    if ((await auth(provider, asked)) === "AUTHORIZED") return;
    // Its port was taken meanwhile, and not every server takes another one for the same client.
    if (!wayBacksOf(access.client).includes(wayBack.redirectUrl)) {
      access.client = undefined;
      await auth(provider, { ...asked, forceReauthorization: true });
    }
    if (page === undefined || !isAllowed(page, endpoint.url)) throw refused(`${place} names no page to sign in at.`);
    attempt.onPage(page);
    const answer = await wayBack.answer;
    const [code, iss] = [answer.get("code"), answer.get("iss") ?? undefined];
    if (code === null) {
      const issParameterSupported = metadata.authorization_response_iss_parameter_supported === true;
      validateAuthorizationResponseIssuer({ iss, expectedIssuer: metadata.issuer, issParameterSupported });
      throw refused(`${place} did not let you in: ${said(answer.get("error_description") ?? answer.get("error") ?? "")}`);
    }
    await auth(provider, { ...common, authorizationCode: code, ...(iss === undefined ? {} : { iss }) });
  } catch (error) {
    throw toSignInError(signal.aborted ? signal.reason : error, place);
  } finally {
    signal.removeEventListener("abort", onAbort);
    wayBack.close();
  }
}

/** How the addresses of one attempt are fetched. */
export function fetchFor(endpoint: Endpoint, signal: AbortSignal): Fetch {
  return async (address, init = {}) => {
    const url = new URL(address);
    const isEndpoint = url.origin === endpoint.url.origin;
    if (!isEndpoint && !isAllowed(url, endpoint.url)) throw refused(`${url.host} has no encrypted address.`);
    const signals = [signal, AbortSignal.timeout(answerTimeoutMs), ...(init.signal == null ? [] : [init.signal])];
    const together = { ...init, signal: AbortSignal.any(signals) };
    if (!isEndpoint) return fetch(url, together);
    const response = await endpoint.fetch(url, {
      ...together,
      headers: [...new Headers(init.headers)],
      body: init.body == null ? null : String(init.body),
    } as never);
    // The SDK knows an answer by the platform's own class.
    const hasBody = ![204, 205, 304].includes(response.status);
    const headers = [...response.headers] as [string, string][];
    return new Response(hasBody ? await response.arrayBuffer() : null, { status: response.status, headers });
  };
}

const answerTimeoutMs = 15_000;

/** Whether it may be asked, or opened, on behalf of an endpoint. */
function isAllowed(url: URL, endpoint: URL): boolean {
  if (url.protocol === "https:") return true;
  return url.protocol === "http:" && isLoopback(url.hostname) && isLoopback(endpoint.hostname);
}

/** Where a client that was registered may be sent back to, as its server has written it down. */
function wayBacksOf(client: KeptAccess["client"]): string[] {
  return client !== undefined && "redirect_uris" in client ? client.redirect_uris : [];
}

function portOf(client: KeptAccess["client"]): number | undefined {
  return Number(URL.parse(wayBacksOf(client)[0] ?? "")?.port) || undefined;
}

function refused(message: string, cause?: unknown): AppError {
  return new AppError("SIGN_IN_REFUSED", { message, cause });
}

/** What somebody else wrote, short enough to be shown. */
function said(text: string): string {
  return text.length > 300 ? `${text.slice(0, 300)}…` : text || "it gave no reason.";
}

/** Translates what the SDK and the platform throw, once. */
export function toSignInError(error: unknown, place: string): AppError {
  if (error instanceof AppError) return error;
  if (error instanceof Error && error.cause instanceof AppError) return error.cause;
  if (error instanceof Error && error.name === "TimeoutError")
    return new AppError("DEADLINE_EXCEEDED", { message: `${place} did not answer in time.`, cause: error });
  if (error instanceof Error && error.name === "AbortError") return new AppError("CANCELLED", { cause: error });
  if (error instanceof TypeError) return refused(`${place} cannot be reached, so nobody can sign in there.`, error);
  if (error instanceof OAuthError) return refused(`${place} did not accept the sign-in: ${said(error.message)}`, error);
  const text = error instanceof Error ? error.message : String(error);
  return refused(`Signing in at ${place} does not work: ${said(text)}`, error);
}
