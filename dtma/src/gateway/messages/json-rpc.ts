/*
Reads JSON-RPC messages without building objects: a message of megabytes costs one scan, and its bytes go on unchanged.

INVARIANTS
- Positions are byte positions: a message is scanned as latin1 text, in which every structural character of JSON is one
  character and no byte of a longer UTF-8 sequence looks like one.
- The scan is sound on valid JSON only. What comes from a client is validated with `parseClientBody` first; what comes from
  a server is passed on as it came, so a malformed line can harm nobody but the one who asked that server.
- Of members named twice the last one counts here, as in `JSON.parse`; `access.ts` refuses them where it matters.
*/

import { isAscii, isUtf8 } from "node:buffer";

export type Span = { start: number; end: number };
export type Member = Span & { key: string };

/** One JSON-RPC message as bytes, with the places of what the gateway has to know about it. */
export type Message = {
  bytes: Buffer;
  /** The same bytes as latin1 text; only for reading spans. */
  text: string;
  kind: "request" | "notification" | "response";
  /** Canonical JSON text of the id (`1` and `"1"` differ); undefined on notifications and for null. */
  id: string | undefined;
  method: string | undefined;
  members: Member[];
  params: Span | undefined;
  result: Span | undefined;
  hasError: boolean;
};

export type JsonRpcError = { code: number; message: string; data?: unknown };

/** Codes of JSON-RPC 2.0, and those the MCP SDKs use for sessions. */
export const errorCodes = {
  parseError: -32700,
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParams: -32602,
  internal: -32603,
  failed: -32000,
  sessionNotFound: -32001,
} as const;

/** The answer to what a server, as this client sees it, cannot do. */
export const notOffered: JsonRpcError = { code: errorCodes.methodNotFound, message: "The server does not offer this." };

/** Deeper nesting than this is refused from clients; many JSON readers of servers recurse. */
export const maxNesting = 512;

const quote = 0x22;
const backslash = 0x5c;

function skipSpace(text: string, position: number): number {
  let at = position;
  for (;;) {
    const c = text.charCodeAt(at);
    if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return at;
    at++;
  }
}

/** The position after the string that starts at `position`, -1 when it never ends. */
function skipString(text: string, position: number): number {
  let end = text.indexOf('"', position + 1);
  while (end !== -1) {
    let before = end - 1;
    while (text.charCodeAt(before) === backslash) before--;
    if ((end - before) % 2 === 1) return end + 1;
    end = text.indexOf('"', end + 1);
  }
  return -1;
}

/** The position after the value that starts at `position`, -1 when there is none or it is nested too deeply. */
function skipValue(text: string, position: number, nesting = Number.POSITIVE_INFINITY): number {
  const first = text.charCodeAt(position);
  if (first === quote) return skipString(text, position);
  let depth = 0;
  let at = position;
  while (at < text.length) {
    const c = text.charCodeAt(at);
    if (c === quote) {
      at = skipString(text, at);
      if (at === -1) return -1;
      continue;
    }
    if (c === 0x7b || c === 0x5b) {
      depth++;
      if (depth > nesting) return -1;
    } else if (c === 0x7d || c === 0x5d) {
      if (depth === 0) break;
      depth--;
      if (depth === 0) return at + 1;
    } else if (depth === 0 && (c === 0x2c || c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09)) break;
    at++;
  }
  return depth === 0 && at > position ? at : -1;
}

function readString(text: string, start: number, end: number): string | undefined {
  const inner = text.slice(start + 1, end - 1);
  if (/^[\x20-\x5b\x5d-\x7f]*$/.test(inner)) return inner;
  try {
    return JSON.parse(Buffer.from(text.slice(start, end), "latin1").toString("utf8"));
  } catch {
    return undefined;
  }
}

/** The members of the object that starts at `start`, undefined when there is no well-formed object. */
export function membersAt(text: string, start: number): { members: Member[]; end: number } | undefined {
  if (text.charCodeAt(start) !== 0x7b) return undefined;
  const members: Member[] = [];
  let at = skipSpace(text, start + 1);
  if (text.charCodeAt(at) === 0x7d) return { members, end: at + 1 };
  for (;;) {
    if (text.charCodeAt(at) !== quote) return undefined;
    const keyEnd = skipString(text, at);
    if (keyEnd === -1) return undefined;
    const key = readString(text, at, keyEnd);
    at = skipSpace(text, keyEnd);
    if (key === undefined || text.charCodeAt(at) !== 0x3a) return undefined;
    const valueStart = skipSpace(text, at + 1);
    const valueEnd = skipValue(text, valueStart);
    if (valueEnd === -1) return undefined;
    members.push({ key, start: valueStart, end: valueEnd });
    at = skipSpace(text, valueEnd);
    const next = text.charCodeAt(at);
    if (next === 0x7d) return { members, end: at + 1 };
    if (next !== 0x2c) return undefined;
    at = skipSpace(text, at + 1);
  }
}

/** The members of the object at `span`; none when there is no well-formed object. */
export function membersIn(text: string, span: Span | undefined): Member[] {
  return (span && membersAt(text, span.start)?.members) ?? [];
}

/** The elements of the array that starts at `start`, undefined when there is no well-formed array. */
export function elementsAt(text: string, start: number): Span[] | undefined {
  if (text.charCodeAt(start) !== 0x5b) return undefined;
  const elements: Span[] = [];
  let at = skipSpace(text, start + 1);
  if (text.charCodeAt(at) === 0x5d) return elements;
  for (;;) {
    const end = skipValue(text, at);
    if (end === -1) return undefined;
    elements.push({ start: at, end });
    at = skipSpace(text, end);
    const next = text.charCodeAt(at);
    if (next === 0x5d) return elements;
    if (next !== 0x2c) return undefined;
    at = skipSpace(text, at + 1);
  }
}

