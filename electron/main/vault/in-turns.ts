import { AppError } from "../../../shared/errors.ts";
import type { Keychain } from "./keychain.ts";

/** A keychain that asks a person to unlock it may take this long; one that hangs must not hang the app. */
const answerTimeoutMs = 30_000;

/** Of the process, as what it is about: keytar's threads share one connection to the Secret Service. */
let last: Promise<unknown> = Promise.resolve();

/**
 * One call after the other, of every keychain of this process: keytar runs each on a thread of its own, and libsecret's
 * calls fail when another one changes what they are looking at. One that hangs holds up the rest, each until its own time is
 * over (DEADLINE_EXCEEDED); a call that was given up before its turn is not made.
 */
export function inTurns(keychain: Keychain): Keychain {
  return {
    get: (account) => inTurn(() => keychain.get(account)),
    set: (account, value) => inTurn(() => keychain.set(account, value)),
    delete: (account) => inTurn(() => keychain.delete(account)),
  };
}

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
