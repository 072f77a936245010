import { AppError, toAppError } from "../../../shared/errors.ts";
import type { ConnectionId } from "../../../shared/model/ids.ts";
import type { NeededClient, SignInClient, WaitingSignIn } from "../../../shared/model/sign-in.ts";
import type { Logger } from "../log.ts";
import { createWaysBack } from "../way-back.ts";
import type { AccessNeeded } from "./access.ts";
import { ClientNeeded, createClientStore, type GivenClient, isInUse, shown } from "./given-clients.ts";
import { createAccessStore, type KeptAccess } from "./kept-access.ts";
import type { McpTarget } from "./mcp.ts";
import type { Secrets } from "./remembered.ts";
import { fetchFor, findAuthorizationServer, signIn, toSignInError } from "./sign-in-attempt.ts";
import { untilAborted } from "./until-aborted.ts";

/*
Who has signed in, or is about to, at what stands in front of an MCP endpoint.

INVARIANTS
- A connection has one sign-in at a time: calls that come meanwhile wait for it, and one page is opened.
- A sign-in that nobody waits for any more ends.
- An access token that was renewed meanwhile is tried before anybody is asked again.
- What came to a client that is not in use at its issuer any more is not used.
*/

type Endpoint = McpTarget["endpoint"];

export interface SignIns {
  accessToken(connectionId: string, endpoint: URL): Promise<string | undefined>;
  /**
   * Gets the access that is needed: silently when it can be renewed, else by way of a person. False where the endpoint names
   * nobody who could give it. GATEWAY_REFUSED, DEADLINE_EXCEEDED, CANCELLED.
   */
  obtain(connectionId: string, endpoint: Endpoint, needed: AccessNeeded, signal: AbortSignal | undefined): Promise<boolean>;
  /** Ends the sign-in that is under way, and the calls that wait for it. */
  cancel(connectionId: string): void;
  /** Ends the sign-in that is under way and forgets what one has brought. */
  forget(connectionId: string): Promise<void>;
  /** The given client with which a connection signs in; null where it signs in as none, or nowhere. */
  clientOf(connectionId: string): Promise<SignInClient | null>;
  /** For every connection that signs in at its issuer. Without a secret, the one that is kept for the same client stays. */
  giveClient(client: GivenClient): Promise<void>;
  /** Whoever signs in there is asked for a client again. */
  forgetClient(issuer: string): Promise<void>;
  close(): void;
}

export type SignInsDeps = {
  secrets: Secrets;
  clientSecrets: Secrets;
  /** All that may have signed in. */
  connections(): string[];
  /** Opens a page in the system's browser. */
  openPage(url: string): void;
  /** Told who is waited for, whenever that changes. */
  onWaiting(waiting: WaitingSignIn[]): void;
  /** Told which connections need a client, whenever that changes. */
  onClientsNeeded(needed: NeededClient[]): void;
  log: Logger;
  lifetimeMs?: number;
};

type UnderWay = { outcome: Promise<boolean>; waiting: number; ending: AbortController };

