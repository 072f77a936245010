import { Bot, Ellipsis } from "lucide-react";
import { useCallback } from "react";
import { Link, useLocation, useSearch } from "wouter";
import type { Server } from "../../../shared/model/server.ts";
import { places } from "../../places.ts";
import { useConnectionsOfServer, useNowSelect, useRow, useServerTools } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button, buttonClass, IconButton } from "../../ui/button.tsx";
import { Menu } from "../../ui/menu.tsx";
import { PageHeader } from "../../ui/page.tsx";
import { Tabs } from "../../ui/tabs.tsx";
import { ServerAgents } from "./agents-tab.tsx";
import { commandIcons, useServerCommands } from "./commands.tsx";
import { type Command, commandsFor, intentionOf } from "./describe.ts";
import { ServerLogs } from "./logs.tsx";
import { useReadings } from "./readings.ts";
import { ServerReleases } from "./releases-tab.tsx";
import { ServerResources } from "./resources.tsx";
import { ServerSecrets } from "./secrets-tab.tsx";
import { ServerOverview } from "./server-overview.tsx";
import { ServerStateLabel, useServerState } from "./server-state.tsx";
import { commandEntries, updateEntry } from "./servers-table.tsx";
import { ServerTools } from "./tools-tab.tsx";

const tabIds = ["overview", "logs", "resources", "tools", "agents", "releases", "secrets"] as const;
type TabId = (typeof tabIds)[number];

/** Everything about one server. */
export function ServerPage({ server }: { server: Server }) {
  const [, navigate] = useLocation();
  const wanted = new URLSearchParams(useSearch()).get("tab");
  const tab: TabId = tabIds.find((id) => id === wanted) ?? "overview";
  const toolbox = useRow("toolboxes", server.toolboxId);
  const connections = useConnectionsOfServer(server.id);
  const readings = useReadings(server.id, tab === "resources");
  const commands = useServerCommands(
    useCallback(
      (command: Command) => {
        if (command === "delete") navigate(places.servers);
      },
      [navigate],
    ),
  );
  const main = useMainCommand(server);
  const tools = useServerTools(server);
  const { state } = useServerState(server);
  const template = useRow("templates", server.templateId);
  const update =
    template === undefined
      ? []
      : updateEntry(server, toolbox, () => navigate(places.deploy(template.id, { fromServerId: server.id })));
  return (
    <>
      <PageHeader
        title={server.spec.name}
        trail={[{ label: text.servers.title, href: places.servers }]}
        aside={<ServerStateLabel server={server} looks="pill" />}
        actions={
          <>
            <Menu
              trigger={<IconButton icon={Ellipsis} label={text.app.more} />}
              entries={[...update, ...commandEntries(server, toolbox, commands.give)]}
            />
            {main !== null && (
              <Button
                variant={main === "redeploy" ? "primary" : "secondary"}
                icon={commandIcons[main]}
                onClick={() => commands.give(main, [server])}
              >
                {text.servers[main]}
              </Button>
            )}
            {state === "running" && (
              <Link href={places.agents} className={buttonClass("primary")}>
                <Bot size={15} aria-hidden className="-ml-0.5" />
                {text.servers.connectAgent}
              </Link>
            )}
          </>
        }
      />
      <Tabs<TabId>
        label={text.servers.tabs}
        value={tab}
        onChange={(next) => navigate(places.serverTab(server.id, next), { replace: true })}
        tabs={[
          { id: "overview", label: text.servers.overviewTab, content: <ServerOverview server={server} give={commands.give} /> },
          { id: "logs", label: text.servers.logsTab, content: <ServerLogs key={server.id} server={server} /> },
          {
            id: "resources",
            label: text.servers.resourcesTab,
            content: <ServerResources server={server} readings={readings} />,
          },
          {
            id: "tools",
            label: text.servers.toolsTab,
            count: tools?.items.length,
            content: <ServerTools server={server} />,
          },
          { id: "agents", label: text.servers.agentsTab, count: connections.length, content: <ServerAgents server={server} /> },
          {
            id: "releases",
            label: text.servers.releasesTab,
            content: <ServerReleases key={server.id} server={server} />,
          },
          {
            id: "secrets",
            label: text.servers.secretsTab,
            count: server.spec.secrets.length === 0 ? undefined : server.spec.secrets.length,
            content: <ServerSecrets key={server.id} server={server} />,
          },
        ]}
      />
      {commands.dialog}
    </>
  );
}

/** The one command worth a button of its own, if there is one. */
function useMainCommand(server: Server): Command | null {
  const toolbox = useRow("toolboxes", server.toolboxId);
  const command = useNowSelect((now) => {
    if (intentionOf(server, toolbox) !== null) return null;
    const states = commandsFor(server, toolbox, now);
    return (["redeploy", "start", "stop"] as const).find((candidate) => states[candidate] === "yes") ?? null;
  });
  return command as Command | null;
}
