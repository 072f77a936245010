import type { Connection } from "../../../shared/model/agent.ts";
import { callErrorKinds, latencyAt, sumLatency, type ToolUsage } from "../../../shared/model/usage.ts";
import { formatAgo, formatBytes, formatDuration } from "../../format.ts";
import { useNowSelect } from "../../state/index.ts";
import { text } from "../../text.ts";
import { KeyValues } from "../../ui/key-values.tsx";
import { Section } from "../../ui/page.tsx";
import { type Column, Table } from "../../ui/table.tsx";

const words = text.connections.usageDetails;

/** `8 ms`; a dash while nothing was called. */
export function latencyLabel(share: number, latency: readonly number[]): string {
  const ms = latencyAt(share, latency);
  return ms === undefined ? text.app.none : ms < 1 ? words.belowOne : formatDuration(ms);
}

/** `2 errors of the tool, 1 refused`; empty without any. */
export function errorsInWords({ errors }: Pick<ToolUsage, "errors">): string {
  return callErrorKinds
    .flatMap((kind) => {
      const amount = errors[kind] ?? 0;
      return amount === 0 ? [] : [words.kinds[kind](amount)];
    })
    .join(", ");
}

function errorCount({ errors }: Pick<ToolUsage, "errors">): number {
  return callErrorKinds.reduce((sum, kind) => sum + (errors[kind] ?? 0), 0);
}

/** What went through a connection: in all, and tool by tool where that is known. */
export function ConnectionUsage({ connection }: { connection: Connection }) {
  const { lastUsedAt, tools = [] } = connection;
  const used = useNowSelect((now) => (lastUsedAt === null ? null : formatAgo(now - lastUsedAt)));
  const latency = sumLatency(tools);
  const isKnown = latencyAt(0.5, latency) !== undefined;
  return (
    <Section title={words.title}>
      <KeyValues
        items={[
          { label: words.calls, value: text.counts.plain(connection.calls) },
          { label: words.errors, value: text.counts.plain(connection.errors) },
          ...(isKnown
            ? [
                { label: words.median, value: latencyLabel(0.5, latency) },
                { label: words.slowest, value: latencyLabel(0.95, latency) },
              ]
            : []),
          { label: words.lastUsed, value: used ?? text.app.never },
        ]}
      />
      {tools.length > 0 && (
        <Table
          label={words.byTool}
          columns={columns}
          rows={tools}
          rowId={({ tool }) => tool}
          rowLabel={nameOf}
          initialSort={{ columnId: "calls", isDescending: true }}
          isFilling={false}
        />
      )}
    </Section>
  );
}

function nameOf({ tool }: Pick<ToolUsage, "tool">): string {
  return tool === "" ? words.others : tool;
}

function LastUsed({ at }: { at: number }) {
  return useNowSelect((now) => formatAgo(now - at));
}

const headers = words.columns;
const columns: readonly Column<ToolUsage>[] = [
  {
    id: "tool",
    header: headers.tool,
    width: "minmax(8rem, 1.4fr)",
    sortBy: nameOf,
    cell: (row) => (
      <span className={row.tool === "" ? "truncate text-muted" : "truncate font-medium"} title={nameOf(row)}>
        {nameOf(row)}
      </span>
    ),
  },
  {
    id: "calls",
    header: headers.calls,
    width: "4rem",
    align: "end",
    sortBy: ({ calls }) => calls,
    cell: ({ calls }) => text.counts.plain(calls),
  },
  {
    id: "errors",
    header: headers.errors,
    width: "minmax(4rem, 1fr)",
    sortBy: errorCount,
    cell: (row) => (
      <span className="truncate text-muted" title={errorsInWords(row)}>
        {errorsInWords(row)}
      </span>
    ),
  },
  {
    id: "median",
    header: headers.median,
    width: "4.5rem",
    align: "end",
    sortBy: ({ latency }) => latencyAt(0.5, latency) ?? 0,
    cell: ({ latency }) => latencyLabel(0.5, latency),
  },
  {
    id: "slowest",
    header: headers.slowest,
    width: "4.5rem",
    align: "end",
    sortBy: ({ latency }) => latencyAt(0.95, latency) ?? 0,
    cell: ({ latency }) => latencyLabel(0.95, latency),
  },
  {
    id: "bytes",
    header: headers.bytes,
    width: "5rem",
    align: "end",
    showsFrom: 720,
    sortBy: ({ bytesIn, bytesOut }) => bytesIn + bytesOut,
    cell: ({ bytesIn, bytesOut }) => formatBytes(bytesIn + bytesOut),
  },
  {
    id: "lastUsed",
    header: headers.lastUsed,
    width: "6rem",
    sortBy: ({ lastUsedAt }) => lastUsedAt,
    cell: ({ lastUsedAt }) => <LastUsed at={lastUsedAt} />,
  },
];
