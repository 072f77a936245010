import { randomUUID } from "node:crypto";
import type { DeployRequest } from "../../shared/dtma-protocol.ts";
import { AppError, toAppError } from "../../shared/errors.ts";
import { type OperationId, operationId } from "../../shared/model/ids.ts";
import type { Operation, OperationStep } from "../../shared/model/operation.ts";
import type { Executor, ReleaseRequest, Run } from "./execute.ts";
import type { Journal, JournalEntry } from "./journal.ts";
import type { PreviousRelease } from "./labels.ts";
import type { Log } from "./log.ts";
import { type Observed, type PlanStep, plan, type SimpleKind, visibleStep, type Wanted } from "./plan.ts";
import type { Releases } from "./releases.ts";
import type { Server, Servers } from "./servers.ts";
import { createSlots } from "./slots.ts";

/*
INVARIANTS
- One operation at a time on a server; operations on different servers run side by side, as many as the machine carries,
  and the rest waits for its turn.
- Every operation ends: it has a deadline, can be cancelled, and its end is told. It is in the journal from before its
  first step until after its last, and nobody is told of it before: who knows its id can ask for it after a kill.
- A deploy that does not succeed is taken back before its end is told.
*/

const shortDeadlineMs = 180_000;
const rollbackDeadlineMs = 600_000;
const undoDeadlineMs = 60_000;
/** Who began one may ask for its end a while after; who links anew is told of the newest only. */
const keptOperations = 1_000;
const toldOperations = 100;
const progressEveryMs = 200;

export interface Operations {
  /** CONFLICT while another operation works on the server; ALREADY_EXISTS, INVALID_INPUT, SECRET_MISSING, DOCKER_UNAVAILABLE. */
  deploy(name: string, request: DeployRequest, fit?: ReleaseRequest["fit"]): Promise<OperationId>;
  /** CONFLICT, NOT_FOUND, DOCKER_UNAVAILABLE; SECRET_MISSING for what is to start without a secret it requires. */
  begin(kind: SimpleKind, name: string): Promise<OperationId>;
  /** Back to the release before, with the secrets of now. CONFLICT, NOT_FOUND, SECRET_MISSING, DOCKER_UNAVAILABLE. */
  rollback(name: string): Promise<OperationId>;
  /** Gives a server other secrets, by a container beside the one that runs. CONFLICT, NOT_FOUND, SECRET_MISSING. */
  rotate(name: string, secrets: { values?: Record<string, string>; removed?: string[] }): Promise<OperationId>;
  get(id: string): Operation | undefined;
  all(): Operation[];
  /** NOT_FOUND for one that does not exist; nothing happens to one that has ended. */
  cancel(id: string): void;
  isBusy(name: string): boolean;
  /** Tells how an operation ended that an earlier DTMA had under way. */
  adopt(entry: JournalEntry, isDone: boolean): void;
  /** Cancels what runs and waits until it is undone. */
  close(): Promise<void>;
}

type OperationsDeps = {
  servers: Servers;
  executor: Executor;
  releases: Releases;
  journal: Journal;
  /** How many servers are brought up at the same time. */
  atOnce: number;
  /** Whether something of a server is left though its container is gone. */
  hasRemains(name: string): Promise<boolean>;
  onChange(operation: Operation): void;
  log: Log;
};

type Running = { operation: Operation; controller: AbortController; ended: Promise<void> };

