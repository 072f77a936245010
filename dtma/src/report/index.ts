import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import type {
  ConnectionUsage,
  DtmaEvent,
  DtmaInfo,
  ReportingCondition,
  ReportingState,
  ReportingTarget,
  ServerObservation,
} from "../../../shared/dtma-protocol.ts";
import { type AppError, toAppError } from "../../../shared/errors.ts";
import { reportAnswer } from "../../../shared/sync-protocol.ts";
import type { AccessList } from "../access.ts";
import type { Log } from "../log.ts";
import type { Stats } from "../stats.ts";
import { buildReport, unreportedUsage, visible } from "./build-report.ts";
import { ReportFailure } from "./failure.ts";
import type { Fulfiller } from "./fulfil.ts";
import { createReportLink, type ReportLink } from "./link.ts";
import { createLoadSampler } from "./loads.ts";
import { backOffMs, nextReportMs } from "./schedule.ts";
import { isSamePlace, type TargetStore, withoutSecrets } from "./target.ts";

/*
INVARIANTS
- One report at a time, and nothing waits for it: the toolbox serves as before, whatever becomes of its reports.
- What people see from afar is told within moments of its change, but no faster than a failing database allows.
- The list of who has access is taken before anything else of an answer, and also when the rest cannot be understood.
*/

const debounceMs = 250;
const sessionsEndMs = 5_000;

/** A wish this DTMA does not understand, because it is older than the control centre that made it, is left alone. */
const lenientAnswer = reportAnswer.extend({ desired: z.array(z.unknown()).nullable() });
const wish = reportAnswer.shape.desired.unwrap().element;

export interface Reporter {
  state(): ReportingState;
  /** Kept, and reported to from now on; null ends the reports. Failures are those of `TargetStore.set`. */
  setTarget(target: ReportingTarget | null): Promise<void>;
  close(): Promise<void>;
}

type ReporterDeps = {
  /** Docker was asked: before, nothing is known that could be told. */
  ready: Promise<void>;
  targets: TargetStore;
  access: AccessList;
  fulfiller: Fulfiller;
  stats: Stats;
  info(): DtmaInfo;
  observations(): ServerObservation[];
  usage(): ConnectionUsage[];
  listen(listener: (event: DtmaEvent) => void): () => void;
  log: Log;
};

type Run = { stop: AbortController; ended: Promise<void> };

