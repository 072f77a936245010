import { type ReactNode, useMemo } from "react";
import { useLocation } from "wouter";
import type { PersonRow } from "../../../shared/sync-protocol.ts";
import { formatDateTime } from "../../format.ts";
import { places } from "../../places.ts";
import { useCopy } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Badge } from "../../ui/badge.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { useAgentsByOwner, useConnectionsByOwner } from "./owned.ts";
import { RoleBadges } from "./role-badges.tsx";

type PeopleTableProps = { people: readonly PersonRow[]; empty: ReactNode };

/** Who is in the workspace, as what, and what is theirs. */
export function PeopleTable({ people, empty }: PeopleTableProps) {
  const [, navigate] = useLocation();
  const agentsOf = useAgentsByOwner();
  const connectionsOf = useConnectionsByOwner();
  const ownId = useCopy((copy) => copy.facts.sync.account?.who?.userId ?? null);
  const columns = useMemo((): Column<PersonRow>[] => {
    const { columns: headers } = text.people;
    return [
      {
        id: "name",
        header: headers.name,
        width: "minmax(9rem, 1.2fr)",
        sortBy: (row) => row.name,
        cell: (row) => (
          <span className="flex min-w-0 items-center gap-2">
            <span className="truncate font-medium">{row.name}</span>
            {row.id === ownId && <Badge>{text.people.you}</Badge>}
          </span>
        ),
      },
      {
        id: "account",
        header: headers.account,
        width: "minmax(9rem, 1.2fr)",
        sortBy: accountOf,
        cell: (row) => <span className="truncate text-muted">{accountOf(row) || text.app.none}</span>,
      },
      {
        id: "roles",
        header: headers.roles,
        width: "minmax(8rem, 0.8fr)",
        sortBy: (row) => row.roles.join(),
        cell: (row) => <RoleBadges roles={row.roles} />,
      },
      {
        id: "agents",
        header: headers.agents,
        width: "4rem",
        align: "end",
        sortBy: (row) => agentsOf(row.id).length,
        cell: (row) => text.counts.plain(agentsOf(row.id).length),
      },
      {
        id: "connections",
        header: headers.connections,
        width: "6rem",
        align: "end",
        sortBy: (row) => connectionsOf(row.id).length,
        cell: (row) => text.counts.plain(connectionsOf(row.id).length),
      },
      {
        id: "since",
        showsFrom: 760,
        header: headers.since,
        width: "9rem",
        sortBy: (row) => row.createdAt,
        cell: (row) => <span className="tnum whitespace-nowrap text-muted">{formatDateTime(row.createdAt)}</span>,
      },
    ];
  }, [agentsOf, connectionsOf, ownId]);
  return (
    <Table
      label={text.people.list}
      columns={columns}
      rows={people}
      rowId={(row) => row.id}
      rowLabel={(row) => row.name}
      onOpen={(row) => navigate(places.person(row.id))}
      empty={empty}
    />
  );
}

function accountOf({ email, loginRole }: PersonRow): string {
  return email ?? loginRole ?? "";
}
