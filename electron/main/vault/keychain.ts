import { inParts } from "./in-parts.ts";
import { inTurns } from "./in-turns.ts";

/** What the vault needs of an operating system's keychain. Entries are found by account below one service name. */
export interface Keychain {
  get(account: string): Promise<string | undefined>;
  set(account: string, value: string): Promise<void>;
  delete(account: string): Promise<void>;
}

/** Credential Manager takes 2,560 bytes (CRED_MAX_CREDENTIAL_BLOB_SIZE); a sign-in with its tokens may be longer. */
const windowsEntryBytes = 2_560;

/**
 * The keychain of this operating system through keytar: Keychain on macOS, Credential Manager on Windows, the Secret
 * Service on Linux. Loads the native part here and now, and throws when it, or the service behind it, is not there.
 */
export async function openKeychain(service: string): Promise<Keychain> {
  const { default: keytar } = await import("keytar");
  const get: Keychain["get"] = async (account) => (await keytar.getPassword(service, account)) ?? undefined;
  const keychain: Keychain = {
    get,
    set: (account, value) => keytar.setPassword(service, account, value),
    async delete(account) {
      try {
        await keytar.deletePassword(service, account);
      } catch (error) {
        // Another program may have deleted it between libsecret's search and its delete, which then fails.
        if ((await get(account)) !== undefined) throw error;
      }
    },
  };
  return inTurns(process.platform === "win32" ? inParts(keychain, windowsEntryBytes) : keychain);
}
