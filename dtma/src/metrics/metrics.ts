import type {
  AccessEntry,
  ConnectionUsage,
  DtmaEvent,
  DtmaInfo,
  HostLoad,
  ServerObservation,
} from "../../../shared/dtma-protocol.ts";
import type { OperationKind } from "../../../shared/model/operation.ts";
import type { Reading } from "../docker/reading.ts";
import type { EventHub } from "../events.ts";
import type { Stats } from "../stats.ts";
import { createHistogram, type Family, type Histogram, type HistogramFamily, type Sample, toExposition } from "./exposition.ts";
import { mcpFamilies } from "./mcp.ts";

/*
INVARIANTS
- Names and units are those of the Prometheus conventions: base units, counters end in `_total`.
- Labels are names and ids that whoever has the toolbox's token can see anyway; never a secret, an argument or an error's text.
*/

/** Seconds. A start takes one or two, a deploy up to minutes. */
const durationBounds = [0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600];

export interface Metrics {
  /** Everything as it is now, in the Prometheus text format. */
  scrape(): Promise<string>;
  close(): void;
}

export type MetricsDeps = {
  listen: EventHub["listen"];
  stats: Pick<Stats, "look">;
  info(): DtmaInfo;
  observations(): ServerObservation[];
  /** Totals of the connections that have access. */
  usage(): ConnectionUsage[];
  access(): AccessEntry[];
};

/** Counts operations from now on; the rest is read off when it is asked for. */
export function createMetrics(deps: MetricsDeps): Metrics {
  const operations = createOperationCounts();
  const stopListening = deps.listen(operations.take);

  return {
    async scrape() {
      const lagSeconds = await eventLoopLag();
      const { host, servers } = await deps.stats.look();
      const info = deps.info();
      return toExposition([
        ...toolbox(info),
        ...hostFamilies(host),
        ...serverFamilies(deps.observations(), servers),
        ...operations.families(),
        ...mcpFamilies(deps.usage(), deps.access()),
        ...processFamilies(lagSeconds),
      ]);
    },
    close: stopListening,
  };
}

const one = (value: number): Sample[] => [{ value }];
const gauge = (name: string, help: string, samples: readonly Sample[]): Family => ({ name, type: "gauge", help, samples });
const counter = (name: string, help: string, samples: readonly Sample[]): Family => ({ name, type: "counter", help, samples });

function toolbox({ version, docker, reporting, hardeningGaps }: DtmaInfo): Family[] {
  const lastSuccessAt = reporting?.lastSuccessAt ?? null;
  return [
    gauge("dtma_build_info", "Always 1; the version of the DTMA and of Node it runs on.", [
      { labels: { version, node: process.versions.node }, value: 1 },
    ]),
    gauge("dtma_docker_up", "Whether the Docker engine answers.", one(docker.state === "up" ? 1 : 0)),
    gauge("dtma_hardening_gaps", "What of the hardening this host cannot give.", one(hardeningGaps.length)),
    gauge(
      "dtma_reporting_up",
      "Whether the last report to the shared database was accepted; absent while none is set.",
      reporting === undefined ? [] : one(reporting.failure === null && lastSuccessAt !== null ? 1 : 0),
    ),
    gauge(
      "dtma_reporting_last_success_timestamp_seconds",
      "When a report was accepted last.",
      lastSuccessAt === null ? [] : one(lastSuccessAt / 1_000),
    ),
  ];
}

function hostFamilies(host: HostLoad): Family[] {
  return [
    gauge("dtma_host_cpu_usage_ratio", "Share of all cores in use since the look before.", one(host.cpuPercent / 100)),
    gauge("dtma_host_memory_used_bytes", "Memory in use, without what the page cache gives back.", one(host.memoryUsedBytes)),
    gauge("dtma_host_memory_size_bytes", "Memory of the host.", one(host.memoryTotalBytes)),
    gauge("dtma_host_disk_used_bytes", "Used of the disk that holds the data folder.", one(host.diskUsedBytes)),
    gauge("dtma_host_disk_size_bytes", "Size of the disk that holds the data folder.", one(host.diskTotalBytes)),
    counter("dtma_host_network_receive_bytes_total", "Received over all interfaces but loopback.", one(host.networkRxBytes)),
    counter("dtma_host_network_transmit_bytes_total", "Sent over all interfaces but loopback.", one(host.networkTxBytes)),
    counter("dtma_host_block_read_bytes_total", "Read from all disks.", one(host.blockReadBytes)),
    counter("dtma_host_block_written_bytes_total", "Written to all disks.", one(host.blockWriteBytes)),
    gauge("dtma_host_processes", "Processes on the host.", one(host.processes)),
  ];
}

