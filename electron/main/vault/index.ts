import { randomUUID } from "node:crypto";
import type { Facts } from "../../../shared/model/facts.ts";
import type { Keychain } from "./keychain.ts";

/*
INVARIANTS
- A secret is in the keychain or in this process's memory, and nowhere else; there is no file to fall back to.
- A secret whose write to the keychain failed stays usable for this run, and the condition says so.
- A failure never looks like "there is no such secret": reading throws when the keychain does.
*/

/** What a secret belongs to. The value of a toolbox is its DTMA token, of a connection the agent's token. */
export type SecretKey =
  | { kind: "toolbox"; id: string }
  | { kind: "connection"; id: string }
  /** What signing in at a gateway in front of its toolbox brought a connection: tokens, and the client that was registered. */
  | { kind: "sign-in"; id: string }
  /** By issuer: the client with which people sign in there, where somebody registered it by hand. */
  | { kind: "sign-in-client"; id: string }
  /** What proves the person to the shared database: a password, or the session that is renewed. */
  | { kind: "account"; id: string }
  /** With which a toolbox reports to the shared database; of a workspace, the login role its toolboxes use. */
  | { kind: "reporting"; id: string }
  | { kind: "reporting-login"; id: string }
  | { kind: "server-secret"; id: string; name: string };

export interface Vault {
  get(key: SecretKey): Promise<string | undefined>;
  set(key: SecretKey, value: string): Promise<void>;
  delete(key: SecretKey): Promise<void>;
  condition(): Facts["keychain"];
}

export type VaultDeps = {
  /** Opens the keychain; a rejection means this run keeps its secrets in memory. */
  openKeychain(): Promise<Keychain>;
  /** Told whenever the condition changes, the first time before `createVault` resolves. */
  onCondition(condition: Facts["keychain"]): void;
};

/** Opens the vault and proves the keychain by writing, reading and deleting an entry of its own. Never rejects. */
export async function createVault(deps: VaultDeps): Promise<Vault> {
  const memory = new Map<string, string>();
  let condition: Facts["keychain"] = { state: "unknown" };
  let keychain: Keychain | undefined;

  function become(next: Facts["keychain"]): void {
    condition = next;
    deps.onCondition(next);
  }

  try {
    keychain = await deps.openKeychain();
    await prove(keychain);
    become({ state: "available" });
  } catch (error) {
    keychain = undefined;
    become({ state: "memory-only", reason: reasonOf(error) });
  }

  return {
    condition: () => condition,
    async get(key) {
      const account = accountOf(key);
      return memory.get(account) ?? (await keychain?.get(account));
    },
    async set(key, value) {
      const account = accountOf(key);
      if (keychain !== undefined) {
        try {
          await keychain.set(account, value);
          memory.delete(account);
          return;
        } catch (error) {
          become({ state: "memory-only", reason: reasonOf(error) });
        }
      }
      memory.set(account, value);
    },
    async delete(key) {
      const account = accountOf(key);
      memory.delete(account);
      await keychain?.delete(account);
    },
  };
}

async function prove(keychain: Keychain): Promise<void> {
  const value = randomUUID();
  const account = `proof:${value}`;
  await keychain.set(account, value);
  const read = await keychain.get(account);
  await keychain.delete(account);
  if (read !== value) throw new Error("The keychain did not give back what was stored.");
}

function accountOf(key: SecretKey): string {
  return key.kind === "server-secret" ? `${key.kind}:${key.id}:${key.name}` : `${key.kind}:${key.id}`;
}

function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split("\n", 1)[0]?.slice(0, 200) ?? "";
}