export function createOperations(deps: OperationsDeps): Operations {
  const { servers, executor, releases, journal, hasRemains, onChange, log } = deps;
  const slots = createSlots(deps.atOnce);
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

  function remember(operation: Operation): void {
    kept.set(operation.id, operation);
    for (const [id, { state }] of kept) if (kept.size > keptOperations && state !== "running") kept.delete(id);
  }

  /** Takes the server at once; the id is there once the journal has it. */
  async function launch(name: string, wanted: Wanted, request: Run["request"], deadlineMs: number): Promise<OperationId> {
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
    servers.setBusy(name, true);
    const told = note(operation, request).finally(() => {
      remember(operation);
      onChange(operation);
      log.info("operation.started", { operationId: operation.id, kind: operation.kind, server: name });
    });
    const ended = perform(operation, steps, told, request, controller.signal).then((outcome) => {
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
    // What could not be noted has ended, and says so when it is asked for.
    await told.catch(() => {});
    return operation.id;
  }

  async function perform(
    operation: Operation,
    steps: PlanStep[],
    told: Promise<void>,
    request: Run["request"],
    signal: AbortSignal,
  ): Promise<Pick<Operation, "state" | "error" | "toolChanges">> {
    const name = operation.server;
    let current: OperationStep | undefined;
    let leave = () => {};
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
      await told;
      if (steps.some((step) => step.do === "start-container")) leave = await slots.enter(signal);
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
      const { toolChanges } = run.made;
      return { state: "succeeded", ...(toolChanges === undefined ? {} : { toolChanges }) };
    } catch (error) {
      const reason: unknown = signal.aborted ? signal.reason : error;
      const failure = toAppError(reason);
      if (failure.code === "INTERNAL") log.error("operation.failed", error, { operationId: operation.id });
      await undo(run, operation, failure);
      await look(name);
      if (current !== undefined) current.state = "failed";
      for (const step of operation.steps) if (step.state === "pending") step.state = "skipped";
      return { state: failure.code === "CANCELLED" ? "cancelled" : "failed", error: failure.toShape() };
    } finally {
      leave();
      await journal.end(operation.id).catch((error: unknown) => log.error("journal.not-written", error));
    }
  }

  async function look(name: string): Promise<void> {
    await servers.refresh(name).catch((error: unknown) => log.error("server.refresh-failed", error, { server: name }));
  }

  /** A full disk must not keep anybody from stopping and deleting, which is how it gets room again. */
  async function note(operation: Operation, request: Run["request"]): Promise<void> {
    const entry = { ...operation, ...(request === undefined ? {} : { release: request.number }) };
    await journal.begin(entry).catch((error: unknown) => {
      if (request !== undefined) throw error;
      log.error("journal.not-written", error, { operationId: operation.id });
    });
  }

  /** The server is free only once this has settled: each of its calls has a deadline of its own. */
  async function undo(run: Run, { id }: Operation, failure: AppError): Promise<void> {
    try {
      await executor.undo(run, failure, AbortSignal.timeout(undoDeadlineMs));
    } catch (error) {
      // Docker went away: its return, or the next start, puts it in order.
      log.error("operation.not-undone", error, { operationId: id });
    }
  }

  function mustHave(name: string): Server {
    const server = servers.get(name);
    if (server === undefined) throw new AppError("NOT_FOUND", { message: `This toolbox has no server named ${name}.` });
    return server;
  }

  const asPrevious = ({ spec, image, container }: Server): PreviousRelease => ({ spec, image, imageId: container.imageId });

  async function launchRelease(
    server: Server | undefined,
    wanted: Extract<Wanted, { kind: "deploy" | "rollback" | "rotate" }>,
    request: Omit<ReleaseRequest, "number" | "kind">,
    deadlineMs: number,
  ): Promise<OperationId> {
    const { name } = request.spec;
    await executor.check(request, server?.container);
    mustBeFree(name);
    const number = releases.nextNumber(name, server?.release);
    return await launch(name, wanted, { ...request, kind: wanted.kind, number }, deadlineMs);
  }

  return {
    async deploy(name, request, fit) {
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
      const secrets = { values: secretValues, removed: [], mayLack: false };
      const previous = there === undefined ? undefined : asPrevious(there);
      const release = { serverId, spec, secrets, previous, ...(fit === undefined ? {} : { fit }) };
      return await launchRelease(there, { kind: "deploy", spec }, release, deadlineMs);
    },
    async begin(kind, name) {
      servers.mustHaveEngine();
      const server = servers.get(name);
      const hasSomething = server !== undefined || (kind === "delete" && (await hasRemains(name)));
      mustBeFree(name);
      if (!hasSomething) mustHave(name);
      if (server !== undefined && (kind === "start" || kind === "restart")) {
        await executor.checkStart(server.container);
        mustBeFree(name);
      }
      return await launch(name, { kind }, undefined, shortDeadlineMs);
    },
    async rollback(name) {
      servers.mustHaveEngine();
      mustBeFree(name);
      const server = mustHave(name);
      const { previous: release, serverId } = server;
      if (release === undefined) {
        throw new AppError("NOT_FOUND", { message: `${name} has no release before this one on this toolbox.` });
      }
      const secrets = { values: {}, removed: [], mayLack: false };
      const request = { serverId, spec: release.spec, secrets, previous: asPrevious(server) };
      return await launchRelease(server, { kind: "rollback", release }, request, rollbackDeadlineMs);
    },
    async rotate(name, { values = {}, removed = [] }) {
      servers.mustHaveEngine();
      mustBeFree(name);
      const server = mustHave(name);
      const { spec, serverId, previous } = server;
      const declared = new Set(spec.secrets.map((secret) => secret.name));
      const unknown = [...Object.keys(values), ...removed].find((secret) => !declared.has(secret));
      if (unknown !== undefined) {
        throw new AppError("NOT_FOUND", { message: `${name} declares no secret named ${unknown}.`, field: unknown });
      }
      const mayLack = server.desired === "stopped" && !servers.isUp(server.container);
      const request = { serverId, spec, secrets: { values, removed, mayLack }, previous };
      return await launchRelease(server, { kind: "rotate", release: asPrevious(server) }, request, shortDeadlineMs);
    },
    get: (id) => kept.get(id),
    all: () => [...kept.values()].filter(({ state }, index) => state === "running" || index >= kept.size - toldOperations),
    cancel(id) {
      if (!kept.has(id)) throw new AppError("NOT_FOUND", { message: "There is no such operation." });
      const found = [...running.values()].find(({ operation }) => operation.id === id);
      found?.controller.abort(new AppError("CANCELLED"));
    },
    isBusy: (name) => running.has(name),
    adopt({ id, kind, server, startedAt, steps }, isDone) {
      const outcome: Pick<Operation, "state" | "error"> = isDone
        ? { state: "succeeded" }
        : {
            state: "cancelled",
            error: new AppError("CANCELLED", {
              message: "The DTMA ended in the middle of it. The next one has taken it back.",
            }).toShape(),
          };
      const ended = steps.map((step) =>
        isDone ? { ...step, state: "done" as const } : { ...step, state: "skipped" as const },
      );
      const operation: Operation = { id, kind, server, startedAt, endedAt: Date.now(), steps: ended, ...outcome };
      remember(operation);
      onChange(operation);
    },
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
