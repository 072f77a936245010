import { freshForMs } from "../../../shared/model/server.ts";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import type { StatusTone } from "../../ui/status.tsx";

export type ToolboxState =
  | "unknown"
  | "connecting"
  | "connected"
  | "silent"
  | "docker-down"
  | "lost"
  /** No link from here, but it reports to the shared database; `reported` when that was some time ago. */
  | "reporting"
  | "reported"
  | "unresponsive";

export type ToolboxStatus = {
  state: ToolboxState;
  /** Since when, for the states that last: lost, silent, docker-down, unresponsive; of the report, for reported. */
  since: number | null;
};

/** What the window says about a toolbox now. A link that is open but confirms nothing is not "connected". Pure. */
export function toolboxStatus(toolbox: Toolbox, nowMs: number): ToolboxStatus {
  const { link, docker, confirmedAt, shared } = toolbox;
  if (link.state !== "connected" && shared !== undefined && shared.reportedAt !== null) {
    if (shared.unresponsiveSince !== null) return { state: "unresponsive", since: shared.unresponsiveSince };
    const isFresh = nowMs - shared.reportedAt <= freshForMs;
    return isFresh ? { state: "reporting", since: null } : { state: "reported", since: shared.reportedAt };
  }
  if (link.state === "lost") return { state: "lost", since: link.since };
  if (link.state !== "connected") return { state: link.state, since: null };
  if (docker?.state === "down") return { state: "docker-down", since: docker.since };
  const heardAt = Math.max(confirmedAt ?? 0, link.since);
  if (nowMs - heardAt > freshForMs) return { state: "silent", since: heardAt };
  return { state: "connected", since: null };
}

export const toolboxTones: Record<ToolboxState, StatusTone> = {
  unknown: "unknown",
  connecting: "busy",
  connected: "ok",
  silent: "warn",
  "docker-down": "warn",
  lost: "danger",
  reporting: "ok",
  reported: "unknown",
  unresponsive: "danger",
};
