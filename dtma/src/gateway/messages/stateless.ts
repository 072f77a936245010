/*
What the stateless revision of MCP (2026-07-28) wants of a client, towards servers: headers, and its errors in words.
*/

import { metaKeys, named, namedTask, statelessCodes, statelessRevision } from "./envelope.ts";
import { type JsonRpcError, type Message, memberOf, type Span, stringAt } from "./json-rpc.ts";

/** Whether only a server of this revision uses the code (Overview, "Error Codes"). */
export function isStatelessError(code: number): boolean {
  return Object.values<number>(statelessCodes).includes(code);
}

/** Visible ASCII; spaces and tabs only inside. */
const plain = /^$|^[!-~](?:[\t -~]*[!-~])?$/;

/** A value as the headers `Mcp-Name` and `Mcp-Param-*` carry it (Streamable HTTP, "Value Encoding"). */
export function headerText(value: string): string {
  const looksEncoded = value.startsWith("=?base64?") && value.endsWith("?=");
  return plain.test(value) && !looksEncoded ? value : `=?base64?${Buffer.from(value, "utf8").toString("base64")}?=`;
}

/** The headers that repeat what is in the message (Streamable HTTP, "Request Metadata"). */
export function standardHeaders({ text, method, params }: Message): Record<string, string> {
  const version = stringAt(text, memberOf(text, memberOf(text, params, "_meta"), metaKeys.version));
  const key = named[method ?? ""] ?? namedTask[method ?? ""];
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
  if (code === statelessCodes.missingCapability) {
    const missing = requiredCapabilities !== null && typeof requiredCapabilities === "object" ? requiredCapabilities : {};
    const names = Object.keys(missing).join(", ");
    return `The server needs a client that supports ${names === "" ? "more than this one does" : names}: ${message}`;
  }
  if (code === statelessCodes.unsupportedVersion) {
    const names = Array.isArray(supported) ? supported.filter((one) => typeof one === "string").join(", ") : "";
    return `The server speaks revisions of MCP that the toolbox does not (${names.slice(0, 200)}): ${message}`;
  }
  return `The server did not accept the headers that the toolbox made for this request: ${message}`;
}
