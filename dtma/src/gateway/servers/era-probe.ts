import { setTimeout } from "node:timers/promises";
import { type Tool, tool } from "../../../../shared/model/tool.ts";
import type { Speech } from "../../docker/server-process.ts";
import { metaKeys, statelessCodes, statelessRevision } from "../messages/envelope.ts";
import { headerParams } from "../messages/header-params.ts";
import { newestSessionRevision, sessionRevisions } from "../messages/revisions.ts";
import { isStatelessError } from "../messages/stateless.ts";
import { type Asker, RefusedError, UnansweredError } from "./asker.ts";

/*
Which eras of MCP a server speaks: `server/discover` first, then `initialize` (MCP 2026-07-28, Versioning, "Backward
Compatibility with Initialization-Based Versions").

INVARIANTS
- A server that answers neither is asked no more than once for each, and never waited for longer than the caller waits.
- Silence is no answer: a server that starts slowly may still answer the probe after `initialize`, and that counts.
- A server with both eras is asked for its tools in a session: there it can do more.
*/

/** How a server is asked; over stdio both are the same process. */
export type Askers = {
  sessions: Asker;
  stateless: Asker;
  /** Whether an answered `initialize` has opened a session; where that cannot be told it has. */
  keepsSessions?(): boolean;
};

/** What is known before a server is asked, and what was found until it died. */
export type Found = {
  speech: Speech | undefined;
  /** A refusal of what is known is no reason to probe. */
  isFinal?: true;
  isStateless?: true;
};

export type Words = { protocolVersion: string; tools: Tool[]; speech: Speech };

/** The server answered with something that is no handshake. */
export class UnknownSpeechError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "UnknownSpeechError";
  }
}

/** How long a silent server is waited for before it is asked in the other way. */
const probeMs = 2_000;
const maxPages = 1_000;
const clientInfo = { name: "dtma", version: "1" };
const meta = {
  [metaKeys.version]: statelessRevision,
  [metaKeys.clientInfo]: clientInfo,
  [metaKeys.capabilities]: {},
};

/** What `server/discover` has shown. */
type Discovery = { isStateless: boolean; hasTools: boolean };
type Session = { protocolVersion: string; hasTools: boolean };

/** Asks a server that listens. Rejects with the errors of the asker, or an UnknownSpeechError. */
export async function findOut(askers: Askers, found: Found): Promise<Words> {
  const { speech } = found;
  if (speech !== undefined) {
    try {
      if (!speech.sessions) return await inStateless(askers, await discover(askers.stateless));
      return await inSession(askers, await initialize(askers.sessions), speech);
    } catch (error) {
      if (!(error instanceof RefusedError) || found.isFinal) throw error;
    }
  }
  let late: Discovery | undefined;
  const discovering = discover(askers.stateless);
  const discovered = discovering.then(
    (discovery) => {
      late = discovery;
    },
    () => undefined,
  );
  const early = await Promise.race([discovering.catch(orGoOn), setTimeout(probeMs, undefined, { ref: false })]);
  if (early?.isStateless) {
    found.isStateless = true;
    const session = await Promise.race([
      initialize(askers.sessions).catch(() => undefined),
      setTimeout(probeMs, undefined, { ref: false }),
    ]);
    // Over HTTP a session without an id is none: a server that cannot ask its client can do more without.
    if (session === undefined || askers.keepsSessions?.() === false) return inStateless(askers, early);
    return inSession(askers, session, { sessions: true, stateless: true });
  }
  let session: Session;
  try {
    session = await initialize(askers.sessions);
  } catch (error) {
    if (early === undefined && error instanceof RefusedError) {
      await Promise.race([discovered, setTimeout(probeMs, undefined, { ref: false })]);
      if (late?.isStateless) return inStateless(askers, late);
    }
    throw error;
  }
  return inSession(askers, session, { sessions: true, stateless: late?.isStateless === true });
}

/** A refusal of the probe says that the server is of another era; a server nobody reaches, or that lets nobody in, stays so. */
function orGoOn(error: unknown): Discovery {
  const status = error instanceof UnansweredError || error instanceof RefusedError ? error.status : undefined;
  const isOut = error instanceof UnansweredError && status === undefined;
  if (isOut || status === 401 || status === 403) throw error;
  return { isStateless: false, hasTools: false };
}

async function discover(asker: Asker): Promise<Discovery> {
  try {
    const answer = ((await asker.request("server/discover", { _meta: meta })) ?? {}) as {
      supportedVersions?: unknown;
      capabilities?: { tools?: unknown } | null;
    };
    const versions = Array.isArray(answer.supportedVersions) ? answer.supportedVersions : [];
    return {
      isStateless: versions.includes(statelessRevision),
      hasTools: isSet(answer.capabilities?.tools),
    };
  } catch (error) {
    if (!(error instanceof RefusedError) || !isStatelessError(error.code)) throw error;
    if (error.code !== statelessCodes.unsupportedVersion) return { isStateless: true, hasTools: true };
    const { supported } = (error.data ?? {}) as { supported?: unknown };
    return { isStateless: Array.isArray(supported) && supported.includes(statelessRevision), hasTools: true };
  }
}

async function initialize(asker: Asker): Promise<Session> {
  const params = { protocolVersion: newestSessionRevision, capabilities: {}, clientInfo };
  const { protocolVersion, capabilities } = ((await asker.request("initialize", params)) ?? {}) as {
    protocolVersion?: unknown;
    capabilities?: { tools?: unknown } | null;
  };
  if (typeof protocolVersion !== "string" || !sessionRevisions.has(protocolVersion)) {
    throw new UnknownSpeechError(`it speaks the revision ${JSON.stringify(protocolVersion)?.slice(0, 40)}.`);
  }
  asker.setProtocolVersion(protocolVersion);
  await asker.notify("notifications/initialized");
  return { protocolVersion, hasTools: isSet(capabilities?.tools) };
}

async function inSession({ sessions }: Askers, { protocolVersion, hasTools }: Session, speech: Speech): Promise<Words> {
  return { protocolVersion, tools: hasTools ? await listTools(sessions, {}) : [], speech };
}

async function inStateless({ stateless, keepsSessions }: Askers, { isStateless, hasTools }: Discovery): Promise<Words> {
  if (!isStateless) throw new UnknownSpeechError(`it does not speak the revision ${statelessRevision}.`);
  const listed = hasTools ? await listTools(stateless, { _meta: meta }) : [];
  // Only over HTTP arguments are repeated in headers.
  const tools = keepsSessions === undefined ? listed : listed.filter((one) => headerParams(one.inputSchema) !== undefined);
  return { protocolVersion: statelessRevision, tools, speech: { sessions: false, stateless: true } };
}

async function listTools(asker: Asker, more: Record<string, unknown>): Promise<Tool[]> {
  const found: Tool[] = [];
  let cursor: string | undefined;
  for (let page = 0; page < maxPages; page += 1) {
    const answer = await asker.request("tools/list", cursor === undefined ? more : { ...more, cursor });
    const { tools, nextCursor } = (answer ?? {}) as { tools?: unknown; nextCursor?: unknown };
    if (!Array.isArray(tools)) throw new UnknownSpeechError("its list of tools is none.");
    for (const one of tools) {
      const parsed = tool.safeParse(one);
      if (parsed.success) found.push(parsed.data);
    }
    if (typeof nextCursor !== "string" || nextCursor === "") return found;
    cursor = nextCursor;
  }
  throw new UnknownSpeechError("its list of tools does not end.");
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null;
}
