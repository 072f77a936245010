import { type Server, type ServerStatus, serverStatus } from "../../../shared/model/server.ts";
import type { ServerState } from "../../../shared/model/status.ts";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { text } from "../../text.ts";
import type { StatusTone } from "../../ui/status.tsx";

/*
INVARIANTS
- Only a fresh observation is shown in its colour; an older one, and one whose age nobody knows, is worded in the past and
  has no colour.
- "Deploying", "Deleting" and a failed deploy are our own knowledge, not an observation: they do not age.
*/

export type ServerDescription = ServerStatus & {
  word: string;
  tone: StatusTone;
  /** The age of the observation matters: it is too old to be taken for the present. */
  isStale: boolean;
  /** It is what the toolbox reported to the shared database, not what this computer saw. */
  isReported: boolean;
  /** It never ran because a person cancelled its deployment: nothing is wrong, and nothing needs attention. */
  isCancelled: boolean;
};

const tones: Record<ServerState, StatusTone> = {
  running: "ok",
  starting: "busy",
  stopping: "busy",
  restarting: "busy",
  deploying: "busy",
  deleting: "busy",
  stopped: "idle",
  paused: "warn",
  failed: "danger",
  gone: "danger",
  unknown: "unknown",
};

type Place = (Pick<Toolbox, "confirmedAt" | "link"> & Partial<Pick<Toolbox, "shared">>) | undefined;

/** A server's state in the words and the colour of the window. Pure. */
export function describeServer(server: Server, toolbox: Place, nowMs: number): ServerDescription {
  const status = serverStatus(server, toolbox, nowMs);
  const isOurs = server.desired === "deleted" || status.state === "deploying";
  const isStale = status.seenAt !== null && !status.isFresh && !isOurs;
  const isCancelled = status.state === "failed" && server.observed.state === "never" && server.lastError?.code === "CANCELLED";
  const isReported = comesFromReport(server, toolbox);
  const isAgeless = isReported && status.seenAt === null && !isOurs && status.state !== "failed";
  const about = { ...status, isStale, isReported, isCancelled };
  if (isStale || isAgeless) return { ...about, word: text.servers.was[status.state], tone: "unknown", isCancelled: false };
  if (isCancelled) return { ...about, word: text.servers.cancelled, tone: "idle" };
  if (status.state === "unknown" && status.rawWord !== undefined)
    return { ...about, word: text.servers.rawWord(status.rawWord), tone: "unknown" };
  return { ...about, word: text.servers.states[status.state], tone: tones[status.state] };
}

function comesFromReport({ shared, observed }: Server, toolbox: Place): boolean {
  if (shared === undefined) return false;
  if (observed.state === "never") return true;
  return (toolbox?.shared?.reportedAt ?? 0) > Math.max(observed.at, toolbox?.confirmedAt ?? 0);
}

/** Docker's word for the container as it was last seen, or as its toolbox reported it while there is no link. */
function containerWord({ observed, shared }: Server, toolbox: Place): string | null {
  const reported = shared?.reported;
  const source = toolbox?.link.state !== "connected" && reported?.state === "present" ? reported : observed;
  return source.state === "present" ? source.container.state : null;
}

/** Whether the toolbox hears by way of the shared database what is wanted of its servers, and no other way. */
function hearsLater(server: Server, toolbox: Place): boolean {
  return server.shared !== undefined && toolbox?.shared?.canReport === true && toolbox.link.state !== "connected";
}

/** What is wanted of a server and was not reported to be so yet; null when the toolbox can be told at once. Pure. */
export function intentionOf(server: Server, toolbox: Place): Server["desired"] | null {
  if (!hearsLater(server, toolbox) || server.activeOperationId !== null) return null;
  const isRunning = containerWord(server, toolbox) === "running";
  if (server.desired === "deleted") return "deleted";
  return isRunning === (server.desired === "running") ? null : server.desired;
}

export type ServerFilter = "all" | "running" | "working" | "stopped" | "attention";

export const serverFilters = ["all", "running", "working", "stopped", "attention"] as const;

/** The group of the list a server belongs to now. What is stale is nobody's idea of running. */
export function filterOf(description: ServerDescription): Exclude<ServerFilter, "all"> {
  const { state, isStale, isCancelled } = description;
  if (isCancelled) return "stopped";
  if (state === "failed" || state === "gone") return "attention";
  if (isStale || state === "unknown") return "attention";
  if (state === "running") return "running";
  if (state === "stopped" || state === "paused") return "stopped";
  return "working";
}

export type Command = "start" | "stop" | "restart" | "redeploy" | "delete";

/** Whether a command makes sense now: "no" is not offered, a text says why it is offered but cannot be given. */
export type CommandState = "yes" | "no" | { reason: string };

/** What can be done to a server now. Deleting is always possible: it also forgets what is out of reach. Pure. */
export function commandsFor(server: Server, toolbox: Place, nowMs: number): Record<Command, CommandState> {
  const { state } = serverStatus(server, toolbox, nowMs);
  const word = containerWord(server, toolbox);
  const isPresent = word !== null;
  const isRunning = isPresent && ["running", "restarting", "paused"].includes(word);
  const isLater = hearsLater(server, toolbox);
  // What was asked for and not heard of yet can be taken back by asking for the opposite.
  const isWantedRunning = isLater ? server.desired === "running" : isRunning;
  const offer = (makesSense: boolean, canWait: boolean): CommandState => {
    if (!makesSense) return "no";
    if (server.activeOperationId !== null || state === "deleting") return { reason: text.servers.busy };
    if (toolbox?.link.state === "connected" || (isLater && canWait)) return "yes";
    return { reason: isLater ? text.reported.needsLink : text.servers.toolboxAway };
  };
  return {
    start: offer(isPresent && !isWantedRunning, true),
    stop: offer(isPresent && isWantedRunning, true),
    restart: offer(isPresent && isRunning, false),
    redeploy: offer(!isPresent || state === "failed", false),
    delete: state === "deleting" ? { reason: text.servers.busy } : "yes",
  };
}
