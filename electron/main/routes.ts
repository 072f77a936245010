import { implement, ORPCError, ValidationError } from "@orpc/server";
import { contract } from "../../shared/contract/index.ts";
import type { Role } from "../../shared/contract/route.ts";
import type { Session } from "../../shared/contract/state.ts";
import { AppError, toAppError } from "../../shared/errors.ts";
import type { Agents } from "./agents.ts";
import type { Catalogue } from "./catalogue.ts";
import type { Connections } from "./connections.ts";
import type { Enrolments } from "./enrolment.ts";
import type { Logger } from "./log.ts";
import type { SignIns } from "./remote/sign-ins.ts";
import type { Reporting } from "./reporting.ts";
import type { Servers } from "./servers.ts";
import type { Store } from "./store/index.ts";
import type { Sync } from "./sync/index.ts";
import type { ThisComputer } from "./this-computer.ts";
import type { Toolboxes } from "./toolboxes.ts";
import type { Upkeep } from "./upkeep.ts";
import { type FactsCell, watchState } from "./window-state.ts";
import type { Workspace } from "./workspace.ts";

/** What a host knows of the window that calls. */
export type RouteContext = { host: Session["host"]; roles: Role[] };

export type RouteDeps = {
  session: Omit<Session, "host" | "roles">;
  store: Store;
  facts: FactsCell;
  log: Logger;
  thisComputer: ThisComputer;
  toolboxes: Toolboxes;
  enrolments: Enrolments;
  upkeep: Upkeep;
  catalogue: Catalogue;
  servers: Servers;
  agents: Agents;
  connections: Connections;
  signIns: Pick<SignIns, "clientOf" | "giveClient" | "forgetClient">;
  sync: Sync;
  workspace: Workspace;
  reporting: Reporting;
};

export type Routes = ReturnType<typeof createRoutes>;

