import { randomBytes } from "node:crypto";
import type { ReportingTargetInput } from "../../shared/dtma-protocol.ts";
import { toAppError } from "../../shared/errors.ts";
import type { ToolboxId } from "../../shared/model/ids.ts";
import type { SyncCondition } from "../../shared/model/sync.ts";
import type { Links } from "./links.ts";
import type { Logger } from "./log.ts";
import type { Store } from "./store/index.ts";
import { hashOf, toolboxChanged } from "./sync/payloads.ts";
import type { Vault } from "./vault/index.ts";

/*
Telling toolboxes where the shared database is, so that they report by themselves while every admin's computer sleeps.

INVARIANTS
- A toolbox reports with a token of its own. The one that controls it never leaves the vault but towards the toolbox.
- Only an admin's computer tells a toolbox, over a link that is up. One that reports there already is left alone, whoever
  told it, unless the database refuses its token.
- On plain Postgres a toolbox needs a login role besides; without one known here it is not told anything.
*/

/** Tokens with which toolboxes report, made when they are first asked for. */
export type ReportingTokens = { hash(toolboxId: string): Promise<string>; forget(toolboxId: string): Promise<void> };

export interface Reporting {
  /** Looks at one toolbox, or at all whose link is up, and tells those that have to be told. Never rejects. */
  deliver(id?: ToolboxId): Promise<void>;
  /** Keeps the login role with which toolboxes reach a plain Postgres, and tells them. */
  setLogin(login: ReportingLogin): Promise<void>;
}

export type ReportingLogin = { user: string; password: string };

type ReportingDeps = { store: Store; vault: Vault; links: Links; log: Logger; condition(): SyncCondition };

const keyOf = (id: string) => ({ kind: "reporting", id }) as const;

async function mustToken(vault: Vault, id: string): Promise<string> {
  const known = await vault.get(keyOf(id));
  if (known !== undefined) return known;
  const token = `dtma_${randomBytes(32).toString("base64url")}`;
  await vault.set(keyOf(id), token);
  return token;
}

export function createReportingTokens(vault: Vault): ReportingTokens {
  return { hash: async (id) => hashOf(await mustToken(vault, id)), forget: (id) => vault.delete(keyOf(id)) };
}

export function createReporting({ store, vault, links, log, condition }: ReportingDeps): Reporting {
  const under = new Map<ToolboxId, Promise<void>>();
  /** What each toolbox was last found to have, so that it is asked once and not at every pull. */
  const settled = new Map<ToolboxId, string>();

  /** Where toolboxes of this workspace report to, without what is particular to one; undefined while they cannot. */
  async function place() {
    const { account } = condition();
    if (account?.who == null || !account.who.roles.includes("admin")) return undefined;
    if (account.target.transport === "supabase") {
      const { url, publishableKey } = account.target;
      return { kind: "supabase", url, publishableKey, ca: null } as const;
    }
    const { host, port, database, tls, ca } = account.target;
    const login = await readLogin(account.who.workspaceId);
    return login === undefined ? undefined : ({ kind: "postgres", host, port, database, tls, ca, ...login } as const);
  }

  async function readLogin(workspaceId: string): Promise<ReportingLogin | undefined> {
    const kept = await vault.get({ kind: "reporting-login", id: workspaceId });
    return kept === undefined ? undefined : (JSON.parse(kept) as ReportingLogin);
  }

  async function tell(id: ToolboxId): Promise<void> {
    // Asked at every change of the workspace's condition: what needs the keychain comes last.
    if (!links.isUp(id) || store.get("toolboxes", id)?.shared === undefined) return;
    const where = await place();
    if (where === undefined || !links.isUp(id)) return;
    const { toolboxId: _, ...wished } = withoutSecrets({ ...where, toolboxId: id, token: "" });
    const mark = JSON.stringify(wished);
    if (settled.get(id) === mark) return;
    const client = links.client(id);
    const { target, condition: found } = await client.reporting();
    const isThere =
      target !== null &&
      target.toolboxId === id &&
      JSON.stringify(sorted(target)) === JSON.stringify(sorted({ ...wished, toolboxId: id }));
    const isRefused = found?.failure?.error.code === "FORBIDDEN";
    if (!isThere || isRefused) {
      const token = await mustToken(vault, id);
      store.write((tx) => tx.enqueue(toolboxChanged(tx.mustGet("toolboxes", id), { tokenHash: hashOf(token) })));
      await client.setReporting({ ...where, toolboxId: id, token });
      log.info("reporting.told", { toolboxId: id, kind: where.kind });
    }
    settled.set(id, mark);
  }

  function tellInTurn(id: ToolboxId): Promise<void> {
    const turn = (under.get(id) ?? Promise.resolve())
      .then(() => tell(id))
      .catch((error: unknown) => log.warn("reporting.not-told", { toolboxId: id, code: toAppError(error).code, error }));
    under.set(id, turn);
    return turn;
  }

  const deliver: Reporting["deliver"] = async (id) => {
    const ids = id === undefined ? store.list("toolboxes").map((row) => row.id) : [id];
    if (id !== undefined) settled.delete(id);
    await Promise.all(ids.map(tellInTurn));
  };

  return {
    deliver,
    async setLogin(login) {
      const { account } = condition();
      if (account?.who != null)
        await vault.set({ kind: "reporting-login", id: account.who.workspaceId }, JSON.stringify(login));
      settled.clear();
      await deliver();
    },
  };
}

function withoutSecrets(target: ReportingTargetInput) {
  if (target.kind === "supabase") {
    const { token: _, ...rest } = target;
    return rest;
  }
  const { token: _, password: __, ...rest } = target;
  return rest;
}

function sorted(value: object): [string, unknown][] {
  return Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
}
