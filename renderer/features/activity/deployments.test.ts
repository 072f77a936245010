import { describe, expect, it } from "vitest";
import { type Activity, activity } from "../../../shared/contract/state.ts";
import { deploymentsOf } from "./deployments.ts";

const row = (state: Activity["state"], tookMs: number, kind: Activity["kind"] = "deploy") =>
  activity.parse({
    id: crypto.randomUUID(),
    kind,
    server: "everything",
    state,
    steps: [],
    startedAt: 1_000,
    ...(state === "running" ? {} : { endedAt: 1_000 + tookMs }),
    toolboxId: crypto.randomUUID(),
    serverId: crypto.randomUUID(),
  });

describe("how deployments went", () => {
  it("counts them by their end, and neither other work nor what was cancelled", () => {
    const rows = [
      row("succeeded", 1),
      row("failed", 2),
      row("running", 0),
      row("cancelled", 3),
      row("succeeded", 4, "restart"),
    ];
    expect(deploymentsOf(rows)).toEqual({ succeeded: 1, failed: 1, running: 1, medianMs: 1 });
  });

  it("has the median of those that succeeded", () => {
    const rows = [row("succeeded", 9), row("failed", 500), row("succeeded", 3), row("succeeded", 4)];
    expect(deploymentsOf(rows).medianMs).toBe(4);
    expect(deploymentsOf([...rows, row("succeeded", 6)]).medianMs).toBe(5);
    expect(deploymentsOf([row("failed", 500)]).medianMs).toBeNull();
  });
});
