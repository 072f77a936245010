import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import type { ShutdownRequest } from "../../../shared/dtma-protocol.ts";
import { toAppError } from "../../../shared/errors.ts";
import type { Exposure } from "../exposure.ts";
import { goneSentences, toDeployed, toLegacyFailure } from "../legacy/answers.ts";
import { readTool, tool } from "../legacy/deploy.ts";
import { groupBody } from "../legacy/groups.ts";
import type { Legacy } from "../legacy/index.ts";
import { templates, validate, validateBody } from "../legacy/validate.ts";
import type { Log, LogTail } from "../log.ts";
import type { Guard } from "./guard.ts";
import { paramOf, parse } from "./route.ts";

/*
INVARIANTS
- Bodies, fields and status codes are those of the agent before (docs/legacy.md), also of failures; what it left open to
  anybody asks for the token.
- A body is read as it read it: none, or one that is not called JSON, is an empty object.
*/

const bodyBytes = 100 * 1024;
const maxLines = 10_000;

export type LegacyDeps = {
  legacy: Legacy;
  exposure(): Promise<Exposure>;
  guard: Guard;
  logTail: LogTail;
  shutdown(request: ShutdownRequest): void;
  log: Log;
};

const lineCount = z.union([z.literal("all").transform(() => maxLines), z.coerce.number().int().min(0).max(maxLines)]);
const logQuery = z.object({ tail: lineCount.default(100), since: z.string().max(64).optional().transform(toMs) });
/** What the agent before took with the removal of a group: there is one way to remove a server here. */
const removalOptions = ["forceRemove", "gracefulTimeoutMs"];
const ownLogQuery = z.object({ lines: lineCount.default(100) });

export function addLegacyRoutes(fastify: FastifyInstance, deps: LegacyDeps): void {
  void fastify.register(async (routes) => {
    readBodiesAsBefore(routes);
    routes.setErrorHandler((error, request, reply) => sendFailure(error, request, reply, deps));
    addToolRoutes(routes, deps.legacy);
    addStatusRoutes(routes, deps);
    addMcpRoutes(routes, deps.legacy);
    addServiceRoutes(routes, deps);
  });
}

function readBodiesAsBefore(routes: FastifyInstance): void {
  routes.removeAllContentTypeParsers();
  routes.addContentTypeParser("application/json", { parseAs: "string", bodyLimit: bodyBytes }, (_request, text, done) => {
    try {
      done(null, text === "" ? {} : JSON.parse(text as string));
    } catch {
      done(Object.assign(new Error(), { statusCode: 400 }));
    }
  });
  routes.addContentTypeParser("*", { parseAs: "buffer", bodyLimit: bodyBytes }, (_request, _body, done) => done(null, {}));
}

function sendFailure(error: unknown, request: FastifyRequest, reply: FastifyReply, { guard, log }: LegacyDeps): unknown {
  const { statusCode } = error as { statusCode?: number };
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    const message = statusCode === 413 ? "The body is larger than 100 kB." : "The request cannot be understood.";
    return reply.status(statusCode).send({ success: false, error: message });
  }
  const failure = toAppError(error);
  if (failure.code === "INTERNAL") log.error("request.failed", error);
  const { status, body } = toLegacyFailure(failure, guard.bearer(request.raw) !== undefined);
  if (status === 401) void reply.header("www-authenticate", "Bearer");
  if (status === 429 && !reply.hasHeader("retry-after")) void reply.header("retry-after", "60");
  return reply.status(status).send(body);
}

const nameIn = (request: FastifyRequest) => paramOf(request, "name") ?? "";

function addToolRoutes(routes: FastifyInstance, { instances }: Legacy): void {
  routes.post("/tools", { config: { body: tool } }, async (request, reply) => {
    const asked = readTool(request.body);
    return reply.status(201).send(toDeployed(asked, await instances.deploy(asked)));
  });
  for (const [kind, done] of [
    ["start", "started"],
    ["stop", "stopped"],
  ] as const) {
    routes.post(`/tools/:name/${kind}`, async (request) => {
      const name = nameIn(request);
      await instances.act(kind, name);
      const container = instances.get(name)?.container;
      return {
        success: true,
        message: `Tool instance '${name}' ${done}.`,
        data: { instance_name_on_toolbox: name, container_id: container?.id ?? null, state: container?.state ?? null },
      };
    });
  }
  routes.delete("/tools/:name", async (request) => {
    const name = nameIn(request);
    await instances.act("delete", name);
    return { success: true, message: `Tool instance '${name}' deleted.`, data: { instance_name_on_toolbox: name } };
  });
}

