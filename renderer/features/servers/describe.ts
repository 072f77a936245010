import { type Server, type ServerStatus, serverStatus } from "../../../shared/model/server.ts";
import type { ServerState } from "../../../shared/model/status.ts";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { text } from "../../text.ts";
import type { StatusTone } from "../../ui/status.tsx";

/*
INVARIANTS
- Only a fresh observation is shown in its colour; an older one is worded in the past and has no colour.
- "Deploying", "Deleting" and a failed deploy are our own knowledge, not an observation: they do not age.
*/

export type ServerDescription = ServerStatus & {
  word: string;
  tone: StatusTone;
  /** The age of the observation matters: it is too old to be taken for the present. */
  isStale: boolean;
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

type Place = Pick<Toolbox, "confirmedAt" | "link"> | undefined;

/** A server's state in the words and the colour of the window. Pure. */
export function describeServer(server: Server, toolbox: Place, nowMs: number): ServerDescription {
  const status = serverStatus(server, toolbox, nowMs);
  const isOurs = server.desired === "deleted" || status.state === "deploying";
  const isStale = status.seenAt !== null && !status.isFresh && !isOurs;
  const isCancelled = status.state === "failed" && server.observed.state === "never" && server.lastError?.code === "CANCELLED";
  if (isStale) return { ...status, word: text.servers.was[status.state], tone: "unknown", isStale, isCancelled: false };
  if (isCancelled) return { ...status, word: text.servers.cancelled, tone: "idle", isStale, isCancelled };
  if (status.state === "unknown" && status.rawWord !== undefined)
    return { ...status, word: text.servers.rawWord(status.rawWord), tone: "unknown", isStale, isCancelled };
  return { ...status, word: text.servers.states[status.state], tone: tones[status.state], isStale, isCancelled };
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
  const isPresent = server.observed.state === "present";
  const isRunning =
    server.observed.state === "present" && ["running", "restarting", "paused"].includes(server.observed.container.state);
  const obstacle =
    server.activeOperationId !== null || state === "deleting"
      ? text.servers.busy
      : toolbox?.link.state !== "connected"
        ? text.servers.toolboxAway
        : null;
  const offer = (makesSense: boolean): CommandState => (!makesSense ? "no" : obstacle === null ? "yes" : { reason: obstacle });
  return {
    start: offer(isPresent && !isRunning),
    stop: offer(isPresent && isRunning),
    restart: offer(isPresent && isRunning),
    redeploy: offer(!isPresent || state === "failed"),
    delete: state === "deleting" ? { reason: text.servers.busy } : "yes",
  };
}
