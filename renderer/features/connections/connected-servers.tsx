import { Ellipsis, Hourglass, Plug, SlidersHorizontal, Unplug } from "lucide-react";
import { useState } from "react";
import { Link, useLocation } from "wouter";
import { type Agent, type Connection, isOver } from "../../../shared/model/agent.ts";
import { sumLatency } from "../../../shared/model/usage.ts";
import { formatAgo } from "../../format.ts";
import { places } from "../../places.ts";
import { useConnectionsOfAgent, useNowSelect, useServerTools } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Badge } from "../../ui/badge.tsx";
import { IconButton } from "../../ui/button.tsx";
import { join } from "../../ui/join.ts";
import { Menu } from "../../ui/menu.tsx";
import { ServerStateLabel } from "../servers/index.ts";
import { accessLabel } from "./access-label.ts";
import { useConnectionServer, useIsPending } from "./connection-server.ts";
import { latencyLabel } from "./connection-usage.tsx";
import { Disconnect } from "./disconnect.tsx";

const words = text.connections;

/** The servers an agent is connected to: state, access, use. */
export function ConnectedServers({ agent }: { agent: Agent }) {
  const connections = useConnectionsOfAgent(agent.id);
  const [leaving, setLeaving] = useState<{ connection: Connection; serverName: string } | null>(null);
  const close = () => setLeaving(null);
  if (connections.length === 0)
    return (
      <div className="flex items-center gap-3 rounded-lg border border-line border-dashed px-3.5 py-3">
        <Plug size={16} aria-hidden className="shrink-0 text-faint" />
        <p className="text-muted text-sm">
          <span className="font-medium text-ink">{words.none.title}</span> {words.none.body}
        </p>
      </div>
    );
  return (
    <>
      <ul className="flex flex-col overflow-hidden rounded-lg border border-line">
        {connections.map((connection) => (
          <ConnectedServer
            key={connection.id}
            connection={connection}
            onDisconnect={(serverName) => setLeaving({ connection, serverName })}
          />
        ))}
      </ul>
      {leaving !== null && (
        <Disconnect
          connection={leaving.connection}
          agent={agent}
          serverName={leaving.serverName}
          isOpen
          onClose={close}
          onDisconnected={close}
        />
      )}
    </>
  );
}

type ConnectedServerProps = { connection: Connection; onDisconnect(serverName: string): void };

function ConnectedServer({ connection, onDisconnect }: ConnectedServerProps) {
  const { server, name } = useConnectionServer(connection);
  const tools = useServerTools(server);
  const isPending = useIsPending(connection);
  const isExpired = useNowSelect((now) => isOver(connection, now));
  const [, navigate] = useLocation();
  const place = places.connection(connection.agentId, connection.id);
  return (
    <li className="group relative grid min-h-12 grid-cols-[minmax(7rem,1fr)_11rem_minmax(5.5rem,0.6fr)_minmax(8.5rem,1.6fr)_auto] items-center gap-4 border-line border-b px-3.5 py-1.5 text-sm last:border-b-0 hover:bg-hover">
      <Link
        href={place}
        aria-label={words.openOf(name)}
        className="min-w-0 truncate font-medium after:absolute after:inset-0 focus-visible:outline-none focus-visible:after:outline-2 focus-visible:after:outline-focus focus-visible:after:-outline-offset-2"
      >
        {name}
      </Link>
      <span className="min-w-0">{server !== undefined && <ServerStateLabel server={server} />}</span>
      <span className="truncate text-muted">{accessLabel(connection, tools)}</span>
      <span className="flex min-w-0 items-center justify-end gap-2">
        {isExpired && <Badge tone="danger">{words.end.expired}</Badge>}
        {isPending ? (
          <PendingBadge />
        ) : (
          <span className={join("min-w-0 truncate", isExpired && "hidden min-[1120px]:inline")}>
            <Usage connection={connection} />
          </span>
        )}
      </span>
      <span className="relative z-1">
        <Menu
          trigger={<IconButton size="sm" icon={Ellipsis} label={words.actionsOf(name)} />}
          entries={[
            { label: words.open, icon: Plug, onSelect: () => navigate(place) },
            { label: words.accessTab, icon: SlidersHorizontal, onSelect: () => navigate(`${place}?tab=access`) },
            "separator",
            { label: words.disconnect, icon: Unplug, isDanger: true, onSelect: () => onDisconnect(name) },
          ]}
        />
      </span>
    </li>
  );
}

/** A change that the toolbox does not have yet. */
export function PendingBadge() {
  return (
    <Badge tone="warn">
      <Hourglass size={11} aria-hidden />
      {words.pending}
    </Badge>
  );
}

function Usage({ connection }: { connection: Connection }) {
  const { calls, lastUsedAt, tools = [] } = connection;
  const ago = useNowSelect((now) => (lastUsedAt === null ? null : formatAgo(now - lastUsedAt)));
  if (ago === null) return <span className="truncate text-faint text-xs">{words.neverUsed}</span>;
  const latency = sumLatency(tools);
  return (
    <span className="tnum truncate text-muted text-xs">
      {words.usage(calls, connection.errors)}
      {latency.length > 0 && <span className="hidden min-[1280px]:inline">, {words.latency(latencyLabel(0.5, latency))}</span>}
      <span className="hidden min-[1120px]:inline">, {words.lastUsed(ago)}</span>
    </span>
  );
}
