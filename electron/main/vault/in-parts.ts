import { randomUUID } from "node:crypto";
import type { Keychain } from "./keychain.ts";

/*
Long secrets in a keychain whose entries are short.

INVARIANTS
- Under the account stands the secret itself, or which parts it has; the parts are there before it says so.
- What was there before is whole until it is replaced, and goes with its parts.
*/

const named = /^in-parts:(\d{1,3}):([0-9a-f-]{36})$/;

/** Keeps what is longer than `entryBytes` (of UTF-8) in several entries. */
export function inParts(keychain: Keychain, entryBytes: number): Keychain {
  const partsOf = (account: string, value: string | undefined): string[] => {
    const [, count = "0", id = ""] = named.exec(value ?? "") ?? [];
    return Array.from({ length: Number(count) }, (_, index) => `${account}#${id}.${index}`);
  };
  const removeParts = async (account: string, value: string | undefined): Promise<void> => {
    for (const part of partsOf(account, value)) await keychain.delete(part);
  };

  return {
    async get(account) {
      const value = await keychain.get(account);
      const accounts = partsOf(account, value);
      if (accounts.length === 0) return value;
      const parts: Buffer[] = [];
      for (const part of accounts) {
        const text = await keychain.get(part);
        if (text === undefined) throw new Error("A part of a secret is missing in the keychain.");
        parts.push(Buffer.from(text, "base64"));
      }
      return Buffer.concat(parts).toString();
    },

    async set(account, value) {
      const before = await keychain.get(account);
      const bytes = Buffer.from(value);
      // A part is base64: four letters for three bytes.
      const partBytes = Math.floor(entryBytes / 4) * 3;
      const count = Math.ceil(bytes.length / partBytes);
      const head = bytes.length <= entryBytes ? value : `in-parts:${count}:${randomUUID()}`;
      try {
        for (const [index, part] of partsOf(account, head).entries())
          await keychain.set(part, bytes.subarray(index * partBytes, (index + 1) * partBytes).toString("base64"));
        await keychain.set(account, head);
      } catch (error) {
        await removeParts(account, head).catch(() => undefined);
        throw error;
      }
      await removeParts(account, before);
    },

    async delete(account) {
      const before = await keychain.get(account);
      await keychain.delete(account);
      await removeParts(account, before);
    },
  };
}