/** The last member of that name in the object at `span`. */
export function memberOf(text: string, span: Span | undefined, key: string): Span | undefined {
  if (span === undefined) return undefined;
  return membersAt(text, span.start)?.members.findLast((member) => member.key === key);
}

/** The string at `span`, undefined when it is something else. */
export function stringAt(text: string, span: Span | undefined): string | undefined {
  if (span === undefined || text.charCodeAt(span.start) !== quote) return undefined;
  return readString(text, span.start, span.end);
}

/** An id or progress token at `span` in canonical form, undefined when it is neither string nor number. */
export function tokenAt(text: string, span: Span | undefined): string | undefined {
  if (span === undefined) return undefined;
  const first = text.charCodeAt(span.start);
  if (first === quote) {
    const value = readString(text, span.start, span.end);
    return value === undefined ? undefined : JSON.stringify(value);
  }
  if (first !== 0x2d && (first < 0x30 || first > 0x39)) return undefined;
  const value = Number(text.slice(span.start, span.end));
  return Number.isFinite(value) ? String(value) : undefined;
}

/** The token under which a request wants to hear of its progress, in canonical form. */
export function progressTokenOf({ text, params }: Message): string | undefined {
  return tokenAt(text, memberOf(text, memberOf(text, params, "_meta"), "progressToken"));
}

/** Where the code of an answer's error stands; undefined when it has none. */
export function errorCodeAt({ text, members }: Message): Span | undefined {
  return memberOf(
    text,
    members.findLast(({ key }) => key === "error"),
    "code",
  );
}

/** Reads the envelope of one message; undefined when it is no JSON-RPC message. */
export function readMessage(bytes: Buffer, text = bytes.toString("latin1")): Message | undefined {
  const object = membersAt(text, skipSpace(text, 0));
  if (object === undefined || skipSpace(text, object.end) < text.length) return undefined;
  const { members } = object;
  let id: Span | undefined;
  let method: Span | undefined;
  let params: Span | undefined;
  let result: Span | undefined;
  let hasError = false;
  for (const member of members) {
    if (member.key === "id") id = member;
    else if (member.key === "method") method = member;
    else if (member.key === "params") params = member;
    else if (member.key === "result") result = member;
    else if (member.key === "error") hasError = true;
  }
  const message = { bytes, text, members, params, result, hasError, id: tokenAt(text, id) };
  if (method !== undefined) {
    const name = stringAt(text, method);
    if (name === undefined || (id !== undefined && message.id === undefined)) return undefined;
    return { ...message, method: name, kind: id === undefined ? "notification" : "request" };
  }
  if (result === undefined && !hasError) return undefined;
  return { ...message, method: undefined, kind: "response" };
}

/** A message of our own making. */
export function made(text: string | Buffer): Message {
  const message = readMessage(typeof text === "string" ? Buffer.from(text) : text);
  if (message === undefined) throw new TypeError("A message of our own is no message.");
  return message;
}

export type ClientBody = { batch: boolean; messages: Message[] } | { error: JsonRpcError };

/** Newlines are only legal in JSON as white space, but would end a line of stdio or an SSE event early. */
export function withoutNewlines(bytes: Buffer): Buffer {
  if (!bytes.includes(0x0a) && !bytes.includes(0x0d)) return bytes;
  const copy = Buffer.from(bytes);
  for (let at = 0; at < copy.length; at++) if (copy[at] === 0x0a || copy[at] === 0x0d) copy[at] = 0x20;
  return copy;
}

/** Validates the body of a POST strictly and takes it apart into messages, each free of newlines. */
export function parseClientBody(body: Buffer): ClientBody {
  const invalid = (code: number, message: string): ClientBody => ({ error: { code, message } });
  const text = body.toString("latin1");
  const start = skipSpace(text, 0);
  if (!isUtf8(body) || start >= text.length) return invalid(errorCodes.parseError, "The body is not JSON in UTF-8.");
  try {
    JSON.parse(isAscii(body) ? text : body.toString("utf8"));
  } catch {
    return invalid(errorCodes.parseError, "The body is not valid JSON.");
  }
  // A level takes an opening and a closing character.
  if (text.length > 2 * maxNesting && skipValue(text, start, maxNesting) === -1) {
    return invalid(errorCodes.invalidRequest, `The body is nested deeper than ${maxNesting} levels.`);
  }
  const flat = withoutNewlines(body);
  const elements = elementsAt(text, start);
  const parts = elements === undefined ? [flat] : elements.map((span) => flat.subarray(span.start, span.end));
  if (parts.length === 0) return invalid(errorCodes.invalidRequest, "The batch is empty.");
  const messages: Message[] = [];
  for (const part of parts) {
    const message = part === body ? readMessage(part, text) : readMessage(part);
    if (
      message === undefined ||
      stringAt(
        message.text,
        message.members.findLast((m) => m.key === "jsonrpc"),
      ) !== "2.0"
    ) {
      return invalid(errorCodes.invalidRequest, "The body is not a JSON-RPC 2.0 message.");
    }
    messages.push(message);
  }
  return { batch: elements !== undefined, messages };
}

/** The answer that says why a request failed; `id` is canonical JSON text, undefined becomes null. */
export function errorAnswer(id: string | undefined, error: JsonRpcError): Buffer {
  return Buffer.from(`{"jsonrpc":"2.0","id":${id ?? "null"},"error":${JSON.stringify(error)}}`);
}
