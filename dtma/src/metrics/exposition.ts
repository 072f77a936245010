/*
The Prometheus text format, version 0.0.4. A few lines of our own, because the usual client keeps a registry of objects for
what is here read off at every scrape (docs/decisions/0019-a-small-agent.md has the figures).
*/

export const expositionType = "text/plain; version=0.0.4; charset=utf-8";

export type Labels = Readonly<Record<string, string>>;
export type Sample = { labels?: Labels; value: number };
export type Family = {
  name: string;
  type: "counter" | "gauge";
  help: string;
  samples: readonly Sample[];
};
export type HistogramFamily = {
  name: string;
  type: "histogram";
  help: string;
  series: readonly { labels: Labels; histogram: Pick<Histogram, "state"> }[];
};

export type Histogram = { observe(value: number): void; state(): { buckets: [number, number][]; sum: number; count: number } };

/** Counts values into buckets with these upper bounds, in ascending order. */
export function createHistogram(bounds: readonly number[]): Histogram {
  const counts = bounds.map(() => 0);
  let sum = 0;
  let count = 0;
  return {
    observe(value) {
      sum += value;
      count += 1;
      const at = bounds.findIndex((bound) => value <= bound);
      if (at !== -1) counts[at] = (counts[at] ?? 0) + 1;
    },
    state() {
      let below = 0;
      const buckets = bounds.map((bound, at): [number, number] => {
        below += counts[at] ?? 0;
        return [bound, below];
      });
      return { buckets, sum, count };
    },
  };
}

/** The text of all families; one without samples is left out. */
export function toExposition(families: readonly (Family | HistogramFamily)[]): string {
  return families.flatMap(linesOf).join("");
}

function linesOf(family: Family | HistogramFamily): string[] {
  const lines =
    family.type === "histogram"
      ? family.series.flatMap(({ labels, histogram }) => histogramLines(family.name, labels, histogram))
      : family.samples.map(({ labels, value }) => line(family.name, labels, value));
  if (lines.length === 0) return [];
  const help = family.help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
  return [`# HELP ${family.name} ${help}\n`, `# TYPE ${family.name} ${family.type}\n`, ...lines];
}

function histogramLines(name: string, labels: Labels, histogram: Pick<Histogram, "state">): string[] {
  const { buckets, sum, count } = histogram.state();
  return [
    ...buckets.map(([bound, below]) => line(`${name}_bucket`, { ...labels, le: numberText(bound) }, below)),
    line(`${name}_bucket`, { ...labels, le: "+Inf" }, count),
    line(`${name}_sum`, labels, sum),
    line(`${name}_count`, labels, count),
  ];
}

function line(name: string, labels: Labels = {}, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
  return `${name}${pairs.length === 0 ? "" : `{${pairs.join(",")}}`} ${numberText(value)}\n`;
}

function escapeLabel(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

function numberText(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "+Inf" : "-Inf";
  return String(value);
}
