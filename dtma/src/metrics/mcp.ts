import type { AccessEntry, ConnectionUsage } from "../../../shared/dtma-protocol.ts";
import { callErrorKinds, latencyBoundsMs, sumLatency, type ToolUsage } from "../../../shared/model/usage.ts";
import type { Family, HistogramFamily, Labels, Sample } from "./exposition.ts";

/*
Calls through the MCP endpoint.

INVARIANTS
- There are at most `maxSeries` pairs of connection and tool, in the order in which they came; what is beyond is counted
  together, by server. A name of a tool is one its server lists or has answered (gateway/usage.ts).
*/

const maxSeries = 1_000;

type Series = { labels: Labels; tools: ToolUsage[] };

export function mcpFamilies(usage: readonly ConnectionUsage[], access: readonly AccessEntry[]): (Family | HistogramFamily)[] {
  const serverOf = new Map(access.map(({ connectionId, server }) => [connectionId, server]));
  const each = (value: (usage: ConnectionUsage) => number): Sample[] =>
    usage.map((counts) => ({
      labels: { connection: counts.connectionId, server: serverOf.get(counts.connectionId) ?? "" },
      value: value(counts),
    }));
  const series = seriesOf(usage, serverOf);
  const sums = (value: (tool: ToolUsage) => number): Sample[] =>
    series.map(({ labels, tools }) => ({ labels, value: sum(tools, value) }));
  return [
    counter(
      "dtma_mcp_calls_total",
      "Tool calls of a connection, over all starts of the DTMA.",
      each(({ calls }) => calls),
    ),
    counter(
      "dtma_mcp_errors_total",
      "Tool calls of a connection that failed, without those that were cancelled, over all starts of the DTMA.",
      each(({ errors }) => errors),
    ),
    counter(
      "dtma_mcp_tool_errors_total",
      "Calls of a tool that failed, by kind: tool, protocol, refused, limited, died, ended.",
      series.flatMap(({ labels, tools }) =>
        callErrorKinds.flatMap((kind) => {
          const value = sum(tools, ({ errors }) => errors[kind] ?? 0);
          return value === 0 ? [] : [{ labels: { ...labels, kind }, value }];
        }),
      ),
    ),
    counter(
      "dtma_mcp_tool_received_bytes_total",
      "Calls of a tool, as they came.",
      sums(({ bytesIn }) => bytesIn),
    ),
    counter(
      "dtma_mcp_tool_sent_bytes_total",
      "Answers to calls of a tool.",
      sums(({ bytesOut }) => bytesOut),
    ),
    {
      name: "dtma_mcp_tool_duration_seconds",
      type: "histogram",
      help: "Calls of a tool that the server answered, and how long it took.",
      series: series.map(({ labels, tools }) => ({ labels, histogram: { state: () => histogramOf(tools) } })),
    },
  ];
}

function counter(name: string, help: string, samples: Sample[]): Family {
  return { name, type: "counter", help, samples };
}

function seriesOf(usage: readonly ConnectionUsage[], serverOf: ReadonlyMap<string, string>): Series[] {
  const series: Series[] = [];
  const rest = new Map<string, Series>();
  for (const { connectionId: connection, tools = [] } of usage) {
    const server = serverOf.get(connection) ?? "";
    for (const usageOfTool of tools) {
      if (series.length < maxSeries) {
        series.push({ labels: { server, connection, tool: usageOfTool.tool }, tools: [usageOfTool] });
        continue;
      }
      const together = rest.get(server) ?? { labels: { server, connection: "", tool: "" }, tools: [] };
      together.tools.push(usageOfTool);
      rest.set(server, together);
    }
  }
  return [...series, ...rest.values()];
}

function histogramOf(tools: readonly ToolUsage[]): { buckets: [number, number][]; sum: number; count: number } {
  const latency = sumLatency(tools);
  let below = 0;
  const buckets = latencyBoundsMs.map((bound, bucket): [number, number] => {
    below += latency[bucket] ?? 0;
    return [bound / 1_000, below];
  });
  return {
    buckets,
    sum: sum(tools, ({ latencySumMs }) => latencySumMs) / 1_000,
    count: below + (latency[latencyBoundsMs.length] ?? 0),
  };
}

function sum(tools: readonly ToolUsage[], value: (tool: ToolUsage) => number): number {
  return tools.reduce((total, tool) => total + value(tool), 0);
}
