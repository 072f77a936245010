import { AppError, toAppError } from "../../../shared/errors.ts";
import type { WaitingSignIn } from "../../../shared/model/facts.ts";
import type { ConnectionId } from "../../../shared/model/ids.ts";
import type { Logger } from "../log.ts";
import type { AccessNeeded } from "./access.ts";
import { type AccessSecrets, createAccessStore } from "./kept-access.ts";
import type { McpTarget } from "./mcp.ts";
import { fetchFor, findAuthorizationServer, signIn, toSignInError } from "./sign-in-attempt.ts";
import { untilAborted } from "./until-aborted.ts";

/*
Who has signed in, or is about to, at what stands in front of an MCP endpoint.

INVARIANTS
- A connection has one sign-in at a time: calls that come meanwhile wait for it, and one page is opened.
- A sign-in that nobody waits for any more ends.
- An access token that was renewed meanwhile is tried before anybody is asked again.
*/

type Endpoint = McpTarget["endpoint"];

export interface SignIns {
  accessToken(connectionId: string, endpoint: URL): Promise<string | undefined>;
  /**
   * Gets the access that is needed: silently when it can be renewed, else by way of a person. False where the endpoint names
   * nobody who could give it. SIGN_IN_REFUSED, DEADLINE_EXCEEDED, CANCELLED.
   */
  obtain(connectionId: string, endpoint: Endpoint, needed: AccessNeeded, signal: AbortSignal | undefined): Promise<boolean>;
  /** Ends the sign-in that is under way, and the calls that wait for it. */
  cancel(connectionId: string): void;
  /** Ends the sign-in that is under way and forgets what one has brought. */
  forget(connectionId: string): Promise<void>;
  close(): void;
}

export type SignInsDeps = {
  secrets: AccessSecrets;
  /** Opens a page in the system's browser. */
  openPage(url: string): void;
  /** Told who is waited for, whenever that changes. */
  onWaiting(waiting: WaitingSignIn[]): void;
  log: Logger;
  lifetimeMs?: number;
};

type UnderWay = { outcome: Promise<boolean>; waiting: number; ending: AbortController };

export function createSignIns({ secrets, openPage, onWaiting, log, lifetimeMs }: SignInsDeps): SignIns {
  const store = createAccessStore(secrets);
  const underWay = new Map<string, UnderWay>();
  const pages = new Map<string, WaitingSignIn>();

  function show(connectionId: string, url: URL): void {
    const { host, href } = url;
    pages.set(connectionId, { connectionId: connectionId as ConnectionId, host, url: href });
    log.info("sign-in.opened", { connectionId, host });
    onWaiting([...pages.values()]);
    openPage(href);
  }

  function hide(connectionId: string): void {
    if (pages.delete(connectionId)) onWaiting([...pages.values()]);
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
      const kept = await store.of(connectionId, endpoint.url);
      const keep = async (access: typeof kept) => {
        if (!signal.aborted) await store.keep(connectionId, access);
      };
      const onPage = (url: URL) => show(connectionId, url);
      await signIn({ endpoint, needed, kept, keep, onPage, signal, lifetimeMs }, found, fetch);
      log.info("sign-in.done", { connectionId });
      return true;
    } catch (error) {
      const failure = toSignInError(signal.aborted ? signal.reason : error, endpoint.url.host);
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
    accessToken: async (connectionId, endpoint) => (await store.of(connectionId, endpoint)).tokens?.access_token,
    async obtain(connectionId, endpoint, needed, signal) {
      const current = (await store.of(connectionId, endpoint.url)).tokens?.access_token;
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
      await store.forget(connectionId);
    },
    close() {
      for (const connectionId of [...underWay.keys()]) end(connectionId, new AppError("CANCELLED"));
    },
  };
}
