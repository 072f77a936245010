import type { SyncCondition } from "../../../shared/model/sync.ts";
import { formatAge, formatTime } from "../../format.ts";
import { text } from "../../text.ts";
import type { StatusTone } from "../../ui/status.tsx";

/*
INVARIANTS
- Every state but "up to date" says as of when the rows are, as soon as they were fetched once.
- An outage of this computer's network and one of the service are told apart, and both have their beginning.
*/

export type SyncDescription = {
  tone: StatusTone;
  /** One line: `as of 14:02, offline since 13:40 (the service)`. */
  words: string;
  /** More about it: why, and when it is tried again. Empty when there is nothing to say. */
  detail: string;
};

/** Where the workspace stands with its shared database, in words; null while it has none. Pure. */
export function describeSync(sync: SyncCondition, nowMs: number): SyncDescription | null {
  const { link } = sync;
  const words = text.sync;
  const asOf = (rest: string) =>
    sync.lastPullAt === null ? capital(rest) : words.asOf(formatTime(sync.lastPullAt, nowMs), rest);
  switch (link.state) {
    case "local":
      return null;
    case "online":
      return sync.isFirstPull
        ? { tone: "busy", words: words.firstPull, detail: "" }
        : { tone: "ok", words: words.upToDate, detail: "" };
    case "connecting":
      return { tone: "busy", words: asOf(words.connecting), detail: "" };
    case "waiting":
      return {
        tone: "warn",
        words: asOf(words.offline(formatTime(link.since, nowMs), words.where[link.reason])),
        detail: `${link.error.message} ${words.nextAttempt(formatAge(link.until - nowMs))}`,
      };
    case "blocked":
      return {
        tone: link.error.code === "NOT_A_MEMBER" ? "warn" : "danger",
        words: asOf(words.stopped(formatTime(link.since, nowMs), words.why[link.error.code] ?? words.whyElse)),
        detail: `${link.error.message} ${words.nextLook(formatAge(link.until - nowMs))}`,
      };
    case "signed-out":
      return { tone: "danger", words: asOf(words.signedOut(formatTime(link.since, nowMs))), detail: link.error.message };
  }
}

function capital(sentence: string): string {
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}
