import { useState } from "react";
import type { Connection } from "../../../shared/model/agent.ts";
import type { Server } from "../../../shared/model/server.ts";
import { api } from "../../api.ts";
import { useAction, useServerTools } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Badge } from "../../ui/badge.tsx";
import { Banner } from "../../ui/banner.tsx";
import { Button } from "../../ui/button.tsx";
import { Checkbox, RadioGroup } from "../../ui/form.tsx";
import { PageBody } from "../../ui/page.tsx";
import { SearchField } from "../../ui/search-field.tsx";
import { announce } from "../../ui/toast.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { type AllowedTools, isSameAccess, rowsFor, type ToolRow, withTool } from "./allow-list.ts";
import { EndField } from "./end-field.tsx";

const words = text.connections.access;
const searchAbove = 6;

/** What a person chose and has not saved yet; null while nothing is changed. */
export type AccessDraft = { allowed: AllowedTools; expiresAt: number | null } | null;

/** Whether what was chosen is what there is. */
export function isSaved(draft: NonNullable<AccessDraft>, { allowedTools, expiresAt }: Connection): boolean {
  return isSameAccess(draft.allowed, allowedTools) && draft.expiresAt === (expiresAt ?? null);
}

type AccessEditorProps = {
  connection: Connection;
  server: Server | undefined;
  draft: AccessDraft;
  onDraft(draft: AccessDraft): void;
};

/** Chooses which tools a connection may use, and until when. Nothing is sent before it is saved. */
export function AccessEditor({ connection, server, draft, onDraft }: AccessEditorProps) {
  const saved = connection.allowedTools;
  const allowed = draft === null ? saved : draft.allowed;
  const savedEnd = connection.expiresAt ?? null;
  const expiresAt = draft === null ? savedEnd : draft.expiresAt;
  const isChanged = draft !== null && !isSaved(draft, connection);
  const tools = useServerTools(server)?.items ?? null;
  const rows = rowsFor(tools, saved, allowed);
  const save = useAction(async () => {
    await api.connections.setAccess({
      id: connection.id,
      ...(isSameAccess(allowed, saved) ? {} : { allowedTools: allowed === null ? null : [...allowed] }),
      ...(expiresAt === savedEnd ? {} : { expiresAt }),
    });
    announce({ title: words.saved, tone: "ok" });
  });
  const change = (next: readonly string[] | null) => onDraft({ allowed: next === null ? null : [...next], expiresAt });

  return (
    <div className="flex min-h-0 flex-1 flex-col">
      <PageBody className="pt-5">
        <div className="flex max-w-3xl flex-col gap-5">
          <RadioGroup
            label={words.label}
            value={allowed === null ? "all" : "some"}
            onChange={(mode) => change(mode === "all" ? null : (saved ?? []))}
            choices={[
              { value: "all", label: words.all, detail: words.allDetail },
              { value: "some", label: words.some, detail: words.someDetail },
            ]}
          />
          {allowed !== null && rows.length > 0 && <ToolChoices rows={rows} allowed={allowed} onChange={change} />}
          {allowed !== null && rows.length === 0 && <p className="text-muted text-sm">{words.toolsUnknown}</p>}
          <EndField value={expiresAt} onChange={(end) => onDraft({ allowed, expiresAt: end })} />
          {allowed?.length === 0 && <Banner tone="warn">{words.nothingChosen}</Banner>}
          {save.error !== null && <AppErrorNote error={save.error} />}
        </div>
      </PageBody>
      <div className="flex shrink-0 items-center gap-2 border-line border-t px-5 py-3">
        <Button variant="primary" disabled={!isChanged} isBusy={save.isBusy} onClick={() => void save.run()}>
          {words.save}
        </Button>
        {isChanged && (
          <>
            <Button variant="ghost" onClick={() => onDraft(null)}>
              {words.discard}
            </Button>
            <span className="text-faint text-xs">{words.unsaved}</span>
          </>
        )}
      </div>
    </div>
  );
}

type ToolChoicesProps = { rows: readonly ToolRow[]; allowed: readonly string[]; onChange(allowed: readonly string[]): void };

function ToolChoices({ rows, allowed, onChange }: ToolChoicesProps) {
  const [search, setSearch] = useState("");
  const needle = search.trim().toLowerCase();
  const shown = rows.filter((row) => `${row.name} ${row.description ?? ""}`.toLowerCase().includes(needle));
  const names = shown.map((row) => row.name);
  const vanished = rows.filter((row) => row.isVanished && allowed.includes(row.name)).length;
  return (
    <section aria-label={words.list} className="flex flex-col gap-2">
      <div className="flex items-center gap-1.5">
        {rows.length > searchAbove && <SearchField label={words.search} value={search} onChange={setSearch} />}
        <span className="tnum ml-1 text-muted text-xs">
          {words.selected(rows.filter((row) => allowed.includes(row.name)).length, rows.length)}
        </span>
        <Button
          size="sm"
          variant="ghost"
          className="ml-auto"
          onClick={() => onChange(names.reduce((list, name) => withTool(list, name, true), allowed))}
        >
          {words.selectAll}
        </Button>
        <Button size="sm" variant="ghost" onClick={() => onChange(allowed.filter((name) => !names.includes(name)))}>
          {words.selectNone}
        </Button>
      </div>
      {shown.length === 0 ? (
        <p className="text-muted text-sm">{words.noMatch}</p>
      ) : (
        <ul className="flex flex-col overflow-hidden rounded-lg border border-line">
          {shown.map((row) => (
            <li key={row.name} className="border-line border-b last:border-b-0">
              <Checkbox
                className="px-3 py-2 hover:bg-hover"
                isChecked={allowed.includes(row.name)}
                onChange={(isChosen) => onChange(withTool(allowed, row.name, isChosen))}
                label={
                  <span className="flex items-center gap-2">
                    <span className="min-w-0 break-words font-medium">{row.name}</span>
                    {row.isVanished && <Badge tone="warn">{words.vanished}</Badge>}
                  </span>
                }
                detail={row.description === undefined ? undefined : <span className="line-clamp-2">{row.description}</span>}
              />
            </li>
          ))}
        </ul>
      )}
      {vanished > 0 && <p className="text-muted text-xs">{words.vanishedNote(vanished)}</p>}
    </section>
  );
}
