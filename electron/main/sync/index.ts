import { randomUUID } from "node:crypto";
import { AppError } from "../../../shared/errors.ts";
import { type DatabaseTarget, localCondition, type SyncCondition } from "../../../shared/model/sync.ts";
import type { AuditPage, Loads, NewPerson, PersonRow, WorkspaceSettings } from "../../../shared/sync-protocol.ts";
import type { Logger } from "../log.ts";
import type { Store } from "../store/index.ts";
import type { Chore, StoredAccount } from "../store/outbox.ts";
import { assertCompatible, forgetAccount, type TokenHashes, toWho } from "./account.ts";
import type { SharedDatabase } from "./database.ts";
import { createEngine } from "./engine.ts";
import { recoverQueue } from "./push.ts";
import { createQueue, type Queue } from "./queue.ts";
import type { SupabaseSignIn } from "./supabase.ts";
import { type LinkState, toSyncLink } from "./transition.ts";

/*
INVARIANTS
- An account is stored only after the database has answered to it once, and its secret is in the vault before.
- Secrets of people (password, session) come in, go to the vault and to the transport, and nowhere else.
- Roles are what the database said last; without a database the one person here is admin and user.
*/

/** What proves a person to the database. A session is made from a password and renewed by the transport. */
export type Credential =
  | { kind: "password"; email?: string | undefined; password: string }
  | { kind: "session"; refreshToken: string }
  /** Fresh from the browser; becomes a session when it is kept. */
  | Extract<SupabaseSignIn, { kind: "made" }>;

export type OpenDatabase = (
  target: DatabaseTarget,
  credential: Credential,
  /** Told what to keep for the next time, when that is something else than what was given. */
  onCredential: (credential: Credential) => Promise<void>,
) => Promise<SharedDatabase>;

export type Role = "admin" | "user";

export interface Sync {
  readonly queue: Queue;
  start(): void;
  stop(): Promise<void>;
  condition(): SyncCondition;
  /** Called when the condition changed: link, account, roles, age or queue. Returns the unsubscriber. */
  onCondition(listener: () => void): () => void;
  roles(): Role[];
  /** Begins to share. Rows that exist only here are sent after the first pull, if asked for. Fails like `whoAmI`. */
  connect(target: DatabaseTarget, credential: Credential, options: { bringsLocalRows: boolean }): Promise<void>;
  /** Signs the same person in again. CONFLICT when it is somebody else, or another workspace. */
  signIn(credential: Credential): Promise<void>;
  /** Forgets the account, its rows and its secrets. QUEUE_NOT_EMPTY unless `losesQueue`. */
  signOut(options: { losesQueue: boolean }): Promise<void>;
  /** Tries to connect now instead of at the planned time. */
  retryNow(): void;
  /** This computer woke up, or its network changed. */
  wake(): void;
  addPerson(person: NewPerson): Promise<PersonRow>;
  setRole(personId: string, role: Role, isGranted: boolean): Promise<PersonRow>;
  setWorkspace(settings: WorkspaceSettings): Promise<void>;
  loads(toolboxId: string): Promise<Loads>;
  audit(before: number | null, limit: number): Promise<AuditPage>;
}

export type SyncDeps = {
  store: Store;
  log: Logger;
  open: OpenDatabase;
  /** The vault's place for an account's credential. */
  secrets: { get(accountId: string): Promise<string | undefined>; set(accountId: string, value: string): Promise<void> };
  hashes: TokenHashes;
  doChore(chore: Chore): Promise<void>;
  onToolboxes(ids: string[]): void;
  now?: () => number;
  random?: () => number;
};

