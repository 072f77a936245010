import { type Connection, isOver } from "../../../shared/model/agent.ts";
import { formatDateTime } from "../../format.ts";
import { text } from "../../text.ts";

const words = text.connections.end;

export type EndChoice = "never" | "month" | "quarter" | "date";

const dayMs = 86_400_000;
const spans: Partial<Record<EndChoice, number>> = { month: 30 * dayMs, quarter: 90 * dayMs };

/** When a connection ends, in words. */
export function endLabel({ expiresAt }: Pick<Connection, "expiresAt">, now: number): string {
  if (expiresAt === undefined) return words.never;
  return isOver({ expiresAt }, now) ? words.over(formatDateTime(expiresAt)) : words.at(formatDateTime(expiresAt));
}

/** The end that a choice means from now on; that of a date is the last moment of the day it would have been anyway. */
export function endOf(choice: EndChoice, now: number, before: number | null): number | null {
  if (choice === "never") return null;
  const span = spans[choice];
  return span === undefined ? endOfDay(dayOf(before ?? now + (spans.month ?? 0))) : now + span;
}

/** The last moment of a day that was typed as `2026-11-27`, in this computer's time; null for what is no day. */
export function endOfDay(day: string): number | null {
  const [, year, month, date] = /^(\d{4})-(\d{2})-(\d{2})$/.exec(day) ?? [];
  if (year === undefined) return null;
  const at = new Date(Number(year), Number(month) - 1, Number(date), 23, 59, 59, 999);
  return at.getDate() === Number(date) ? at.getTime() : null;
}

/** The day of a moment, as a date field takes it. */
export function dayOf(at: number): string {
  const date = new Date(at);
  const two = (value: number) => String(value).padStart(2, "0");
  return `${String(date.getFullYear()).padStart(4, "0")}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}
