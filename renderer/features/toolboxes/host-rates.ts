import type { HostLoad } from "../../../shared/dtma-protocol.ts";
import type { ChartPoint } from "../../ui/chart.tsx";

type Sample = HostLoad & { at: number };

/** A counter's bytes per second between readings; a counter that went back belongs to another start and gives no rate. Pure. */
export function ratesOf(history: readonly Sample[], counterOf: (load: HostLoad) => number): ChartPoint[] {
  return history.map((sample, index): ChartPoint => {
    const before = history[index - 1];
    if (before === undefined) return { atMs: sample.at, value: null };
    const moved = counterOf(sample) - counterOf(before);
    const seconds = (sample.at - before.at) / 1000;
    return { atMs: sample.at, value: moved < 0 || seconds <= 0 ? null : moved / seconds };
  });
}

/** Whether a reading has what newer DTMAs count; older ones leave it out. */
export function hasCounters({ networkRxBytes, networkTxBytes, blockReadBytes, blockWriteBytes, processes }: HostLoad): boolean {
  return networkRxBytes + networkTxBytes + blockReadBytes + blockWriteBytes + processes > 0;
}
