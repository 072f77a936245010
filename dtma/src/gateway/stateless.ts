/*
Words of the stateless revision of MCP (2026-07-28) that the gateway has to know, and what it makes of them.
*/

import { type JsonRpcError, type Message, memberOf, type Span, stringAt } from "./json-rpc.ts";

export const statelessRevision = "2026-07-28";

/** Keys of `_meta` (Overview, "Per-request protocol fields"). */
export const metaKeys = {
  protocolVersion: "io.modelcontextprotocol/protocolVersion",
  clientInfo: "io.modelcontextprotocol/clientInfo",
  clientCapabilities: "io.modelcontextprotocol/clientCapabilities",
  logLevel: "io.modelcontextprotocol/logLevel",
  serverInfo: "io.modelcontextprotocol/serverInfo",
  subscriptionId: "io.modelcontextprotocol/subscriptionId",
} as const;

/** Codes that only a server of this revision uses (Overview, "Error Codes"). */
export const statelessErrors = { headerMismatch: -32020, missingCapability: -32021, unsupportedVersion: -32022 } as const;

export function isStatelessError(code: number): boolean {
  return Object.values<number>(statelessErrors).includes(code);
}

/** Visible ASCII; spaces and tabs only inside. */
const plain = /^$|^[!-~](?:[\t -~]*[!-~])?$/;

/** A value as the headers `Mcp-Name` and `Mcp-Param-*` carry it (Streamable HTTP, "Value Encoding"). */
export function headerText(value: string): string {
  const looksEncoded = value.startsWith("=?base64?") && value.endsWith("?=");
  return plain.test(value) && !looksEncoded ? value : `=?base64?${Buffer.from(value, "utf8").toString("base64")}?=`;
}

/** Methods whose `Mcp-Name` header repeats a member of `params`. */
const namedBy = new Map([
  ["tools/call", "name"],
  ["prompts/get", "name"],
  ["resources/read", "uri"],
]);

/** The headers that repeat what is in the message (Streamable HTTP, "Request Metadata"). */
export function standardHeaders({ text, method, params }: Message): Record<string, string> {
  const version = stringAt(text, memberOf(text, memberOf(text, params, "_meta"), metaKeys.protocolVersion));
  const key = namedBy.get(method ?? "");
  const name = key === undefined ? undefined : stringAt(text, memberOf(text, params, key));
  return {
    "mcp-protocol-version": version !== undefined && plain.test(version) ? version : statelessRevision,
    ...(method !== undefined && plain.test(method) ? { "mcp-method": method } : {}),
    ...(name === undefined ? {} : { "mcp-name": headerText(name) }),
  };
}

/** The error of an answer; undefined when there is none that can be understood. */
export function errorOf(message: Message): JsonRpcError | undefined {
  const span = message.members.findLast(({ key }) => key === "error");
  const parsed = span === undefined ? undefined : parseAt(message.bytes, span);
  if (parsed === null || typeof parsed !== "object") return undefined;
  const { code, message: said, data } = parsed as { code?: unknown; message?: unknown; data?: unknown };
  if (typeof code !== "number" || typeof said !== "string") return undefined;
  return { code, message: said, ...(data === undefined ? {} : { data }) };
}

/** The value at `span`; undefined when it is no JSON. */
export function parseAt(bytes: Buffer, span: Span): unknown {
  try {
    return JSON.parse(bytes.toString("utf8", span.start, span.end));
  } catch {
    return undefined;
  }
}

/** What a client that only knows sessions is told about an error it does not know. */
export function inWords({ code, message, data }: JsonRpcError): string {
  const { supported, requiredCapabilities } = (data ?? {}) as { supported?: unknown; requiredCapabilities?: unknown };
  if (code === statelessErrors.missingCapability) {
    const missing = requiredCapabilities !== null && typeof requiredCapabilities === "object" ? requiredCapabilities : {};
    const names = Object.keys(missing).join(", ");
    return `The server needs a client that supports ${names === "" ? "more than this one does" : names}: ${message}`;
  }
  if (code === statelessErrors.unsupportedVersion) {
    const names = Array.isArray(supported) ? supported.filter((one) => typeof one === "string").join(", ") : "";
    return `The server speaks revisions of MCP that the toolbox does not (${names.slice(0, 200)}): ${message}`;
  }
  return `The server did not accept the headers that the toolbox made for this request: ${message}`;
}
