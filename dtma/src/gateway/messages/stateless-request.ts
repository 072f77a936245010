/*
A client's request as a stateless server wants it (MCP 2026-07-28, "Request Metadata").

INVARIANTS
- An added member comes last in its object, so that it is the one that counts.
*/

import { metaKeys } from "./envelope.ts";
import { type Message, memberOf, membersAt, type Span } from "./json-rpc.ts";
import { type Edit, spliced } from "./splice.ts";

const comma = Buffer.from(",");
const open = Buffer.from("{");
const close = Buffer.from("}");

/** Members, each as `"key":value`, with commas between them. */
function joined(members: readonly Buffer[]): Buffer {
  return Buffer.concat(members.flatMap((member, index) => (index === 0 ? [member] : [comma, member])));
}

/** One member. */
export function member(key: string, value: Buffer | string): Buffer {
  return Buffer.concat([Buffer.from(`${JSON.stringify(key)}:`), typeof value === "string" ? Buffer.from(value) : value]);
}

export function object(members: readonly Buffer[]): Buffer {
  return Buffer.concat([open, joined(members), close]);
}

/** Adds members to the object at `span`. */
function adding(text: string, span: Span, members: readonly Buffer[]): Edit {
  const at = span.end - 1;
  const isEmpty = text.slice(span.start + 1, at).trim() === "";
  return { at: { start: at, end: at }, text: isEmpty ? joined(members) : Buffer.concat([comma, joined(members)]) };
}

const ourKeys: readonly string[] = [metaKeys.version, metaKeys.clientInfo, metaKeys.capabilities, metaKeys.logLevel];

function metaEdit({ bytes, text }: Message, meta: Span, ours: readonly Buffer[]): Edit {
  const members = membersAt(text, meta.start)?.members;
  if (members?.every(({ key }) => !ourKeys.includes(key))) return adding(text, meta, ours);
  const kept = (members ?? []).filter(({ key }) => !ourKeys.includes(key));
  const theirs = kept.map(({ key, start, end }) => member(key, bytes.subarray(start, end)));
  return { at: meta, text: object([...theirs, ...ours]) };
}

/**
 * A client's request as a stateless server wants it: under another id, with members of `_meta` that take the place of the
 * client's own, and with more members of `params`.
 */
export function asStateless(
  message: Message,
  changes: { id: string; meta: readonly Buffer[]; params: readonly Buffer[] },
): Buffer {
  const { bytes, text, members, params } = message;
  const edits: Edit[] = [];
  const id = members.findLast(({ key }) => key === "id");
  if (id !== undefined) edits.push({ at: id, text: changes.id });
  const isObject = params !== undefined && text[params.start] === "{";
  const meta = isObject ? memberOf(text, params, "_meta") : undefined;
  const more = meta === undefined ? [member("_meta", object(changes.meta)), ...changes.params] : changes.params;
  if (meta !== undefined) edits.push(metaEdit(message, meta, changes.meta));
  if (isObject && more.length > 0) edits.push(adding(text, params, more));
  else if (params === undefined) {
    const whole = { start: text.indexOf("{"), end: text.lastIndexOf("}") + 1 };
    edits.push(adding(text, whole, [member("params", object(more))]));
  } else if (text.startsWith("null", params.start)) edits.push({ at: params, text: object(more) });
  return spliced(bytes, edits);
}
