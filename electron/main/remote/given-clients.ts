import type { StoredOAuthClientInformation } from "@modelcontextprotocol/client";
import { z } from "zod";
import { AppError, type ErrorCode } from "../../../shared/errors.ts";
import type { SignInClient } from "../../../shared/model/sign-in.ts";
import { createRemembered, type Secrets } from "./remembered.ts";

/*
Clients that somebody registered by hand at an authorization server.

INVARIANTS
- A client belongs to the issuer it was given for (RFC 8414), and no other server gets to see it. Every connection that signs in
  at that issuer uses it.
- It is kept in the vault and in this process's memory. Its secret goes to that issuer's token endpoint and nowhere else.
*/

const givenClient = z.object({
  issuer: z.string(),
  clientId: z.string(),
  clientSecret: z.string().optional(),
  redirectAddress: z.string(),
  vouchesForPkce: z.boolean().nullable(),
});
export type GivenClient = z.infer<typeof givenClient>;

export interface ClientStore {
  of(issuer: string): Promise<GivenClient | undefined>;
  /** Without a secret, the one that is kept for the same client stays. */
  give(client: GivenClient): Promise<void>;
  forget(issuer: string): Promise<void>;
}

/** `secrets` is the place for them in the vault, by issuer. */
export function createClientStore(secrets: Secrets): ClientStore {
  const { of, keep, forget } = createRemembered(secrets, (value) => givenClient.safeParse(value).data);
  return {
    of,
    async give({ clientSecret, ...client }) {
      const before = await of(client.issuer);
      const secret = clientSecret ?? (before?.clientId === client.clientId ? before.clientSecret : undefined);
      await keep(client.issuer, { ...client, ...(secret === undefined ? {} : { clientSecret: secret }) });
    },
    forget,
  };
}

/** As it is presented to its server. */
export function presented({ clientId, clientSecret, issuer }: GivenClient): StoredOAuthClientInformation {
  return { client_id: clientId, issuer, ...(clientSecret === undefined ? {} : { client_secret: clientSecret }) };
}

/** As it is shown to people. */
export function shown({ clientSecret, ...client }: GivenClient): SignInClient {
  return { ...client, hasSecret: clientSecret !== undefined };
}

/** Whether what a connection keeps came to the client that is in use at its issuer now; no other may have it (RFC 6749, 6). */
export function isInUse(kept: StoredOAuthClientInformation, given: GivenClient | undefined): boolean {
  return given === undefined ? isRegistered(kept) : given.clientId === kept.client_id;
}

/** Whether its server registered it by itself: then it also wrote down where it may be sent back to (RFC 7591, 3.2.1). */
export function isRegistered(client: StoredOAuthClientInformation): boolean {
  return "redirect_uris" in client;
}

/** Whether an error of OAuth may go away with another client: its id, its secret or where it may be sent back to. */
export function isAboutClient(code: string): boolean {
  return ["invalid_client", "unauthorized_client", "invalid_request"].includes(code);
}

/** Nobody can sign in before somebody gives a client, or another one. */
export class ClientNeeded extends AppError {
  readonly client: SignInClient;

  constructor(client: SignInClient, message: string, options: { code?: ErrorCode; cause?: unknown } = {}) {
    super(options.code ?? "GATEWAY_REFUSED", { message, cause: options.cause });
    this.client = client;
  }
}
