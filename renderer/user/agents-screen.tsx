import { Bot, Plus } from "lucide-react";
import { useState } from "react";
import { useLocation } from "wouter";
import { AgentsTable, CreateAgent } from "../features/agents/index.ts";
import { places } from "../places.ts";
import { useCopy, useOwnAgents } from "../state/index.ts";
import { text } from "../text.ts";
import { Button } from "../ui/button.tsx";
import { EmptyState } from "../ui/empty-state.tsx";
import { PageHeader } from "../ui/page.tsx";
import { SearchField } from "../ui/search-field.tsx";
import { SkeletonRows } from "../ui/skeleton.tsx";

const searchAbove = 6;

/** One's own agents. */
export function AgentsScreen() {
  const isReady = useCopy((copy) => copy.isReady);
  const agents = useOwnAgents();
  const [, navigate] = useLocation();
  const [isCreating, setCreating] = useState(false);
  const [search, setSearch] = useState("");
  const needle = search.trim().toLowerCase();
  const shown = agents.filter((agent) => `${agent.name} ${agent.description}`.toLowerCase().includes(needle));
  const create = (
    <Button variant="primary" icon={Plus} onClick={() => setCreating(true)}>
      {text.agents.create}
    </Button>
  );
  return (
    <>
      <PageHeader
        title={text.agents.title}
        aside={
          isReady && agents.length > 0 && <span className="tnum text-faint text-sm">{text.counts.plain(agents.length)}</span>
        }
        actions={
          <>
            {agents.length > searchAbove && <SearchField label={text.agents.search} value={search} onChange={setSearch} />}
            {agents.length > 0 && create}
          </>
        }
      />
      {!isReady ? (
        <SkeletonRows label={text.app.loading} />
      ) : agents.length === 0 ? (
        <EmptyState icon={Bot} title={text.agents.empty.title} action={create}>
          {text.agents.empty.body}
        </EmptyState>
      ) : (
        <AgentsTable agents={shown} empty={<p className="px-5 py-6 text-muted text-sm">{text.agents.noMatch}</p>} />
      )}
      <CreateAgent isOpen={isCreating} onClose={() => setCreating(false)} onCreated={(id) => navigate(places.agent(id))} />
    </>
  );
}
