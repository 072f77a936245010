import { describe, expect, it } from "vitest";
import type { Facts } from "../../../shared/model/facts.ts";
import { createVault, type SecretKey } from "./index.ts";
import type { Keychain } from "./keychain.ts";

const key: SecretKey = { kind: "server-secret", id: "one", name: "API_KEY" };

function memoryKeychain(overrides: Partial<Keychain> = {}): Keychain & { entries: Map<string, string> } {
  const entries = new Map<string, string>();
  return {
    entries,
    get: async (account) => entries.get(account),
    set: async (account, value) => void entries.set(account, value),
    delete: async (account) => void entries.delete(account),
    ...overrides,
  };
}

async function vaultOver(openKeychain: () => Promise<Keychain>) {
  const conditions: Facts["keychain"][] = [];
  return { vault: await createVault({ openKeychain, onCondition: (condition) => conditions.push(condition) }), conditions };
}

describe("the vault", () => {
  it("keeps secrets in the keychain, each under what it belongs to", async () => {
    const keychain = memoryKeychain();
    const { vault, conditions } = await vaultOver(async () => keychain);
    await vault.set(key, "one");
    await vault.set({ ...key, name: "OTHER" }, "two");
    expect(await vault.get(key)).toBe("one");
    expect([...keychain.entries.values()].sort()).toEqual(["one", "two"]);
    await vault.delete(key);
    expect(await vault.get(key)).toBeUndefined();
    expect(conditions).toEqual([{ state: "available" }]);
  });

  it("keeps secrets in memory and says why when there is no keychain", async () => {
    const { vault, conditions } = await vaultOver(() => Promise.reject(new Error("no Secret Service\nmore")));
    await vault.set(key, "value");
    expect(await vault.get(key)).toBe("value");
    expect(conditions).toEqual([{ state: "memory-only", reason: "no Secret Service" }]);
  });

  it("does not trust a keychain that gives back something else", async () => {
    const { conditions } = await vaultOver(async () => memoryKeychain({ get: async () => "other" }));
    expect(conditions.at(-1)?.state).toBe("memory-only");
  });

  it("keeps a secret for this run when the keychain stops taking them", async () => {
    const keychain = memoryKeychain();
    const { vault, conditions } = await vaultOver(async () => keychain);
    keychain.set = () => Promise.reject(new Error("locked"));
    await vault.set(key, "value");
    expect(await vault.get(key)).toBe("value");
    expect(conditions.at(-1)).toEqual({ state: "memory-only", reason: "locked" });
  });

  it("throws, and does not say that nothing is there, when reading fails", async () => {
    const keychain = memoryKeychain();
    const { vault } = await vaultOver(async () => keychain);
    keychain.get = () => Promise.reject(new Error("locked"));
    await expect(vault.get(key)).rejects.toThrow("locked");
  });
});
