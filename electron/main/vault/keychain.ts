import { AppError } from "../../../shared/errors.ts";
import { inParts } from "./in-parts.ts";

/** What the vault needs of an operating system's keychain. Entries are found by account below one service name. */
export interface Keychain {
  get(account: string): Promise<string | undefined>;
  set(account: string, value: string): Promise<void>;
  delete(account: string): Promise<void>;
}

/** A keychain that asks a person to unlock it may take this long; one that hangs must not hang the app. */
const answerTimeoutMs = 30_000;
/** Credential Manager takes 2,560 bytes (CRED_MAX_CREDENTIAL_BLOB_SIZE); a sign-in with its tokens may be longer. */
const windowsEntryBytes = 2_560;

/**
 * The keychain of this operating system through keytar: Keychain on macOS, Credential Manager on Windows, the Secret
 * Service on Linux. Loads the native part here and now, and throws when it, or the service behind it, is not there.
 */
export async function openKeychain(service: string): Promise<Keychain> {
  const { default: keytar } = await import("keytar");
  const get: Keychain["get"] = async (account) => (await inTurn(() => keytar.getPassword(service, account))) ?? undefined;
  const keychain: Keychain = {
    get,
    set: (account, value) => inTurn(() => keytar.setPassword(service, account, value)),
    async delete(account) {
      try {
        await inTurn(() => keytar.deletePassword(service, account));
      } catch (error) {
        // Another program may have deleted it between libsecret's search and its delete, which then fails.
        if ((await get(account)) !== undefined) throw error;
      }
    },
  };
  return process.platform === "win32" ? inParts(keychain, windowsEntryBytes) : keychain;
}

let last: Promise<unknown> = Promise.resolve();

/**
 * Calls of this process, one after the other: keytar runs each on a thread of its own, and libsecret's calls fail when
 * another one changes what they are looking at. One that hangs holds up the rest, each until its own time is over; a call
 * that was given up before its turn is not made.
 */
function inTurn<T>(call: () => Promise<T>): Promise<T> {
  let isWaiting = true;
  const turn = last.then(() => (isWaiting ? call() : Promise.reject(new Error("It was given up."))));
  last = turn.catch(() => undefined);
  return answered(turn).finally(() => {
    isWaiting = false;
  });
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
