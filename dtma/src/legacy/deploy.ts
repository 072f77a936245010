import { z } from "zod";
import { AppError } from "../../../shared/errors.ts";
import type { ServerId } from "../../../shared/model/ids.ts";
import {
  environmentName,
  imageReference,
  type ServerPermissions,
  type ServerSpec,
  type ServerTransport,
  serverSpec,
} from "../../../shared/model/spec.ts";
import { parse } from "../api/route.ts";
import { hostConfig, isEmpty, readHostConfig } from "./host-config.ts";
import { instanceIdLabel, isLegacyName, legacyNameLabel, toServerId, toServerName } from "./names.ts";

/*
INVARIANTS
- Pure: the body of a legacy deploy → a spec of ours, or the path of what cannot be.
- A variable's value is taken for a secret: it never stands in the spec, which is a label on the container.
- Ports are published on 127.0.0.1 whatever address is asked for.
*/

/** What a legacy caller wants deployed, in our words. */
export type LegacyDeploy = {
  /** As the caller says it. */
  name: string;
  instanceId: string;
  serverId: ServerId;
  /** Complete but for the transport of an image that was not seen yet. */
  spec: ServerSpec;
  secretValues: Record<string, string>;
  /** The spec once it is known which ports the image exposes. */
  fit(image: { exposedPorts: readonly number[] }): ServerSpec;
  /** What the caller should know of how the wish was read, as sentences. */
  notes: string[];
};

const maxVariables = 64;
const defaultPath = "/mcp";

