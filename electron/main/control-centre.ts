import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { ConnectionId, ToolboxId } from "../../shared/model/ids.ts";
import { createAgents } from "./agents.ts";
import { createCatalogue, loadCatalogue } from "./catalogue.ts";
import { createConnections } from "./connections.ts";
import { createEnrolments } from "./enrolment.ts";
import { createLinks } from "./links.ts";
import type { Logger } from "./log.ts";
import { watchMachine } from "./machine-signals.ts";
import { createMcpSessions } from "./remote/mcp.ts";
import { createSignIns } from "./remote/sign-ins.ts";
import { createReporting, createReportingTokens } from "./reporting.ts";
import { createRoutes, type Routes } from "./routes.ts";
import { createServers } from "./servers.ts";
import type { Settings } from "./settings.ts";
import { openStore } from "./store/index.ts";
import type { Chore } from "./store/outbox.ts";
import { createSync } from "./sync/index.ts";
import { networkShape } from "./sync/network.ts";
import { openDatabase } from "./sync/open.ts";
import { createSchemaTool } from "./sync/schema.ts";
import { createThisComputer } from "./this-computer.ts";
import { createToolboxes } from "./toolboxes.ts";
import { createUpkeep } from "./upkeep.ts";
import { createVault, type Vault } from "./vault/index.ts";
import { openKeychain } from "./vault/keychain.ts";
import { createFacts } from "./window-state.ts";
import { createWorkspace } from "./workspace.ts";

export type ControlCentre = {
  /** Served by a host to its windows, with a `RouteContext`. */
  readonly routes: Routes;
  /** Links to the toolboxes and starts this computer's DTMA. */
  start(): Promise<void>;
  /** Ends child processes and sessions and closes the workspace. */
  stop(): Promise<void>;
};

/** What a host lends: `openPage` opens a page in the system's browser, for somebody to sign in. */
export type Outside = { openPage(url: string): void };

/** Builds the control centre over a data folder. Knows no host. WORKSPACE_IN_USE, WORKSPACE_TOO_NEW. */
export async function createControlCentre(settings: Settings, log: Logger, { openPage }: Outside): Promise<ControlCentre> {
  const store = openStore(settings.dataFolder);
  loadCatalogue(store, JSON.parse(await readFile(join(settings.appRoot, "resources", "catalogue.json"), "utf8")));

  const facts = createFacts();
  const vault = await createVault({
    openKeychain: () => openKeychain(`DTMA Control Centre ${store.workspaceId}`),
    onCondition: (keychain) => facts.set({ keychain }),
  });
  const signIns = createSignIns({
    secrets: secretsOf(vault, "sign-in"),
    clientSecrets: secretsOf(vault, "sign-in-client"),
    connections: () => store.list("connections").map(({ id }) => id),
    openPage,
    onWaiting: (waiting) => facts.set({ signIns: waiting }),
    onClientsNeeded: (needed) => facts.set({ neededClients: needed }),
    log,
  });
  const sessions = createMcpSessions({ name: "dtma-control-centre", version: settings.version }, { signIns });
  const links = createLinks({ store, vault, log, onConnected: (id) => void deliver(id) });
  const reportingTokens = createReportingTokens(vault);
  const connections = createConnections({ store, vault, links, sessions, signIns, log });
  const { revoke } = connections;
  const servers = createServers({ store, vault, links, revoke });
  const catalogue = createCatalogue({ store });
  const agents = createAgents({ store, revoke });
  const thisComputer = createThisComputer({
    settings,
    store,
    vault,
    links,
    reportingTokens,
    log,
    onDocker: (docker) => facts.set({ docker }),
  });
  const toolboxes = createToolboxes({ store, vault, links, thisComputer, reportingTokens });
  const enrolments = createEnrolments({ store, toolboxes });
  const upkeep = createUpkeep({ links, vault });

  const sync = createSync({
    store,
    log,
    open: openDatabase,
    secrets: {
      get: (id) => vault.get({ kind: "account", id }),
      set: (id, value) => vault.set({ kind: "account", id }, value),
    },
    hashes: {
      toolbox: reportingTokens.hash,
      connection: (id) => connections.tokenHash(id as ConnectionId),
    },
    doChore,
    onToolboxes(ids) {
      for (const id of ids) links.follow(id as ToolboxId).catch((error: unknown) => log.warn("link.not-followed", { error }));
    },
  });
  const reporting = createReporting({ store, vault, links, log, condition: sync.condition });
  sync.onCondition(() => {
    facts.set({ sync: sync.condition() });
    void reporting.deliver();
  });
  const schema = createSchemaTool(join(settings.appRoot, "resources", "supabase", "migrations"));
  const workspace = createWorkspace({ sync, schema, reporting, open: openDatabase });
  let stopWatchingMachine = () => {};

  async function doChore(chore: Chore): Promise<void> {
    if (chore.kind === "forget-secrets") {
      for (const key of chore.keys) {
        await vault.delete(key);
        if (key.kind === "connection") await signIns.forget(key.id);
      }
      return;
    }
    const token = await vault.get({ kind: "toolbox", id: chore.from });
    if (token !== undefined) await vault.set({ kind: "toolbox", id: chore.to }, token);
    await vault.delete({ kind: "toolbox", id: chore.from });
    await reportingTokens.forget(chore.from);
    await links.close(chore.to as ToolboxId);
    links.open(chore.to as ToolboxId);
  }

  /** What waited for a toolbox is sent as soon as it answers; what fails waits for the next time. */
  async function deliver(id: ToolboxId): Promise<void> {
    try {
      await connections.deliver(id);
      await servers.deliver(id);
      await reporting.deliver(id);
    } catch (error) {
      log.warn("toolbox.delivery-failed", { toolboxId: id, error });
    }
  }

  const session = {
    version: settings.version,
    platform: process.platform,
    dataFolder: settings.dataFolder,
    startedAt: Date.now(),
  };
  const routes = createRoutes({
    session,
    store,
    facts,
    log,
    thisComputer,
    toolboxes,
    enrolments,
    upkeep,
    catalogue,
    servers,
    agents,
    connections,
    signIns,
    sync,
    workspace,
    reporting,
  });

  return {
    routes,
    async start() {
      thisComputer.start();
      links.start();
      sync.start();
      stopWatchingMachine = watchMachine({
        networkShape,
        onWake(why) {
          log.info("machine.woken", { why });
          links.wake();
          sync.wake();
        },
      });
    },
    async stop() {
      stopWatchingMachine();
      workspace.stop();
      await sync.stop();
      signIns.close();
      await sessions.close();
      await connections.close();
      await thisComputer.stop();
      await links.stop();
      store.close();
    },
  };
}

/** One kind of secret in the vault. */
function secretsOf(vault: Vault, kind: "sign-in" | "sign-in-client") {
  return {
    get: (id: string) => vault.get({ kind, id }),
    set: (id: string, value: string) => vault.set({ kind, id }, value),
    delete: (id: string) => vault.delete({ kind, id }),
  };
}
