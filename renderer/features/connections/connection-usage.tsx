import type { Connection } from "../../../shared/model/agent.ts";
import {
  type CallErrorKind,
  callErrorKinds,
  cancelledCalls,
  latencyAt,
  sumLatency,
  type ToolUsage,
} from "../../../shared/model/usage.ts";
import { formatAgo, formatBytes, formatDuration } from "../../format.ts";
import { useNowSelect } from "../../state/index.ts";
import { text } from "../../text.ts";
import { join } from "../../ui/join.ts";
import { KeyValues } from "../../ui/key-values.tsx";
import { Section } from "../../ui/page.tsx";
import { type Column, Table } from "../../ui/table.tsx";

const words = text.connections.usageDetails;

/** `8 ms`; a dash while nothing was called. */
export function latencyLabel(share: number, latency: readonly number[]): string {
  const ms = latencyAt(share, latency);
  return ms === undefined ? text.app.none : ms < 1 ? words.belowOne : formatDuration(ms);
}

/** `7 by the tool, 1 not allowed`; empty without any. */
function kindsInWords(tools: readonly Pick<ToolUsage, "errors">[], kinds: readonly CallErrorKind[] = callErrorKinds): string {
  return kinds
    .map((kind) => ({ kind, amount: tools.reduce((sum, { errors }) => sum + (errors[kind] ?? 0), 0) }))
    .filter(({ amount }) => amount > 0)
    .sort((one, other) => other.amount - one.amount)
    .map(({ kind, amount }) => words.kinds[kind](amount))
    .join(", ");
}

const errorKinds = callErrorKinds.filter((kind) => kind !== "ended");

function errorCount({ errors }: Pick<ToolUsage, "errors">): number {
  return errorKinds.reduce((sum, kind) => sum + (errors[kind] ?? 0), 0);
}

/** What went through a connection: in all, and tool by tool where that is known. */
export function ConnectionUsage({ connection }: { connection: Connection }) {
  const { calls, lastUsedAt, tools = [] } = connection;
  const used = useNowSelect((now) => (lastUsedAt === null ? null : formatAgo(now - lastUsedAt)));
  const latency = sumLatency(tools);
  const isKnown = latencyAt(0.5, latency) !== undefined;
  const cancelled = cancelledCalls(tools);
  if (calls === 0 && lastUsedAt === null)
    return (
      <Section title={words.title}>
        <p className="text-muted text-sm">{words.unused}</p>
      </Section>
    );
  return (
    <Section title={words.title}>
      <KeyValues
        items={[
          { label: words.calls, value: <Count amount={calls} /> },
          {
            label: words.errors,
            value: (
              <>
                <Count amount={connection.errors} />
                <span className="ml-2 text-muted text-xs">{kindsInWords(tools, errorKinds)}</span>
              </>
            ),
          },
          ...(cancelled > 0 ? [{ label: words.cancelled, value: <Count amount={cancelled} /> }] : []),
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
        <div className="mt-2 overflow-hidden rounded-lg border border-line [&_[role=row]]:px-3.5">
          <Table
            label={words.byTool}
            columns={columns}
            rows={tools}
            rowId={({ tool }) => tool}
            rowLabel={nameOf}
            initialSort={{ columnId: "calls", isDescending: true }}
            isFilling={false}
          />
        </div>
      )}
    </Section>
  );
}

function Count({ amount }: { amount: number }) {
  return <span className="tnum">{text.counts.plain(amount)}</span>;
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
    width: "minmax(8rem, 1fr)",
    sortBy: nameOf,
    cell: (row) => <ToolName row={row} />,
  },
  {
    id: "calls",
    header: headers.calls,
    width: "3.75rem",
    align: "end",
    sortBy: ({ calls }) => calls,
    cell: ({ calls }) => text.counts.plain(calls),
  },
  {
    id: "errors",
    header: headers.errors,
    width: "3.5rem",
    align: "end",
    sortBy: errorCount,
    cell: (row) => text.counts.plain(errorCount(row)),
  },
  {
    id: "median",
    header: headers.median,
    width: "3.75rem",
    align: "end",
    sortBy: ({ latency }) => latencyAt(0.5, latency) ?? 0,
    cell: ({ latency }) => latencyLabel(0.5, latency),
  },
  {
    id: "slowest",
    header: headers.slowest,
    width: "5rem",
    align: "end",
    sortBy: ({ latency }) => latencyAt(0.95, latency) ?? 0,
    cell: ({ latency }) => latencyLabel(0.95, latency),
  },
  {
    id: "bytes",
    header: headers.bytes,
    width: "4.5rem",
    align: "end",
    showsFrom: 720,
    sortBy: ({ bytesIn, bytesOut }) => bytesIn + bytesOut,
    cell: ({ bytesIn, bytesOut }) => formatBytes(bytesIn + bytesOut),
  },
  {
    id: "lastUsed",
    header: headers.lastUsed,
    width: "5.5rem",
    align: "end",
    sortBy: ({ lastUsedAt }) => lastUsedAt,
    cell: ({ lastUsedAt }) => <LastUsed at={lastUsedAt} />,
  },
];

/** The tool, and below it what its calls without success ran into. */
function ToolName({ row }: { row: ToolUsage }) {
  const kinds = kindsInWords([row]);
  return (
    <span className="flex min-w-0 flex-col">
      <span className={join("truncate leading-4.5", row.tool === "" ? "text-muted" : "font-medium")} title={nameOf(row)}>
        {nameOf(row)}
      </span>
      {kinds !== "" && (
        <span className="truncate text-2xs text-muted leading-3.5" title={kinds}>
          {kinds}
        </span>
      )}
    </span>
  );
}