export function createSignIns(deps: SignInsDeps): SignIns {
  const { secrets, clientSecrets, connections, openPage, onWaiting, onClientsNeeded, log, lifetimeMs } = deps;
  const store = createAccessStore(secrets);
  const clients = createClientStore(clientSecrets);
  const openWayBack = createWaysBack();
  const underWay = new Map<string, UnderWay>();
  const pages = new Map<string, WaitingSignIn>();
  const needs = new Map<string, NeededClient>();

  async function keptFor(connectionId: string, endpoint: URL): Promise<KeptAccess> {
    const kept = await store.of(connectionId, endpoint);
    const { issuer } = kept.client ?? {};
    if (kept.client === undefined || issuer === undefined || isInUse(kept.client, await clients.of(issuer))) return kept;
    return { endpoint: kept.endpoint };
  }

  function show(connectionId: string, url: URL, client: SignInClient | null): void {
    const { host, href } = url;
    pages.set(connectionId, { connectionId: connectionId as ConnectionId, host, url: href, client });
    log.info("sign-in.opened", { connectionId, host });
    onWaiting([...pages.values()]);
    openPage(href);
  }

  function hide(connectionId: string): void {
    if (pages.delete(connectionId)) onWaiting([...pages.values()]);
  }

  function need(connectionId: string, { client, message }: ClientNeeded): void {
    needs.set(connectionId, { connectionId: connectionId as ConnectionId, client, reason: message });
    onClientsNeeded([...needs.values()]);
  }

  function needNoMore(isMet: (need: NeededClient) => boolean): void {
    const met = [...needs.values()].filter(isMet);
    for (const { connectionId } of met) needs.delete(connectionId);
    if (met.length > 0) onClientsNeeded([...needs.values()]);
  }

  async function clientChanged(event: string, issuer: string): Promise<void> {
    log.info(event, { host: new URL(issuer).host });
    // The pages that were opened with another client lead nowhere now.
    for (const { connectionId, client } of [...pages.values()])
      if (client?.issuer === issuer)
        end(connectionId, new AppError("CANCELLED", { message: "The client of this sign-in was changed." }));
    const given = await clients.of(issuer);
    for (const connectionId of connections()) {
      const client = await store.clientOf(connectionId);
      if (client?.issuer === issuer && !isInUse(client, given)) await store.forget(connectionId);
    }
    needNoMore((need) => need.client.issuer === issuer);
  }

  async function attempt(
    connectionId: string,
    endpoint: Endpoint,
    needed: AccessNeeded,
    signal: AbortSignal,
  ): Promise<boolean> {
    const fetch = fetchFor(endpoint, signal);
    try {
      const found = await findAuthorizationServer(endpoint, needed, fetch);
      if (found === undefined) return false;
      const kept = await keptFor(connectionId, endpoint.url);
      const keep = async (access: KeptAccess) => {
        if (!signal.aborted) await store.keep(connectionId, access);
      };
      const onPage = (url: URL, client: SignInClient | null) => show(connectionId, url, client);
      const clientOf = clients.of;
      await signIn({ endpoint, needed, kept, keep, clientOf, openWayBack, onPage, signal, lifetimeMs }, found, fetch);
      log.info("sign-in.done", { connectionId });
      needNoMore((need) => need.connectionId === connectionId);
      return true;
    } catch (error) {
      const failure = toSignInError(signal.aborted ? signal.reason : error, endpoint.url.host);
      if (failure instanceof ClientNeeded) need(connectionId, failure);
      log.warn("sign-in.failed", { connectionId, code: toAppError(failure).code });
      throw failure;
    } finally {
      hide(connectionId);
    }
  }

  function begin(connectionId: string, endpoint: Endpoint, needed: AccessNeeded): UnderWay {
    const ending = new AbortController();
    const outcome = attempt(connectionId, endpoint, needed, ending.signal);
    const begun: UnderWay = { outcome, waiting: 0, ending };
    underWay.set(connectionId, begun);
    const clear = () => {
      if (underWay.get(connectionId) === begun) underWay.delete(connectionId);
    };
    outcome.then(clear, clear);
    return begun;
  }

  function end(connectionId: string, reason: AppError): void {
    underWay.get(connectionId)?.ending.abort(reason);
    underWay.delete(connectionId);
  }

  return {
    accessToken: async (connectionId, endpoint) => (await keptFor(connectionId, endpoint)).tokens?.access_token,
    async obtain(connectionId, endpoint, needed, signal) {
      const current = (await keptFor(connectionId, endpoint.url)).tokens?.access_token;
      const found = underWay.get(connectionId);
      if (found === undefined && current !== undefined && current !== needed.sent) return true;
      const joined = found ?? begin(connectionId, endpoint, needed);
      joined.waiting += 1;
      try {
        return await untilAborted(joined.outcome, signal);
      } catch (error) {
        throw signal?.aborted === true ? new AppError("CANCELLED", { cause: error }) : error;
      } finally {
        joined.waiting -= 1;
        if (joined.waiting === 0 && underWay.get(connectionId) === joined) end(connectionId, new AppError("CANCELLED"));
      }
    },
    cancel: (connectionId) => end(connectionId, new AppError("CANCELLED", { message: "The sign-in was cancelled." })),
    async forget(connectionId) {
      end(connectionId, new AppError("CANCELLED"));
      needNoMore((need) => need.connectionId === connectionId);
      await store.forget(connectionId);
    },
    async clientOf(connectionId) {
      const issuer = (await store.clientOf(connectionId))?.issuer;
      const given = issuer === undefined ? undefined : await clients.of(issuer);
      return given === undefined ? null : shown(given);
    },
    async giveClient(client) {
      await clients.give(client);
      await clientChanged("sign-in.client-given", client.issuer);
    },
    async forgetClient(issuer) {
      await clients.forget(issuer);
      await clientChanged("sign-in.client-forgotten", issuer);
    },
    close() {
      for (const connectionId of [...underWay.keys()]) end(connectionId, new AppError("CANCELLED"));
    },
  };
}
