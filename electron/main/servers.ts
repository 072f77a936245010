import { randomUUID } from "node:crypto";
import type { z } from "zod";
import type { deployInput, updateInput } from "../../shared/contract/servers.ts";
import type { HostLoad, LogLine, Release, SecretState, ServerLoad } from "../../shared/dtma-protocol.ts";
import { AppError, toAppError } from "../../shared/errors.ts";
import type { Connection } from "../../shared/model/agent.ts";
import type { OperationId, ServerId, ToolboxId } from "../../shared/model/ids.ts";
import type { OperationKind } from "../../shared/model/operation.ts";
import type { Server } from "../../shared/model/server.ts";
import { fromStoredState } from "../../shared/model/status.ts";
import { toServerSpec } from "./catalogue.ts";
import type { Links } from "./links.ts";
import type { Store, Writer } from "./store/index.ts";
import { serverChanged, serverCreated, serverDeleted } from "./sync/payloads.ts";
import type { Vault } from "./vault/index.ts";

/*
INVARIANTS
- A server's row exists before its toolbox hears of it, so that no event arrives for an unknown server.
- A deploy the toolbox did not accept leaves no row and no secret behind.
- What a server shall become is told to its toolbox first: the row follows what is seen, so an update that fails leaves the
  row as the server is.
- A new value of a secret goes into the vault once the toolbox has accepted it, and a removed one leaves it then.
- A server that was deployed while its toolbox was away is deployed there as soon as the link is back.
- A server that was deleted while its toolbox was away is deleted there as soon as the link is back.
- Without a link, what is wanted of a server goes to the shared database, whose toolbox asks for it; secrets do not, so a
  server that needs some waits for a link.
*/

export interface Servers {
  /** The operation is null when the toolbox hears of it by way of the shared database. */
  deploy(input: z.output<typeof deployInput>): Promise<{ serverId: ServerId; operationId: OperationId | null }>;
  redeploy(id: ServerId, secrets: Record<string, string>): Promise<OperationId>;
  /** Deploys a server with another description, beside the one that runs. */
  update(input: z.output<typeof updateInput>): Promise<OperationId>;
  releases(id: ServerId): Promise<Release[]>;
  rollback(id: ServerId): Promise<OperationId>;
  secrets(id: ServerId): Promise<SecretState[]>;
  setSecret(id: ServerId, name: string, value: string): Promise<OperationId>;
  removeSecret(id: ServerId, name: string): Promise<OperationId>;
  operate(id: ServerId, verb: "start" | "stop" | "restart"): Promise<OperationId | null>;
  /** null when the toolbox is away: the deletion waits for it. */
  remove(id: ServerId): Promise<OperationId | null>;
  cancel(id: OperationId): Promise<void>;
  logs(id: ServerId, options: { tail: number; follow: boolean; signal: AbortSignal }): AsyncIterable<LogLine>;
  stats(id: ServerId, signal: AbortSignal): AsyncIterable<{ at: number; host: HostLoad; server: ServerLoad | null }>;
  /** Sends the deploys and deletions that waited for a toolbox. */
  deliver(toolboxId: ToolboxId): Promise<void>;
}

export type ServersDeps = {
  store: Store;
  vault: Vault;
  links: Links;
  /** Revokes a connection whose server goes. */
  revoke(connection: Connection): Promise<void>;
};

/** An operation that was cancelled undoes what it did; that takes at most as long as a container needs to stop. */
const cancelTimeoutMs = 20_000;

