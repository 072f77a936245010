import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useEffect, useLayoutEffect, useRef } from "react";
import { join } from "./join.ts";

export type ChartPoint = { atMs: number; value: number | null };

type ChartProps = {
  title: string;
  /** Oldest first. */
  points: readonly ChartPoint[];
  /** The longest span of the time axis; it ends at the newest point. */
  windowMs: number;
  format(value: number): string;
  /** The top of the value axis; grows with the values where it is left out. */
  max?: number | undefined;
  /** What the value is measured against, after the current value. */
  ofLabel?: string | undefined;
  /** Shown in place of the current value while there is none. */
  noValueLabel: string;
  /** Bytes are divided in powers of two. */
  steps?: "decimal" | "binary";
  height?: number;
  className?: string;
};

/** One live series: the current value is in the title line, so nothing has to be hovered. */
export function Chart({
  title,
  points,
  windowMs,
  format,
  max,
  ofLabel,
  noValueLabel,
  steps = "decimal",
  height = 96,
  className,
}: ChartProps) {
  const holder = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef({ format, max, windowMs });
  latest.current = { format, max, windowMs };
  const current = points.at(-1)?.value ?? null;

  useEffect(() => {
    const element = holder.current;
    if (element === null) return;
    const create = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(element, height, steps, latest), [[], []], element);
      plot.current.setData(toData(pointsOf.current, latest.current.windowMs));
    };
    create();
    const resize = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height }));
    resize.observe(element);
    const scheme = window.matchMedia("(prefers-color-scheme: dark)");
    const theme = new MutationObserver(create);
    theme.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    scheme.addEventListener("change", create);
    return () => {
      resize.disconnect();
      theme.disconnect();
      scheme.removeEventListener("change", create);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [height, steps]);

  const pointsOf = useRef(points);
  useLayoutEffect(() => {
    pointsOf.current = points;
    plot.current?.setData(toData(points, windowMs));
  }, [points, windowMs]);

  return (
    <figure className={join("min-w-0", className)}>
      <figcaption className="mb-1 flex items-baseline gap-2 text-xs">
        <span className="text-faint">{title}</span>
        <span className="tnum font-medium text-ink text-sm">{current === null ? noValueLabel : format(current)}</span>
        {ofLabel !== undefined && current !== null && <span className="tnum text-faint">{ofLabel}</span>}
      </figcaption>
      <div ref={holder} aria-hidden="true" style={{ height }} className="overflow-hidden" />
    </figure>
  );
}

const binarySteps = Array.from({ length: 46 }, (_, power) => 2 ** power);

function toData(points: readonly ChartPoint[], windowMs: number): uPlot.AlignedData {
  const end = points.at(-1)?.atMs ?? Date.now();
  const shown = points.filter((point) => point.atMs >= end - windowMs);
  return [shown.map((point) => point.atMs / 1000), shown.map((point) => point.value)];
}

type Latest = { current: { format(value: number): string; max: number | undefined; windowMs: number } };

function options(element: HTMLElement, height: number, steps: "decimal" | "binary", latest: Latest): uPlot.Options {
  const colour = (token: string) => resolveColour(element, token);
  const grid = colour("--line");
  const font = '11px "Inter Variable", system-ui, sans-serif';
  return {
    width: Math.max(80, element.clientWidth),
    height,
    padding: [6, 4, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: {
      x: {
        time: true,
        range: () => {
          const { start, end } = plotSpan(element);
          const span = Math.min(latest.current.windowMs / 1000, Math.max(shortestSpanSeconds, end - start));
          return [end - span, end];
        },
      },
      y: { range: (_plot, _low, high) => [0, latest.current.max ?? Math.max(high * 1.25, steps === "binary" ? 1024 : 1)] },
    },
    axes: [
      {
        stroke: colour("--faint"),
        font,
        size: 22,
        grid: { show: false },
        ticks: { show: false },
        space: 76,
        values: (_plot, splits) => splits.map((split) => clock.format(split * 1000)),
      },
      {
        stroke: colour("--faint"),
        font,
        size: 58,
        space: height < 100 ? 20 : 30,
        ...(steps === "binary" ? { incrs: binarySteps } : {}),
        grid: { stroke: grid, width: 1 },
        ticks: { show: false },
        values: (_plot, splits) => splits.map((split) => latest.current.format(split)),
      },
    ],
    series: [
      {},
      {
        stroke: colour("--accent-text"),
        width: 1.5,
        fill: colour("--accent-soft"),
        spanGaps: false,
        points: { show: false },
      },
    ],
    hooks: {
      setData: [
        (self) => {
          const [start, end] = [self.data[0].at(0), self.data[0].at(-1)];
          if (start === undefined || end === undefined) return;
          element.dataset.start = String(start);
          element.dataset.end = String(end);
        },
      ],
    },
  };
}

/** A chart that was just opened is not drawn as five empty minutes. */
const shortestSpanSeconds = 60;

function plotSpan(element: HTMLElement): { start: number; end: number } {
  const end = Number(element.dataset.end ?? Date.now() / 1000);
  return { start: Number(element.dataset.start ?? end), end };
}

/** A canvas knows neither custom properties nor light-dark(); the browser resolves them on an element. */
function resolveColour(element: HTMLElement, token: string): string {
  const probe = document.createElement("span");
  probe.style.color = `var(${token})`;
  element.append(probe);
  const resolved = getComputedStyle(probe).color;
  probe.remove();
  return resolved;
}

const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
