import type { Exposure, ToolboxCall } from "../../shared/contract/toolboxes.ts";
import type { RegistryLogin } from "../../shared/dtma-protocol.ts";
import type { ToolboxId } from "../../shared/model/ids.ts";
import type { Links } from "./links.ts";
import type { Vault } from "./vault/index.ts";

/*
What an admin looks after on a toolbox itself: its token, its registries, who called it.

INVARIANTS
- A new token is in the vault before anything else is done with it, and the old one always stays good for a while: an
  answer that is lost on its way locks nobody out.
- Passwords of registries go to the toolbox and are not kept here.
*/

export interface Upkeep {
  rotateToken(id: ToolboxId, overlapSeconds: number): Promise<void>;
  registries(id: ToolboxId): Promise<RegistryLogin[]>;
  setRegistry(id: ToolboxId, registry: string, credentials: { username: string; password: string }): Promise<void>;
  removeRegistry(id: ToolboxId, registry: string): Promise<void>;
  /** Newest first. */
  audit(id: ToolboxId): Promise<ToolboxCall[]>;
  exposure(id: ToolboxId): Promise<Exposure | null>;
}

const auditShown = 1_000;

export function createUpkeep({ links, vault }: { links: Links; vault: Vault }): Upkeep {
  return {
    async rotateToken(id, overlapSeconds) {
      await vault.set({ kind: "toolbox", id }, await links.client(id).rotateToken(overlapSeconds));
    },
    registries: (id) => links.client(id).registries(),
    setRegistry: (id, registry, credentials) => links.client(id).putRegistry(registry, credentials),
    removeRegistry: (id, registry) => links.client(id).deleteRegistry(registry),
    async audit(id) {
      const calls = await links.client(id).audit(auditShown);
      return calls.map(({ token, ...entry }) => ({ ...entry, caller: token }));
    },
    exposure: async (id) => (await links.client(id).exposure()) ?? null,
  };
}
