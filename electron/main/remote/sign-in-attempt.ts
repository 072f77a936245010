import {
  type AuthorizationServerMetadata,
  auth,
  computeScopeUnion,
  discoverAuthorizationServerMetadata,
  discoverOAuthProtectedResourceMetadata,
  isStrictScopeSuperset,
  type OAuthDiscoveryState,
  OAuthError,
  parseErrorResponse,
  RegistrationRejectedError,
  validateAuthorizationResponseIssuer,
} from "@modelcontextprotocol/client";
import { AppError } from "../../../shared/errors.ts";
import { proposedRedirectAddress, type SignInClient } from "../../../shared/model/sign-in.ts";
import type { OpenWayBack, WayBack } from "../way-back.ts";
import type { AccessNeeded } from "./access.ts";
import { ClientNeeded, type GivenClient, isAboutClient, shown } from "./given-clients.ts";
import { isLoopback } from "./http.ts";
import type { KeptAccess } from "./kept-access.ts";
import type { McpTarget } from "./mcp.ts";
import { createSignInProvider } from "./sign-in-provider.ts";

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
  /** The client that somebody gave for an issuer. */
  clientOf(issuer: string): Promise<GivenClient | undefined>;
  openWayBack: OpenWayBack;
  /** A person has to go to this page; as which client, where somebody gave one. */
  onPage(url: URL, client: SignInClient | null): void;
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

/** Brings new tokens. GATEWAY_REFUSED, DEADLINE_EXCEEDED, CANCELLED; as ClientNeeded where a person has to give a client. */
export async function signIn(attempt: Attempt, found: OAuthDiscoveryState, fetchFn: Fetch): Promise<void> {
  const { endpoint, needed, signal, lifetimeMs } = attempt;
  const place = new URL(found.authorizationServerUrl).host;
  const metadata = await discoverAuthorizationServerMetadata(found.authorizationServerUrl, { fetchFn });
  if (metadata === undefined) throw refused(`${place} does not say how to sign in there.`);
  const given = await attempt.clientOf(metadata.issuer);
  const client = clientToShow(metadata, given);
  const kept = keptAt(metadata.issuer, attempt.kept, given);
  if (kept.client === undefined && metadata.registration_endpoint === undefined)
    throw new ClientNeeded(client, `${place} registers no application by itself. ${byHand}`);
  if (!(client.vouchesForPkce ?? metadata.code_challenge_methods_supported?.includes("S256"))) {
    const message = `${place} does not say that it protects sign-ins with PKCE (S256).`;
    throw given === undefined || client.vouchesForPkce === null ? refused(message) : new ClientNeeded(client, message);
  }

  const before = portOf(kept.client);
  const where = given !== undefined ? { address: given.redirectAddress } : before === undefined ? {} : { port: before };
  let wayBack: WayBack | undefined;
  const open = async () => {
    wayBack ??= await attempt.openWayBack({ ...where, ...(lifetimeMs === undefined ? {} : { lifetimeMs }) });
    return wayBack;
  };
  const onAbort = () => wayBack?.close(toSignInError(signal.reason, place));
  signal.addEventListener("abort", onAbort, { once: true });
  let lastRefusal = "";
  try {
    signal.throwIfAborted();
    // To register, a client has to say where it is sent back to. A given one needs its port only when a person is sent away.
    const redirectUrl = given?.redirectAddress ?? (await open()).redirectUrl;
    const provider = createSignInProvider({
      discovery: { ...found, authorizationServerMetadata: metadata },
      redirectUrl,
      state: async () => (await open()).state,
      given,
      kept,
      keep: attempt.keep,
      onRefused: () => new ClientNeeded(client, notAccepted(place, lastRefusal)),
    });
    const { resourceMetadataUrl } = needed;
    const common = {
      serverUrl: endpoint.url,
      fetchFn: async (...asked: Parameters<Fetch>) => {
        const response = await fetchFn(...asked);
        if (!response.ok) lastRefusal = (await parseErrorResponse(response.clone())).message;
        return response;
      },
      ...(resourceMetadataUrl === undefined ? {} : { resourceMetadataUrl }),
    };
    const granted = kept.tokens?.scope;
    const scope = needed.status === 403 ? computeScopeUnion(granted, needed.scope) : needed.scope;
    const asked = {
      ...common,
      ...(scope === undefined ? {} : { scope }),
      forceReauthorization: needed.status === 403 && isStrictScopeSuperset(scope, granted),
    };
    if ((await auth(provider, asked)) === "AUTHORIZED") return;
    // Its port was taken meanwhile, and not every server takes another one for the same client.
    if (given === undefined && !wayBacksOf(provider.access.client).includes(redirectUrl)) {
      provider.access.client = undefined;
      await auth(provider, { ...asked, forceReauthorization: true });
    }
    const page = provider.page();
    if (page === undefined || wayBack === undefined || !isAllowed(page, endpoint.url))
      throw refused(`${place} names no page to sign in at.`);
    if (given !== undefined) await attempt.keep({ ...provider.access });
    signal.throwIfAborted();
    attempt.onPage(page, given === undefined ? null : client);
    const answer = await wayBack.answer;
    const [code, iss] = [answer.get("code"), answer.get("iss") ?? undefined];
    if (code === null) {
      const issParameterSupported = metadata.authorization_response_iss_parameter_supported === true;
      validateAuthorizationResponseIssuer({ iss, expectedIssuer: metadata.issuer, issParameterSupported });
      const error = answer.get("error") ?? "";
      throw new OAuthError(error, answer.get("error_description") ?? error);
    }
    await auth(provider, { ...common, authorizationCode: code, ...(iss === undefined ? {} : { iss }) });
  } catch (error) {
    if (signal.aborted) throw toSignInError(signal.reason, place);
    const message = error instanceof ClientNeeded ? undefined : askingForClient(error, place, given);
    if (message === undefined) throw toSignInError(error, place);
    throw new ClientNeeded(client, message, { code: toSignInError(error, place).code, cause: error });
  } finally {
    signal.removeEventListener("abort", onAbort);
    wayBack?.close();
  }
}

