import { History, RefreshCw } from "lucide-react";
import { useMemo } from "react";
import { Link } from "wouter";
import { formatTime } from "../../format.ts";
import { places } from "../../places.ts";
import { useCopy, useNowSelect } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button, buttonClass } from "../../ui/button.tsx";
import { EmptyState } from "../../ui/empty-state.tsx";
import { SkeletonRows } from "../../ui/skeleton.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { AskedNotes } from "../errors/index.tsx";
import { type AuditEntry, actorOf, changesOf, type NameOf, whatOf } from "./describe.ts";
import { useAudit } from "./use-audit.ts";

const words = text.audit;

/** Who changed what in the shared workspace: admins see all of it, users what they did themselves. */
export function AuditList({ isAdmin }: { isAdmin: boolean }) {
  const sync = useCopy((copy) => copy.facts.sync);
  if (sync.account === null)
    return (
      <EmptyState
        icon={History}
        title={words.local.title}
        action={
          <Link href={places.shareWorkspace} className={buttonClass()}>
            {text.sharing.share}
          </Link>
        }
      >
        {isAdmin ? words.local.body : words.localUser}
      </EmptyState>
    );
  return <Entries isAdmin={isAdmin} isOnline={sync.link.state === "online"} ownId={sync.account.who?.userId ?? null} />;
}

type EntriesProps = { isAdmin: boolean; isOnline: boolean; ownId: string | null };

function Entries({ isAdmin, isOnline, ownId }: EntriesProps) {
  const audit = useAudit(isOnline);
  const nameOf = useNames();
  const columns = useMemo((): Column<AuditEntry>[] => {
    const { columns: headers } = words;
    const all: (Column<AuditEntry> | false)[] = [
      { id: "at", header: headers.at, width: "8.5rem", cell: (row) => <At at={row.at} /> },
      isAdmin && {
        id: "who",
        header: headers.who,
        width: "minmax(7rem, 0.8fr)",
        cell: (row) => <span className="truncate">{actorOf(row, ownId, nameOf)}</span>,
      },
      {
        id: "what",
        header: headers.what,
        width: "minmax(11rem, 1.3fr)",
        cell: (row) => <span className="truncate font-medium">{whatOf(row, nameOf)}</span>,
      },
      {
        id: "changes",
        header: headers.changes,
        width: "minmax(10rem, 2fr)",
        cell: (row) => <Changes changes={changesOf(row, nameOf)} />,
      },
    ];
    return all.filter((column) => column !== false);
  }, [isAdmin, ownId, nameOf]);
  const readAt = useNowSelect((now) => (audit.readAt === null ? null : formatTime(audit.readAt, now)));

  if (audit.entries === null && audit.error === null && isOnline) return <SkeletonRows label={text.app.loading} />;
  return (
    <>
      <div className="flex min-h-11 shrink-0 items-center gap-3 px-5 py-2">
        <p className="min-w-0 text-muted text-sm">{isAdmin ? words.all : words.own}</p>
        <span className="ml-auto flex shrink-0 items-center gap-3">
          {readAt !== null && <span className="tnum text-faint text-xs">{words.asOf(readAt)}</span>}
          <Button size="sm" icon={RefreshCw} isBusy={audit.isBusy} disabled={!isOnline} onClick={audit.refresh}>
            {words.refresh}
          </Button>
        </span>
      </div>
      <AskedNotes away={isOnline ? null : words.unreachable} error={isOnline ? audit.error : null} onRetry={audit.refresh} />
      <Table
        label={words.list}
        columns={columns}
        rows={audit.entries ?? []}
        rowId={(row) => String(row.id)}
        rowLabel={(row) => words.entry(actorOf(row, ownId, nameOf), whatOf(row, nameOf))}
        empty={
          audit.entries !== null && (
            <EmptyState icon={History} title={words.empty.title}>
              {words.empty.body}
            </EmptyState>
          )
        }
      />
      {audit.hasMore && (
        <div className="flex shrink-0 justify-center border-line border-t py-2">
          <Button size="sm" variant="ghost" isBusy={audit.isBusy} disabled={!isOnline} onClick={audit.showOlder}>
            {words.older}
          </Button>
        </div>
      )}
    </>
  );
}

function At({ at }: { at: number }) {
  const label = useNowSelect((now) => formatTime(at, now));
  return <span className="tnum whitespace-nowrap text-muted">{label}</span>;
}

function Changes({ changes }: { changes: readonly string[] }) {
  const line = changes.join(", ");
  return (
    <span className="truncate text-muted" title={line}>
      {line}
    </span>
  );
}

/** What ids are called, as far as this computer knows. */
function useNames(): NameOf {
  const tables = useCopy((copy) => copy.tables);
  const who = useCopy((copy) => copy.facts.sync.account?.who ?? null);
  const { people, toolboxes, servers, agents, connections, templates } = tables;
  return useMemo((): NameOf => {
    const connectionName = (id: string) => {
      const row = connections.get(id);
      if (row === undefined) return undefined;
      const agent = agents.get(row.agentId)?.name;
      const server = servers.get(row.serverId)?.spec.name ?? row.shared?.serverName;
      return agent === undefined || server === undefined ? undefined : words.fromTo(agent, server);
    };
    return (entity, id) => {
      switch (entity) {
        case "person":
          return people.get(id)?.name ?? (who?.userId === id ? who.name : undefined);
        case "toolbox":
          return toolboxes.get(id)?.name;
        case "server":
          return servers.get(id)?.spec.name;
        case "agent":
          return agents.get(id)?.name;
        case "template":
          return templates.get(id)?.title;
        case "connection":
          return connectionName(id);
        default:
          return undefined;
      }
    };
  }, [people, toolboxes, servers, agents, connections, templates, who]);
}
