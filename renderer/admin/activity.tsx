import { Activity as ActivityIcon } from "lucide-react";
import { useMemo, useState } from "react";
import { useLocation, useSearch } from "wouter";
import { ActivityList } from "../features/activity/index.ts";
import { AuditList } from "../features/audit/index.ts";
import { places } from "../places.ts";
import { useCopy, useRows } from "../state/index.ts";
import { text } from "../text.ts";
import { EmptyState } from "../ui/empty-state.tsx";
import { PageHeader } from "../ui/page.tsx";
import { SearchField } from "../ui/search-field.tsx";
import { Segments } from "../ui/segments.tsx";
import { Tabs } from "../ui/tabs.tsx";

const filters = ["all", "running", "succeeded", "failed", "cancelled"] as const;
type Filter = (typeof filters)[number];

const tabIds = ["operations", "changes"] as const;
type TabId = (typeof tabIds)[number];

/** What was done: the operations of this computer, and the changes of the shared workspace. */
export function Activity() {
  const [, navigate] = useLocation();
  const wanted = new URLSearchParams(useSearch()).get("tab");
  const tab: TabId = tabIds.find((id) => id === wanted) ?? "operations";
  return (
    <>
      <PageHeader title={text.activity.title} />
      <Tabs<TabId>
        label={text.audit.tabs}
        value={tab}
        onChange={(next) => navigate(next === "operations" ? places.activity : places.activityTab(next), { replace: true })}
        tabs={[
          { id: "operations", label: text.audit.operationsTab, content: <Operations /> },
          { id: "changes", label: text.audit.tab, content: <AuditList isAdmin /> },
        ]}
      />
    </>
  );
}

function Operations() {
  const [, navigate] = useLocation();
  const wanted = new URLSearchParams(useSearch()).get("state");
  const filter: Filter = filters.find((candidate) => candidate === wanted) ?? "all";
  const [query, setQuery] = useState("");
  const activities = useRows("activities");
  const toolboxes = useCopy((copy) => copy.tables.toolboxes);
  const shown = useMemo(() => {
    const needle = query.trim().toLowerCase();
    return activities.filter(
      (row) =>
        (filter === "all" || row.state === filter) &&
        `${text.operations.kinds[row.kind]} ${row.server} ${toolboxes.get(row.toolboxId)?.name ?? ""}`
          .toLowerCase()
          .includes(needle),
    );
  }, [activities, toolboxes, filter, query]);
  return (
    <>
      {activities.length > 0 && (
        <div className="flex h-13 shrink-0 items-center gap-3 px-5">
          <Segments<Filter>
            label={text.activity.filter}
            value={filter}
            onChange={(next) => navigate(next === "all" ? places.activity : places.activityIn(next), { replace: true })}
            segments={filters.map((value) => ({ value, label: text.activity.filters[value] }))}
          />
          <SearchField label={text.activity.search} value={query} onChange={setQuery} className="ml-auto w-56" />
        </div>
      )}
      <ActivityList
        activities={shown}
        empty={
          activities.length === 0 ? (
            <EmptyState icon={ActivityIcon} title={text.activity.empty.title}>
              {text.activity.empty.body}
            </EmptyState>
          ) : (
            <EmptyState title={text.activity.noMatch} />
          )
        }
      />
    </>
  );
}
