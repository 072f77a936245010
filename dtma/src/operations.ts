import { randomUUID } from "node:crypto";
import type { DeployRequest } from "../../shared/dtma-protocol.ts";
import { AppError, toAppError } from "../../shared/errors.ts";
import { type OperationId, operationId } from "../../shared/model/ids.ts";
import type { Operation, OperationKind, OperationStep } from "../../shared/model/operation.ts";
import type { Executor, Run } from "./execute.ts";
import type { Log } from "./log.ts";
import { type Observed, type PlanStep, plan, visibleStep, type Wanted } from "./plan.ts";
import type { Servers } from "./servers.ts";

/*
INVARIANTS
- One operation at a time on a server; operations on different servers run side by side.
- Every operation ends: it has a deadline, can be cancelled, and its end is told.
- A deploy that does not succeed is taken back before its end is told.
*/

const shortDeadlineMs = 180_000;
const undoDeadlineMs = 60_000;
const keptOperations = 100;
const progressEveryMs = 200;

export interface Operations {
  /** CONFLICT while another operation works on the server; ALREADY_EXISTS, INVALID_INPUT, SECRET_MISSING, DOCKER_UNAVAILABLE. */
  deploy(name: string, request: DeployRequest): Promise<OperationId>;
  /** CONFLICT, NOT_FOUND, DOCKER_UNAVAILABLE. */
  begin(kind: Exclude<OperationKind, "deploy" | "rollback" | "rotate">, name: string): Promise<OperationId>;
  get(id: string): Operation | undefined;
  all(): Operation[];
  /** NOT_FOUND for one that does not exist; nothing happens to one that has ended. */
  cancel(id: string): void;
  isBusy(name: string): boolean;
  /** Cancels what runs and waits until it is undone. */
  close(): Promise<void>;
}

type OperationsDeps = {
  servers: Servers;
  executor: Executor;
  /** Whether something of a server is left though its container is gone. */
  hasRemains(name: string): Promise<boolean>;
  onChange(operation: Operation): void;
  log: Log;
};

type Running = { operation: Operation; controller: AbortController; ended: Promise<void> };

