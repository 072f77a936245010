import type { ErrorCode } from "../../../shared/errors.ts";

/** Longest time between two reports, whatever the database asks for. */
const longestIntervalMs = 300_000;
const shortestIntervalMs = 500;

/** Failures that end by themselves are tried again soon, those that a person has to end ever more slowly. */
const patience = { outage: { firstMs: 1_000, longestMs: 30_000 }, refusal: { firstMs: 2_000, longestMs: 300_000 } } as const;

/** When to report next after one that was accepted: what the database asked for, give or take a tenth. */
export function nextReportMs(askedMs: number, random: number = Math.random()): number {
  return Math.round(Math.min(longestIntervalMs, Math.max(shortestIntervalMs, askedMs)) * (0.9 + random / 5));
}

/** How long to wait after the n-th failure in a row; never less than what the service asked for. */
export function backOffMs(
  code: ErrorCode,
  failures: number,
  retryAfterMs: number | undefined,
  random: number = Math.random(),
): number {
  const { firstMs, longestMs } = code === "DATABASE_UNREACHABLE" ? patience.outage : patience.refusal;
  const ceiling = Math.min(longestMs, firstMs * 2 ** Math.min(failures - 1, 20));
  return Math.round(Math.max(ceiling * (0.5 + random / 2), (retryAfterMs ?? 0) * (1 + random / 10)));
}
