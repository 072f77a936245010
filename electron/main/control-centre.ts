import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { ToolboxId } from "../../shared/model/ids.ts";
import { createAgents } from "./agents.ts";
import { loadCatalogue } from "./catalogue.ts";
import { createConnections } from "./connections.ts";
import { createLinks } from "./links.ts";
import type { Logger } from "./log.ts";
import { createMcpSessions } from "./remote/mcp.ts";
import { createRoutes, type Routes } from "./routes.ts";
import { createServers } from "./servers.ts";
import type { Settings } from "./settings.ts";
import { openStore } from "./store/index.ts";
import { createThisComputer } from "./this-computer.ts";
import { createToolboxes } from "./toolboxes.ts";
import { createVault } from "./vault/index.ts";
import { openKeychain } from "./vault/keychain.ts";
import { createFacts } from "./window-state.ts";

export type ControlCentre = {
  /** Served by a host to its windows, with a `RouteContext`. */
  readonly routes: Routes;
  /** Links to the toolboxes and starts this computer's DTMA. */
  start(): Promise<void>;
  /** Ends child processes and sessions and closes the workspace. */
  stop(): Promise<void>;
};

/** Builds the control centre over a data folder. Knows no host. WORKSPACE_IN_USE, WORKSPACE_TOO_NEW. */
export async function createControlCentre(settings: Settings, log: Logger): Promise<ControlCentre> {
  const store = openStore(settings.dataFolder);
  loadCatalogue(store, JSON.parse(await readFile(join(settings.appRoot, "resources", "catalogue.json"), "utf8")));

  const facts = createFacts();
  const vault = await createVault({
    openKeychain: () => openKeychain(`DTMA Control Centre ${store.workspaceId}`),
    onCondition: (keychain) => facts.set({ keychain }),
  });
  const sessions = createMcpSessions({ name: "dtma-control-centre", version: settings.version });
  const links = createLinks({ store, vault, log, onConnected: (id) => void deliver(id) });
  const connections = createConnections({ store, vault, links, sessions, log });
  const { revoke } = connections;
  const servers = createServers({ store, vault, links, revoke });
  const agents = createAgents({ store, revoke });
  const thisComputer = createThisComputer({ settings, store, vault, links, log, onDocker: (docker) => facts.set({ docker }) });
  const toolboxes = createToolboxes({ store, vault, links, thisComputer });

  /** What waited for a toolbox is sent as soon as it answers; what fails waits for the next time. */
  async function deliver(id: ToolboxId): Promise<void> {
    try {
      await connections.deliver(id);
      await servers.deliver(id);
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
  const routes = createRoutes({ session, store, facts, log, thisComputer, toolboxes, servers, agents, connections });

  return {
    routes,
    async start() {
      thisComputer.start();
      links.start();
    },
    async stop() {
      await sessions.close();
      await thisComputer.stop();
      await links.stop();
      store.close();
    },
  };
}
