import { ChevronRight, Ellipsis, Hourglass, Plug, ServerOff } from "lucide-react";
import { useState } from "react";
import { Link } from "wouter";
import type { Agent } from "../../../shared/model/agent.ts";
import type { Server } from "../../../shared/model/server.ts";
import { api } from "../../api.ts";
import { places } from "../../places.ts";
import {
  type ServerTools,
  toolsOf,
  useAction,
  useConnectionsOfAgent,
  useCopy,
  useNowSelect,
  useRow,
  useRows,
  useServerTools,
  useSession,
} from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button, buttonClass, IconButton } from "../../ui/button.tsx";
import { EmptyState } from "../../ui/empty-state.tsx";
import { join } from "../../ui/join.ts";
import { Menu } from "../../ui/menu.tsx";
import { SearchField } from "../../ui/search-field.tsx";
import { announce } from "../../ui/toast.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { describeServer, filterOf, ServerStateLabel } from "../servers/index.ts";
import { matchesTool } from "../tools/index.ts";
import { ConnectForATime } from "./connect-for-a-time.tsx";

const words = text.connections;
const namedTools = 4;
const searchAbove = 5;

/** The servers an agent is not connected to yet, with what they can do; those that answer now come first. */
export function AvailableServers({ agent }: { agent: Agent }) {
  const [search, setSearch] = useState("");
  const servers = useRows("servers").filter((server) => server.desired !== "deleted");
  const connected = new Set(useConnectionsOfAgent(agent.id).map((connection) => connection.serverId));
  const available = servers.filter((server) => !connected.has(server.id));
  const toolboxes = useCopy((copy) => copy.tables.toolboxes);
  const usableIds = useNowSelect((now) =>
    available
      .filter((server) => filterOf(describeServer(server, toolboxes.get(server.toolboxId), now)) === "running")
      .map((server) => server.id)
      .join(),
  );
  const usable = new Set(usableIds.split(","));
  const lists = useCopy((copy) => copy.tables.toolLists);
  const found = available.filter((server) => matchesServer(server, toolsOf(server, lists), search));
  const shown = [...found.filter((server) => usable.has(server.id)), ...found.filter((server) => !usable.has(server.id))];
  if (servers.length === 0) return <NoServers />;
  if (available.length === 0) return <p className="py-2 text-muted text-sm">{words.allConnected}</p>;
  return (
    <div className="flex flex-col gap-2">
      {available.length > searchAbove && (
        <SearchField label={words.searchAvailable} value={search} onChange={setSearch} className="w-80" />
      )}
      {shown.length === 0 ? (
        <p className="py-2 text-muted text-sm">{words.noMatch}</p>
      ) : (
        <ul className="flex flex-col overflow-hidden rounded-lg border border-line">
          {shown.map((server) => (
            <AvailableServer key={server.id} agent={agent} server={server} />
          ))}
        </ul>
      )}
    </div>
  );
}

function matchesServer(server: Server, tools: ServerTools | null, search: string): boolean {
  if (search.trim() === "") return true;
  const isNamed = server.spec.name.includes(search.trim().toLowerCase());
  return isNamed || (tools?.items.some((tool) => matchesTool(tool, search)) ?? false);
}

function NoServers() {
  const isAdmin = useSession(({ session }) => session?.roles.includes("admin") ?? false);
  return (
    <div className="rounded-lg border border-line border-dashed">
      <EmptyState
        icon={ServerOff}
        headingLevel={3}
        title={words.noServers.title}
        action={
          isAdmin && (
            <Link href={places.catalogue} className={buttonClass("primary")}>
              {words.noServers.action}
            </Link>
          )
        }
      >
        {words.noServers.body}
      </EmptyState>
    </div>
  );
}

function AvailableServer({ agent, server }: { agent: Agent; server: Server }) {
  const [isOpen, setOpen] = useState(false);
  const [isAskingForEnd, setAskingForEnd] = useState(false);
  const toolbox = useRow("toolboxes", server.toolboxId);
  const tools = useServerTools(server);
  const name = server.spec.name;
  const connect = useAction(async (expiresAt: number | null) => {
    await api.connections.connect({ agentId: agent.id, serverId: server.id, expiresAt });
    announce({
      title: words.isConnected(agent.name, name),
      tone: "ok",
      ...(toolbox?.link.state === "connected" ? {} : { description: words.connectedPending }),
    });
  });
  return (
    <li className="flex flex-col border-line border-b last:border-b-0">
      <div className="grid min-h-12 grid-cols-[minmax(7rem,1fr)_11rem_minmax(8rem,1.6fr)_auto] items-center gap-4 px-3.5 py-1.5 text-sm">
        <span className="truncate font-medium">{name}</span>
        <ServerStateLabel server={server} />
        <ToolSummary server={server} tools={tools} isOpen={isOpen} onToggle={() => setOpen(!isOpen)} />
        <span className="flex items-center gap-1">
          <Button
            size="sm"
            icon={Plug}
            aria-label={words.connectTo(name)}
            isBusy={connect.isBusy}
            onClick={() => void connect.run(null)}
          >
            {words.connect}
          </Button>
          <Menu
            trigger={<IconButton size="sm" icon={Ellipsis} label={words.actionsOf(name)} />}
            entries={[{ label: words.end.connectForATime, icon: Hourglass, onSelect: () => setAskingForEnd(true) }]}
          />
        </span>
      </div>
      {isAskingForEnd && (
        <ConnectForATime
          agentName={agent.name}
          serverName={name}
          onClose={() => setAskingForEnd(false)}
          onConnect={(expiresAt) => {
            setAskingForEnd(false);
            void connect.run(expiresAt);
          }}
        />
      )}
      {connect.error !== null && (
        <div className="px-3.5 pb-3">
          <AppErrorNote error={connect.error} />
        </div>
      )}
      {isOpen && tools !== null && (
        <ul className="grid gap-x-8 gap-y-1.5 border-line border-t bg-sunken px-3.5 py-3 min-[1120px]:grid-cols-2">
          {tools.items.map((tool) => (
            <li key={tool.name} className="flex min-w-0 flex-col">
              <span className="truncate font-medium text-sm">{tool.name}</span>
              <span className="line-clamp-2 text-muted text-xs">{tool.description}</span>
            </li>
          ))}
        </ul>
      )}
    </li>
  );
}

type ToolSummaryProps = { server: Server; tools: ServerTools | null; isOpen: boolean; onToggle(): void };

function ToolSummary({ server, tools, isOpen, onToggle }: ToolSummaryProps) {
  if (tools === null) return <span className="text-faint text-xs">{words.toolsUnknown}</span>;
  const { items } = tools;
  const names = items.slice(0, namedTools).map((tool) => tool.name);
  const hidden = items.length - names.length;
  return (
    <button
      type="button"
      aria-expanded={isOpen}
      onClick={onToggle}
      disabled={items.length === 0}
      className="-mx-1.5 flex h-7 min-w-0 items-center gap-1.5 rounded-md px-1.5 text-left text-xs hover:bg-hover"
    >
      <ChevronRight size={13} aria-hidden className={join("shrink-0 text-faint transition-transform", isOpen && "rotate-90")} />
      <span className="tnum shrink-0 font-medium">
        {words.toolsKnown(items.length)}
        <span className="sr-only"> {words.ofServer(server.spec.name)}</span>
      </span>
      <span className="truncate text-muted">{names.join(", ")}</span>
      {hidden > 0 && <span className="shrink-0 text-faint">{words.moreTools(hidden)}</span>}
    </button>
  );
}
