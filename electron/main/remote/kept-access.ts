import type { StoredOAuthClientInformation, StoredOAuthTokens } from "@modelcontextprotocol/client";
import { z } from "zod";
import { createRemembered, type Secrets } from "./remembered.ts";

/*
INVARIANTS
- What a sign-in brought belongs to one connection and one address: at another address it is forgotten, never sent.
- It is kept in the vault and in this process's memory, and nowhere else.
*/

/** What a connection has of the authorization server in front of its endpoint. */
export type KeptAccess = {
  endpoint: string;
  client?: StoredOAuthClientInformation | undefined;
  tokens?: StoredOAuthTokens | undefined;
};

const keptAccess = z.object({
  endpoint: z.string(),
  client: z.looseObject({ client_id: z.string() }).optional(),
  tokens: z.looseObject({ access_token: z.string(), token_type: z.string() }).optional(),
});

export interface AccessStore {
  /** What is kept for this address; empty when there is nothing. */
  of(connectionId: string, endpoint: URL): Promise<KeptAccess>;
  /** As which client this connection has signed in, or is about to. */
  clientOf(connectionId: string): Promise<KeptAccess["client"]>;
  keep(connectionId: string, access: KeptAccess): Promise<void>;
  forget(connectionId: string): Promise<void>;
}

export function createAccessStore(secrets: Secrets): AccessStore {
  const kept = createRemembered(secrets, (value) => keptAccess.safeParse(value).data as KeptAccess | undefined);
  return {
    ...kept,
    async of(connectionId, { href: endpoint }) {
      const access = await kept.of(connectionId);
      if (access?.endpoint === endpoint) return access;
      if (access !== undefined) await kept.forget(connectionId);
      return { endpoint };
    },
    clientOf: async (connectionId) => (await kept.of(connectionId))?.client,
  };
}
