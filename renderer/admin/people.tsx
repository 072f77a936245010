import { UserPlus, Users } from "lucide-react";
import { useMemo, useState } from "react";
import { Link } from "wouter";
import { AddPerson, PeopleTable, PersonPage } from "../features/people/index.ts";
import { places } from "../places.ts";
import { useCopy, useRow, useRows } from "../state/index.ts";
import { text } from "../text.ts";
import { Button, buttonClass } from "../ui/button.tsx";
import { EmptyState } from "../ui/empty-state.tsx";
import { PageHeader } from "../ui/page.tsx";
import { SearchField } from "../ui/search-field.tsx";
import { Segments } from "../ui/segments.tsx";
import { SkeletonRows } from "../ui/skeleton.tsx";
import { Missing } from "./missing.tsx";

const words = text.people;
const filters = ["all", "admin", "user", "waiting"] as const;
type Filter = (typeof filters)[number];

/** Who works in the shared workspace. */
export function People() {
  const sync = useCopy((copy) => copy.facts.sync);
  const people = useRows("people");
  const [filter, setFilter] = useState<Filter>("all");
  const [query, setQuery] = useState("");
  const [isAdding, setAdding] = useState(false);
  const shown = useMemo(() => {
    const needle = query.trim().toLowerCase();
    return people.filter(
      ({ name, email, loginRole, roles }) =>
        (filter === "all" || (filter === "waiting" ? roles.length === 0 : roles.includes(filter))) &&
        `${name} ${email ?? ""} ${loginRole ?? ""}`.toLowerCase().includes(needle),
    );
  }, [people, filter, query]);
  if (sync.account === null) return <Local />;
  const isReachable = sync.link.state === "online";
  const add = (
    <Button
      variant="primary"
      icon={UserPlus}
      disabled={!isReachable}
      title={isReachable ? undefined : words.offline}
      onClick={() => setAdding(true)}
    >
      {words.add}
    </Button>
  );
  const countOf = (value: Filter) =>
    value === "all"
      ? people.length
      : people.filter(({ roles }) => (value === "waiting" ? roles.length === 0 : roles.includes(value))).length;
  return (
    <>
      <PageHeader title={words.title} actions={people.length > 0 && add} />
      {people.length > 0 && (
        <div className="flex h-11 shrink-0 items-start gap-3 px-5">
          <Segments<Filter>
            label={words.filter}
            value={filter}
            onChange={setFilter}
            segments={filters.map((value) => ({ value, label: words.filters[value], count: countOf(value) }))}
          />
          <SearchField label={words.search} value={query} onChange={setQuery} className="ml-auto w-56" />
        </div>
      )}
      {people.length === 0 && sync.isFirstPull ? (
        <SkeletonRows label={words.fetching} />
      ) : (
        <PeopleTable
          people={shown}
          empty={
            people.length === 0 ? (
              <EmptyState icon={Users} title={words.empty.title} action={add}>
                {words.empty.body}
              </EmptyState>
            ) : (
              <EmptyState title={words.noMatch} />
            )
          }
        />
      )}
      <AddPerson isOpen={isAdding} onClose={() => setAdding(false)} />
    </>
  );
}

function Local() {
  return (
    <>
      <PageHeader title={words.title} />
      <EmptyState
        icon={Users}
        title={words.local.title}
        action={
          <Link href={places.shareWorkspace} className={buttonClass("primary")}>
            {words.local.action}
          </Link>
        }
      >
        {words.local.body}
      </EmptyState>
    </>
  );
}

export function PersonScreen({ id }: { id: string }) {
  const person = useRow("people", id);
  return person === undefined ? <Missing /> : <PersonPage key={id} person={person} />;
}
