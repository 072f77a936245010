import { Gauge } from "lucide-react";
import { useEffect, useState } from "react";
import type { ServerLoad } from "../../../shared/dtma-protocol.ts";
import type { AppError } from "../../../shared/errors.ts";
import type { Server } from "../../../shared/model/server.ts";
import { api, listen } from "../../api.ts";
import { formatBytes, formatPercent } from "../../format.ts";
import { useLinkState } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { Chart, type ChartPoint } from "../../ui/chart.tsx";
import { EmptyState } from "../../ui/empty-state.tsx";
import { PageBody } from "../../ui/page.tsx";
import { AppErrorNote } from "../errors/index.tsx";

type Sample = { at: number; server: ServerLoad | null };

const windowMs = 300_000;

/** What a server uses, live while the screen is open. */
export function ServerResources({ server }: { server: Server }) {
  const [attempt, setAttempt] = useState(0);
  const { samples, error } = useSamples(server, attempt);
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
            <Button size="sm" onClick={() => setAttempt(attempt + 1)}>
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

function useSamples(server: Server, attempt: number): { samples: readonly Sample[]; error: AppError | null } {
  const [samples, setSamples] = useState<readonly Sample[]>([]);
  const [error, setError] = useState<AppError | null>(null);
  const isLinked = useLinkState().state === "connected";
  // biome-ignore lint/correctness/useExhaustiveDependencies: another attempt listens anew
  useEffect(() => {
    if (!isLinked) return;
    setError(null);
    return listen((signal) => api.servers.stats({ id: server.id }, { signal }), {
      onEvent: (sample) =>
        setSamples((known) => [...known.filter((old) => old.at > sample.at - windowMs && old.at < sample.at), sample]),
      onError: setError,
    });
  }, [server.id, isLinked, attempt]);
  return { samples, error };
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
