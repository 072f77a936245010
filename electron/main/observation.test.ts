import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type DtmaEvent, dtmaProtocolVersion, hostLoad, serverLoad } from "../../shared/dtma-protocol.ts";
import { AppError } from "../../shared/errors.ts";
import type { OperationId } from "../../shared/model/ids.ts";
import type { Operation } from "../../shared/model/operation.ts";
import type { Server } from "../../shared/model/server.ts";
import type { ToolUsage } from "../../shared/model/usage.ts";
import { rows } from "../../test/fixtures/rows.ts";
import { applyEvent } from "./observation.ts";
import { openStore, type Store } from "./store/index.ts";

let folder: string;
let store: Store;
const box = rows.toolbox();
let server: Server;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "observation-"));
  store = openStore(folder);
  server = rows.server(box.id);
  store.write((tx) => {
    tx.put("toolboxes", box);
    tx.put("servers", server);
  });
});
afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true });
});

const apply = (event: DtmaEvent, at = 1_000) => store.write((tx) => applyEvent(tx, box.id, event, at));
const row = () => store.mustGet("servers", server.id);
const up = { state: "up", engineVersion: "20.10" } as const;

function snapshot(
  changes: Partial<Extract<DtmaEvent, { type: "snapshot" }>> = {},
  docker: typeof up | { state: "down"; since: number; reason: string } = up,
): DtmaEvent {
  const info = {
    protocol: dtmaProtocolVersion,
    version: "0.1.0",
    now: 5,
    docker,
    hostname: "box",
    platform: "linux",
    cpus: 2,
    memoryBytes: 1,
    hardeningGaps: ["one gap"],
  };
  return { type: "snapshot", info, servers: [], operations: [], usage: [], ...changes };
}

function operation(changes: Partial<Operation> = {}): Operation {
  return {
    id: randomUUID() as OperationId,
    kind: "deploy",
    server: "echo",
    state: "running",
    steps: [],
    startedAt: 1,
    ...changes,
  };
}

describe("a snapshot", () => {
  it("says what the toolbox is and confirms its servers", () => {
    apply(snapshot({ servers: [rows.observation(server)] }), 2_000);
    expect(store.mustGet("toolboxes", box.id)).toMatchObject({
      link: { state: "connected", since: 2_000 },
      confirmedAt: 2_000,
      hardeningGaps: ["one gap"],
    });
    expect(row()).toMatchObject({ observed: { state: "present", at: 2_000 }, tools: { at: 2_000 } });
  });

  it("takes in a server it did not know, without a template", () => {
    const stranger = rows.server(box.id, { spec: rows.spec({ name: "stranger" }) });
    apply(snapshot({ servers: [rows.observation(stranger)] }));
    expect(store.mustGet("servers", stranger.id)).toMatchObject({ templateId: null, spec: { name: "stranger" } });
  });

  it("shows as gone what was there and is not any more", () => {
    apply(snapshot({ servers: [rows.observation(server)] }));
    apply(snapshot(), 3_000);
    expect(row().observed).toEqual({ state: "gone", at: 3_000 });
  });

  it("says nothing about servers while Docker is down there", () => {
    apply(snapshot({ servers: [rows.observation(server)] }));
    apply(snapshot({}, { state: "down", since: 1, reason: "stopped" }), 3_000);
    expect(row().observed.state).toBe("present");
    expect(store.mustGet("toolboxes", box.id)).toMatchObject({ docker: { state: "down" }, confirmedAt: 1_000 });
  });

  it("ends the operations that ended with the DTMA", () => {
    const lost = operation();
    apply({ type: "operation", operation: lost });
    expect(row().activeOperationId).toBe(lost.id);
    apply(snapshot());
    expect(row()).toMatchObject({ activeOperationId: null, lastError: { code: "INTERNAL" } });
    expect(store.mustGet("activities", lost.id)).toMatchObject({ state: "failed" });
  });

  it("deletes the row of a server that was to be deleted and is gone", () => {
    store.write((tx) => tx.patch("servers", server.id, { desired: "deleted" }));
    apply(snapshot());
    expect(store.get("servers", server.id)).toBeUndefined();
  });
});

describe("what connections did", () => {
  const link = rows.connection(rows.agent().id, rows.server(box.id).id);
  const usage = (tool: string, calls: number): ToolUsage => ({
    tool,
    calls,
    errors: {},
    latency: [calls],
    latencySumMs: 0,
    bytesIn: 0,
    bytesOut: 0,
    lastUsedAt: 5,
  });
  const counts = { connectionId: link.id, errors: 0, lastUsedAt: 9 };
  const booked = () => store.mustGet("connections", link.id);
  beforeEach(() => store.write((tx) => tx.putSynced("connections", link)));

  it("is kept tool by tool: an event tells of those that changed, a snapshot of all", () => {
    apply(snapshot({ usage: [{ ...counts, calls: 3, tools: [usage("a", 1), usage("b", 2)] }] }));
    apply({ type: "usage", usage: { ...counts, calls: 4, tools: [usage("b", 3)] } });
    expect(booked()).toMatchObject({ calls: 4, tools: [usage("a", 1), usage("b", 3)] });
    apply(snapshot({ usage: [{ ...counts, calls: 1, tools: [usage("b", 1)] }] }));
    expect(booked()).toMatchObject({ calls: 1, tools: [usage("b", 1)] });
  });

  it("is understood from a toolbox that does not count by tool", () => {
    apply({ type: "usage", usage: { ...counts, calls: 4 } });
    expect(booked()).toMatchObject({ calls: 4, lastUsedAt: 9 });
    expect(booked()).not.toHaveProperty("tools");
  });
});

