import type { OAuthClientProvider, OAuthDiscoveryState } from "@modelcontextprotocol/client";
import { type GivenClient, presented } from "./given-clients.ts";
import type { KeptAccess } from "./kept-access.ts";

export type SignInProviderDeps = {
  discovery: OAuthDiscoveryState;
  redirectUrl: string;
  /** Asked for when a person is about to be sent away. */
  state(): Promise<string>;
  /** The client that somebody gave; without one, the server registers one. */
  given: GivenClient | undefined;
  kept: KeptAccess;
  keep(access: KeptAccess): Promise<void>;
  /** What to throw when the server does not accept the given client: no other can be had here. */
  onRefused(): Error;
};

/** What one sign-in remembers for the SDK's client, and where it wants a person to go. */
export type SignInProvider = OAuthClientProvider & { readonly access: KeptAccess; page(): URL | undefined };

export function createSignInProvider(deps: SignInProviderDeps): SignInProvider {
  const { discovery, redirectUrl, state, given, kept, keep, onRefused } = deps;
  const access: KeptAccess = { ...kept };
  const methods = discovery.authorizationServerMetadata?.token_endpoint_auth_methods_supported;
  let page: URL | undefined;
  let verifier = "";
  return {
    access,
    page: () => page,
    redirectUrl,
    clientMetadata: {
      client_name: "DTMA Control Centre",
      redirect_uris: [redirectUrl],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      // A program on somebody's computer has no secret of its own; one that is given all the same is kept like a token.
      ...(methods?.includes("none") ? { token_endpoint_auth_method: "none" } : {}),
    },
    state,
    discoveryState: () => discovery,
    saveDiscoveryState: () => undefined,
    clientInformation: () => (given === undefined ? access.client : presented(given)),
    saveClientInformation: async (client) => {
      access.client = client;
      await keep({ ...access });
    },
    tokens: () => access.tokens,
    saveTokens: async ({ id_token: _, ...tokens }) => {
      // A server leaves the scope out where it is the one that was asked for (RFC 6749, 5.1).
      const scope = tokens.scope ?? page?.searchParams.get("scope") ?? access.tokens?.scope;
      access.tokens = { ...tokens, ...(scope === undefined || scope === null ? {} : { scope }) };
      await keep({ ...access });
    },
    redirectToAuthorization: (url) => {
      page = url;
    },
    saveCodeVerifier: (value) => {
      verifier = value;
    },
    codeVerifier: () => verifier,
    invalidateCredentials: async (what) => {
      // What came to it may still be good once somebody has corrected it.
      if (what === "client" && given !== undefined) throw onRefused();
      if (what === "client" || what === "all") access.client = undefined;
      if (what === "tokens" || what === "all") access.tokens = undefined;
      await keep({ ...access });
    },
  };
}
