import { type Message, memberOf, membersAt, type Span } from "./json-rpc.ts";

/*
Changes a message without printing it again: what is not named stays as it is, byte for byte.
*/

export type Edit = { at: Span; text: string | Buffer };

/** The bytes with the spans replaced; edits must not overlap. */
export function spliced(bytes: Buffer, edits: Edit[]): Buffer {
  if (edits.length === 0) return bytes;
  const pieces: Buffer[] = [];
  let copied = 0;
  for (const { at, text } of [...edits].sort((one, other) => one.at.start - other.at.start)) {
    pieces.push(bytes.subarray(copied, at.start), typeof text === "string" ? Buffer.from(text) : text);
    copied = at.end;
  }
  pieces.push(bytes.subarray(copied));
  return Buffer.concat(pieces);
}

/** The message under another id (canonical JSON text), wherever it names one. */
export function withId(message: Message, id: string): Buffer {
  if (message.id === id) return message.bytes;
  return spliced(
    message.bytes,
    message.members.flatMap((member) => (member.key === "id" ? [{ at: member, text: id }] : [])),
  );
}

/** An edit that puts the members that it lacks in front of those of the object at `object`; none when that is no object. */
export function insertion(text: string, object: Span | undefined, members: [key: string, value: string][]): Edit[] {
  const known = object === undefined ? undefined : membersAt(text, object.start)?.members;
  if (object === undefined || known === undefined) return [];
  const missing = members.filter(([key]) => !known.some((member) => member.key === key));
  if (missing.length === 0) return [];
  const written = missing.map(([key, value]) => `${JSON.stringify(key)}:${value}`).join(",");
  const at = { start: object.start + 1, end: object.start + 1 };
  return [{ at, text: known.length === 0 ? written : `${written},` }];
}

/** The raw JSON text of a member, undefined when it is not there. */
export function rawMember(message: Message, object: Span | undefined, key: string): Buffer | undefined {
  const span = memberOf(message.text, object, key);
  return span && message.bytes.subarray(span.start, span.end);
}

/** The object at `object` without a member, however often it is named. */
export function withoutMember(message: Message, object: Span, key: string): Buffer {
  const members = membersAt(message.text, object.start)?.members ?? [];
  const raw = message.bytes.subarray(object.start, object.end);
  if (!members.some((member) => member.key === key)) return raw;
  const kept = members.filter((member) => member.key !== key);
  const texts = kept.map(
    (member) => `${JSON.stringify(member.key)}:${message.bytes.toString("utf8", member.start, member.end)}`,
  );
  return Buffer.from(`{${texts.join()}}`);
}