describe("an operation", () => {
  it("keeps why it failed on the server, and the next success clears it", () => {
    const failing = operation();
    apply({ type: "operation", operation: failing });
    apply({
      type: "operation",
      operation: { ...failing, state: "failed", endedAt: 2, error: new AppError("IMAGE_NOT_FOUND").toShape() },
    });
    expect(row()).toMatchObject({ activeOperationId: null, lastError: { code: "IMAGE_NOT_FOUND" } });
    const working = operation();
    apply({ type: "operation", operation: working });
    apply({ type: "operation", operation: { ...working, state: "succeeded", endedAt: 3 } });
    expect(row().lastError).toBeNull();
  });

  it("does not let an older operation's end hide that a newer one runs", () => {
    const [older, newer] = [operation(), operation()];
    store.write((tx) => tx.patch("servers", server.id, { activeOperationId: newer.id }));
    apply({
      type: "operation",
      operation: { ...older, state: "failed", endedAt: 2, error: new AppError("CANCELLED").toShape() },
    });
    expect(row()).toMatchObject({ activeOperationId: newer.id, lastError: null });
  });

  it("removes the server when it deleted it", () => {
    apply({ type: "operation", operation: operation({ kind: "delete", state: "succeeded", endedAt: 2 }) });
    expect(store.get("servers", server.id)).toBeUndefined();
  });

  it("keeps what is desired while it runs, whatever the container says meanwhile", () => {
    store.write((tx) => tx.patch("servers", server.id, { desired: "stopped", activeOperationId: operation().id }));
    apply({ type: "server", server: rows.observation(server) });
    expect(row().desired).toBe("stopped");
  });
});

describe("a container removed behind our back", () => {
  it("is shown as gone and its connections stay", () => {
    const agent = rows.agent();
    const connection = rows.connection(agent.id, server.id);
    store.write((tx) => {
      tx.put("agents", agent);
      tx.put("connections", connection);
    });
    apply({ type: "server", server: rows.observation(server) });
    apply({ type: "server-removed", serverId: server.id, name: "echo" }, 4_000);
    expect(row().observed).toEqual({ state: "gone", at: 4_000 });
    expect(store.get("connections", connection.id)).toBeDefined();
  });
});

describe("heartbeats and loads", () => {
  it("confirm only while Docker answers", () => {
    apply({ type: "heartbeat", at: 1, docker: up }, 7_000);
    apply({ type: "heartbeat", at: 2, docker: { state: "down", since: 2, reason: "stopped" } }, 9_000);
    expect(store.mustGet("toolboxes", box.id)).toMatchObject({ confirmedAt: 7_000, docker: { state: "down" } });
  });

  it("are kept every five seconds, not every second", () => {
    const host = hostLoad.parse({
      cpuPercent: 1,
      memoryUsedBytes: 1,
      memoryTotalBytes: 2,
      diskUsedBytes: 1,
      diskTotalBytes: 2,
    });
    const load = serverLoad.parse({
      cpuPercent: 3,
      memoryBytes: 4,
      memoryLimitBytes: 5,
      networkRxBytes: 0,
      networkTxBytes: 0,
      pids: 1,
    });
    apply({ type: "stats", at: 1, host, servers: { echo: load } }, 10_000);
    apply({ type: "stats", at: 2, host: { ...host, cpuPercent: 90 }, servers: {} }, 11_000);
    expect(store.mustGet("toolboxes", box.id).load).toMatchObject({ at: 10_000, cpuPercent: 1 });
    expect(row().load).toMatchObject({ at: 10_000, cpuPercent: 3 });
  });
});

describe("a server of the shared database that was updated", () => {
  const shared: NonNullable<Server["shared"]> = {
    toolboxName: "box",
    templateTitle: null,
    description: "",
    status: "running",
    reported: { state: "never" },
    tools: null,
    isSpecKnown: true,
  };
  const updated = rows.spec({ environment: { REGION: "north" } });
  const queued = () => [...store.sync.entries()].map(({ payload }) => payload.spec);

  function share(kind: Operation["kind"]): void {
    const id = randomUUID() as OperationId;
    store.write((tx) => {
      tx.sync.setAccount({
        id: "account",
        target: { transport: "supabase", url: "https://example.invalid", publishableKey: "key" },
        who: null,
        phase: "steady",
        bringsLocalRows: false,
      });
      tx.sync.setSynced("servers", server.id, { revision: 1, generation: 0, row: null });
      tx.put("activities", { ...operation({ id, kind }), toolboxId: box.id, serverId: server.id });
      tx.put("servers", { ...server, activeOperationId: id, shared });
    });
  }

  it.each(["deploy", "rollback"] as const)("is described in the database as it is seen after a %s", (kind) => {
    share(kind);
    apply({ type: "server", server: { ...rows.observation(server), spec: updated } });
    expect(queued()).toEqual([updated]);
    expect(row().spec).toEqual(updated);
  });

  it("leaves the database alone when something else was done to it", () => {
    share("restart");
    apply({ type: "server", server: { ...rows.observation(server), spec: updated } });
    expect(queued()).toEqual([]);
  });
});
