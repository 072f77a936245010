import { AppError } from "../../../shared/errors.ts";

/** What the vault needs of an operating system's keychain. Entries are found by account below one service name. */
export interface Keychain {
  get(account: string): Promise<string | undefined>;
  set(account: string, value: string): Promise<void>;
  delete(account: string): Promise<void>;
}

/** A keychain that asks a person to unlock it may take this long; one that hangs must not hang the app. */
const answerTimeoutMs = 30_000;

/**
 * The keychain of this operating system through keytar: Keychain on macOS, Credential Manager on Windows, the Secret
 * Service on Linux. Loads the native part here and now, and throws when it, or the service behind it, is not there.
 */
export async function openKeychain(service: string): Promise<Keychain> {
  const { default: keytar } = await import("keytar");
  return {
    get: async (account) => (await answered(keytar.getPassword(service, account))) ?? undefined,
    set: (account, value) => answered(keytar.setPassword(service, account, value)),
    delete: async (account) => void (await answered(keytar.deletePassword(service, account))),
  };
}

async function answered<T>(call: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new AppError("DEADLINE_EXCEEDED", { message: "The keychain did not answer." })),
      answerTimeoutMs,
    );
  });
  try {
    return await Promise.race([call, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
