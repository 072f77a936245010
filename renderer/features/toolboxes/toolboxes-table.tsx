import type { ReactNode } from "react";
import { useLocation } from "wouter";
import { freshForMs } from "../../../shared/model/server.ts";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { formatBytes, formatPercent } from "../../format.ts";
import { places } from "../../places.ts";
import { useNowSelect, useServersByToolbox } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Badge } from "../../ui/badge.tsx";
import { Meter } from "../../ui/progress.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { toolboxStatus } from "./status.ts";
import { ToolboxStateLabel } from "./toolbox-state.tsx";

type ToolboxesTableProps = { toolboxes: readonly Toolbox[]; empty: ReactNode };

const order = ["lost", "unresponsive", "docker-down", "silent", "reported", "unknown", "connecting", "reporting", "connected"];

export function ToolboxesTable({ toolboxes, empty }: ToolboxesTableProps) {
  const [, navigate] = useLocation();
  const serversOf = useServersByToolbox();
  const { columns: headers } = text.toolboxes;
  const columns: Column<Toolbox>[] = [
    {
      id: "name",
      header: headers.name,
      width: "minmax(9rem, 1.4fr)",
      sortBy: (row) => row.name,
      cell: (row) => (
        <span className="flex min-w-0 items-center gap-2">
          <span className="truncate font-medium">{row.name}</span>
          {row.kind === "this-computer" && row.name !== text.toolboxes.kinds[row.kind] && (
            <Badge>{text.toolboxes.kinds[row.kind]}</Badge>
          )}
        </span>
      ),
    },
    {
      id: "state",
      header: headers.state,
      width: "minmax(11rem, 1fr)",
      sortBy: (row) => order.indexOf(toolboxStatus(row, Date.now()).state),
      cell: (row) => <ToolboxStateLabel toolbox={row} />,
    },
    {
      id: "cpu",
      header: headers.cpu,
      width: "6.5rem",
      sortBy: (row) => row.load?.cpuPercent ?? -1,
      cell: (row) => (
        <Reading toolbox={row}>
          {(load) => <Meter label={headers.cpu} value={load.cpuPercent / 100} text={formatPercent(load.cpuPercent)} />}
        </Reading>
      ),
    },
    {
      id: "memory",
      header: headers.memory,
      width: "7.5rem",
      sortBy: (row) => row.load?.memoryUsedBytes ?? -1,
      cell: (row) => (
        <Reading toolbox={row}>
          {(load) => (
            <Meter
              label={headers.memory}
              value={load.memoryUsedBytes / Math.max(1, load.memoryTotalBytes)}
              text={formatBytes(load.memoryUsedBytes)}
            />
          )}
        </Reading>
      ),
    },
    {
      id: "docker",
      showsFrom: 860,
      header: headers.docker,
      width: "5.5rem",
      cell: (row) =>
        row.docker?.state === "up" ? <span className="truncate text-muted">{row.docker.engineVersion}</span> : <None />,
    },
    {
      id: "version",
      header: headers.version,
      width: "4.5rem",
      sortBy: (row) => row.dtmaVersion ?? "",
      cell: (row) => (row.dtmaVersion === null ? <None /> : <span className="truncate text-muted">{row.dtmaVersion}</span>),
    },
    {
      id: "servers",
      header: headers.servers,
      width: "4.5rem",
      align: "end",
      sortBy: (row) => serversOf(row.id).length,
      cell: (row) => text.counts.plain(serversOf(row.id).length),
    },
  ];
  return (
    <Table
      label={text.toolboxes.list}
      columns={columns}
      rows={toolboxes}
      rowId={(row) => row.id}
      rowLabel={(row) => row.name}
      onOpen={(row) => navigate(places.toolbox(row.id))}
      empty={empty}
    />
  );
}

type ReadingProps = { toolbox: Toolbox; children(load: NonNullable<Toolbox["load"]>): ReactNode };

/** A reading is shown while it is fresh and not at all later. */
function Reading({ toolbox: { load }, children }: ReadingProps) {
  const isFresh = useNowSelect((now) => load !== null && now - load.at <= freshForMs);
  return load !== null && isFresh ? children(load) : <None />;
}

function None() {
  return <span className="text-faint">{text.app.none}</span>;
}
