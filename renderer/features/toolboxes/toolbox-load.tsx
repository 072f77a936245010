import type { HostLoad } from "../../../shared/dtma-protocol.ts";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { formatAgo, formatBytes, formatPercent } from "../../format.ts";
import { useNowSelect } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Chart, type ChartPoint } from "../../ui/chart.tsx";
import { Section } from "../../ui/page.tsx";
import { hasCounters, ratesOf } from "./host-rates.ts";
import { useLoadHistory } from "./load-history.ts";
import { useReportedLoad } from "./reported-load.ts";

const words = text.toolboxes;

/** The load a toolbox reported, where this computer has no link to read it. */
export function ReportedLoad({ toolbox }: { toolbox: Toolbox }) {
  const load = useReportedLoad(toolbox);
  const age = useNowSelect((now) => (load === null ? null : formatAgo(now - load.at)));
  return <Load history={useLoadHistory(load)} aside={age === null ? undefined : words.reportedLoad(age)} />;
}

type Series = {
  title: string;
  points: ChartPoint[];
  format(value: number): string;
  max?: number;
  of?: string;
};

/** What a toolbox uses as a whole. */
export function Load({ history, aside }: { history: readonly (HostLoad & { at: number })[]; aside?: string | undefined }) {
  const latest = history.at(-1);
  if (latest === undefined) return null;
  const points = (readingOf: (sample: HostLoad) => number) =>
    history.map((sample) => ({ atMs: sample.at, value: readingOf(sample) }));
  const charts: Series[] = [
    { title: words.cpu, points: points((sample) => sample.cpuPercent), format: formatPercent, max: 100 },
    {
      title: words.memory,
      points: points((sample) => sample.memoryUsedBytes),
      format: formatBytes,
      max: latest.memoryTotalBytes,
      of: words.of(formatBytes(latest.memoryTotalBytes)),
    },
    {
      title: words.disk,
      points: points((sample) => sample.diskUsedBytes),
      format: formatBytes,
      max: latest.diskTotalBytes,
      of: words.of(formatBytes(latest.diskTotalBytes)),
    },
  ];
  if (hasCounters(latest))
    charts.push(
      {
        title: words.network,
        points: ratesOf(history, (sample) => sample.networkRxBytes + sample.networkTxBytes),
        format: perSecond,
      },
      {
        title: words.blockIo,
        points: ratesOf(history, (sample) => sample.blockReadBytes + sample.blockWriteBytes),
        format: perSecond,
      },
      { title: words.processes, points: points((sample) => sample.processes), format: text.counts.plain },
    );
  return (
    <Section title={words.load} aside={aside}>
      <div className="grid grid-cols-3 gap-x-6 gap-y-4">
        {charts.map((chart) => (
          <Chart
            key={chart.title}
            title={chart.title}
            points={chart.points}
            windowMs={120_000}
            format={chart.format}
            max={chart.max}
            ofLabel={chart.of}
            steps={chart.format === formatBytes || chart.format === perSecond ? "binary" : "decimal"}
            noValueLabel={words.noLoad}
            height={charts.length > 3 ? 72 : 96}
          />
        ))}
      </div>
    </Section>
  );
}

function perSecond(bytes: number): string {
  return text.servers.perSecond(formatBytes(bytes));
}
