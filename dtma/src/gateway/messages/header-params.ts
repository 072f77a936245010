/*
Arguments of tools that are repeated in the headers of a request (MCP 2026-07-28, Streamable HTTP, "Custom Headers from Tool
Parameters").

INVARIANTS
- A tool whose annotations break a rule is left out of the list: what it wants repeated cannot be known.
*/

import { decoded } from "./envelope.ts";
import { elementsAt, type Message, memberOf, type Span, stringAt } from "./json-rpc.ts";
import { spliced } from "./splice.ts";
import { headerText, parseAt } from "./stateless.ts";

/** An argument by its path, and the name of the header that repeats it. */
export type HeaderParam = { path: readonly string[]; header: string };

const annotation = "x-mcp-header";
const headerName = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const types = new Set(["string", "integer", "boolean"]);
/** Values of these are data, not schemas. */
const dataKeys = new Set(["const", "default", "enum", "examples", annotation]);
const maxNesting = 64;

/** What the schema of a tool's arguments wants repeated; undefined when it breaks a rule. */
export function headerParams(schema: unknown): HeaderParam[] | undefined {
  const found: HeaderParam[] = [];

  /** `path` is undefined where the place of the value cannot be known. */
  function isSound(node: unknown, path: readonly string[] | undefined, depth: number): boolean {
    if (node === null || typeof node !== "object") return true;
    if (depth > maxNesting) return false;
    if (Array.isArray(node)) return node.every((one) => isSound(one, undefined, depth + 1));
    const own = node as Record<string, unknown>;
    if (annotation in own) {
      const header = own[annotation];
      if (path === undefined || path.length === 0 || typeof header !== "string" || !headerName.test(header)) return false;
      if (typeof own.type !== "string" || !types.has(own.type)) return false;
      if (found.some((other) => other.header.toLowerCase() === header.toLowerCase())) return false;
      found.push({ path, header });
    }
    return Object.entries(own).every(([key, value]) => {
      if (dataKeys.has(key)) return true;
      if (key !== "properties" || value === null || typeof value !== "object") return isSound(value, undefined, depth + 1);
      return Object.entries(value).every(([name, one]) => isSound(one, path && [...path, name], depth + 1));
    });
  }

  return isSound(schema, [], 0) ? found : undefined;
}

/** The headers of one `tools/call`. */
export function paramHeaders({ text, params }: Message, wanted: readonly HeaderParam[]): Record<string, string> {
  const headers: Record<string, string> = {};
  const args = memberOf(text, params, "arguments");
  for (const { path, header } of wanted) {
    const value = primitiveAt(
      text,
      path.reduce<Span | undefined>((span, key) => memberOf(text, span, key), args),
    );
    if (value !== undefined) headers[`mcp-param-${header.toLowerCase()}`] = headerText(value);
  }
  return headers;
}

/** Whether the headers of a `tools/call` repeat its arguments as its tool wants it; `given` are the raw headers. */
export function repeats(
  message: Message,
  wanted: readonly HeaderParam[],
  given: Readonly<Record<string, string>> | undefined,
): boolean {
  const expected = paramHeaders(message, wanted);
  return wanted.every(({ header }) => {
    const name = `mcp-param-${header.toLowerCase()}`;
    const raw = given?.[name];
    const own = expected[name];
    if (raw === undefined || own === undefined) return raw === own;
    const said = decoded(raw);
    const meant = decoded(own);
    return said !== undefined && (said === meant || (isNumber.test(said) && Number(said) === Number(meant)));
  });
}

const isNumber = /^-?\d+(?:\.\d+)?$/;

function primitiveAt(text: string, span: Span | undefined): string | undefined {
  if (span === undefined) return undefined;
  const said = text.slice(span.start, Math.min(span.end, span.start + 64));
  if (said.startsWith('"')) return stringAt(text, span);
  if (said === "true" || said === "false") return said;
  return /^-?\d/.test(said) ? String(Number(said)) : undefined;
}

/** Notes what each tool of a `tools/list` answer wants repeated; the answer without the tools that break a rule. */
export function learnTools(message: Message, known: Map<string, readonly HeaderParam[]>): Buffer {
  const { text, bytes } = message;
  const tools = memberOf(text, message.result, "tools");
  const elements = tools === undefined ? undefined : elementsAt(text, tools.start);
  if (tools === undefined || elements === undefined) return bytes;
  const kept = elements.filter((span) => {
    const name = stringAt(text, memberOf(text, span, "name"));
    if (name === undefined) return true;
    known.delete(name);
    if (!bytes.subarray(span.start, span.end).includes(annotation)) return true;
    const schema = memberOf(text, span, "inputSchema");
    const wanted = headerParams(schema && parseAt(bytes, schema));
    if (wanted !== undefined && wanted.length > 0) known.set(name, wanted);
    return wanted !== undefined;
  });
  if (kept.length === elements.length) return bytes;
  const list = kept.flatMap(({ start, end }, index) => [...(index === 0 ? [] : [comma]), bytes.subarray(start, end)]);
  return spliced(bytes, [{ at: { start: tools.start + 1, end: tools.end - 1 }, text: Buffer.concat(list) }]);
}

const comma = Buffer.from(",");
