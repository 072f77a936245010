import type { DtmaEvent } from "../../../shared/dtma-protocol.ts";
import { AppError, toAppError } from "../../../shared/errors.ts";
import type { ServerId } from "../../../shared/model/ids.ts";
import type { Operation } from "../../../shared/model/operation.ts";
import type { ContainerSummary, ImageView } from "../docker/docker.ts";
import type { HostContainers } from "../host-containers.ts";
import { containerName, type Scope } from "../labels.ts";
import type { Operations } from "../operations.ts";
import type { Server, Servers } from "../servers.ts";
import type { LegacyDeploy } from "./deploy.ts";
import { legacyNameLabel, toServerId, toServerName } from "./names.ts";

/*
INVARIANTS
- A call ends when its operation has ended, and answers from what was observed after that.
- A deploy never replaces anything: of several with one name at most one goes on, the others are told at once.
- Other calls on one server wait for one another, so that two that want the same both succeed.
*/

const deployDeadlineMs = 30 * 60_000;

/** Instances by the name their caller gave them. Errors are AppErrors; ALREADY_EXISTS for a name or port that is taken. */
export interface Instances {
  get(name: string): Server | undefined;
  /** The container that runs now, and what the caller should know of how it came about. */
  deploy(asked: LegacyDeploy): Promise<{ container: ContainerSummary; notes: string[] }>;
  /** NOT_FOUND with the old agent's sentence. */
  act(kind: "start" | "stop" | "restart" | "delete", name: string): Promise<void>;
  /** Why it could not be deployed now, known without trying. */
  hindrance(asked: LegacyDeploy): AppError | undefined;
}

type InstancesDeps = {
  servers: Servers;
  operations: Operations;
  hostContainers: HostContainers;
  scope: Scope;
  /** undefined when it is not on this machine. */
  getImage(reference: string): Promise<ImageView | undefined>;
  listen(listener: (event: DtmaEvent) => void): () => void;
};