export function createServers({ store, vault, links, revoke }: ServersDeps): Servers {
  /** Notes that the toolbox works on a server now, unless an event has told more already. */
  function begin(server: Server, operationId: OperationId, kind: OperationKind, desired: Server["desired"]): OperationId {
    store.write((tx) => {
      const row = tx.get("servers", server.id);
      const known = tx.get("activities", operationId);
      if (row === undefined) return;
      if (known === undefined) {
        const activity = {
          id: operationId,
          kind,
          server: server.spec.name,
          state: "running",
          steps: [],
          startedAt: Date.now(),
        } as const;
        tx.put("activities", { ...activity, steps: [], toolboxId: server.toolboxId, serverId: server.id });
      }
      if (desired === "deleted") tx.enqueue(serverDeleted(row));
      else if (desired !== row.desired) tx.enqueue(serverChanged(row, { desired }));
      const isUnderWay = known === undefined || known.state === "running";
      tx.put("servers", { ...row, desired, ...(isUnderWay ? { activeOperationId: operationId, lastError: null } : {}) });
    });
    return operationId;
  }

  /** Sends the description with the secrets this computer has; the toolbox keeps those that are not sent. */
  async function send(server: Server, newer: Record<string, string> = {}): Promise<OperationId> {
    const secretValues: Record<string, string> = {};
    for (const { name } of server.spec.secrets) {
      const value = newer[name] ?? (await vault.get({ kind: "server-secret", id: server.id, name }));
      if (value !== undefined) secretValues[name] = value;
    }
    return links.client(server.toolboxId).deploy(server.spec.name, { serverId: server.id, spec: server.spec, secretValues });
  }

  /** Whether the toolbox hears through the shared database what is wanted of its servers. */
  function hearsFromDatabase(toolboxId: ToolboxId): boolean {
    return store.get("toolboxes", toolboxId)?.shared?.canReport === true && !links.isUp(toolboxId);
  }

  /** Whether something for a toolbox of a shared workspace has to wait until it, or this computer, is back. */
  function isAway(toolboxId: ToolboxId): boolean {
    return store.get("toolboxes", toolboxId)?.shared !== undefined && !links.isUp(toolboxId);
  }

  /**
   * A deploy that was asked for while its toolbox was away, and that only this computer can carry out: it holds the
   * secrets, which never go by way of the database, or the toolbox does not hear from the database at all.
   */
  async function waitsForThisComputer(server: Server): Promise<boolean> {
    const { desired, observed, activeOperationId, lastError, spec, toolboxId, shared } = server;
    if (desired !== "running" || observed.state !== "never" || activeOperationId !== null || lastError !== null) return false;
    const toolbox = store.get("toolboxes", toolboxId);
    if (toolbox?.shared === undefined || shared?.isSpecKnown === false) return false;
    if (spec.secrets.length === 0) return !toolbox.shared.canReport;
    const held = await Promise.all(spec.secrets.map(({ name }) => vault.get({ kind: "server-secret", id: server.id, name })));
    return held.some((value) => value !== undefined) && spec.secrets.every(({ required }, index) => !required || held[index]);
  }

  async function keepSecrets(id: ServerId, secrets: Record<string, string>): Promise<void> {
    for (const [name, value] of Object.entries(secrets)) await vault.set({ kind: "server-secret", id, name }, value);
  }

  async function forgetSecrets({ id, spec }: Server): Promise<void> {
    for (const { name } of spec.secrets) await vault.delete({ kind: "server-secret", id, name });
  }

  /** A deletion wins over what is being done to the server: that is cancelled first. */
  async function sendDeletion(server: Server): Promise<OperationId | null> {
    const client = links.client(server.toolboxId);
    for (let attempt = 1; ; attempt += 1) {
      try {
        return begin(server, await client.remove(server.spec.name), "delete", "deleted");
      } catch (error) {
        const { code } = toAppError(error);
        const { activeOperationId = null } = store.get("servers", server.id) ?? {};
        if (code === "CONFLICT" && activeOperationId !== null && attempt < 3)
          await endOperation(server.toolboxId, activeOperationId);
        else if (code !== "NOT_FOUND") throw error;
        else {
          store.write((tx) => forgetServer(tx, server));
          return null;
        }
      }
    }
  }

  /** Cancels an operation and waits until the toolbox has said that it ended. */
  async function endOperation(toolboxId: ToolboxId, id: OperationId): Promise<void> {
    const isRunning = () => store.get("activities", id)?.state === "running";
    await links.client(toolboxId).cancel(id);
    await new Promise<void>((resolve) => {
      const timer = setTimeout(done, cancelTimeoutMs);
      const stop = store.onChange(() => {
        if (!isRunning()) done();
      });
      function done() {
        clearTimeout(timer);
        stop();
        resolve();
      }
      if (!isRunning()) done();
    });
  }

  return {
    async deploy(input) {
      store.mustGet("toolboxes", input.toolboxId);
      const spec = toServerSpec(store.mustGet("templates", input.templateId), input);
      const isLater = isAway(input.toolboxId);
      if (!isLater) links.client(input.toolboxId);
      const server: Server = {
        id: randomUUID() as ServerId,
        toolboxId: input.toolboxId,
        templateId: input.templateId,
        spec,
        desired: "running",
        observed: { state: "never" },
        tools: null,
        load: null,
        activeOperationId: null,
        lastError: null,
        createdAt: Date.now(),
      };
      store.write((tx) => {
        tx.put("servers", server);
        tx.enqueue(serverCreated(server));
      });
      try {
        await keepSecrets(server.id, input.secrets);
        if (isLater) return { serverId: server.id, operationId: null };
        return { serverId: server.id, operationId: begin(server, await send(server), "deploy", "running") };
      } catch (error) {
        store.write((tx) => {
          tx.delete("servers", server.id);
          tx.enqueue(serverDeleted(server, { force: true }));
        });
        await forgetSecrets(server);
        throw error;
      }
    },
    async redeploy(id, secrets) {
      const server = store.mustGet("servers", id);
      await keepSecrets(id, secrets);
      return begin(server, await send(server), "deploy", "running");
    },
    async update({ id, keptSecrets, ...input }) {
      const server = store.mustGet("servers", id);
      const { name, secrets } = server.spec;
      if (server.templateId === null)
        throw new AppError("NOT_FOUND", { message: `${name} was not deployed from a template of this workspace.` });
      const known = new Set(secrets.map((secret) => secret.name));
      const kept = keptSecrets.filter((secret) => known.has(secret));
      const spec = toServerSpec(store.mustGet("templates", server.templateId), { ...input, name, keptSecrets: kept });
      const operationId = await send({ ...server, spec }, input.secrets);
      await keepSecrets(id, input.secrets);
      return begin(server, operationId, "deploy", "running");
    },
    async releases(id) {
      const { toolboxId, spec } = store.mustGet("servers", id);
      return links.client(toolboxId).releases(spec.name);
    },
    async rollback(id) {
      const server = store.mustGet("servers", id);
      return begin(server, await links.client(server.toolboxId).rollback(server.spec.name), "rollback", "running");
    },
    async secrets(id) {
      const { toolboxId, spec } = store.mustGet("servers", id);
      return links.client(toolboxId).secrets(spec.name);
    },
    async setSecret(id, name, value) {
      const server = store.mustGet("servers", id);
      const operationId = await links.client(server.toolboxId).putSecret(server.spec.name, name, value);
      await vault.set({ kind: "server-secret", id, name }, value);
      return begin(server, operationId, "rotate", server.desired);
    },
    async removeSecret(id, name) {
      const server = store.mustGet("servers", id);
      const operationId = await links.client(server.toolboxId).deleteSecret(server.spec.name, name);
      await vault.delete({ kind: "server-secret", id, name });
      return begin(server, operationId, "rotate", server.desired);
    },
    async operate(id, verb) {
      const server = store.mustGet("servers", id);
      if (verb !== "restart" && hearsFromDatabase(server.toolboxId)) {
        const desired = verb === "stop" ? "stopped" : "running";
        store.write((tx) => {
          tx.patch("servers", id, { desired });
          tx.enqueue(serverChanged(server, { desired }));
        });
        return null;
      }
      const operationId = await links.client(server.toolboxId).operate(server.spec.name, verb);
      return begin(server, operationId, verb, verb === "stop" ? "stopped" : "running");
    },
    async remove(id) {
      const server = store.mustGet("servers", id);
      const connections = store.list("connections", { server_id: id });
      const isFailedDeploy = server.observed.state === "never" && server.activeOperationId === null;
      let operationId: OperationId | null = null;
      if (links.isUp(server.toolboxId)) operationId = await sendDeletion(server);
      else
        store.write((tx) => {
          if (isFailedDeploy && server.shared === undefined) tx.delete("servers", id);
          else tx.patch("servers", id, { desired: "deleted" });
          tx.enqueue(serverDeleted(server));
        });
      // Only now: a deletion the toolbox refused leaves everything as it was.
      for (const connection of connections) await revoke(connection);
      await forgetSecrets(server);
      return operationId;
    },
    async cancel(id) {
      const activity = store.mustGet("activities", id);
      if (activity.state === "running") await links.client(activity.toolboxId).cancel(id);
    },
    logs(id, options) {
      const { toolboxId, spec } = store.mustGet("servers", id);
      return links.client(toolboxId).logs(spec.name, options);
    },
    async *stats(id, signal) {
      const { toolboxId, spec } = store.mustGet("servers", id);
      for await (const { at, host, servers } of links.stats(toolboxId, signal))
        yield { at, host, server: servers[spec.name] ?? null };
    },
    async deliver(toolboxId) {
      for (const server of store.list("servers", { toolbox_id: toolboxId })) {
        if (await waitsForThisComputer(server)) {
          begin(server, await send(server), "deploy", "running");
          continue;
        }
        if (server.desired !== "deleted" || server.activeOperationId !== null) continue;
        if (server.observed.state === "present") await sendDeletion(server);
        else store.write((tx) => forgetServer(tx, server));
      }
    },
  };
}

/** The toolbox said itself that the server is gone, so the shared database need not wait to hear it. */
export function forgetServer(tx: Writer, server: Server): void {
  tx.delete("servers", server.id);
  if (tx.sync.synced("servers", server.id) !== undefined) tx.enqueue(serverDeleted(server, { force: true }));
}

/** The error for a server that cannot take calls now; undefined when it can. */
export function refusalOf(server: Server): AppError | undefined {
  const isSeen = server.observed.state === "present" && server.observed.container.state === "running";
  const isReported =
    server.observed.state === "never" && server.shared !== undefined && fromStoredState(server.shared.status) === "running";
  const isRunning = isSeen || isReported;
  return isRunning ? undefined : new AppError("SERVER_NOT_RUNNING", { message: `${server.spec.name} is not running.` });
}
