import { Bot } from "lucide-react";
import { Link, useLocation } from "wouter";
import { type Connection, isOver } from "../../../shared/model/agent.ts";
import type { Server } from "../../../shared/model/server.ts";
import { formatAgo } from "../../format.ts";
import { places } from "../../places.ts";
import { useConnectionsOfServer, useCopy, useNowSelect } from "../../state/index.ts";
import { text } from "../../text.ts";
import { buttonClass } from "../../ui/button.tsx";
import { EmptyState } from "../../ui/empty-state.tsx";
import { StatusDot } from "../../ui/status.tsx";
import { type Column, Table } from "../../ui/table.tsx";

/** Who is linked to a server. */
export function ServerAgents({ server }: { server: Server }) {
  const [, navigate] = useLocation();
  const connections = useConnectionsOfServer(server.id);
  const agents = useCopy((copy) => copy.tables.agents);
  const headers = text.servers.agentColumns;
  const nameOf = (row: Connection) => agents.get(row.agentId)?.name ?? text.servers.unknownAgent;
  const columns: Column<Connection>[] = [
    {
      id: "agent",
      header: headers.agent,
      width: "minmax(8rem, 1fr)",
      sortBy: nameOf,
      cell: (row) => <span className="truncate font-medium">{nameOf(row)}</span>,
    },
    { id: "access", header: headers.access, width: "6rem", cell: (row) => access(row) },
    {
      id: "delivery",
      header: headers.delivery,
      width: "minmax(8rem, 1fr)",
      cell: (row) => <Delivery connection={row} />,
    },
    {
      id: "calls",
      header: headers.calls,
      width: "4rem",
      align: "end",
      sortBy: (row) => row.calls,
      cell: (row) => text.counts.plain(row.calls),
    },
    {
      id: "errors",
      header: headers.errors,
      width: "4rem",
      align: "end",
      sortBy: (row) => row.errors,
      cell: (row) => text.counts.plain(row.errors),
    },
    {
      id: "lastUsed",
      header: headers.lastUsed,
      width: "7rem",
      align: "end",
      sortBy: (row) => row.lastUsedAt ?? 0,
      cell: (row) => <LastUsed at={row.lastUsedAt} />,
    },
  ];
  return (
    <Table
      label={text.servers.agentsTab}
      columns={columns}
      rows={connections}
      rowId={(row) => row.id}
      rowLabel={nameOf}
      onOpen={(row) => navigate(places.agent(row.agentId))}
      empty={
        <EmptyState
          icon={Bot}
          headingLevel={3}
          title={text.servers.noAgents.title}
          action={
            <Link href={places.agents} className={buttonClass()}>
              {text.servers.connectAgent}
            </Link>
          }
        >
          {text.servers.noAgents.body}
        </EmptyState>
      }
    />
  );
}

function access(connection: Connection): string {
  if (connection.allowedTools === null) return text.servers.allTools;
  return connection.allowedTools.length === 0
    ? text.servers.noToolsAllowed
    : text.servers.someTools(connection.allowedTools.length);
}

/** Whether the toolbox lets the agent in: delivered, on its way, or over. */
function Delivery({ connection }: { connection: Connection }) {
  const isExpired = useNowSelect((now) => isOver(connection, now));
  if (isExpired) return <StatusDot tone="danger">{text.servers.expired}</StatusDot>;
  if (connection.delivery === "delivered") return <StatusDot tone="ok">{text.servers.delivered}</StatusDot>;
  return <StatusDot tone="busy">{text.servers.pending}</StatusDot>;
}

function LastUsed({ at }: { at: number | null }) {
  const label = useNowSelect((now) => (at === null ? text.app.never : formatAgo(now - at)));
  return <span className="tnum text-muted">{label}</span>;
}
