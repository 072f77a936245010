import { describe, expect, it } from "vitest";
import { type Server, server as serverSchema } from "../../../shared/model/server.ts";
import { dockerStates } from "../../../shared/model/status.ts";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { commandsFor, describeServer, filterOf, intentionOf } from "./describe.ts";

const now = 10_000_000;
const connected: Pick<Toolbox, "confirmedAt" | "link"> = {
  confirmedAt: now - 1_000,
  link: { state: "connected", since: now - 90_000 },
};
const lost: Pick<Toolbox, "confirmedAt" | "link"> = {
  confirmedAt: now - 180_000,
  link: {
    state: "lost",
    since: now - 170_000,
    error: { code: "TOOLBOX_UNREACHABLE", message: "It does not answer.", nextStep: "" },
    nextAttemptAt: null,
  },
};

function server(state: string | null, change: Partial<Server> = {}): Server {
  const row = serverSchema.parse({
    id: "6d5f1c55-6d4f-4c3a-9f93-2f5f1f0c1a11",
    toolboxId: "4b0a8f6e-3a6e-4f0e-9a53-0e2c4f1d2a10",
    templateId: "everything",
    spec: { name: "everything", source: { type: "oci", image: "example/server:1" }, transport: { type: "stdio" } },
    desired: "running",
    observed:
      state === null
        ? { state: "never" }
        : {
            state: "present",
            at: now - 200_000,
            container: { id: "c", state, restartCount: 0 },
            image: { reference: "example/server:1", digest: "sha256:0" },
            health: { state: "ready", checkedAt: now, protocolVersion: "2025-11-25" },
            sessions: 0,
          },
    tools: null,
    load: null,
    activeOperationId: null,
    lastError: null,
    createdAt: 0,
  });
  return { ...row, ...change };
}

describe("describeServer", () => {
  it("shows a confirmed running server in its colour", () => {
    expect(describeServer(server("running"), connected, now)).toMatchObject({ word: "Running", tone: "ok", isStale: false });
  });

  it("never shows an old observation as the present, whatever it was", () => {
    for (const word of dockerStates) {
      const description = describeServer(server(word), lost, now);
      expect(description.isStale, word).toBe(true);
      expect(description.tone, word).toBe("unknown");
      expect(description.word, word).not.toBe("Running");
    }
  });

  it("words a state that nobody knows as it came", () => {
    expect(describeServer(server("hibernating"), connected, now).word).toContain("hibernating");
  });

  it("does not let a failed first deploy age", () => {
    const row = server(null, { lastError: { code: "PACKAGE_NOT_FOUND", message: "", nextStep: "" } });
    expect(describeServer(row, lost, now)).toMatchObject({ word: "Failed", tone: "danger", isStale: false });
  });
});

describe("filterOf", () => {
  it("counts a stale server as one that needs attention and not as running", () => {
    expect(filterOf(describeServer(server("running"), connected, now))).toBe("running");
    expect(filterOf(describeServer(server("running"), lost, now))).toBe("attention");
  });
});

describe("commandsFor", () => {
  it("offers stop and restart to what runs, start to what does not", () => {
    expect(commandsFor(server("running"), connected, now)).toMatchObject({ start: "no", stop: "yes", restart: "yes" });
    expect(commandsFor(server("exited", { desired: "stopped" }), connected, now)).toMatchObject({
      start: "yes",
      stop: "no",
      restart: "no",
      redeploy: "no",
    });
  });

  it("offers to deploy again what has no container or failed", () => {
    expect(commandsFor(server("running", { observed: { state: "gone", at: now } }), connected, now).redeploy).toBe("yes");
    expect(commandsFor(server("exited"), connected, now).redeploy).toBe("yes");
  });

  it("gives the reason while something else is done or the toolbox is away, but always lets go", () => {
    const busy = commandsFor(
      server("running", { activeOperationId: "6d5f1c55-6d4f-4c3a-9f93-2f5f1f0c1a12" as Server["activeOperationId"] }),
      connected,
      now,
    );
    expect(busy.stop).toHaveProperty("reason");
    const away = commandsFor(server("running"), lost, now);
    expect(away.stop).toHaveProperty("reason");
    expect(away.delete).toBe("yes");
  });
});

describe("a cancelled deployment", () => {
  const lastError = { code: "CANCELLED" as const, message: "It was cancelled.", nextStep: "" };

  it("is nobody's failure and needs no attention", () => {
    const description = describeServer(server(null, { lastError }), connected, now);
    expect(description).toMatchObject({ word: "Cancelled", tone: "idle", isCancelled: true });
    expect(filterOf(description)).toBe("stopped");
  });

  it("can be deployed again", () => {
    expect(commandsFor(server(null, { lastError }), connected, now).redeploy).toBe("yes");
  });

  it("does not hide that an earlier container is there", () => {
    expect(describeServer(server("exited", { lastError }), connected, now)).toMatchObject({
      isCancelled: false,
      tone: "danger",
    });
  });
});

describe("a server that its toolbox reports", () => {
  const shared = (word: string, status: "running" | "stopped"): NonNullable<Server["shared"]> => ({
    toolboxName: "oslo-1",
    templateTitle: null,
    description: "",
    status,
    reported: {
      state: "present",
      changedAt: now - 100_000,
      desired: status,
      container: { id: "c", state: word, restartCount: 0 },
      image: { reference: "example/server:1", digest: "sha256:0" },
      health: { state: "ready", protocolVersion: "2025-11-25" },
    },
    tools: null,
    isSpecKnown: true,
  });
  const place = (reportedAt: number | null, unresponsiveSince: number | null = null) => ({
    confirmedAt: null,
    link: { state: "unknown" } as const,
    shared: { kind: "droplet" as const, description: "", status: "active", canReport: true, reportedAt, unresponsiveSince },
  });
  const running = server(null, { shared: shared("running", "running") });

  it("is shown as running only while the report is fresh", () => {
    expect(describeServer(running, place(now - 5_000), now)).toMatchObject({ word: "Running", tone: "ok", isReported: true });
    expect(describeServer(running, place(now - 40_000), now)).toMatchObject({
      word: "Was running",
      tone: "unknown",
      isStale: true,
      isReported: true,
    });
  });

  it("has no colour while nobody knows when it was reported", () => {
    expect(describeServer(running, place(null), now)).toMatchObject({ word: "Was running", tone: "unknown" });
  });

  it("can be started and stopped by way of the shared database, but not restarted or deployed", () => {
    expect(commandsFor(running, place(now), now)).toMatchObject({ start: "no", stop: "yes" });
    expect(commandsFor(running, place(now), now).restart).toHaveProperty("reason");
    const stopped = server(null, { desired: "stopped", shared: shared("exited", "stopped") });
    expect(commandsFor(stopped, place(now), now)).toMatchObject({ start: "yes", stop: "no" });
  });

  it("says what is wanted until the toolbox reports it, and lets it be taken back", () => {
    const wanted = server(null, { desired: "running", shared: shared("exited", "stopped") });
    expect(intentionOf(wanted, place(now))).toBe("running");
    expect(commandsFor(wanted, place(now), now)).toMatchObject({ start: "no", stop: "yes" });
    expect(intentionOf(running, place(now))).toBeNull();
    expect(intentionOf(server(null, { desired: "deleted", shared: shared("running", "running") }), place(now))).toBe("deleted");
  });

  it("has no intention to wait for where the toolbox can be told at once", () => {
    const wanted = server("exited", { shared: shared("exited", "stopped") });
    expect(intentionOf(wanted, connected)).toBeNull();
  });
});
