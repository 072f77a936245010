import { newestSessionRevision, sessionRevisions } from "../messages/revisions.ts";
/*
`initialize` of a session in terms of `server/discover` (MCP 2026-07-28), and the metadata that a stateless server wants
with every request.
*/

import { metaKeys, statelessRevision } from "../messages/envelope.ts";
import { type Message, memberOf, type Span, stringAt } from "../messages/json-rpc.ts";
import { parseAt } from "../messages/stateless.ts";
import { member } from "../messages/stateless-request.ts";
import { tasksExtension } from "../messages/tasks.ts";
import type { ListChanges } from "./listening.ts";

type Json = Record<string, unknown>;

/** What a client said of itself; info and capabilities as JSON text. */
export type ClientSaid = { revision: string; info: string | undefined; capabilities: string; extensions: readonly string[] };

/** What `initialize` says; undefined stands for a client that says nothing. */
export function readInitialize(initialize: Message | undefined): ClientSaid {
  const at = (key: string): Span | undefined => initialize && memberOf(initialize.text, initialize.params, key);
  const parsed = (key: string): Json | undefined => {
    const span = at(key);
    return initialize && span ? asObject(parseAt(initialize.bytes, span)) : undefined;
  };
  const asked = initialize && stringAt(initialize.text, at("protocolVersion"));
  const { tasks: _tasks, roots, extensions: named, ...capabilities } = parsed("capabilities") ?? {};
  const { [tasksExtension]: _extension, ...extensions } = asObject(named) ?? {};
  const info = parsed("clientInfo");
  return {
    revision: asked !== undefined && sessionRevisions.has(asked) ? asked : newestSessionRevision,
    info: info && JSON.stringify(info),
    // The roots of a session can change; those of a request cannot.
    capabilities: JSON.stringify({
      ...capabilities,
      ...(named === undefined ? {} : { extensions }),
      ...(roots === undefined ? {} : { roots: {} }),
    }),
    extensions: Object.keys(extensions),
  };
}

/** The members of `_meta` that go with every request. */
export function metaMembers({ info, capabilities }: ClientSaid, logLevel: string | undefined): Buffer[] {
  return [
    member(metaKeys.version, JSON.stringify(statelessRevision)),
    ...(info === undefined ? [] : [member(metaKeys.clientInfo, info)]),
    member(metaKeys.capabilities, capabilities),
    ...(logLevel === undefined ? [] : [member(metaKeys.logLevel, JSON.stringify(logLevel))]),
  ];
}

/** What a discovered server offers to a session. */
export type Offer = { result: Json; lists: ListChanges; canSubscribe: boolean; canLog: boolean };

/** undefined when the answer is not that of `server/discover`. */
export function readDiscovery({ bytes, result }: Message, client: ClientSaid): Offer | undefined {
  const found = result === undefined ? undefined : asObject(parseAt(bytes, result));
  const capabilities = asObject(found?.capabilities);
  if (found === undefined || capabilities === undefined || !Array.isArray(found.supportedVersions)) return undefined;
  if (!found.supportedVersions.includes(statelessRevision)) return undefined;
  const { experimental, logging, completions, prompts, resources, tools, extensions } = capabilities;
  const shared = Object.entries(asObject(extensions) ?? {}).filter(([name]) => client.extensions.includes(name));
  const known = { experimental, logging, completions, prompts, resources, tools };
  const serverInfo = asObject(asObject(found._meta)?.[metaKeys.serverInfo]) ?? asObject(found.serverInfo);
  const tells = (capability: unknown) => asObject(capability)?.listChanged === true;
  return {
    result: {
      protocolVersion: client.revision,
      capabilities: { ...known, ...(shared.length === 0 ? {} : { extensions: Object.fromEntries(shared) }) },
      serverInfo: serverInfo ?? { name: "unknown", version: "0" },
      ...(typeof found.instructions === "string" ? { instructions: found.instructions } : {}),
    },
    lists: { tools: tells(tools), prompts: tells(prompts), resources: tells(resources) },
    canSubscribe: asObject(resources)?.subscribe === true,
    canLog: logging !== undefined,
  };
}

function asObject(value: unknown): Json | undefined {
  return value !== null && typeof value === "object" && !Array.isArray(value) ? (value as Json) : undefined;
}