const name = z.string().refine(isLegacyName, "Use letters, digits, and _ . - after the first one, at most 128.");
const instanceId = z.string().min(1).max(1_024);
const override = z.looseObject({
  Env: z.array(z.string()).nullish(),
  Cmd: z.union([z.string().transform((word) => [word]), z.array(z.string())]).nullish(),
  Labels: z.record(z.string(), z.string()).nullish(),
  ExposedPorts: z.record(z.string(), z.unknown()).nullish(),
  HostConfig: hostConfig.nullish(),
});
/** The body of `POST /tools`. */
export const tool = z.looseObject({
  dockerImageUrl: imageReference,
  instanceNameOnToolbox: name,
  accountToolInstanceId: instanceId,
  baseConfigOverrideJson: override.nullish(),
});
/** One of `servers` of `POST /mcp/groups` and `POST /mcp/validate`. */
export const groupServer = tool.extend({
  mcpEndpointPath: z
    .string()
    .regex(/^\/[^\s?#]*$/, "Use a path such as /mcp.")
    .nullish(),
  mcpTransportType: z.enum(["stdio", "sse", "websocket", "http", "streamable_http"]).nullish(),
  requiredOAuthProviders: z.unknown().optional(),
  portBindings: z.record(z.string(), z.unknown()).nullish(),
  environmentVariables: z.union([z.array(z.string()), z.record(z.string(), z.string())]).nullish(),
});
type GroupServer = z.infer<typeof groupServer>;

const overrideFields = new Set(Object.keys(override.shape));
const serverFields = new Set(Object.keys(groupServer.shape));
const overrideAt = "baseConfigOverrideJson";

const required = ["dockerImageUrl", "instanceNameOnToolbox", "accountToolInstanceId"] as const;

/** INVALID_INPUT, PERMISSION_REFUSED. */
export function readTool(body: unknown): LegacyDeploy {
  mustHaveAll(body);
  const { dockerImageUrl, instanceNameOnToolbox, accountToolInstanceId, baseConfigOverrideJson, ...others } = parse(tool, body);
  return toDeploy({ dockerImageUrl, instanceNameOnToolbox, accountToolInstanceId, baseConfigOverrideJson }, others);
}

/** INVALID_INPUT, PERMISSION_REFUSED. */
export function readGroupServer(server: unknown): LegacyDeploy {
  mustHaveAll(server);
  const asked = parse(groupServer, server);
  return toDeploy(asked, without(asked, serverFields));
}

function mustHaveAll(body: unknown): void {
  const members = (body ?? {}) as Record<string, unknown>;
  if (required.every((key) => !isEmpty(members[key]))) return;
  throw new AppError("INVALID_INPUT", { message: `Missing required fields: ${required.join(", ")}` });
}

function toDeploy(asked: z.infer<typeof tool> & Partial<GroupServer>, others: Record<string, unknown>): LegacyDeploy {
  const config: z.infer<typeof override> = asked.baseConfigOverrideJson ?? {};
  const wish = readHostConfig(config.HostConfig ?? {}, `${overrideAt}.HostConfig`);
  const ports = [
    ...readPorts(config.HostConfig?.PortBindings, `${overrideAt}.HostConfig.PortBindings`),
    ...readPorts(asked.portBindings, "portBindings"),
  ];
  mustDiffer(ports);
  const { environment, secretValues } = readEnvironment(config.Env ?? [], asked.environmentVariables ?? []);
  const serverName = toServerName(asked.instanceNameOnToolbox);
  const permissions: Partial<ServerPermissions> = { ...wish.permissions, ports };
  const isAlone = permissions.network === "none";

  const knownPort = ports[0]?.container ?? readPortKeys(config.ExposedPorts)[0];
  const path = asked.mcpEndpointPath ?? defaultPath;
  const transportWith = (exposed: number | undefined): ServerTransport => {
    const { mcpTransportType: type } = asked;
    const port = knownPort ?? exposed;
    if (type === "stdio" || isAlone) return { type: "stdio" };
    if (port !== undefined) return { type: "http", port, path };
    return { type: "stdio" };
  };
  const specWith = (exposed: number | undefined): ServerSpec =>
    parse(serverSpec, {
      name: serverName,
      source: { type: "oci", image: asked.dockerImageUrl, pull: "always" },
      transport: transportWith(exposed),
      handshake: "optional",
      ...(isEmpty(config.Cmd) ? {} : { command: config.Cmd }),
      labels: {
        ...readLabels(config.Labels),
        [legacyNameLabel]: asked.instanceNameOnToolbox,
        [instanceIdLabel]: asked.accountToolInstanceId,
      },
      environment,
      secrets: Object.keys(secretValues).map((variable) => ({ name: variable, variable, required: false })),
      permissions,
    });

  return {
    name: asked.instanceNameOnToolbox,
    instanceId: asked.accountToolInstanceId,
    serverId: toServerId(asked.accountToolInstanceId),
    spec: specWith(undefined),
    secretValues,
    fit: ({ exposedPorts }) => {
      const spec = specWith(exposedPorts[0]);
      const { mcpTransportType: type } = asked;
      if (spec.transport.type === "http" || isEmpty(type) || type === "stdio" || isAlone) return spec;
      throw new AppError("INVALID_INPUT", {
        message: `The image exposes no port to reach it on as ${type}: name one in portBindings.`,
        field: "portBindings",
      });
    },
    notes: [
      ...(serverName === asked.instanceNameOnToolbox ? [] : [`Its container and its MCP address have the name ${serverName}.`]),
      ...(ports.length === 0 ? [] : ["Ports are published on 127.0.0.1 of the toolbox, never beyond."]),
      ...(asked.mcpTransportType === "sse" || asked.mcpTransportType === "websocket"
        ? [`It is spoken to over Streamable HTTP, not ${asked.mcpTransportType}.`]
        : []),
      ...(isEmpty(asked.requiredOAuthProviders) ? [] : ["requiredOAuthProviders is not handled by the toolbox."]),
      ...leftOut([...setKeys(others), ...setKeys(without(config, overrideFields), `${overrideAt}.`), ...wish.leftOut]),
    ],
  };
}

function without(members: Record<string, unknown>, known: ReadonlySet<string>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(members).filter(([key]) => !known.has(key)));
}

function setKeys(members: Record<string, unknown>, at = ""): string[] {
  return Object.keys(members)
    .filter((key) => !isEmpty(members[key]))
    .map((key) => `${at}${key}`);
}

function leftOut(fields: string[]): string[] {
  return fields.length === 0 ? [] : [`Not taken over: ${fields.join(", ")}.`];
}

function readLabels(labels: Record<string, string> | null | undefined): Record<string, string> {
  for (const key of Object.keys(labels ?? {})) {
    if (!/^(?:dev\.dtma\.|dtma\.legacy\/)/.test(key)) continue;
    throw invalid(`${overrideAt}.Labels.${key}`, "This label is the DTMA's own.");
  }
  return labels ?? {};
}

/** An empty value is no secret, and a secret is never empty. */
function readEnvironment(entries: readonly string[], more: readonly string[] | Record<string, string>) {
  const pairs = [
    ...entries.map((entry, index) => splitEntry(entry, `${overrideAt}.Env.${index}`)),
    ...(Array.isArray(more)
      ? (more as readonly string[]).map((entry, index) => splitEntry(entry, `environmentVariables.${index}`))
      : Object.entries(more).map(([key, value]) => mustName(key, value, `environmentVariables.${key}`))),
  ];
  // The last one wins, as in Docker.
  const values = Object.fromEntries(pairs);
  const environment = Object.fromEntries(Object.entries(values).filter(([, value]) => value === ""));
  const secretValues = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== ""));
  if (Object.keys(secretValues).length > maxVariables) {
    throw invalid(`${overrideAt}.Env`, `A server may have at most ${maxVariables} variables.`);
  }
  return { environment, secretValues };
}

