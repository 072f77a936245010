import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { ToolCallEvent } from "../../../shared/contract/connections.ts";
import { AppError } from "../../../shared/errors.ts";
import type { ConnectionId } from "../../../shared/model/ids.ts";
import { createRuns, keptRuns } from "./runs.ts";

const connectionId = randomUUID() as ConnectionId;
const answer: ToolCallEvent = { type: "result", content: [], isError: false, durationMs: 5 };

/** A call whose events the test sends one by one. */
function createCall() {
  const queue: (ToolCallEvent | AppError | "end")[] = [];
  let wake: () => void = () => undefined;
  let signal: AbortSignal | undefined;
  async function* events() {
    for (;;) {
      const next = queue.shift();
      if (next === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      } else if (next === "end") return;
      else if (next instanceof AppError) throw next;
      else yield next;
    }
  }
  return {
    callTool: (_: unknown, given: AbortSignal) => {
      signal = given;
      return Promise.resolve(events());
    },
    async send(event: ToolCallEvent | AppError | "end") {
      queue.push(event);
      wake();
      await new Promise((resolve) => setImmediate(resolve));
    },
    isAborted: () => signal?.aborted ?? false,
  };
}

function outcomes(useRuns: ReturnType<typeof createRuns>) {
  return (useRuns.getState().byConnection[connectionId] ?? []).map((run) => run.outcome);
}

describe("runs", () => {
  it("shows the progress of a call and then its result", async () => {
    const call = createCall();
    const useRuns = createRuns(call.callTool);
    useRuns.getState().start(connectionId, "slow", { steps: 2 });
    await call.send({ type: "progress", progress: 1, total: 2, message: "half" });
    expect(outcomes(useRuns)).toEqual([{ state: "running", progress: { done: 1, total: 2, message: "half" } }]);
    await call.send(answer);
    expect(outcomes(useRuns)).toEqual([{ state: "answered", result: answer }]);
  });

  it("ends the call when it is cancelled, and keeps it cancelled whatever still arrives", async () => {
    const call = createCall();
    const useRuns = createRuns(call.callTool, () => 100);
    const id = useRuns.getState().start(connectionId, "slow", {});
    await call.send({ type: "progress", progress: 1 });
    useRuns.getState().cancel(id);
    expect(call.isAborted()).toBe(true);
    await call.send(answer);
    expect(outcomes(useRuns)).toEqual([{ state: "cancelled", reason: null, durationMs: 0 }]);
  });

  it("says why a call was cancelled elsewhere, and does not call that a failure", async () => {
    const call = createCall();
    const useRuns = createRuns(call.callTool, () => 100);
    useRuns.getState().start(connectionId, "slow", {});
    const message = "The sign-in was cancelled.";
    await call.send(new AppError("CANCELLED", { message }));
    expect(outcomes(useRuns)).toEqual([{ state: "cancelled", reason: message, durationMs: 0 }]);
  });

  it("fails with the reason, also when the call ends without a result", async () => {
    const refused = createCall();
    const useRuns = createRuns(refused.callTool);
    useRuns.getState().start(connectionId, "other", {});
    await refused.send(new AppError("TOOL_NOT_ALLOWED"));
    expect(outcomes(useRuns)[0]).toMatchObject({ state: "failed", error: { code: "TOOL_NOT_ALLOWED" } });

    const silent = createCall();
    const useOthers = createRuns(silent.callTool);
    useOthers.getState().start(connectionId, "other", {});
    await silent.send("end");
    expect(outcomes(useOthers)[0]).toMatchObject({ state: "failed", error: { code: "INTERNAL" } });
  });

  it("keeps the last runs of a connection, and those that still run", async () => {
    const calls = Array.from({ length: keptRuns + 5 }, createCall);
    let position = 0;
    const useRuns = createRuns((input, signal) => (calls[position++] as ReturnType<typeof createCall>).callTool(input, signal));
    for (const [index, call] of calls.entries()) {
      useRuns.getState().start(connectionId, `tool-${index}`, {});
      if (index > 0) await call.send(answer);
    }
    const names = (useRuns.getState().byConnection[connectionId] ?? []).map((run) => run.tool);
    expect(names).toHaveLength(keptRuns + 1);
    expect(names[0]).toBe(`tool-${keptRuns + 4}`);
    expect(names.at(-1)).toBe("tool-0");

    useRuns.getState().forget(connectionId);
    expect((useRuns.getState().byConnection[connectionId] ?? []).map((run) => run.tool)).toEqual(["tool-0"]);
  });
});