function serverFamilies(observations: ServerObservation[], readings: ReadonlyMap<string, Reading>): Family[] {
  const byCondition = new Map<string, Sample & { value: number }>();
  for (const { container, health } of observations) {
    const key = `${health.state} ${container.state}`;
    const found = byCondition.get(key);
    if (found !== undefined) found.value += 1;
    else byCondition.set(key, { labels: { state: container.state, health: health.state }, value: 1 });
  }
  const each = (value: (server: ServerObservation) => number): Sample[] =>
    observations.map((server) => ({ labels: { server: server.spec.name }, value: value(server) }));
  const used = (value: (reading: Reading) => number): Sample[] =>
    [...readings].map(([server, reading]) => ({ labels: { server }, value: value(reading) }));
  return [
    gauge("dtma_servers", "Servers by Docker's word on the container and the handshake's on the server.", [
      ...byCondition.values(),
    ]),
    gauge("dtma_server_ready", "Whether the server has answered the MCP handshake since it started.", each(isReady)),
    counter(
      "dtma_server_restarts_total",
      "How often Docker restarted the container by itself.",
      each(({ container }) => container.restartCount),
    ),
    gauge(
      "dtma_server_sessions",
      "Open MCP sessions.",
      each(({ sessions }) => sessions),
    ),
    counter(
      "dtma_server_cpu_seconds_total",
      "CPU time used.",
      used(({ cpuSeconds }) => cpuSeconds),
    ),
    gauge(
      "dtma_server_memory_bytes",
      "Memory in use, without the page cache.",
      used(({ memoryBytes }) => memoryBytes),
    ),
    gauge(
      "dtma_server_memory_limit_bytes",
      "Memory it may use.",
      used(({ memoryLimitBytes }) => memoryLimitBytes),
    ),
    counter(
      "dtma_server_network_receive_bytes_total",
      "Received.",
      used(({ networkRxBytes }) => networkRxBytes),
    ),
    counter(
      "dtma_server_network_transmit_bytes_total",
      "Sent.",
      used(({ networkTxBytes }) => networkTxBytes),
    ),
    counter(
      "dtma_server_block_read_bytes_total",
      "Read from disks.",
      used(({ blockReadBytes }) => blockReadBytes),
    ),
    counter(
      "dtma_server_block_written_bytes_total",
      "Written to disks.",
      used(({ blockWriteBytes }) => blockWriteBytes),
    ),
    gauge(
      "dtma_server_processes",
      "Processes and threads in the container.",
      used(({ pids }) => pids),
    ),
  ];
}

function isReady({ health }: ServerObservation): number {
  return health.state === "ready" ? 1 : 0;
}

function createOperationCounts() {
  const running = new Map<string, OperationKind>();
  const ended = new Map<string, { labels: { kind: string; outcome: string }; histogram: Histogram }>();
  return {
    take(event: DtmaEvent): void {
      if (event.type !== "operation") return;
      const { id, kind, state, startedAt, endedAt } = event.operation;
      if (state === "running") running.set(id, kind);
      // Told once only, however often the end is.
      else if (running.delete(id)) {
        const key = `${kind} ${state}`;
        const series = ended.get(key) ?? { labels: { kind, outcome: state }, histogram: createHistogram(durationBounds) };
        ended.set(key, series);
        series.histogram.observe(Math.max(0, (endedAt ?? startedAt) - startedAt) / 1_000);
      }
    },
    families(): (Family | HistogramFamily)[] {
      return [
        gauge("dtma_operations_running", "Operations under way.", one(running.size)),
        {
          name: "dtma_operation_duration_seconds",
          type: "histogram",
          help: "Operations that have ended since the DTMA started, and how long they took.",
          series: [...ended.values()],
        },
      ];
    },
  };
}

function processFamilies(lagSeconds: number): Family[] {
  const { rss, heapUsed, heapTotal, external } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  return [
    counter("process_cpu_seconds_total", "CPU time used by the DTMA.", one((user + system) / 1e6)),
    gauge("process_resident_memory_bytes", "Resident memory of the DTMA.", one(rss)),
    gauge(
      "process_start_time_seconds",
      "When the DTMA started, since the Unix epoch.",
      one(Math.round(Date.now() / 1_000 - process.uptime())),
    ),
    gauge("nodejs_heap_size_used_bytes", "Used of V8's heap.", one(heapUsed)),
    gauge("nodejs_heap_size_total_bytes", "Size of V8's heap.", one(heapTotal)),
    gauge("nodejs_external_memory_bytes", "Memory of objects that V8 only refers to.", one(external)),
    gauge("nodejs_eventloop_lag_seconds", "How long the event loop took to come round at this scrape.", one(lagSeconds)),
  ];
}

/** A timer that measures all the time would wake an idle process dozens of times a second. */
async function eventLoopLag(): Promise<number> {
  const startedAt = performance.now();
  await new Promise((resolve) => setImmediate(resolve));
  return (performance.now() - startedAt) / 1_000;
}
