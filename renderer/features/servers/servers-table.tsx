import { Ellipsis, Pencil } from "lucide-react";
import { type ReactNode, useMemo } from "react";
import { useLocation } from "wouter";
import { freshForMs, type Server } from "../../../shared/model/server.ts";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { formatBytes, formatPercent } from "../../format.ts";
import { places } from "../../places.ts";
import { useConnectionsByServer, useCopy, useNowSelect, useRow } from "../../state/index.ts";
import { text } from "../../text.ts";
import { IconButton } from "../../ui/button.tsx";
import { Menu, type MenuEntry } from "../../ui/menu.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { commandIcons, useServerCommands } from "./commands.tsx";
import { type Command, commandsFor, describeServer } from "./describe.ts";
import { ServerStateLabel } from "./server-state.tsx";
import { isSourceKnown, shortDigest, sourceName, sourceOf } from "./source.tsx";

type ServersTableProps = {
  servers: readonly Server[];
  empty: ReactNode;
  isFilling?: boolean;
  hidesToolbox?: boolean;
  /** What the list was narrowed by. */
  listKey?: string;
  selection?: { selected: ReadonlySet<string>; onChange(selected: ReadonlySet<string>): void };
};

const stateOrder = ["attention", "working", "running", "stopped"];

/** Servers with their states; the last column has what can be done to each. */
export function ServersTable({
  servers,
  empty,
  isFilling = true,
  hidesToolbox = false,
  listKey = "",
  selection,
}: ServersTableProps) {
  const [, navigate] = useLocation();
  const connectionsOf = useConnectionsByServer();
  const toolboxes = useCopy((copy) => copy.tables.toolboxes);
  const { give, dialog } = useServerCommands();
  const { columns: headers } = text.servers;
  const columns = useMemo((): Column<Server>[] => {
    const all: (Column<Server> | false)[] = [
      {
        id: "name",
        header: headers.name,
        width: "minmax(8rem, 1.2fr)",
        sortBy: (row) => row.spec.name,
        cell: (row) => <span className="truncate font-medium">{row.spec.name}</span>,
      },
      {
        id: "state",
        header: headers.state,
        width: "minmax(10rem, 1.1fr)",
        sortBy: (row) => {
          const { tone, word } = describeServer(row, toolboxes.get(row.toolboxId), Date.now());
          return `${stateOrder.indexOf(tone)} ${word}`;
        },
        cell: (row) => <ServerStateLabel server={row} />,
      },
      !hidesToolbox && {
        id: "toolbox",
        showsFrom: 700,
        header: headers.toolbox,
        width: "minmax(6rem, 0.8fr)",
        sortBy: (row) => toolboxes.get(row.toolboxId)?.name ?? "",
        cell: (row) => <span className="truncate text-muted">{toolboxes.get(row.toolboxId)?.name ?? text.app.none}</span>,
      },
      {
        id: "source",
        showsFrom: 900,
        header: headers.source,
        width: "minmax(7rem, 1.2fr)",
        sortBy: (row) => sourceOf(row),
        cell: (row) => (
          <span
            className="truncate text-muted"
            title={[sourceOf(row), row.observed.state === "present" && shortDigest(row.observed.image.digest)]
              .filter(Boolean)
              .join("\n")}
          >
            {isSourceKnown(row) ? sourceName(row.spec.source) : text.app.none}
          </span>
        ),
      },
      {
        id: "agents",
        header: headers.agents,
        width: "3.75rem",
        align: "end",
        sortBy: (row) => connectionsOf(row.id).length,
        cell: (row) => text.counts.plain(connectionsOf(row.id).length),
      },
      {
        id: "cpu",
        showsFrom: 800,
        header: headers.cpu,
        width: "3.5rem",
        align: "end",
        sortBy: (row) => row.load?.cpuPercent ?? -1,
        cell: (row) => <Reading server={row}>{(load) => formatPercent(load.cpuPercent)}</Reading>,
      },
      {
        id: "memory",
        header: headers.memory,
        width: "4.5rem",
        align: "end",
        sortBy: (row) => row.load?.memoryBytes ?? -1,
        cell: (row) => <Reading server={row}>{(load) => formatBytes(load.memoryBytes)}</Reading>,
      },
    ];
    return all.filter((column) => column !== false);
  }, [headers, hidesToolbox, toolboxes, connectionsOf]);
  return (
    <>
      <Table
        label={text.servers.list}
        columns={columns}
        rows={servers}
        rowId={(row) => row.id}
        rowLabel={(row) => row.spec.name}
        onOpen={(row) => navigate(places.server(row.id))}
        isFilling={isFilling}
        listKey={listKey}
        empty={empty}
        actions={{ header: headers.actions, cell: (row) => <RowMenu server={row} give={give} /> }}
        {...(selection === undefined
          ? {}
          : { selection: { ...selection, allLabel: text.servers.selectAll, rowLabel: text.servers.select } })}
      />
      {dialog}
    </>
  );
}

function Reading({ server: { load }, children }: { server: Server; children(load: NonNullable<Server["load"]>): string }) {
  const isFresh = useNowSelect((now) => load !== null && now - load.at <= freshForMs);
  if (load === null || !isFresh) return <span className="text-faint">{text.app.none}</span>;
  return <span className="whitespace-nowrap">{children(load)}</span>;
}

type Give = ReturnType<typeof useServerCommands>["give"];

function RowMenu({ server, give }: { server: Server; give: Give }) {
  const toolbox = useRow("toolboxes", server.toolboxId);
  return (
    <Menu
      trigger={<IconButton size="sm" icon={Ellipsis} label={`${text.app.more}: ${server.spec.name}`} tabIndex={-1} />}
      entries={commandEntries(server, toolbox, give)}
    />
  );
}

/** The way to another version or configuration, for a server that is there; nothing for any other. */
export function updateEntry(server: Server, toolbox: Toolbox | undefined, onSelect: () => void): MenuEntry[] {
  if (server.observed.state !== "present") return [];
  const reason =
    server.activeOperationId !== null
      ? text.servers.busy
      : toolbox?.link.state === "connected"
        ? undefined
        : text.servers.toolboxAway;
  const entry: MenuEntry = {
    label: text.servers.changeAndUpdate,
    icon: Pencil,
    isDisabled: reason !== undefined,
    detail: reason,
    onSelect,
  };
  return [entry, "separator"];
}

const menuOrder: Command[] = ["start", "stop", "restart", "redeploy", "delete"];

/** What can be done to a server now as entries of a menu. */
export function commandEntries(server: Server, toolbox: Parameters<typeof commandsFor>[1], give: Give): MenuEntry[] {
  const states = commandsFor(server, toolbox, Date.now());
  return menuOrder.flatMap((command): MenuEntry[] => {
    const state = states[command];
    if (state === "no") return [];
    const entry: MenuEntry = {
      label: text.servers[command],
      icon: commandIcons[command],
      isDanger: command === "delete",
      isDisabled: state !== "yes",
      detail: state === "yes" ? undefined : state.reason,
      onSelect: () => give(command, [server]),
    };
    return command === "delete" ? ["separator", entry] : [entry];
  });
}
