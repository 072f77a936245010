import { Boxes, Plus } from "lucide-react";
import { useMemo, useState } from "react";
import { useLocation, useSearch } from "wouter";
import { AddToolbox, ToolboxesTable, ToolboxPage } from "../features/toolboxes/index.ts";
import { places } from "../places.ts";
import { useRow, useRows } from "../state/index.ts";
import { text } from "../text.ts";
import { Button } from "../ui/button.tsx";
import { EmptyState } from "../ui/empty-state.tsx";
import { PageHeader } from "../ui/page.tsx";
import { SearchField } from "../ui/search-field.tsx";
import { Missing } from "./missing.tsx";

export function Toolboxes() {
  const [, navigate] = useLocation();
  const isAdding = new URLSearchParams(useSearch()).has("add");
  const setAdding = (isOpen: boolean) => navigate(isOpen ? `${places.toolboxes}?add` : places.toolboxes, { replace: true });
  const [query, setQuery] = useState("");
  const toolboxes = useRows("toolboxes");
  const shown = useMemo(() => {
    const needle = query.trim().toLowerCase();
    return needle === ""
      ? toolboxes
      : toolboxes.filter((row) => `${row.name} ${row.url ?? ""} ${row.hostname ?? ""}`.toLowerCase().includes(needle));
  }, [toolboxes, query]);
  const add = (
    <Button variant="primary" icon={Plus} onClick={() => setAdding(true)}>
      {text.toolboxes.add}
    </Button>
  );
  return (
    <>
      <PageHeader
        title={text.toolboxes.title}
        actions={
          <>
            {toolboxes.length > 0 && (
              <SearchField label={text.toolboxes.search} value={query} onChange={setQuery} className="w-52" />
            )}
            {toolboxes.length > 0 && add}
          </>
        }
      />
      <ToolboxesTable
        toolboxes={shown}
        empty={
          toolboxes.length === 0 ? (
            <EmptyState icon={Boxes} title={text.toolboxes.empty.title} action={add}>
              {text.toolboxes.empty.body}
            </EmptyState>
          ) : (
            <EmptyState title={text.toolboxes.noMatch} />
          )
        }
      />
      <AddToolbox isOpen={isAdding} onClose={() => setAdding(false)} />
    </>
  );
}

export function ToolboxScreen({ id }: { id: string }) {
  const toolbox = useRow("toolboxes", id);
  return toolbox === undefined ? <Missing /> : <ToolboxPage key={id} toolbox={toolbox} />;
}
