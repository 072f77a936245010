import type { Activity } from "../../../shared/contract/state.ts";
import { formatDuration } from "../../format.ts";
import { useNowSelect } from "../../state/index.ts";
import { text } from "../../text.ts";
import { StatusDot, type StatusTone } from "../../ui/status.tsx";

const tones: Record<Activity["state"], StatusTone> = {
  running: "busy",
  succeeded: "ok",
  failed: "danger",
  cancelled: "idle",
};

export function ActivityStateLabel({ activity }: { activity: Activity }) {
  return <StatusDot tone={tones[activity.state]}>{text.operations.states[activity.state]}</StatusDot>;
}

/** How long an operation took, or has taken so far. */
export function useActivityDuration(activity: Activity): string {
  return useNowSelect((now) => formatDuration(Math.max(0, (activity.endedAt ?? now) - activity.startedAt)));
}
