import type { Activity } from "../../../shared/contract/state.ts";

/** How the deployments of a list came out. One that runs or was cancelled says nothing about how well they go. */
export type Deployments = {
  succeeded: number;
  failed: number;
  running: number;
  /** Of those that succeeded; null without any. */
  medianMs: number | null;
};

export function deploymentsOf(activities: readonly Activity[]): Deployments {
  const deployments = activities.filter(({ kind }) => kind === "deploy");
  const amount = (state: Activity["state"]) => deployments.filter((row) => row.state === state).length;
  const durations = deployments
    .flatMap(({ state, startedAt, endedAt }) => (state === "succeeded" && endedAt !== undefined ? [endedAt - startedAt] : []))
    .sort((one, other) => one - other);
  const [below = 0, above = 0] = [durations[(durations.length - 1) >> 1], durations[durations.length >> 1]];
  return {
    succeeded: amount("succeeded"),
    failed: amount("failed"),
    running: amount("running"),
    medianMs: durations.length === 0 ? null : (below + above) / 2,
  };
}
