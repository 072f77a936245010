import { History, RefreshCw, Undo2 } from "lucide-react";
import { useMemo, useState } from "react";
import type { Release } from "../../../shared/dtma-protocol.ts";
import type { Server } from "../../../shared/model/server.ts";
import { api } from "../../api.ts";
import { formatDateTime, formatTime } from "../../format.ts";
import { useAsked, useNowSelect, useRow } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { Dialog } from "../../ui/dialog.tsx";
import { EmptyState } from "../../ui/empty-state.tsx";
import { KeyValues } from "../../ui/key-values.tsx";
import { SkeletonRows } from "../../ui/skeleton.tsx";
import { StatusDot } from "../../ui/status.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { summaryOf, ToolChangeList } from "../activity/index.ts";
import { AppErrorNote, AskedNotes } from "../errors/index.tsx";
import { digestOf, outcomeTones, targetOf, whatOf } from "./release-model.ts";
import { RollBack } from "./roll-back.tsx";
import { shortName } from "./source.tsx";

const words = text.releases;

/** Every release of a server with its outcome, and the way back to the one before. */
export function ServerReleases({ server }: { server: Server }) {
  const toolbox = useRow("toolboxes", server.toolboxId);
  const isLinked = toolbox?.link.state === "connected";
  const { observed, activeOperationId } = server;
  const current = observed.state === "present" ? observed : undefined;
  // Asked again when another release runs and when work on the server has ended.
  const key = `${isLinked} ${current?.release ?? ""} ${activeOperationId ?? ""}`;
  const { answer, error, isBusy, refresh } = useAsked(() => api.servers.releases({ id: server.id }), key);
  const [openNumber, setOpenNumber] = useState<number | null>(null);
  const [isRollingBack, setRollingBack] = useState(false);
  const releases = useMemo(() => [...(answer ?? [])].sort((one, other) => other.number - one.number), [answer]);
  const target = targetOf(releases, current?.previous);
  const mayRollBack = isLinked && current?.previous !== undefined && activeOperationId === null;

  if (answer === null && error === null) return <SkeletonRows label={text.app.loading} />;
  return (
    <>
      <div className="flex min-h-11 shrink-0 items-center gap-3 px-5 py-2">
        <p className="min-w-0 text-muted text-sm">{words.body}</p>
        <span className="ml-auto flex shrink-0 items-center gap-2">
          <Button size="sm" icon={RefreshCw} isBusy={isBusy} onClick={refresh}>
            {words.refresh}
          </Button>
          {current?.previous !== undefined && (
            <Button size="sm" icon={Undo2} disabled={!mayRollBack} onClick={() => setRollingBack(true)}>
              {target === undefined ? words.rollBack : words.rollBackTo(target.number)}
            </Button>
          )}
        </span>
      </div>
      <AskedNotes error={error} onRetry={refresh} />
      <Table
        label={words.list}
        columns={columns}
        rows={releases}
        rowId={({ number }) => String(number)}
        rowLabel={(row) => words.rowLabel(row.number, whatOf(row))}
        onOpen={({ number }) => setOpenNumber(number)}
        empty={
          answer !== null && (
            <EmptyState icon={History} title={words.empty.title}>
              {words.empty.body}
            </EmptyState>
          )
        }
      />
      <ReleaseDialog release={releases.find(({ number }) => number === openNumber)} onClose={() => setOpenNumber(null)} />
      <RollBack
        server={server}
        target={target}
        current={releases.find(({ outcome }) => outcome === "current")}
        isOpen={isRollingBack}
        onClose={() => setRollingBack(false)}
      />
    </>
  );
}

const { columns: headers } = words;
const columns: Column<Release>[] = [
  {
    id: "number",
    header: headers.number,
    width: "2.5rem",
    align: "end",
    cell: (row) => <span className="tnum font-medium">{text.counts.plain(row.number)}</span>,
  },
  { id: "at", header: headers.at, width: "8.5rem", cell: (row) => <At at={row.at} /> },
  {
    id: "what",
    header: headers.what,
    width: "minmax(10rem, 1.6fr)",
    cell: (row) => <What of={whatOf(row)} />,
  },
  {
    id: "digest",
    header: headers.digest,
    width: "9.5rem",
    showsFrom: 900,
    cell: (row) => <code className="font-mono text-muted text-xs">{digestOf(row) ?? text.app.none}</code>,
  },
  {
    id: "outcome",
    header: headers.outcome,
    width: "minmax(8rem, 1.2fr)",
    cell: (row) => (
      <span className="flex min-w-0 items-center gap-2">
        <StatusDot tone={outcomeTones[row.outcome]}>{words.outcomes[row.outcome]}</StatusDot>
        {row.error !== undefined && <span className="truncate text-faint text-xs">{row.error.message}</span>}
      </span>
    ),
  },
  {
    id: "tools",
    header: headers.tools,
    width: "minmax(7rem, 1fr)",
    showsFrom: 760,
    cell: ({ toolChanges }) => (
      <span className="truncate text-muted">
        {toolChanges === undefined ? text.app.none : (summaryOf(toolChanges) ?? text.toolChanges.sameShort)}
      </span>
    ),
  },
];

/** A name gives way before its version does. */
function What({ of: whole }: { of: string }) {
  const short = shortName(whole);
  const end = short.lastIndexOf("@") > 0 ? short.lastIndexOf("@") : short.length;
  return (
    <code className="flex min-w-0 font-mono text-xs" title={whole}>
      <span className="truncate">{short.slice(0, end)}</span>
      <span className="shrink-0">{short.slice(end)}</span>
    </code>
  );
}

function At({ at }: { at: number }) {
  const label = useNowSelect((now) => formatTime(at, now));
  return <span className="tnum whitespace-nowrap text-muted">{label}</span>;
}

function ReleaseDialog({ release, onClose }: { release: Release | undefined; onClose(): void }) {
  return (
    <Dialog
      isOpen={release !== undefined}
      onClose={onClose}
      title={release === undefined ? "" : words.title(release.number)}
      closeLabel={text.app.close}
    >
      {release !== undefined && (
        <div className="flex flex-col gap-4 pb-4">
          <KeyValues items={factsOf(release)} />
          {release.error !== undefined && <AppErrorNote error={release.error} />}
          {release.toolChanges !== undefined && <ToolChangeList changes={release.toolChanges} />}
        </div>
      )}
    </Dialog>
  );
}

function factsOf(release: Release) {
  const { image } = release;
  const code = (value: string) => <code className="break-all font-mono text-xs">{value}</code>;
  return [
    {
      label: words.outcome,
      value: <StatusDot tone={outcomeTones[release.outcome]}>{words.outcomes[release.outcome]}</StatusDot>,
    },
    { label: words.kind, value: text.operations.kinds[release.kind] },
    { label: words.at, value: formatDateTime(release.at) },
    { label: words.source, value: code(whatOf(release)) },
    ...(image === null
      ? []
      : [
          { label: words.image, value: code(image.reference) },
          { label: words.digest, value: code(image.digest) },
        ]),
    ...(image?.package === undefined ? [] : [{ label: words.integrity, value: code(image.package.integrity) }]),
  ];
}
