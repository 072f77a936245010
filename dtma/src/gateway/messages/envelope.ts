import type { IncomingMessage } from "node:http";
import { header } from "./header.ts";
import { errorCodes, type JsonRpcError, type Message, memberOf, progressTokenOf, type Span, stringAt } from "./json-rpc.ts";
import { sessionRevisions } from "./revisions.ts";

/*
Requests of the stateless revisions (MCP 2026-07-28, "Request Metadata" and "Server Validation"): what a request says about
itself stands in its `_meta`, and some of it again in headers that must agree.
*/

export const statelessRevision = "2026-07-28";
/** What is offered to a client that asks for a revision nobody knows. */
export const supportedRevisions = [statelessRevision, ...[...sessionRevisions].sort().reverse()];

export const metaKeys = {
  version: "io.modelcontextprotocol/protocolVersion",
  clientInfo: "io.modelcontextprotocol/clientInfo",
  capabilities: "io.modelcontextprotocol/clientCapabilities",
  logLevel: "io.modelcontextprotocol/logLevel",
  serverInfo: "io.modelcontextprotocol/serverInfo",
  subscription: "io.modelcontextprotocol/subscriptionId",
} as const;

export const statelessCodes = { headerMismatch: -32020, missingCapability: -32021, unsupportedVersion: -32022 } as const;

/** What a stateless request says about itself; spans lie in the message. */
export type Envelope = {
  message: Message;
  id: string;
  method: string;
  meta: Span;
  clientInfo: Span | undefined;
  capabilities: Span;
  logLevel: string | undefined;
  progressToken: string | undefined;
};

/** Whether a message of a client belongs to the stateless revisions; `initialize` only when all of it says so. */
export function isStateless(request: IncomingMessage, message: Message | undefined): boolean {
  const version = header(request, "mcp-protocol-version");
  const isNewer = version !== undefined && version >= statelessRevision;
  const hasMeta = message?.kind === "request" && metaVersion(message) !== undefined;
  return message?.method === "initialize" ? isNewer && hasMeta : isNewer || hasMeta;
}

/** The envelope of a stateless request, or why it is refused with 400. */
export function readEnvelope(request: IncomingMessage, message: Message): Envelope | JsonRpcError {
  const { id, method, text } = message;
  if (message.kind !== "request" || id === undefined || method === undefined) {
    return { code: errorCodes.invalidRequest, message: "The body must be one request." };
  }
  const version = metaVersion(message);
  const meta = memberOf(text, message.params, "_meta");
  const said = header(request, "mcp-protocol-version");
  if (said === undefined) return mismatch("The header MCP-Protocol-Version is missing.");
  if (meta === undefined || version === undefined) return malformed(metaKeys.version);
  if (said !== version) return mismatch("The header MCP-Protocol-Version does not match the body.");
  if (version !== statelessRevision) {
    const data = { supported: supportedRevisions, requested: version.slice(0, 64) };
    return { code: statelessCodes.unsupportedVersion, message: "Unsupported protocol version", data };
  }
  const methodHeader = header(request, "mcp-method");
  if (methodHeader !== method) {
    return mismatch(`The header Mcp-Method ${methodHeader === undefined ? "is missing" : "does not match the body"}.`);
  }
  const nameKey = named[method] ?? namedTask[method];
  const nameHeader = header(request, "mcp-name");
  if (nameHeader === undefined && named[method] !== undefined) return mismatch("The header Mcp-Name is missing.");
  if (nameKey !== undefined && nameHeader !== undefined) {
    const name = stringAt(text, memberOf(text, message.params, nameKey));
    if (name !== undefined && decoded(nameHeader) !== name) return mismatch("The header Mcp-Name does not match the body.");
  }
  const capabilities = memberOf(text, meta, metaKeys.capabilities);
  if (capabilities === undefined || text[capabilities.start] !== "{") return malformed(metaKeys.capabilities);
  const clientInfo = memberOf(text, meta, metaKeys.clientInfo);
  const logLevel = stringAt(text, memberOf(text, meta, metaKeys.logLevel));
  return { message, id, method, meta, clientInfo, capabilities, logLevel, progressToken: progressTokenOf(message) };
}

/** The value of a header that may be Base64 between `=?base64?` and `?=`; undefined when it is malformed. */
export function decoded(value: string): string | undefined {
  const inner = /^=\?base64\?([A-Za-z0-9+/]*={0,2})\?=$/.exec(value)?.[1];
  if (inner === undefined) return /^[\t\x20-\x7e]*$/.test(value) ? value : undefined;
  const bytes = Buffer.from(inner, "base64");
  return bytes.toString("base64") === inner ? bytes.toString("utf8") : undefined;
}

/** Headers of tool parameters, which go on to a stateless server over HTTP. */
export function parameterHeaders(request: IncomingMessage): Record<string, string> | undefined {
  let found: Record<string, string> | undefined;
  for (const [name, value] of Object.entries(request.headers)) {
    if (!name.startsWith("mcp-param-") || typeof value !== "string") continue;
    found ??= {};
    found[name] = value;
  }
  return found;
}

/** The member that `Mcp-Name` repeats. */
export const named: Record<string, string> = { "tools/call": "name", "prompts/get": "name", "resources/read": "uri" };
/** The same of the tasks extension; some clients leave it out. */
export const namedTask: Record<string, string> = { "tasks/get": "taskId", "tasks/update": "taskId", "tasks/cancel": "taskId" };

function metaVersion(message: Message): string | undefined {
  const meta = memberOf(message.text, message.params, "_meta");
  return stringAt(message.text, memberOf(message.text, meta, metaKeys.version));
}

function mismatch(message: string): JsonRpcError {
  return { code: statelessCodes.headerMismatch, message };
}

function malformed(key: string): JsonRpcError {
  return { code: errorCodes.invalidParams, message: `The member "${key}" of _meta is missing or malformed.` };
}
