import { useState } from "react";
import type { Tool } from "../../../shared/model/tool.ts";
import { text } from "../../text.ts";
import { Badge } from "../../ui/badge.tsx";
import { join } from "../../ui/join.ts";
import { SearchField } from "../../ui/search-field.tsx";

const words = text.tools;

/** Whether a tool's name, title or description has all words of a search. */
export function matchesTool(tool: Tool, search: string): boolean {
  const haystack = `${tool.name} ${tool.title ?? ""} ${tool.description ?? ""}`.toLowerCase();
  return search
    .toLowerCase()
    .split(/\s+/)
    .every((word) => haystack.includes(word));
}

type ToolListProps = {
  tools: readonly Tool[];
  /** null allows all. */
  allowedTools: readonly string[] | null;
  chosen: string | null;
  onChoose(name: string): void;
};

/** The tools of a connection, to choose one from. */
export function ToolList({ tools, allowedTools, chosen, onChoose }: ToolListProps) {
  const [search, setSearch] = useState("");
  const shown = tools.filter((tool) => matchesTool(tool, search));
  return (
    <div className="flex min-h-0 flex-col gap-2">
      {tools.length > 6 && <SearchField label={words.search} value={search} onChange={setSearch} className="w-full" />}
      {shown.length === 0 && <p className="px-2 py-3 text-muted text-sm">{words.noMatch}</p>}
      <ul aria-label={words.list} className="flex min-h-0 flex-col gap-px overflow-y-auto">
        {shown.map((tool) => {
          const isAllowed = allowedTools === null || allowedTools.includes(tool.name);
          return (
            <li key={tool.name}>
              <button
                type="button"
                aria-current={tool.name === chosen ? "true" : undefined}
                onClick={() => onChoose(tool.name)}
                className={join(
                  "flex w-full flex-col gap-0.5 rounded-md px-2.5 py-1.5 text-left outline-offset-[-2px]",
                  tool.name === chosen ? "bg-selected" : "hover:bg-hover",
                )}
              >
                <span className="flex w-full items-center gap-2">
                  <span className={join("min-w-0 flex-1 truncate text-sm", isAllowed ? "font-medium" : "text-muted")}>
                    {tool.name}
                  </span>
                  {!isAllowed && <Badge>{words.notAllowed}</Badge>}
                </span>
                {tool.description !== undefined && (
                  <span className="w-full truncate text-muted text-xs">{tool.description.split("\n")[0]}</span>
                )}
              </button>
            </li>
          );
        })}
      </ul>
    </div>
  );
}
