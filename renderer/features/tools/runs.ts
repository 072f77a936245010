import { create } from "zustand";
import type { ToolCallEvent } from "../../../shared/contract/connections.ts";
import { AppError } from "../../../shared/errors.ts";
import type { ConnectionId } from "../../../shared/model/ids.ts";
import { api, listen } from "../../api.ts";
import { text } from "../../text.ts";
import type { Json } from "./schema-form/index.ts";

/*
The tool calls made in this window, newest first, per connection. In memory only: arguments and results are nobody
else's business and go with the window.

INVARIANTS
- A run that ended never changes again, whatever still arrives.
- Leaving the screen does not end a run; only its end or a cancel does.
*/

export type Arguments = { [name: string]: Json };
export type ToolResult = Extract<ToolCallEvent, { type: "result" }>;
export type Progress = { done: number; total: number | undefined; message: string | undefined };

export type Outcome =
  | { state: "running"; progress: Progress | null }
  | { state: "answered"; result: ToolResult }
  | { state: "failed"; error: AppError; durationMs: number }
  /** `reason` where the control centre ended it, as when somebody cancelled the sign-in it waited for; null where this window did. */
  | { state: "cancelled"; reason: string | null; durationMs: number };

export type Run = {
  id: number;
  connectionId: ConnectionId;
  tool: string;
  arguments: Arguments;
  startedAt: number;
  outcome: Outcome;
};

export type Runs = {
  byConnection: Readonly<Record<string, readonly Run[]>>;
  /** Starts a call and returns the run's id. */
  start(connectionId: ConnectionId, tool: string, input: Arguments): number;
  /** Ends the call in the control centre, too. */
  cancel(id: number): void;
  /** Forgets what has ended. */
  forget(connectionId: ConnectionId): void;
};

/** More than these are forgotten, oldest first; a running one never is. */
export const keptRuns = 20;

type CallTool = (
  input: { id: ConnectionId; tool: string; arguments: Arguments },
  signal: AbortSignal,
) => Promise<AsyncIterable<ToolCallEvent>>;

/** The store of runs over a way to call tools. */
export function createRuns(callTool: CallTool, now: () => number = Date.now) {
  const stops = new Map<number, () => void>();
  let lastId = 0;

  return create<Runs>((set, get) => {
    const find = (id: number) =>
      Object.values(get().byConnection)
        .flat()
        .find((run) => run.id === id);

    const become = (id: number, next: (run: Run) => Outcome) =>
      set(({ byConnection }) => {
        const run = find(id);
        if (run === undefined || run.outcome.state !== "running") return { byConnection };
        const outcome = next(run);
        const runs = (byConnection[run.connectionId] ?? []).map((other) => (other.id === id ? { ...run, outcome } : other));
        if (outcome.state !== "running") stops.delete(id);
        return { byConnection: { ...byConnection, [run.connectionId]: runs } };
      });

    const fail = (id: number, error: AppError) =>
      become(id, ({ startedAt }) => {
        const durationMs = now() - startedAt;
        if (error.code === "CANCELLED") return { state: "cancelled", reason: error.message, durationMs };
        return { state: "failed", error, durationMs };
      });

    return {
      byConnection: {},
      start(connectionId, tool, input) {
        lastId += 1;
        const id = lastId;
        const run: Run = {
          id,
          connectionId,
          tool,
          arguments: input,
          startedAt: now(),
          outcome: { state: "running", progress: null },
        };
        set(({ byConnection }) => ({
          byConnection: { ...byConnection, [connectionId]: keep([run, ...(byConnection[connectionId] ?? [])]) },
        }));
        const stop = listen<ToolCallEvent>((signal) => callTool({ id: connectionId, tool, arguments: input }, signal), {
          onEvent: (event) => become(id, () => outcomeOf(event)),
          onEnd: () => fail(id, new AppError("INTERNAL", { message: text.tools.result.ended })),
          onError: (error) => fail(id, error),
        });
        stops.set(id, stop);
        return id;
      },
      cancel(id) {
        const stop = stops.get(id);
        become(id, (run) => ({ state: "cancelled", reason: null, durationMs: now() - run.startedAt }));
        stop?.();
      },
      forget(connectionId) {
        set(({ byConnection }) => ({
          byConnection: {
            ...byConnection,
            [connectionId]: (byConnection[connectionId] ?? []).filter((run) => run.outcome.state === "running"),
          },
        }));
      },
    };
  });
}

function keep(runs: readonly Run[]): readonly Run[] {
  return runs.filter((run, index) => index < keptRuns || run.outcome.state === "running");
}

function outcomeOf(event: ToolCallEvent): Outcome {
  if (event.type === "result") return { state: "answered", result: event };
  return { state: "running", progress: { done: event.progress, total: event.total, message: event.message } };
}

/** The runs of this window. */
export const useRuns = createRuns((input, signal) => api.connections.callTool(input, { signal }));

const none: readonly Run[] = [];

/** The runs of a connection, newest first. */
export function useRunsOf(connectionId: ConnectionId): readonly Run[] {
  return useRuns((runs) => runs.byConnection[connectionId] ?? none);
}
