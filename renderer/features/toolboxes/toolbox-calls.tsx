import { History, RefreshCw } from "lucide-react";
import type { ToolboxCall } from "../../../shared/contract/toolboxes.ts";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { api } from "../../api.ts";
import { formatDuration, formatTime } from "../../format.ts";
import { useAsked, useNowSelect } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { EmptyState } from "../../ui/empty-state.tsx";
import { SkeletonRows } from "../../ui/skeleton.tsx";
import { StatusDot, type StatusTone } from "../../ui/status.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { AskedNotes } from "../errors/index.tsx";

const words = text.calls;

/** Who changed what on a toolbox, as its DTMA wrote it down. */
export function ToolboxCalls({ toolbox }: { toolbox: Toolbox }) {
  const isLinked = toolbox.link.state === "connected";
  const { answer, readAt, error, isBusy, refresh } = useAsked(
    () => api.toolboxes.audit({ id: toolbox.id }),
    isLinked ? toolbox.id : null,
  );
  const asOf = useNowSelect((now) => (readAt === null ? null : formatTime(readAt, now)));
  if (isLinked && answer === null && error === null) return <SkeletonRows label={text.app.loading} />;
  return (
    <>
      <div className="flex min-h-11 shrink-0 items-center gap-3 px-5 py-2">
        <p className="min-w-0 text-muted text-sm">{words.body}</p>
        <span className="ml-auto flex shrink-0 items-center gap-3">
          {asOf !== null && <span className="tnum text-faint text-xs">{words.asOf(asOf)}</span>}
          <Button size="sm" icon={RefreshCw} isBusy={isBusy && isLinked} disabled={!isLinked} onClick={refresh}>
            {words.refresh}
          </Button>
        </span>
      </div>
      <AskedNotes away={isLinked ? null : text.toolboxAccess.needsLink} error={error} onRetry={refresh} />
      <Table
        label={words.list}
        columns={columns}
        rows={answer ?? []}
        rowId={({ id }) => String(id)}
        rowLabel={({ method, path }) => words.call(method, path)}
        empty={
          answer !== null && (
            <EmptyState icon={History} title={words.empty.title}>
              {words.empty.body}
            </EmptyState>
          )
        }
      />
    </>
  );
}

const { columns: headers } = words;
const columns: Column<ToolboxCall>[] = [
  { id: "at", header: headers.at, width: "8.5rem", cell: ({ at }) => <At at={at} /> },
  {
    id: "what",
    header: headers.what,
    width: "minmax(11rem, 2fr)",
    cell: ({ method, path }) => (
      <code className="truncate font-mono text-xs" title={words.call(method, path)}>
        {words.call(method, path)}
      </code>
    ),
  },
  { id: "answer", header: headers.answer, width: "7.5rem", cell: ({ status }) => <Answer status={status} /> },
  {
    id: "address",
    header: headers.address,
    width: "minmax(7rem, 0.8fr)",
    cell: ({ address }) => <span className="tnum truncate text-muted">{address}</span>,
  },
  {
    id: "caller",
    header: headers.caller,
    width: "5.5rem",
    showsFrom: 820,
    cell: ({ caller }) =>
      caller === null ? (
        <span className="text-muted">{words.noCaller}</span>
      ) : (
        <code className="font-mono text-muted text-xs">{caller}</code>
      ),
  },
  {
    id: "duration",
    header: headers.duration,
    width: "4.5rem",
    align: "end",
    showsFrom: 700,
    cell: ({ durationMs }) => <span className="text-muted">{formatDuration(durationMs)}</span>,
  },
];

function At({ at }: { at: number }) {
  const label = useNowSelect((now) => formatTime(at, now));
  return <span className="tnum whitespace-nowrap text-muted">{label}</span>;
}

const tones: Record<keyof typeof words.answers, StatusTone> = { ok: "ok", refused: "warn", failed: "danger" };

function Answer({ status }: { status: number }) {
  if (status === 0) return <StatusDot tone="warn">{words.noAnswer}</StatusDot>;
  const kind = status < 400 ? "ok" : status < 500 ? "refused" : "failed";
  return <StatusDot tone={tones[kind]}>{words.answer(words.answers[kind], status)}</StatusDot>;
}