function splitEntry(entry: string, field: string): [string, string] {
  const equals = entry.indexOf("=");
  if (equals < 1) throw invalid(field, "Use NAME=value.");
  return mustName(entry.slice(0, equals), entry.slice(equals + 1), field);
}

function mustName(key: string, value: string, field: string): [string, string] {
  parse(environmentName, key, field);
  parse(z.string().max(65_536), value, field);
  return [key, value];
}

type Port = ServerPermissions["ports"][number];

/** Docker's `PortBindings`, also with plain numbers for the host's ports. */
function readPorts(bindings: Record<string, unknown> | null | undefined, at: string): Port[] {
  return Object.entries(bindings ?? {}).flatMap(([key, bound]) => {
    const container = readPortKey(key, `${at}.${key}`);
    const wanted = Array.isArray(bound) ? (bound as unknown[]) : [bound];
    return (wanted.length === 0 ? [undefined] : wanted).map((each) => {
      const host = typeof each === "object" && each !== null ? (each as { HostPort?: unknown }).HostPort : each;
      return { container, host: readHostPort(host, `${at}.${key}`) };
    });
  });
}

function readPortKey(key: string, field: string): number {
  const [, port] = /^(\d{1,5})(?:\/tcp)?$/.exec(key) ?? [];
  const number = Number(port);
  if (number >= 1 && number <= 65_535) return number;
  throw invalid(field, "Use a TCP port such as 8080/tcp.");
}

function readHostPort(value: unknown, field: string): number {
  if (value === undefined || value === null || value === "") return 0;
  const number = typeof value === "number" || (typeof value === "string" && /^\d{1,5}$/.test(value)) ? Number(value) : -1;
  if (Number.isInteger(number) && number >= 0 && number <= 65_535) return number;
  throw invalid(field, "HostPort is a port number, or empty for a free one.");
}

function readPortKeys(exposed: Record<string, unknown> | null | undefined): number[] {
  return Object.keys(exposed ?? {})
    .map((key) => readPortKey(key, `${overrideAt}.ExposedPorts.${key}`))
    .sort((left, right) => left - right);
}

function mustDiffer(ports: readonly Port[]): void {
  const hosts = ports.map(({ host }) => host).filter((host) => host !== 0);
  const twice = hosts.find((host, index) => hosts.indexOf(host) !== index);
  if (twice !== undefined) throw invalid(`${overrideAt}.HostConfig.PortBindings`, `The host port ${twice} is named twice.`);
}

function invalid(field: string, message: string): AppError {
  return new AppError("INVALID_INPUT", { message: `${field}: ${message}`, field });
}
