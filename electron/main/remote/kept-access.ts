import type { StoredOAuthClientInformation, StoredOAuthTokens } from "@modelcontextprotocol/client";
import { z } from "zod";

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

/** A place in the vault, by what it belongs to: access by connection, clients by issuer. */
export type Secrets = {
  get(id: string): Promise<string | undefined>;
  set(id: string, value: string): Promise<void>;
  delete(id: string): Promise<void>;
};

export interface AccessStore {
  /** What is kept for this address; empty when there is nothing. */
  of(connectionId: string, endpoint: URL): Promise<KeptAccess>;
  /** As which client this connection has signed in, or is about to. */
  clientOf(connectionId: string): Promise<KeptAccess["client"]>;
  keep(connectionId: string, access: KeptAccess): Promise<void>;
  forget(connectionId: string): Promise<void>;
}

export function createAccessStore(secrets: Secrets): AccessStore {
  /** A call reads it each time, and a keychain is slow. */
  const known = new Map<string, Promise<KeptAccess | undefined>>();

  async function read(connectionId: string): Promise<KeptAccess | undefined> {
    const value = await secrets.get(connectionId);
    // What another version kept and this one does not understand is asked for again.
    return value === undefined ? undefined : (keptAccess.safeParse(JSON.parse(value)).data as KeptAccess | undefined);
  }

  function reading(connectionId: string): Promise<KeptAccess | undefined> {
    const value = known.get(connectionId) ?? read(connectionId);
    known.set(connectionId, value);
    value.catch(() => known.delete(connectionId));
    return value;
  }

  async function forget(connectionId: string): Promise<void> {
    known.set(connectionId, Promise.resolve(undefined));
    await secrets.delete(connectionId);
  }

  return {
    async of(connectionId, { href: endpoint }) {
      const kept = await reading(connectionId);
      if (kept?.endpoint === endpoint) return kept;
      if (kept !== undefined) await forget(connectionId);
      return { endpoint };
    },
    clientOf: async (connectionId) => (await reading(connectionId))?.client,
    async keep(connectionId, access) {
      known.set(connectionId, Promise.resolve(access));
      await secrets.set(connectionId, JSON.stringify(access));
    },
    forget,
  };
}
