import { Gauge } from "lucide-react";
import type { ServerLoad } from "../../../shared/dtma-protocol.ts";
import type { Server } from "../../../shared/model/server.ts";
import { formatBytes, formatPercent } from "../../format.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { Chart, type ChartPoint } from "../../ui/chart.tsx";
import { EmptyState } from "../../ui/empty-state.tsx";
import { PageBody } from "../../ui/page.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { type Readings, type Sample, windowMs } from "./readings.ts";

type ServerResourcesProps = { server: Server; readings: Readings };

/** What a server uses, live. */
export function ServerResources({ server, readings: { samples, error, retry } }: ServerResourcesProps) {
  const latest = samples.at(-1)?.server ?? null;
  const limit = latest?.memoryLimitBytes ?? server.spec.permissions.memoryBytes;
  const { cpus } = server.spec.permissions;
  const charts = [
    {
      title: text.servers.cpu,
      points: points(samples, (load) => load.cpuPercent),
      format: formatPercent,
      max: cpus * 100,
      of: text.permissions.cpusValue(cpus),
    },
    {
      title: text.servers.memory,
      points: points(samples, (load) => load.memoryBytes),
      format: formatBytes,
      max: limit,
      of: formatBytes(limit),
    },
    {
      title: text.servers.received,
      points: rates(samples, (load) => load.networkRxBytes),
      format: perSecond,
      max: undefined,
      of: undefined,
    },
    {
      title: text.servers.sent,
      points: rates(samples, (load) => load.networkTxBytes),
      format: perSecond,
      max: undefined,
      of: undefined,
    },
    {
      title: text.servers.read,
      points: rates(samples, (load) => load.blockReadBytes),
      format: perSecond,
      max: undefined,
      of: undefined,
    },
    {
      title: text.servers.written,
      points: rates(samples, (load) => load.blockWriteBytes),
      format: perSecond,
      max: undefined,
      of: undefined,
    },
    {
      title: text.servers.processes,
      points: points(samples, (load) => load.pids),
      format: String,
      max: undefined,
      of: undefined,
    },
  ];
  return (
    <PageBody className="pt-4" label={text.servers.resourcesTab}>
      {error !== null && (
        <div className="mb-4">
          <AppErrorNote error={error}>
            <Button size="sm" onClick={retry}>
              {text.app.retry}
            </Button>
          </AppErrorNote>
        </div>
      )}
      {samples.every((sample) => sample.server === null) ? (
        error === null && (
          <EmptyState icon={Gauge} headingLevel={3} title={text.servers.noResources.title}>
            {text.servers.noResources.body}
          </EmptyState>
        )
      ) : (
        <>
          <p className="mb-4 text-faint text-xs">{text.servers.liveHint}</p>
          <div className="grid gap-x-8 gap-y-6 min-[1120px]:grid-cols-2">
            {charts.map((chart) => (
              <Chart
                key={chart.title}
                title={chart.title}
                points={chart.points}
                windowMs={windowMs}
                format={chart.format}
                max={chart.max}
                ofLabel={chart.of === undefined ? undefined : text.servers.of(chart.of)}
                noValueLabel={text.servers.noReading}
                steps={chart.format === formatBytes || chart.format === perSecond ? "binary" : "decimal"}
                height={120}
              />
            ))}
          </div>
        </>
      )}
    </PageBody>
  );
}

function points(samples: readonly Sample[], readingOf: (load: ServerLoad) => number): ChartPoint[] {
  return samples.map(({ at, server }) => ({ atMs: at, value: server === null ? null : readingOf(server) }));
}

/** Counters become rates; a counter that went back belongs to another container and gives no rate. */
function rates(samples: readonly Sample[], counterOf: (load: ServerLoad) => number): ChartPoint[] {
  return samples.map((sample, index): ChartPoint => {
    const before = samples[index - 1];
    if (before?.server == null || sample.server === null) return { atMs: sample.at, value: null };
    const moved = counterOf(sample.server) - counterOf(before.server);
    const seconds = (sample.at - before.at) / 1000;
    return { atMs: sample.at, value: moved < 0 || seconds <= 0 ? null : moved / seconds };
  });
}

function perSecond(bytes: number): string {
  return text.servers.perSecond(formatBytes(bytes));
}