/** Reports to the target that is kept, from now on. */
export function createReporter(deps: ReporterDeps): Reporter {
  const { targets, access, fulfiller, log } = deps;
  const bootId = randomUUID();
  let condition: ReportingCondition | null = null;
  let run: Run | undefined;
  let setting: Promise<void> = Promise.resolve();
  let isClosed = false;
  let wake = () => {};

  const lastSeen = new Map<string, string>();
  const stopListening = deps.listen((event) => {
    if (event.type === "server") {
      const seen = JSON.stringify(visible(event.server));
      if (lastSeen.get(event.server.serverId) === seen) return;
      lastSeen.set(event.server.serverId, seen);
      wake();
    } else if (event.type === "server-removed") {
      lastSeen.delete(event.serverId);
      wake();
    } else if (event.type === "heartbeat") wake();
  });

  function start(target: ReportingTarget | null): void {
    condition = target === null ? null : { lastSuccessAt: null, failure: null };
    if (target === null) return;
    const stop = new AbortController();
    const link = createReportLink(target);
    const ended = reportForever(link, stop.signal)
      .catch((error: unknown) => log.error("report.stopped", error))
      .finally(() => link.close());
    run = { stop, ended };
  }

  async function stop(): Promise<void> {
    const ending = run;
    run = undefined;
    ending?.stop.abort();
    await ending?.ended;
  }

  async function reportForever(link: ReportLink, signal: AbortSignal): Promise<void> {
    const aborted = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
    await Promise.race([deps.ready, aborted]);
    const sampler = createLoadSampler(deps.stats);
    const accepted = new Map<string, ConnectionUsage>();
    let wantTools: ReadonlySet<string> = new Set();
    let desiredHash: string | null = null;
    let failures = 0;

    async function report(): Promise<number> {
      const askedAt = Date.now();
      const { version, docker, hostname, platform, hardeningGaps } = deps.info();
      const { host, servers: loads } = sampler.latest();
      const usage = unreportedUsage(deps.usage(), accepted);
      const sent = buildReport({
        version,
        bootId,
        docker,
        hostname,
        platform,
        hardeningGaps,
        host,
        servers: deps.observations(),
        loads,
        usage,
        wantTools,
        have: { accessHash: access.listHash(), desiredHash },
      });
      const answer = lenientAnswer.safeParse(await link.report(sent, signal));
      if (!answer.success) {
        const where = answer.error.issues[0]?.path.join(".") || "the top";
        throw new ReportFailure("SCHEMA_TOO_NEW", `The shared database answered in a form that is not known (at ${where}).`);
      }
      const { data } = answer;
      for (const counts of usage) accepted.set(counts.connectionId, counts);
      const taken = access
        .takeList(data.access, data.accessHash, askedAt)
        .catch((error: unknown) => log.error("access.list-not-taken", error));
      // The list counts from its first moment; only ending the sessions of those who are not in it takes time.
      await Promise.race([taken, sleep(sessionsEndMs, undefined, { ref: false })]);
      desiredHash = data.desiredHash;
      fulfiller.take(data.desired === null ? null : data.desired.flatMap(readWish));
      const isAskedFor = data.wantTools.some((id) => !wantTools.has(id));
      wantTools = new Set(data.wantTools);
      return isAskedFor ? 0 : nextReportMs(data.nextReportInMs);
    }

    function readWish(value: unknown) {
      const parsed = wish.safeParse(value);
      if (parsed.success) return [parsed.data];
      log.warn("wish.not-understood", { serverId: (value as { serverId?: unknown } | null)?.serverId });
      return [];
    }

    try {
      while (!signal.aborted) {
        const change = Promise.withResolvers<void>();
        wake = change.resolve;
        try {
          const waitMs = await report();
          if (failures > 0 || condition?.lastSuccessAt === null) log.info("report.accepted", { after: failures });
          failures = 0;
          condition = { lastSuccessAt: Date.now(), failure: null };
          const rest = new AbortController();
          const ending = AbortSignal.any([signal, rest.signal]);
          await Promise.race([sleep(waitMs, undefined, { signal: ending }), change.promise]);
          rest.abort();
          await sleep(debounceMs, undefined, { signal });
        } catch (error) {
          if (signal.aborted) return;
          failures += 1;
          const failure = toAppError(error);
          const waitMs = backOffMs(failure.code, failures, failure instanceof ReportFailure ? failure.retryAfterMs : undefined);
          noteFailure(failure, error, failures, waitMs);
          await sleep(waitMs, undefined, { signal }).catch(() => {});
        }
      }
    } finally {
      sampler.close();
      wake = () => {};
    }
  }

  function noteFailure(failure: AppError, error: unknown, failures: number, waitMs: number): void {
    const fields = { code: failure.code, message: failure.message, failures, waitMs };
    if (failure.code === "INTERNAL") log.error("report.failed", error, fields);
    else log.warn("report.failed", fields);
    const at = Date.now();
    condition = {
      lastSuccessAt: condition?.lastSuccessAt ?? null,
      failure: { since: condition?.failure?.since ?? at, lastAt: at, error: failure.toShape() },
    };
  }

  async function setTarget(target: ReportingTarget | null): Promise<void> {
    const isElsewhere = !isSamePlace(targets.get(), target);
    await targets.set(target);
    await stop();
    if (isElsewhere) {
      await access.forgetList();
      await fulfiller.forget();
    }
    log.info("report.target-set", { kind: target?.kind ?? "none" });
    if (!isClosed) start(target);
  }

  start(targets.get());
  return {
    state: () => ({ target: withoutSecrets(targets.get()), condition }),
    setTarget(target) {
      const result = setting.then(() => setTarget(target));
      setting = result.catch(() => {});
      return result;
    },
    async close() {
      isClosed = true;
      stopListening();
      await stop();
    },
  };
}