export function createInstances(deps: InstancesDeps): Instances {
  const { servers, operations, hostContainers, scope } = deps;
  const deploying = new Map<string, LegacyDeploy>();
  const queues = new Map<string, Promise<unknown>>();

  const find = (name: string) => servers.get(toServerName(name));

  function hindrance({ name, spec }: LegacyDeploy): AppError | undefined {
    const ownContainer = containerName(scope, spec.name);
    const isTaken =
      servers.get(spec.name) !== undefined ||
      deploying.has(spec.name) ||
      operations.isBusy(spec.name) ||
      hostContainers.all().some((container) => container.name === ownContainer);
    if (isTaken) return alreadyExists(name);
    for (const { host } of spec.permissions.ports) {
      const holder = host === 0 ? undefined : holderOf(host, spec.name);
      if (holder === undefined) continue;
      return new AppError("ALREADY_EXISTS", { message: `The host port ${host} is already in use by '${holder}'.` });
    }
    return undefined;
  }

  /** Who has a port of the host, or will have it when it is started again. */
  function holderOf(port: number, except: string): string | undefined {
    const specs = [...servers.all().map(({ spec }) => spec), ...[...deploying.values()].map(({ spec }) => spec)];
    const managed = specs.find(
      ({ name, permissions }) => name !== except && permissions.ports.some(({ host }) => host === port),
    );
    if (managed !== undefined) return managed.labels?.[legacyNameLabel] ?? managed.name;
    return hostContainers.all().find(({ ports }) => ports.some(({ publicPort, type }) => publicPort === port && type === "tcp"))
      ?.name;
  }

  /** One id may stand for one server only; a second name with it gets an id of its own. */
  function freeId({ serverId, instanceId, spec }: LegacyDeploy): ServerId {
    const isTaken =
      servers.findById(serverId) !== undefined ||
      [...deploying.values()].some((other) => other.serverId === serverId && other.spec.name !== spec.name);
    return isTaken ? toServerId(`${instanceId} ${spec.name}`) : serverId;
  }

  async function ended(id: string): Promise<Operation> {
    const over = Promise.withResolvers<Operation>();
    const take = (operation: Operation | undefined) => {
      if (operation?.id === id && operation.state !== "running") over.resolve(operation);
    };
    const stop = deps.listen((event) => event.type === "operation" && take(event.operation));
    take(operations.get(id));
    try {
      return await over.promise;
    } finally {
      stop();
    }
  }

  async function mustSucceed(id: string): Promise<void> {
    const { state, error } = await ended(id);
    if (state === "succeeded") return;
    throw error === undefined ? new AppError("INTERNAL") : AppError.fromShape(error);
  }

  async function deployOnce(asked: LegacyDeploy, serverId: ServerId, pull: "always" | "missing"): Promise<void> {
    const { spec, secretValues, fit } = asked;
    const withPull = (wanted: typeof spec): typeof spec =>
      wanted.source.type === "oci" ? { ...wanted, source: { ...wanted.source, pull } } : wanted;
    const request = { serverId, spec: withPull(spec), secretValues, deadlineMs: deployDeadlineMs };
    await mustSucceed(await operations.deploy(spec.name, request, (image) => withPull(fit(image))));
  }

  /** As the agent before: what the registry has is fetched; what it does not give, but the toolbox has, is used. */
  async function deployFreshest(asked: LegacyDeploy, serverId: ServerId): Promise<string[]> {
    const { source } = asked.spec;
    try {
      await deployOnce(asked, serverId, "always");
      return asked.notes;
    } catch (error) {
      const { code } = toAppError(error);
      if (code !== "IMAGE_PULL_FAILED" && code !== "IMAGE_NOT_FOUND") throw error;
      if (source.type !== "oci" || (await deps.getImage(source.image)) === undefined) throw error;
      await deployOnce(asked, serverId, "missing");
      return [...asked.notes, "Its image could not be pulled; the one on the toolbox is used."];
    }
  }

  function inTurn<T>(name: string, work: () => Promise<T>): Promise<T> {
    const run = (queues.get(name) ?? Promise.resolve()).catch(() => {}).then(work);
    queues.set(name, run);
    const clear = () => {
      if (queues.get(name) === run) queues.delete(name);
    };
    run.then(clear, clear);
    return run;
  }

  async function act(kind: "start" | "stop" | "restart" | "delete", name: string): Promise<void> {
    const serverName = toServerName(name);
    const server = servers.get(serverName);
    // Docker itself may have to be asked for what is left of a server whose container is gone.
    if (server === undefined && kind !== "delete") throw notFound(name);
    if (kind === "start" && server?.desired === "running" && server.container.state === "running") return;
    try {
      await mustSucceed(await operations.begin(kind, serverName));
    } catch (error) {
      throw toAppError(error).code === "NOT_FOUND" ? notFound(name) : error;
    }
    await hostContainers.refresh();
  }

  return {
    get: find,
    hindrance,
    async deploy(asked) {
      // A container that went a moment ago may still be listed, and would keep its name and its ports.
      await hostContainers.refresh();
      const hindered = hindrance(asked);
      if (hindered !== undefined) throw hindered;
      const serverId = freeId(asked);
      const { name } = asked.spec;
      deploying.set(name, { ...asked, serverId });
      const notes = await deployFreshest(asked, serverId).finally(() => deploying.delete(name));
      await hostContainers.refresh();
      const id = servers.get(name)?.container.id;
      const container = hostContainers.all().find((candidate) => candidate.id === id);
      if (container !== undefined) return { container, notes };
      throw new AppError("SERVER_EXITED", { message: `'${asked.name}' was removed as soon as it had been deployed.` });
    },
    act: (kind, name) => inTurn(toServerName(name), () => act(kind, name)),
  };
}

function alreadyExists(name: string): AppError {
  return new AppError("ALREADY_EXISTS", { message: `Instance with name '${name}' already exists.` });
}

function notFound(name: string): AppError {
  return new AppError("NOT_FOUND", { message: `Tool instance '${name}' not found or not managed by this DTMA.` });
}
