import { text } from "./text.ts";

const units = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

/** Bytes with the binary unit that keeps them short: `512 MiB`, `1.4 GiB`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit > 0 && value < 10 ? 1 : 0;
  return `${value.toFixed(digits).replace(/\.0$/, "")} ${units[unit]}`;
}

/** Percent of one processor: `3 %`, `140 %`. */
export function formatPercent(percent: number): string {
  return `${percent.toFixed(percent > 0 && percent < 10 ? 1 : 0).replace(/\.0$/, "")} %`;
}

/** A length of time, rounded down to its largest unit: `12 s`, `3 min`, `5 h`, `2 days`. */
export function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return text.time.seconds(seconds);
  if (seconds < 3_600) return text.time.minutes(Math.floor(seconds / 60));
  if (seconds < 86_400) return text.time.hours(Math.floor(seconds / 3_600));
  return text.time.days(Math.floor(seconds / 86_400));
}

/** How long ago something was: `now` below two seconds, then `12 s ago`. */
export function formatAgo(ms: number): string {
  return ms < 2_000 ? text.time.now : text.time.ago(formatAge(ms));
}

/** How long work took: `350 ms`, `4.2 s`, `1 min 12 s`. */
export function formatDuration(ms: number): string {
  if (ms < 1_000) return text.time.milliseconds(Math.max(0, Math.round(ms)));
  const seconds = ms / 1000;
  if (seconds < 10) return text.time.seconds(Number(seconds.toFixed(1)));
  if (seconds < 60) return text.time.seconds(Math.round(seconds));
  const whole = Math.round(seconds);
  return text.time.minutesAndSeconds(Math.floor(whole / 60), whole % 60);
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const preciseClock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const day = new Intl.DateTimeFormat(undefined, {
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
});

/** A time of the last hours as a clock time, an older one with its date. */
export function formatTime(atMs: number, nowMs: number): string {
  return nowMs - atMs < 12 * 3_600_000 ? clock.format(atMs) : day.format(atMs);
}

/** Hours, minutes and seconds. */
export function formatClock(atMs: number): string {
  return preciseClock.format(atMs);
}

/** Date and time. */
export function formatDateTime(atMs: number): string {
  return day.format(atMs);
}