export function createSync({ store, log, open, secrets, hashes, doChore, onToolboxes, ...seams }: SyncDeps): Sync {
  const now = seams.now ?? Date.now;
  const listeners = new Set<() => void>();
  let told = JSON.stringify(localCondition);

  const tell = () => {
    const current = JSON.stringify(condition());
    if (current === told) return;
    told = current;
    for (const listener of listeners) listener();
  };

  const engine = createEngine({
    store,
    log,
    hashes,
    onToolboxes,
    now,
    random: seams.random ?? Math.random,
    onState: tell,
    doChores,
    async open() {
      const account = store.sync.account();
      const kept = account === undefined ? undefined : await secrets.get(account.id);
      if (account === undefined || kept === undefined)
        throw new AppError("SIGN_IN_REFUSED", {
          message: "The sign-in to the shared database is not in the keychain any more.",
        });
      return open(account.target, JSON.parse(kept), keeper(account.id));
    },
  });
  const stopWatching = store.onChange(() => {
    engine.poke();
    tell();
  });

  const keeper = (accountId: string) => (credential: Credential) => secrets.set(accountId, JSON.stringify(credential));

  async function doChores(): Promise<void> {
    for (const { id, chore } of store.sync.chores()) {
      await doChore(chore);
      store.write((tx) => tx.sync.removeChore(id));
    }
  }

  function condition(): SyncCondition {
    const account = store.sync.account();
    if (account === undefined) return localCondition;
    const state: LinkState = engine.state();
    return {
      link: state.state === "local" ? { state: "connecting", since: 0 } : toSyncLink(state),
      account: { target: account.target, who: account.who },
      isFirstPull: account.phase === "first-pull",
      lastPullAt: store.sync.lastPullAt() ?? null,
      ...store.sync.countQueue(),
    };
  }

  /** Proves a credential against a database. Returns who it belongs to, and what to keep of it. */
  async function prove(target: DatabaseTarget, credential: Credential) {
    let kept = credential;
    const database = await open(target, credential, async (next) => {
      kept = next;
    });
    try {
      const who = await database.whoAmI();
      assertCompatible(who);
      return { who: toWho(who), kept: () => kept };
    } finally {
      await database.close();
    }
  }

  return {
    queue: createQueue(store),
    start() {
      recoverQueue(store);
      doChores().catch((error: unknown) => log.warn("sync.chores-failed", { error }));
      if (store.sync.account() !== undefined) engine.dispatch({ type: "signed-in" });
      tell();
    },
    async stop() {
      stopWatching();
      await engine.stop();
    },
    condition,
    onCondition(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    roles() {
      const account = store.sync.account();
      if (account === undefined) return ["admin", "user"];
      const roles = account.who?.roles ?? [];
      // Whoever waits to be let in sees an empty workspace, not an error.
      return roles.includes("admin") ? ["admin", "user"] : ["user"];
    },
    async connect(target, credential, { bringsLocalRows }) {
      if (store.sync.account() !== undefined)
        throw new AppError("ALREADY_EXISTS", { message: "This workspace is shared already. Sign out first." });
      const { who, kept } = await prove(target, credential);
      const account: StoredAccount = { id: randomUUID(), target, who, phase: "first-pull", bringsLocalRows };
      await secrets.set(account.id, JSON.stringify(kept()));
      if (store.sync.account() !== undefined)
        throw new AppError("ALREADY_EXISTS", { message: "This workspace is shared already." });
      store.write((tx) => tx.sync.setAccount(account));
      engine.dispatch({ type: "signed-in" });
      tell();
    },
    async signIn(credential) {
      const account = store.sync.account();
      if (account === undefined) throw new AppError("NOT_FOUND", { message: "This workspace has no shared database." });
      const { who, kept } = await prove(account.target, credential);
      const known = account.who;
      if (known !== null && (known.userId !== who.userId || known.workspaceId !== who.workspaceId))
        throw new AppError("CONFLICT", {
          message: `This workspace belongs to ${known.name}. Sign out before somebody else signs in.`,
        });
      await secrets.set(account.id, JSON.stringify(kept()));
      store.write((tx) => tx.sync.setAccount({ ...(tx.sync.account() ?? account), who }));
      engine.dispatch({ type: "signed-in" });
      tell();
    },
    async signOut({ losesQueue }) {
      const { queued, parked } = store.sync.countQueue();
      if (queued + parked > 0 && !losesQueue) {
        const count = queued + parked === 1 ? "1 change is" : `${queued + parked} changes are`;
        throw new AppError("QUEUE_NOT_EMPTY", { message: `${count} not in the shared database yet.` });
      }
      engine.dispatch({ type: "signed-out" });
      const closed = store.write(forgetAccount);
      onToolboxes(closed);
      tell();
      await doChores();
    },
    retryNow: () => engine.dispatch({ type: "due" }),
    wake: () => engine.dispatch({ type: "woken" }),
    async addPerson(person) {
      const added = await engine.ask((database) => database.addPerson(person));
      engine.pullNow();
      return added;
    },
    async setRole(personId, role, isGranted) {
      const changed = await engine.ask((database) => database.setRole(personId, role, isGranted));
      engine.pullNow();
      return changed;
    },
    async setWorkspace(settings) {
      const who = toWho(await engine.ask((database) => database.setWorkspace(settings)));
      store.write((tx) => {
        const account = tx.sync.account();
        if (account !== undefined) tx.sync.setAccount({ ...account, who });
      });
      tell();
    },
    loads: (toolboxId) => engine.ask((database) => database.loads(toolboxId)),
    audit: (before, limit) => engine.ask((database) => database.audit(before, limit)),
  };
}
