import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AccessEntry } from "../../shared/dtma-protocol.ts";
import { AppError } from "../../shared/errors.ts";
import { rows } from "../../test/fixtures/rows.ts";
import { type Connections, createConnections } from "./connections.ts";
import type { Links } from "./links.ts";
import type { Logger } from "./log.ts";
import type { McpSessions } from "./remote/mcp.ts";
import { openStore, type Store } from "./store/index.ts";
import { createVault, type Vault } from "./vault/index.ts";

/** What a toolbox came to know, in the order in which it did; `hold` keeps the next request on its way. */
function createToolbox() {
  const access = new Map<string, AccessEntry>();
  const held: { arrived: PromiseWithResolvers<void>; released: PromiseWithResolvers<void> }[] = [];
  async function onTheWay(): Promise<void> {
    const hold = held.shift();
    hold?.arrived.resolve();
    await hold?.released.promise;
  }
  return {
    access,
    hold() {
      const hold = { arrived: Promise.withResolvers<void>(), released: Promise.withResolvers<void>() };
      held.push(hold);
      return hold;
    },
    async putAccess(entry: AccessEntry) {
      await onTheWay();
      access.set(entry.connectionId, entry);
    },
    async deleteAccess(id: string) {
      await onTheWay();
      access.delete(id);
    },
  };
}

let folder: string;
let store: Store;
let vault: Vault;
let toolbox: ReturnType<typeof createToolbox>;
let connections: Connections;
let forgotten: string[];
const box = rows.toolbox();
const server = rows.server(box.id);
const agent = rows.agent();
const silent: Logger = { debug() {}, info() {}, warn() {}, error() {}, close() {} };

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "connections-"));
  store = openStore(folder);
  store.write((tx) => {
    tx.put("toolboxes", box);
    tx.put("servers", server);
    tx.put("agents", agent);
  });
  vault = await createVault({ openKeychain: () => Promise.reject(new Error("none")), onCondition: () => undefined });
  toolbox = createToolbox();
  forgotten = [];
  const links = { isUp: () => true, client: () => toolbox } as unknown as Links;
  const sessions = { forget: async () => undefined } as unknown as McpSessions;
  const signIns = { cancel: () => undefined, forget: async (id: string) => void forgotten.push(id) };
  connections = createConnections({ store, vault, links, sessions, signIns, log: silent });
});
afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true });
});

describe("what a toolbox is told about a connection", () => {
  it("ends with its revocation, also when a change was still on its way", async () => {
    const id = await connections.connect({ agentId: agent.id, serverId: server.id, allowedTools: null, expiresAt: null });
    const change = toolbox.hold();
    const changing = connections.setAccess(id, { allowedTools: ["echo"] });
    await change.arrived.promise;
    const disconnecting = connections.disconnect(id);
    await new Promise((resolve) => setImmediate(resolve));
    change.released.resolve();
    await Promise.all([changing, disconnecting]);
    expect([...toolbox.access.keys()]).toEqual([]);
    expect(store.revocations(box.id)).toEqual([]);
    expect(forgotten).toEqual([id]);
  });

  it("ends with its revocation, also when the keychain took its time, and leaves no token", async () => {
    const id = await connections.connect({ agentId: agent.id, serverId: server.id, allowedTools: null, expiresAt: null });
    const answer = Promise.withResolvers<void>();
    const get = vault.get;
    vault.get = async (key) => {
      const value = await get(key);
      await answer.promise;
      return value;
    };
    const changing = connections.setAccess(id, { allowedTools: ["echo"] });
    const disconnecting = connections.disconnect(id);
    await new Promise((resolve) => setImmediate(resolve));
    answer.resolve();
    await Promise.all([changing, disconnecting]);
    expect([...toolbox.access.keys()]).toEqual([]);
    expect(await get({ kind: "connection", id })).toBeUndefined();
  });

  it("ends with the newest allow-list, also when an older one was slow", async () => {
    const id = await connections.connect({ agentId: agent.id, serverId: server.id, allowedTools: null, expiresAt: null });
    const older = toolbox.hold();
    const first = connections.setAccess(id, { allowedTools: ["echo", "wide"] });
    await older.arrived.promise;
    const second = connections.setAccess(id, { allowedTools: ["echo"] });
    await new Promise((resolve) => setImmediate(resolve));
    older.released.resolve();
    await Promise.all([first, second]);
    expect(toolbox.access.get(id)?.allowedTools).toEqual(["echo"]);
    expect(store.mustGet("connections", id)).toMatchObject({ allowedTools: ["echo"], delivery: "delivered" });
  });

  it("has its end, and no end any more once that is taken back", async () => {
    const expiresAt = Date.now() + 86_400_000;
    const id = await connections.connect({ agentId: agent.id, serverId: server.id, allowedTools: ["echo"], expiresAt });
    expect(toolbox.access.get(id)).toMatchObject({ allowedTools: ["echo"], expiresAt });
    await connections.setAccess(id, { allowedTools: null });
    expect(toolbox.access.get(id)).toMatchObject({ allowedTools: null, expiresAt });
    await connections.setAccess(id, { expiresAt: null });
    expect(toolbox.access.get(id)).not.toHaveProperty("expiresAt");
    expect(store.mustGet("connections", id)).toMatchObject({ allowedTools: null, delivery: "delivered" });
    expect(store.mustGet("connections", id)).not.toHaveProperty("expiresAt");
  });

  it("is told again when its end was changed while the toolbox was being told of another", async () => {
    const id = await connections.connect({ agentId: agent.id, serverId: server.id, allowedTools: null, expiresAt: null });
    const older = toolbox.hold();
    const first = connections.setAccess(id, { expiresAt: 1_000 });
    await older.arrived.promise;
    const second = connections.setAccess(id, { expiresAt: 2_000 });
    older.released.resolve();
    await Promise.all([first, second]);
    expect(toolbox.access.get(id)).toMatchObject({ expiresAt: 2_000 });
    expect(store.mustGet("connections", id)).toMatchObject({ expiresAt: 2_000, delivery: "delivered" });
  });

  it("is not kept back by another connection that cannot be told", async () => {
    const other = rows.server(box.id, { spec: rows.spec({ name: "other" }) });
    store.write((tx) => tx.put("servers", other));
    const refused = rows.connection(agent.id, server.id, { delivery: "pending" });
    const waiting = rows.connection(agent.id, other.id, { delivery: "pending" });
    store.write((tx) => {
      tx.put("connections", refused);
      tx.put("connections", waiting);
    });
    toolbox.hold().released.reject(new AppError("INVALID_INPUT"));
    await connections.deliver(box.id);
    expect([...toolbox.access.keys()]).toEqual([waiting.id]);
    expect(store.mustGet("connections", refused.id).delivery).toBe("pending");
    expect(store.mustGet("connections", waiting.id).delivery).toBe("delivered");
  });

  it("stays to be told when the token was renewed meanwhile and the new one did not arrive", async () => {
    const id = await connections.connect({ agentId: agent.id, serverId: server.id, allowedTools: null, expiresAt: null });
    const older = toolbox.hold();
    const first = connections.setAccess(id, { allowedTools: ["echo"] });
    await older.arrived.promise;
    const renewal = toolbox.hold();
    const second = connections.renew(id);
    await new Promise((resolve) => setImmediate(resolve));
    older.released.resolve();
    await renewal.arrived.promise;
    renewal.released.reject(new AppError("TOOLBOX_UNREACHABLE"));
    await Promise.all([first, second]);
    expect(store.mustGet("connections", id).delivery).toBe("pending");
  });
});