export function createOperations({ servers, executor, hasRemains, onChange, log }: OperationsDeps): Operations {
  const kept = new Map<string, Operation>();
  const running = new Map<string, Running>();
  let isClosing = false;

  function mustBeFree(name: string): void {
    if (isClosing) throw new AppError("CONFLICT", { message: "The DTMA is being stopped." });
    if (!running.has(name)) return;
    throw new AppError("CONFLICT", { message: `Something else is being done to ${name} right now.` });
  }

  function observed(name: string): Observed {
    const server = servers.get(name);
    if (server === undefined) return { state: "absent" };
    return { state: "present", spec: server.spec, desired: server.desired, isUp: servers.isUp(server.container) };
  }

  function launch(name: string, wanted: Wanted, request: Run["request"], deadlineMs: number): OperationId {
    const steps = plan(wanted, observed(name));
    const ids = [...new Set(steps.map(visibleStep).filter((id) => id !== undefined))];
    const operation: Operation = {
      id: operationId.parse(randomUUID()),
      kind: wanted.kind,
      server: name,
      state: "running",
      steps: ids.map((id) => ({ id, state: "pending" })),
      startedAt: Date.now(),
    };
    const controller = new AbortController();
    const deadline = setTimeout(() => controller.abort(new AppError("DEADLINE_EXCEEDED")), deadlineMs);
    kept.set(operation.id, operation);
    for (const [id, { state }] of kept) if (kept.size > keptOperations && state !== "running") kept.delete(id);
    servers.setBusy(name, true);
    onChange(operation);
    log.info("operation.started", { operationId: operation.id, kind: operation.kind, server: name });
    const ended = perform(operation, steps, name, request, controller.signal).then((outcome) => {
      clearTimeout(deadline);
      // The end is seen and the server is free in the same moment.
      Object.assign(operation, outcome, { endedAt: Date.now() });
      running.delete(name);
      servers.setBusy(name, false);
      log.info("operation.ended", {
        operationId: operation.id,
        state: operation.state,
        code: operation.error?.code,
        durationMs: Date.now() - operation.startedAt,
      });
      onChange(operation);
    });
    running.set(name, { operation, controller, ended });
    return operation.id;
  }

  async function perform(
    operation: Operation,
    steps: PlanStep[],
    name: string,
    request: Run["request"],
    signal: AbortSignal,
  ): Promise<Pick<Operation, "state" | "error">> {
    let current: OperationStep | undefined;
    let lastProgressAt = 0;
    const run: Run = {
      name,
      request,
      signal,
      before: servers.get(name)?.container,
      made: { volumes: [], hasStoppedOld: false, isFinished: false },
      report(update) {
        if (current === undefined || current.state !== "running") return;
        Object.assign(current, clean(update));
        if (update.detail === undefined && Date.now() - lastProgressAt < progressEveryMs) return;
        lastProgressAt = Date.now();
        onChange(operation);
      },
    };
    try {
      for (const step of steps) {
        const id = visibleStep(step);
        const next = id === undefined ? current : operation.steps.find((candidate) => candidate.id === id);
        if (next !== current) {
          if (current !== undefined) current.state = "done";
          current = next;
          if (current !== undefined) current.state = "running";
          onChange(operation);
        }
        signal.throwIfAborted();
        await executor.run(step, run);
      }
      if (current !== undefined) current.state = "done";
      await look(name);
      return { state: "succeeded" };
    } catch (error) {
      const reason: unknown = signal.aborted ? signal.reason : error;
      const failure = toAppError(reason);
      if (failure.code === "INTERNAL") log.error("operation.failed", error, { operationId: operation.id });
      await undo(run, operation);
      await look(name);
      if (current !== undefined) current.state = "failed";
      for (const step of operation.steps) if (step.state === "pending") step.state = "skipped";
      return { state: failure.code === "CANCELLED" ? "cancelled" : "failed", error: failure.toShape() };
    }
  }

  async function look(name: string): Promise<void> {
    await servers.refresh(name).catch((error: unknown) => log.error("server.refresh-failed", error, { server: name }));
  }

  async function undo(run: Run, { id }: Operation): Promise<void> {
    const timeout = Promise.withResolvers<never>();
    const handle = setTimeout(() => timeout.reject(new AppError("DEADLINE_EXCEEDED")), undoDeadlineMs);
    try {
      await Promise.race([executor.undo(run), timeout.promise]);
    } catch (error) {
      // Docker went away: its return, or the next start, puts it in order.
      log.error("operation.not-undone", error, { operationId: id });
    } finally {
      clearTimeout(handle);
    }
  }

  return {
    async deploy(name, request) {
      mustBeFree(name);
      if (request.spec.name !== name) {
        throw new AppError("INVALID_INPUT", {
          message: "The name in the address and the one in the spec differ.",
          field: "spec.name",
        });
      }
      servers.mustHaveEngine();
      const there = servers.get(name);
      if (there !== undefined && there.serverId !== request.serverId) {
        throw new AppError("ALREADY_EXISTS", {
          message: `This toolbox already has a server named ${name}.`,
          field: "spec.name",
        });
      }
      const namesake = servers.findById(request.serverId);
      if (namesake !== undefined && namesake.spec.name !== name) {
        throw new AppError("ALREADY_EXISTS", {
          message: `This server is already on the toolbox, as ${namesake.spec.name}.`,
          field: "serverId",
        });
      }
      const { serverId, spec, secretValues, deadlineMs } = request;
      await executor.check({ serverId, spec, secretValues }, there?.container);
      mustBeFree(name);
      return launch(name, { kind: "deploy", spec }, { serverId, spec, secretValues }, deadlineMs);
    },
    async begin(kind, name) {
      servers.mustHaveEngine();
      const hasSomething = servers.get(name) !== undefined || (kind === "delete" && (await hasRemains(name)));
      mustBeFree(name);
      if (!hasSomething) {
        throw new AppError("NOT_FOUND", { message: `This toolbox has no server named ${name}.` });
      }
      return launch(name, { kind }, undefined, shortDeadlineMs);
    },
    get: (id) => kept.get(id),
    all: () => [...kept.values()],
    cancel(id) {
      if (!kept.has(id)) throw new AppError("NOT_FOUND", { message: "There is no such operation." });
      const found = [...running.values()].find(({ operation }) => operation.id === id);
      found?.controller.abort(new AppError("CANCELLED"));
    },
    isBusy: (name) => running.has(name),
    async close() {
      isClosing = true;
      const open = [...running.values()];
      for (const { controller } of open) controller.abort(new AppError("CANCELLED", { message: "The DTMA was stopped." }));
      await Promise.all(open.map(({ ended }) => ended));
    },
  };
}

function clean<T extends object>(update: T): Partial<T> {
  return Object.fromEntries(Object.entries(update).filter(([, value]) => value !== undefined)) as Partial<T>;
}
