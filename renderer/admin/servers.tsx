import { Rocket, Server as ServerIcon, X } from "lucide-react";
import { useMemo, useState } from "react";
import { Link, useLocation, useSearch } from "wouter";
import type { Server } from "../../shared/model/server.ts";
import {
  type Command,
  commandIcons,
  commandsFor,
  describeServer,
  filterOf,
  type ServerFilter,
  ServerPage,
  ServersTable,
  serverFilters,
  sourceOf,
  useServerCommands,
  useServerCounts,
} from "../features/servers/index.ts";
import { places } from "../places.ts";
import { useCopy, useNowSelect, useRow, useRows } from "../state/index.ts";
import { text } from "../text.ts";
import { Badge } from "../ui/badge.tsx";
import { Button, buttonClass, IconButton } from "../ui/button.tsx";
import { EmptyState } from "../ui/empty-state.tsx";
import { PageHeader } from "../ui/page.tsx";
import { SearchField } from "../ui/search-field.tsx";
import { Segments } from "../ui/segments.tsx";
import { Missing } from "./missing.tsx";

const none: ReadonlySet<string> = new Set();

export function Servers() {
  const [, navigate] = useLocation();
  const search = new URLSearchParams(useSearch());
  const wanted = search.get("state");
  const filter: ServerFilter = serverFilters.find((candidate) => candidate === wanted) ?? "all";
  const toolboxId = search.get("toolbox");
  const toolbox = useRow("toolboxes", toolboxId);
  const [query, setQuery] = useState("");
  const [selected, setSelected] = useState(none);
  const servers = useRows("servers");
  const counts = useServerCounts();
  const shown = useShownServers(servers, filter, toolbox?.id ?? null, query);
  const chosen = useMemo(
    () => (selected.size === 0 ? [] : shown.filter((server) => selected.has(server.id))),
    [shown, selected],
  );
  const deploy = (
    <Link href={places.catalogue} className={buttonClass("primary")}>
      <Rocket size={15} aria-hidden className="-ml-0.5" />
      {text.servers.deploy}
    </Link>
  );
  return (
    <>
      <PageHeader
        title={text.servers.title}
        aside={
          toolbox !== undefined && (
            <span className="flex items-center gap-0.5">
              <Badge tone="accent">{toolbox.name}</Badge>
              <IconButton
                size="sm"
                icon={X}
                label={text.servers.clearSelection}
                onClick={() => navigate(places.servers, { replace: true })}
              />
            </span>
          )
        }
        actions={servers.length > 0 && deploy}
      />
      {servers.length > 0 && (
        <div className="flex h-11 shrink-0 items-start gap-3 px-5">
          {chosen.length === 0 ? (
            <>
              <Segments<ServerFilter>
                label={text.servers.filter}
                value={filter}
                onChange={(next) => navigate(next === "all" ? places.servers : places.serversIn(next), { replace: true })}
                segments={serverFilters.map((value) => ({
                  value,
                  label: text.servers.filters[value],
                  count: counts[value],
                }))}
              />
              <SearchField label={text.servers.search} value={query} onChange={setQuery} className="ml-auto w-56" />
            </>
          ) : (
            <SelectionBar servers={chosen} onClear={() => setSelected(none)} />
          )}
        </div>
      )}
      <ServersTable
        servers={shown}
        listKey={`${filter} ${toolboxId ?? ""} ${query}`}
        selection={{ selected, onChange: setSelected }}
        empty={
          servers.length === 0 ? (
            <EmptyState icon={ServerIcon} title={text.servers.empty.title} action={deploy}>
              {text.servers.empty.body}
            </EmptyState>
          ) : (
            <EmptyState title={text.servers.noMatch} />
          )
        }
      />
    </>
  );
}

/** The rows that match; which of them match a state is looked at again as observations age. */
function useShownServers(
  servers: readonly Server[],
  filter: ServerFilter,
  toolboxId: string | null,
  query: string,
): readonly Server[] {
  const toolboxes = useCopy((copy) => copy.tables.toolboxes);
  const moment = useNowSelect((now) => (filter === "all" ? 0 : Math.floor(now / 2_000) * 2_000));
  return useMemo(() => {
    const needle = query.trim().toLowerCase();
    if (needle === "" && filter === "all" && toolboxId === null) return servers;
    return servers.filter((server) => {
      const toolbox = toolboxes.get(server.toolboxId);
      if (toolboxId !== null && server.toolboxId !== toolboxId) return false;
      if (filter !== "all" && filterOf(describeServer(server, toolbox, moment)) !== filter) return false;
      return `${server.spec.name} ${sourceOf(server)} ${toolbox?.name ?? ""}`.toLowerCase().includes(needle);
    });
  }, [servers, toolboxes, filter, toolboxId, query, moment]);
}

const bulkCommands: Command[] = ["start", "stop", "restart", "delete"];

function SelectionBar({ servers, onClear }: { servers: readonly Server[]; onClear(): void }) {
  const toolboxes = useCopy((copy) => copy.tables.toolboxes);
  const commands = useServerCommands(onClear);
  return (
    <>
      <span className="tnum text-sm leading-8">{text.servers.selected(servers.length)}</span>
      <div className="flex gap-1.5">
        {bulkCommands.map((command) => {
          const able = servers.filter(
            (server) => commandsFor(server, toolboxes.get(server.toolboxId), Date.now())[command] === "yes",
          );
          return (
            <Button
              key={command}
              icon={commandIcons[command]}
              disabled={able.length === 0}
              onClick={() => commands.give(command, able)}
            >
              {text.servers[command]}
              {able.length > 0 && able.length < servers.length && <span className="tnum text-faint">{able.length}</span>}
            </Button>
          );
        })}
      </div>
      <Button variant="ghost" className="ml-auto" onClick={onClear}>
        {text.servers.clearSelection}
      </Button>
      {commands.dialog}
    </>
  );
}

export function ServerScreen({ id }: { id: string }) {
  const server = useRow("servers", id);
  return server === undefined ? <Missing /> : <ServerPage server={server} />;
}
