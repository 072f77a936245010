import { describe, expect, it } from "vitest";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { toolboxStatus } from "./status.ts";

const now = 1_000_000;

function toolbox(change: Partial<Toolbox>): Toolbox {
  return {
    id: "4b0a8f6e-3a6e-4f0e-9a53-0e2c4f1d2a10" as Toolbox["id"],
    name: "box",
    kind: "host",
    url: "https://203.0.113.7:30000",
    fingerprint: null,
    serversOnQuit: "keep",
    link: { state: "connected", since: now - 60_000 },
    confirmedAt: now - 1_000,
    docker: { state: "up", engineVersion: "28.1.0" },
    dtmaVersion: "0.1.0",
    hostname: null,
    platform: null,
    hardeningGaps: [],
    load: null,
    createdAt: 0,
    ...change,
  };
}

describe("toolboxStatus", () => {
  it("is connected while the DTMA confirms", () => {
    expect(toolboxStatus(toolbox({}), now).state).toBe("connected");
  });

  it("turns silent when an open link has confirmed nothing for longer than observations stay fresh", () => {
    const status = toolboxStatus(toolbox({ confirmedAt: now - 21_000 }), now);
    expect(status).toEqual({ state: "silent", since: now - 21_000 });
  });

  it("gives a link that was just opened the time to confirm", () => {
    const row = toolbox({ link: { state: "connected", since: now - 500 }, confirmedAt: now - 900_000 });
    expect(toolboxStatus(row, now).state).toBe("connected");
  });

  it("says that Docker is down rather than that the toolbox is well", () => {
    const row = toolbox({ docker: { state: "down", since: 5, reason: "no socket" } });
    expect(toolboxStatus(row, now)).toEqual({ state: "docker-down", since: 5 });
  });

  it("says lost whatever was confirmed before", () => {
    const row = toolbox({
      link: {
        state: "lost",
        since: now - 10,
        error: { code: "TOOLBOX_UNREACHABLE", message: "", nextStep: "" },
        nextAttemptAt: null,
      },
    });
    expect(toolboxStatus(row, now)).toEqual({ state: "lost", since: now - 10 });
  });

  const reports = (reportedAt: number | null, unresponsiveSince: number | null = null) => ({
    kind: "droplet" as const,
    description: "",
    status: "active",
    canReport: true,
    reportedAt,
    unresponsiveSince,
  });

  it("goes by the reports while there is no link, with their age once they are old", () => {
    const without = { link: { state: "unknown" } as const };
    expect(toolboxStatus(toolbox({ ...without, shared: reports(now - 5_000) }), now).state).toBe("reporting");
    expect(toolboxStatus(toolbox({ ...without, shared: reports(now - 60_000) }), now)).toEqual({
      state: "reported",
      since: now - 60_000,
    });
    expect(toolboxStatus(toolbox({ ...without, shared: reports(now - 90_000, now - 60_000) }), now)).toEqual({
      state: "unresponsive",
      since: now - 60_000,
    });
    expect(toolboxStatus(toolbox({ ...without, shared: reports(null) }), now).state).toBe("unknown");
  });

  it("goes by its own link where there is one, whatever was reported", () => {
    expect(toolboxStatus(toolbox({ shared: reports(now - 90_000, now - 60_000) }), now).state).toBe("connected");
  });
});
