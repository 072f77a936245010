import { randomBytes } from "node:crypto";
import { z } from "zod";
import { timestampMs } from "../../shared/model/ids.ts";
import type { DataFolder } from "./data-folder.ts";
import { SettingsError } from "./settings.ts";
import { hashToken, isSameHash, tokenHash } from "./token-hash.ts";

/*
The tokens with which a toolbox is controlled.

INVARIANTS
- Tokens are known by their SHA-256 only; one that was made here is told once, in the answer of the call that made it.
- What is presented is compared with every hash there is, each in constant time.
- A change is on disk, as one file replaced as a whole, before anybody is told: a kill at any moment leaves the state
  before it or the one after it.
- A configured token is taken over when it is another one than was taken over last. So one that was rotated away does not
  come back with the next start, and a newly configured one replaces all there are.
- A file that cannot be understood is never replaced: it ends the start, with what to do.
- An enrolment key is burnt by the same write that adds the token made for it: it never makes two.
*/

const fileName = "tokens.json";
/** Where the only token was kept before tokens could be rotated. */
const olderFileName = "token.sha256";

/** setTimeout goes no further. */
const longestTimerMs = 2 ** 31 - 1;

const hash = z.string().regex(tokenHash);
const kept = z.object({
  tokens: z.array(
    z.object({
      hash,
      createdAt: timestampMs,
      expiresAt: timestampMs.nullable(),
      /** Shorter than new ones have to be: from the configuration of the agent that ran here before. */
      isShort: z.boolean().default(false),
    }),
  ),
  /** The configured token that was taken over last. */
  imported: hash.nullable(),
  /** Hashes of enrolment keys that were used. */
  burntKeys: z.array(hash),
});
type State = z.infer<typeof kept>;

export type ConfiguredToken = { hash: string; isShort: boolean };
export type Enrolment = { keyHash: string; expiresAt: number };
/** `id`: the first eight hex digits of the token's hash, by which logs and the audit name it. */
export type KnownToken = { id: string; isShort: boolean };

export interface Tokens {
  find(presented: string): KnownToken | undefined;
  /** A new token. The ones before stay good for the overlap, or as long as they were to stay anyway. */
  rotate(overlapSeconds: number): Promise<string>;
  /** A new token beside the ones before; undefined for a key that is wrong, used, expired, or when none was set. */
  enrol(key: string): Promise<string | undefined>;
  /** Tells the id of every token that is good no more. */
  onEnd(listener: (id: string) => void): void;
  /** The token that was made because there was none at all, this once. */
  made: string | undefined;
}

export type TokensDeps = {
  data: DataFolder;
  configured: ConfiguredToken | undefined;
  enrolment: Enrolment | undefined;
  now?: () => number;
};

/** Loads the tokens, and takes over what is configured. Without any token and any enrolment it makes the first one. */
export async function openTokens({ data, configured, enrolment, now = Date.now }: TokensDeps): Promise<Tokens> {
  let state = await read(data, now());
  let lastChange: Promise<unknown> = Promise.resolve();
  let timer: NodeJS.Timeout | undefined;
  const listeners: ((id: string) => void)[] = [];

  const isGood = ({ expiresAt }: State["tokens"][number]) => expiresAt === null || expiresAt > now();

  async function save(next: State): Promise<void> {
    const good = { ...next, tokens: next.tokens.filter(isGood) };
    await data.write(fileName, `${JSON.stringify(good)}\n`);
    take(good);
  }

  function take(next: State): void {
    const ended = state.tokens.filter((token) => !next.tokens.some((other) => other.hash === token.hash));
    state = next;
    for (const token of ended) for (const listener of listeners) listener(idOf(token.hash));
    clearTimeout(timer);
    const nextEnd = Math.min(...state.tokens.map(({ expiresAt }) => expiresAt ?? Number.POSITIVE_INFINITY));
    if (nextEnd === Number.POSITIVE_INFINITY) return;
    // What has expired is refused by its date; this only ends what is still open with it.
    const prune = () => take({ ...state, tokens: state.tokens.filter(isGood) });
    timer = setTimeout(prune, Math.min(longestTimerMs, Math.max(1, nextEnd - now()))).unref();
  }

  /** Changes follow one another, each from the state the one before left on disk. */
  function change<T>(work: () => Promise<T>): Promise<T> {
    const done = lastChange.catch(() => {}).then(work);
    lastChange = done;
    return done;
  }

  const entryOf = (token: string) => ({ hash: hashToken(token), createdAt: now(), expiresAt: null, isShort: false });

  let made: string | undefined;
  if (configured !== undefined && configured.hash !== state.imported) {
    const { hash, isShort } = configured;
    await save({ ...state, tokens: [{ hash, createdAt: now(), expiresAt: null, isShort }], imported: hash });
  } else if (state.tokens.length === 0 && enrolment === undefined) {
    made = makeToken();
    await save({ ...state, tokens: [entryOf(made)] });
  } else take(state);

  return {
    made,
    find(presented) {
      const hash = hashToken(presented);
      // Every one is compared, found or not, so that the time says nothing about which.
      const found = state.tokens.filter((token) => isSameHash(token.hash, hash)).find(isGood);
      return found === undefined ? undefined : { id: idOf(found.hash), isShort: found.isShort };
    },
    rotate: (overlapSeconds) =>
      change(async () => {
        const token = makeToken();
        const endsAt = now() + overlapSeconds * 1_000;
        const before = state.tokens.map((each) => ({ ...each, expiresAt: Math.min(each.expiresAt ?? endsAt, endsAt) }));
        await save({ ...state, tokens: [...before, entryOf(token)] });
        return token;
      }),
    enrol: (key) =>
      change(async () => {
        const keyHash = hashToken(key);
        const isRight = isSameHash(keyHash, enrolment?.keyHash ?? hashToken(""));
        if (!isRight || enrolment === undefined || enrolment.expiresAt <= now() || state.burntKeys.includes(keyHash)) {
          return undefined;
        }
        const token = makeToken();
        await save({ ...state, tokens: [...state.tokens, entryOf(token)], burntKeys: [...state.burntKeys, keyHash] });
        return token;
      }),
    onEnd: (listener) => void listeners.push(listener),
  };
}

async function read(data: DataFolder, nowMs: number): Promise<State> {
  const text = await data.read(fileName);
  if (text !== undefined) return understand(data, text);
  const older = (await data.read(olderFileName))?.trim() ?? "";
  const tokens = tokenHash.test(older) ? [{ hash: older, createdAt: nowMs, expiresAt: null, isShort: false }] : [];
  return { tokens, imported: null, burntKeys: [] };
}

function understand(data: DataFolder, text: string): State {
  try {
    return kept.parse(JSON.parse(text));
  } catch {
    throw new SettingsError(
      `The file ${data.path}/${fileName} with the toolbox's tokens cannot be understood: put a copy of it back, or remove it to start with the configured token or a new one.`,
    );
  }
}

function idOf(hash: string): string {
  return hash.slice(0, 8);
}

/** The prefix is how logs know a token of ours by its shape. */
function makeToken(): string {
  return `dtma_${randomBytes(32).toString("base64url")}`;
}