function addStatusRoutes(routes: FastifyInstance, { legacy: { status, metrics, ready }, exposure }: LegacyDeps): void {
  const send = (reply: FastifyReply, json: string) => reply.type("application/json; charset=utf-8").send(json);
  routes.get("/tools/status", async (request, reply) => send(reply, await status.tools(request.socket.localPort)));
  routes.get("/status", async (request, reply) => send(reply, await status.service(request.socket.localPort)));
  routes.get("/system", async () => ({ ...(await metrics()), exposure: await exposure() }));
  routes.get("/mcp/status", (_request, reply) => {
    const now = ready();
    const counts = `MCP: ${now.ready} of ${now.servers} servers ready`;
    return reply.type("text/plain").send(`${counts}${now.isSure ? "" : " when Docker answered last"}\n`);
  });
}

function addMcpRoutes(routes: FastifyInstance, { groups, instances, serverLogs }: Legacy): void {
  routes.post("/mcp/groups", { config: { body: groupBody } }, async (request, reply) => {
    const { notes, ...data } = await groups.deploy(request.body);
    const counts = `${data.successfulDeployments} of ${data.totalServers} servers of group '${data.groupId}' deployed.`;
    const success = data.successfulDeployments === data.totalServers;
    return reply.status(201).send({ success, message: [counts, ...notes].join(" "), data });
  });
  routes.delete("/mcp/groups/:id", async (request) => {
    const data = await groups.remove(paramOf(request, "id") ?? "");
    const left = Object.keys(data.errors).length;
    const counts = `Group '${data.groupId}': ${data.removedServers.length} servers removed, ${left} left.`;
    const given = { ...(request.query as object), ...(request.body as object | undefined) };
    const ignored = removalOptions.filter((option) => option in given);
    const message = ignored.length === 0 ? counts : `${counts} Not taken over: ${ignored.join(", ")}.`;
    return { success: left === 0, message, data };
  });
  routes.get("/mcp/health/:id", (request) => ({
    success: true,
    data: groups.health(paramOf(request, "id") ?? ""),
    timestamp: new Date().toISOString(),
  }));
  routes.post("/mcp/servers/:name/restart", async (request, reply) => {
    const name = nameIn(request);
    try {
      await instances.act("restart", name);
    } catch (error) {
      // The one code that this call knew for what did not work.
      const { body } = toLegacyFailure(toAppError(error), true);
      return reply.status(400).send(body);
    }
    return { success: true, message: `MCP server '${name}' restarted.`, data: { instanceName: name } };
  });
  routes.get("/mcp/servers/:name/logs", { config: { query: logQuery } }, async (request) => {
    const { tail, since } = parse(logQuery, request.query);
    const lines = await serverLogs(nameIn(request), { tail, sinceMs: since });
    const logs = lines.map(({ at, text }) => `${new Date(at).toISOString()} ${text}`).join("\n");
    return { success: true, data: { instanceName: nameIn(request), logs, timestamp: new Date().toISOString() } };
  });
  routes.get("/mcp/templates", () => ({ success: true, data: { templates } }));
  routes.post("/mcp/validate", { config: { body: validateBody } }, (request) => ({
    success: true,
    data: validate(request.body, instances.hindrance),
  }));
}

function addServiceRoutes(routes: FastifyInstance, { logTail, shutdown }: LegacyDeps): void {
  routes.get("/logs", { config: { query: ownLogQuery } }, (request) => {
    const { lines } = parse(ownLogQuery, request.query);
    return { success: true, logs: logTail.last(lines), timestamp: new Date().toISOString() };
  });
  routes.post("/restart", (_request, reply) => {
    reply.raw.once("close", () => shutdown({ servers: "keep" }));
    return reply.send({ success: true, message: "The DTMA ends now; what started it starts it again. Servers go on." });
  });
  const gone = (path: string, error: string) => routes.all(path, (_request, reply) => reply.status(410).send({ error }));
  gone("/ssh/execute", goneSentences.shell);
  gone("/diagnostics", goneSentences.diagnostics);
  gone("/diagnostics/*", goneSentences.diagnostics);
  gone("/redeploy", goneSentences.redeploy);
}

/** Seconds as Docker takes them, milliseconds, or a date; without one, from the beginning. */
function toMs(text: string | undefined, context: z.RefinementCtx): number {
  if (text === undefined || text === "") return 0;
  const number = Number(text);
  const ms = Number.isFinite(number) ? (number < 1e11 ? number * 1_000 : number) : Date.parse(text);
  if (Number.isFinite(ms) && ms >= 0) return ms;
  context.addIssue({ code: "custom", message: "Use seconds since 1970 or a date such as 2026-01-31T12:00:00Z." });
  return z.NEVER;
}