/** What is kept for this issuer and for the client that is in use there. */
function keptAt(issuer: string, { endpoint, client, tokens }: KeptAccess, given: GivenClient | undefined): KeptAccess {
  const known = client?.issuer === issuer ? client : undefined;
  return { endpoint, client: known ?? (given && { client_id: given.clientId, issuer }), tokens };
}

function clientToShow(
  { issuer, code_challenge_methods_supported: methods }: AuthorizationServerMetadata,
  given: GivenClient | undefined,
): SignInClient {
  const client =
    given === undefined
      ? { issuer, clientId: null, hasSecret: false, redirectAddress: proposedRedirectAddress, vouchesForPkce: null }
      : shown(given);
  return { ...client, vouchesForPkce: methods === undefined ? (client.vouchesForPkce ?? false) : null };
}

/** Why a person has to give a client, or another one; undefined where that would not help. */
function askingForClient(error: unknown, place: string, given: GivenClient | undefined): string | undefined {
  if (error instanceof RegistrationRejectedError)
    return `${place} did not register the control centre (status ${error.status}). ${byHand}`;
  if (given === undefined) return undefined;
  if (error instanceof OAuthError && isAboutClient(error.code)) return notAccepted(place, error.message);
  if (error instanceof AppError && error.code === "DEADLINE_EXCEEDED")
    return `Nobody came back from ${place}. Where its page shows an error, the client or its redirect address is not right.`;
  if (["EADDRINUSE", "EACCES"].includes((error as NodeJS.ErrnoException).code ?? ""))
    return `The redirect address ${given.redirectAddress} cannot be used: another program has its port.`;
  return undefined;
}

const byHand = "Give the ID of a client that was registered there by hand.";
const notAccepted = (place: string, reason: string) => `${place} did not accept the client: ${said(reason)}`;

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
  return new AppError("GATEWAY_REFUSED", { message, cause });
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
