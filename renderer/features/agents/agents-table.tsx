import { Ellipsis, Pencil, Trash2 } from "lucide-react";
import { type ReactNode, useState } from "react";
import { useLocation } from "wouter";
import type { Agent, Connection } from "../../../shared/model/agent.ts";
import { formatAgo } from "../../format.ts";
import { places } from "../../places.ts";
import { useConnectionsByAgent, useNowSelect, useRow } from "../../state/index.ts";
import { text } from "../../text.ts";
import { IconButton } from "../../ui/button.tsx";
import { Menu } from "../../ui/menu.tsx";
import { StatusShape, type StatusTone } from "../../ui/status.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { describeServer } from "../servers/index.ts";
import { EditAgent } from "./agent-dialog.tsx";
import { DeleteAgent } from "./delete-agent.tsx";

type AgentsTableProps = { agents: readonly Agent[]; empty: ReactNode };

/** One's agents with their connections, the connections' states and what was done with them. */
export function AgentsTable({ agents, empty }: AgentsTableProps) {
  const [, navigate] = useLocation();
  const [dialog, setDialog] = useState<{ kind: "edit" | "delete"; agent: Agent } | null>(null);
  const connectionsOf = useConnectionsByAgent();
  const { columns: headers } = text.agents;
  const close = () => setDialog(null);

  const columns: Column<Agent>[] = [
    {
      id: "name",
      header: headers.name,
      width: "minmax(10rem, 1.2fr)",
      sortBy: (row) => row.name,
      cell: (row) => (
        <span className="flex min-w-0 items-baseline gap-2">
          <span className="max-w-full shrink-0 truncate font-medium">{row.name}</span>
          <span className="truncate text-faint text-xs">{row.description}</span>
        </span>
      ),
    },
    {
      id: "connections",
      header: headers.connections,
      width: "minmax(12rem, 1.8fr)",
      sortBy: (row) => connectionsOf(row.id).length,
      cell: (row) => <ConnectionStates connections={connectionsOf(row.id)} />,
    },
    {
      id: "calls",
      header: headers.calls,
      width: "4rem",
      align: "end",
      sortBy: (row) => sum(connectionsOf(row.id), callsOf),
      cell: (row) => text.counts.plain(sum(connectionsOf(row.id), callsOf)),
    },
    {
      id: "errors",
      header: headers.errors,
      width: "4rem",
      align: "end",
      sortBy: (row) => sum(connectionsOf(row.id), failedOf),
      cell: (row) => text.counts.plain(sum(connectionsOf(row.id), failedOf)),
    },
    {
      id: "used",
      header: headers.lastUsed,
      width: "6.5rem",
      align: "end",
      sortBy: (row) => lastUsed(connectionsOf(row.id)) ?? 0,
      cell: (row) => <LastUsed at={lastUsed(connectionsOf(row.id))} />,
    },
  ];

  return (
    <>
      <Table
        label={text.agents.list}
        columns={columns}
        rows={agents}
        rowId={(row) => row.id}
        rowLabel={(row) => row.name}
        onOpen={(row) => navigate(places.agent(row.id))}
        actions={{
          header: headers.actions,
          cell: (row) => (
            <Menu
              trigger={<IconButton size="sm" icon={Ellipsis} label={text.agents.actionsOf(row.name)} />}
              entries={[
                { label: text.agents.edit, icon: Pencil, onSelect: () => setDialog({ kind: "edit", agent: row }) },
                "separator",
                {
                  label: text.app.delete,
                  icon: Trash2,
                  isDanger: true,
                  onSelect: () => setDialog({ kind: "delete", agent: row }),
                },
              ]}
            />
          ),
        }}
        empty={empty}
      />
      {dialog !== null && <EditAgent agent={dialog.agent} isOpen={dialog.kind === "edit"} onClose={close} />}
      {dialog !== null && (
        <DeleteAgent agent={dialog.agent} isOpen={dialog.kind === "delete"} onClose={close} onDeleted={close} />
      )}
    </>
  );
}

/** The first connections and how many more there are; a narrow window has room for one. */
function ConnectionStates({ connections }: { connections: readonly Connection[] }) {
  const [first, second] = connections;
  if (first === undefined) return <span className="text-faint">{text.agents.noConnections}</span>;
  return (
    <span className="flex min-w-0 items-center gap-4 overflow-hidden">
      <ConnectionState connection={first} />
      {second !== undefined && (
        <span className="hidden min-w-0 min-[1120px]:flex">
          <ConnectionState connection={second} />
        </span>
      )}
      <MoreConnections amount={connections.length - 1} className="min-[1120px]:hidden" />
      <MoreConnections amount={connections.length - 2} className="hidden min-[1120px]:inline" />
    </span>
  );
}

function MoreConnections({ amount, className }: { amount: number; className: string }) {
  if (amount <= 0) return null;
  return <span className={`shrink-0 text-faint text-xs ${className}`}>{text.agents.moreServers(amount)}</span>;
}

/** Shape and name; the word as well unless the server simply runs. */
function ConnectionState({ connection }: { connection: Connection }) {
  const server = useRow("servers", connection.serverId);
  const toolbox = useRow("toolboxes", server?.toolboxId);
  const describe = (now: number) => (server === undefined ? null : describeServer(server, toolbox, now));
  const tone = useNowSelect((now) => describe(now)?.tone ?? "unknown") as StatusTone;
  const word = useNowSelect((now) => describe(now)?.word ?? "");
  return (
    <span className="flex min-w-0 items-center gap-1.5">
      <StatusShape tone={tone} />
      <span className="truncate">{server?.spec.name ?? connection.shared?.serverName ?? text.connections.goneServer}</span>
      <span className={tone === "ok" ? "sr-only" : "shrink-0 text-faint text-xs"}>{word}</span>
    </span>
  );
}

/** How long ago something was used. */
export function LastUsed({ at }: { at: number | null }) {
  const ago = useNowSelect((now) => (at === null ? null : formatAgo(now - at)));
  return <span className={ago === null ? "text-faint" : "text-muted"}>{ago ?? text.app.never}</span>;
}

function callsOf({ calls }: Connection): number {
  return calls;
}

function failedOf({ errors }: Connection): number {
  return errors;
}

function sum(connections: readonly Connection[], amountOf: (connection: Connection) => number): number {
  return connections.reduce((total, connection) => total + amountOf(connection), 0);
}

function lastUsed(connections: readonly Connection[]): number | null {
  return connections.reduce<number | null>((latest, { lastUsedAt }) => {
    if (lastUsedAt === null) return latest;
    return latest === null ? lastUsedAt : Math.max(latest, lastUsedAt);
  }, null);
}