/** The table contract method → module call. The role is checked before anything of the input is looked at. */
export function createRoutes(deps: RouteDeps) {
  const { session, store, facts, log, thisComputer, toolboxes, catalogue, servers, agents, connections } = deps;
  const { enrolments, upkeep, signIns, sync, workspace, reporting } = deps;

  /** A window has the roles that its host and the shared database both give it. */
  const rolesAt = (context: RouteContext) => context.roles.filter((role) => sync.roles().includes(role));

  const os = implement(contract)
    .$context<RouteContext>()
    .use(async ({ context, procedure, path, next, errors }) => {
      const { role } = procedure["~orpc"].meta as { role: Role };
      try {
        if (!rolesAt(context).includes(role)) throw new AppError("FORBIDDEN");
        return await next();
      } catch (error) {
        const failure = fromRouteError(error);
        if (failure.code === "INTERNAL") log.error("route.failed", { route: path.join("."), error: failure.cause });
        throw errors.APP({ data: failure.toShape(), cause: error });
      }
    });

  const never = new AbortController().signal;

  return os.router({
    session: { get: os.session.get.handler(({ context }) => ({ ...session, host: context.host, roles: rolesAt(context) })) },
    state: { watch: os.state.watch.handler(({ input, signal }) => watchState(store, facts, input.since, signal ?? never)) },
    toolboxes: {
      checkThisComputer: os.toolboxes.checkThisComputer.handler(async () => void (await thisComputer.check())),
      addThisComputer: os.toolboxes.addThisComputer.handler(async () => ({ id: await thisComputer.add() })),
      inspect: os.toolboxes.inspect.handler(({ input }) => toolboxes.inspect(input.url)),
      add: os.toolboxes.add.handler(async ({ input }) => ({ id: await toolboxes.add(input) })),
      installSource: os.toolboxes.installSource.handler(() => enrolments.source()),
      prepareEnrolment: os.toolboxes.prepareEnrolment.handler(({ input }) => enrolments.prepare(input.source)),
      enrol: os.toolboxes.enrol.handler(async ({ input }) => ({ id: await enrolments.enrol(input) })),
      update: os.toolboxes.update.handler(({ input: { id, ...changes } }) => toolboxes.update(id, changes)),
      reconnect: os.toolboxes.reconnect.handler(({ input }) => toolboxes.reconnect(input.id)),
      rotateToken: os.toolboxes.rotateToken.handler(({ input }) => upkeep.rotateToken(input.id, input.overlapSeconds)),
      registries: os.toolboxes.registries.handler(({ input }) => upkeep.registries(input.id)),
      setRegistry: os.toolboxes.setRegistry.handler(({ input: { id, registry, ...credentials } }) =>
        upkeep.setRegistry(id, registry, credentials),
      ),
      removeRegistry: os.toolboxes.removeRegistry.handler(({ input }) => upkeep.removeRegistry(input.id, input.registry)),
      audit: os.toolboxes.audit.handler(({ input }) => upkeep.audit(input.id)),
      exposure: os.toolboxes.exposure.handler(({ input }) => upkeep.exposure(input.id)),
      remove: os.toolboxes.remove.handler(({ input }) => toolboxes.remove(input.id)),
    },
    catalogue: {
      save: os.catalogue.save.handler(({ input }) => ({ id: catalogue.save(input.id, input.template) })),
      delete: os.catalogue.delete.handler(({ input }) => catalogue.delete(input.id)),
    },
    servers: {
      deploy: os.servers.deploy.handler(({ input }) => servers.deploy(input)),
      redeploy: os.servers.redeploy.handler(async ({ input }) => ({
        operationId: await servers.redeploy(input.id, input.secrets),
      })),
      update: os.servers.update.handler(async ({ input }) => ({ operationId: await servers.update(input) })),
      releases: os.servers.releases.handler(({ input }) => servers.releases(input.id)),
      rollback: os.servers.rollback.handler(async ({ input }) => ({ operationId: await servers.rollback(input.id) })),
      secrets: os.servers.secrets.handler(({ input }) => servers.secrets(input.id)),
      setSecret: os.servers.setSecret.handler(async ({ input }) => ({
        operationId: await servers.setSecret(input.id, input.name, input.value),
      })),
      removeSecret: os.servers.removeSecret.handler(async ({ input }) => ({
        operationId: await servers.removeSecret(input.id, input.name),
      })),
      start: os.servers.start.handler(async ({ input }) => ({ operationId: await servers.operate(input.id, "start") })),
      stop: os.servers.stop.handler(async ({ input }) => ({ operationId: await servers.operate(input.id, "stop") })),
      restart: os.servers.restart.handler(async ({ input }) => ({ operationId: await servers.operate(input.id, "restart") })),
      delete: os.servers.delete.handler(async ({ input }) => ({ operationId: await servers.remove(input.id) })),
      logs: os.servers.logs.handler(({ input: { id, ...options }, signal }) =>
        told(servers.logs(id, { ...options, signal: signal ?? never })),
      ),
      stats: os.servers.stats.handler(({ input, signal }) => told(servers.stats(input.id, signal ?? never))),
    },
    operations: { cancel: os.operations.cancel.handler(({ input }) => servers.cancel(input.id)) },
    agents: {
      create: os.agents.create.handler(({ input }) => ({ id: agents.create(input) })),
      update: os.agents.update.handler(({ input: { id, ...changes } }) => agents.update(id, changes)),
      delete: os.agents.delete.handler(({ input }) => agents.delete(input.id)),
    },
    connections: {
      connect: os.connections.connect.handler(async ({ input }) => ({
        id: await connections.connect(input),
      })),
      disconnect: os.connections.disconnect.handler(({ input }) => connections.disconnect(input.id)),
      setAccess: os.connections.setAccess.handler(({ input: { id, ...access } }) => connections.setAccess(id, access)),
      listTools: os.connections.listTools.handler(({ input, signal }) => connections.listTools(input.id, signal)),
      callTool: os.connections.callTool.handler(({ input, signal }) =>
        told(connections.callTool(input.id, { name: input.tool, arguments: input.arguments }, signal ?? never)),
      ),
      cancelSignIn: os.connections.cancelSignIn.handler(({ input }) => connections.cancelSignIn(input.id)),
      signInClient: os.connections.signInClient.handler(({ input }) => signIns.clientOf(input.id)),
      giveSignInClient: os.connections.giveSignInClient.handler(({ input }) => signIns.giveClient(input)),
      forgetSignInClient: os.connections.forgetSignInClient.handler(({ input }) => signIns.forgetClient(input.issuer)),
    },
    workspace: {
      test: os.workspace.test.handler(({ input }) => workspace.test(input.target, input.credential)),
      connect: os.workspace.connect.handler(({ input }) =>
        workspace.connect(input.target, input.credential, input.bringsLocalRows),
      ),
      beginSignIn: os.workspace.beginSignIn.handler(({ input }) => workspace.beginSignIn(input.target, input.provider)),
      finishSignIn: os.workspace.finishSignIn.handler(({ input }) => workspace.finishSignIn(input.id, input.bringsLocalRows)),
      cancelSignIn: os.workspace.cancelSignIn.handler(({ input }) => workspace.cancelSignIn(input.id)),
      signIn: os.workspace.signIn.handler(({ input }) => workspace.signIn(input.credential)),
      signOut: os.workspace.signOut.handler(({ input }) => sync.signOut(input)),
      retryNow: os.workspace.retryNow.handler(() => sync.retryNow()),
      planSchema: os.workspace.planSchema.handler(({ input }) => workspace.planSchema(input)),
      applySchema: os.workspace.applySchema.handler(async ({ input: { versions, ...owner } }) => ({
        applied: await workspace.applySchema(owner, versions),
      })),
      makeFirstAdmin: os.workspace.makeFirstAdmin.handler(({ input: { person, ...owner } }) =>
        workspace.makeFirstAdmin(owner, person),
      ),
      makeReportingLogin: os.workspace.makeReportingLogin.handler(async ({ input }) => ({
        user: await workspace.makeReportingLogin(input),
      })),
      setReportingLogin: os.workspace.setReportingLogin.handler(({ input }) => reporting.setLogin(input)),
      addPerson: os.workspace.addPerson.handler(({ input }) => workspace.addPerson(input)),
      setRole: os.workspace.setRole.handler(({ input }) => sync.setRole(input.personId, input.role, input.isGranted)),
      update: os.workspace.update.handler(({ input }) => sync.setWorkspace(input)),
      loads: os.workspace.loads.handler(({ input }) => sync.loads(input.toolboxId)),
      audit: os.workspace.audit.handler(({ input }) => sync.audit(input.before, input.limit)),
      discardChange: os.workspace.discardChange.handler(({ input: { id, ...options } }) => sync.queue.discard(id, options)),
      retryChange: os.workspace.retryChange.handler(({ input }) => sync.queue.retry(input.id)),
      editChange: os.workspace.editChange.handler(({ input }) => sync.queue.edit(input.id, input.members)),
      resolveChange: os.workspace.resolveChange.handler(({ input }) => sync.queue.resolve(input.id, input.choice)),
      moveChange: os.workspace.moveChange.handler(({ input }) => sync.queue.move(input.id, input.before)),
      renewConnection: os.workspace.renewConnection.handler(({ input }) => connections.renew(input.id)),
      authorizeToolbox: os.workspace.authorizeToolbox.handler(({ input }) => toolboxes.authorize(input.id, input.token)),
    },
  });
}

/** A stream's failure comes after the handler has returned, so it is translated here. */
async function* told<T>(stream: AsyncIterable<T>): AsyncGenerator<T> {
  try {
    yield* stream;
  } catch (error) {
    throw new ORPCError("APP", { data: toAppError(error).toShape(), defined: true });
  }
}

function fromRouteError(error: unknown): AppError {
  if (error instanceof ORPCError && error.cause instanceof ValidationError && error.code === "BAD_REQUEST") {
    const issue = error.cause.issues[0];
    const field = (issue?.path ?? []).map((part) => String(typeof part === "object" ? part.key : part)).join(".");
    return new AppError("INVALID_INPUT", {
      ...(issue === undefined ? {} : { message: issue.message }),
      ...(field === "" ? {} : { field }),
    });
  }
  return toAppError(error);
}
