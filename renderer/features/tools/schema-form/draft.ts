import { isEqualJson, isObject, type Json, pointerTo } from "./json.ts";
import type { FieldNode, NodeOf } from "./node.ts";

/*
What was typed so far, part by part. A draft can hold what is no value yet (half a number, broken JSON).

INVARIANTS
- `readDraft(node, draftOf(node, value)).value` equals `value` for every JSON value, whatever the schema: what does not
  fit a node is kept as JSON text.
- `absent` members are left out of the value; nothing is sent that was neither typed nor a default.
*/

export type Draft =
  | { kind: "absent" }
  | { kind: "null" }
  | { kind: "text"; text: string }
  /** As typed; may not be a number yet. */
  | { kind: "number"; text: string }
  | { kind: "boolean"; value: boolean }
  | { kind: "choice"; index: number }
  | { kind: "choices"; indexes: readonly number[] }
  | { kind: "const" }
  | { kind: "list"; items: readonly { key: number; draft: Draft }[]; nextKey: number }
  | { kind: "group"; fields: Readonly<Record<string, Draft>>; extra: readonly ExtraDraft[]; nextKey: number }
  | { kind: "variant"; index: number; draft: Draft }
  | { kind: "json"; text: string };

export type ExtraDraft = { key: number; name: string; draft: Draft };
export type DraftOf<Kind extends Draft["kind"]> = Extract<Draft, { kind: Kind }>;

export const absent: Draft = { kind: "absent" };

const maxDepth = 12;

/** What a new form starts with: defaults, and for required parts the empty shape. */
export function emptyDraft(node: FieldNode, isRequired: boolean, depth = 0): Draft {
  if (node.initial !== undefined && (node.initial !== null || node.isNullable)) return draftOf(node, node.initial);
  if (!isRequired || depth > maxDepth) return absent;
  switch (node.kind) {
    case "const":
      return { kind: "const" };
    case "boolean":
      return { kind: "boolean", value: false };
    case "list":
      return {
        kind: "list",
        items: Array.from({ length: Math.min(node.minItems, 20) }, (_, key) => ({
          key,
          draft: emptyDraft(node.item(), true, depth + 1),
        })),
        nextKey: node.minItems,
      };
    case "choices":
      return { kind: "choices", indexes: [] };
    case "choice":
      return node.options.length === 1 ? { kind: "choice", index: 0 } : absent;
    case "group":
      return {
        kind: "group",
        fields: Object.fromEntries(
          node.fields.map((field) => [field.name, emptyDraft(field.node(), field.isRequired, depth + 1)]),
        ),
        extra: [],
        nextKey: 0,
      };
    case "variant":
      return variantDraft(node, 0, depth);
    default:
      return absent;
  }
}

/** A fresh draft of one option of a variant. */
export function variantDraft(node: NodeOf<"variant">, index: number, depth = 0): Draft {
  const option = node.options[index];
  return option === undefined ? absent : { kind: "variant", index, draft: emptyDraft(option.node(), true, depth + 1) };
}

/** The draft that shows a value; `undefined` is a part that is not there. */
export function draftOf(node: FieldNode, value: Json | undefined): Draft {
  if (value === undefined) return absent;
  if (value === null && node.isNullable) return { kind: "null" };
  switch (node.kind) {
    case "text":
      if (typeof value === "string") return { kind: "text", text: value };
      break;
    case "number":
      if (typeof value === "number") return { kind: "number", text: String(value) };
      break;
    case "boolean":
      if (typeof value === "boolean") return { kind: "boolean", value };
      break;
    case "choice": {
      const index = node.options.findIndex((option) => isEqualJson(option.value, value));
      if (index >= 0) return { kind: "choice", index };
      break;
    }
    case "choices": {
      const indexes = Array.isArray(value) ? value.map((item) => indexOfOption(node, item)) : [-1];
      const isShowable = indexes.every((index, position) => index >= 0 && indexes.indexOf(index) === position);
      if (isShowable) return { kind: "choices", indexes };
      break;
    }
    case "const":
      if (isEqualJson(node.value, value)) return { kind: "const" };
      break;
    case "list":
      if (Array.isArray(value)) {
        const items = value.map((item, key) => ({ key, draft: draftOf(node.item(), item) }));
        return { kind: "list", items, nextKey: items.length };
      }
      break;
    case "group":
      if (isObject(value)) return groupDraft(node, value as Record<string, Json>);
      break;
    case "variant": {
      const index = node.options.findIndex((option) => fits(option.node(), value));
      const option = node.options[index];
      if (option !== undefined) return { kind: "variant", index, draft: draftOf(option.node(), value) };
      break;
    }
    case "json":
      break;
  }
  return { kind: "json", text: JSON.stringify(value, null, 2) };
}

function groupDraft(node: NodeOf<"group">, value: Readonly<Record<string, Json>>): Draft {
  const names = new Set(node.fields.map((field) => field.name));
  const rest: FieldNode = node.rest?.() ?? anyNode;
  const extra = Object.keys(value)
    .filter((name) => !names.has(name))
    .map((name, key) => ({ key, name, draft: draftOf(rest, value[name]) }));
  return {
    kind: "group",
    fields: Object.fromEntries(
      node.fields.map(({ name, node: field }) => [
        name,
        draftOf(field(), Object.hasOwn(value, name) ? value[name] : undefined),
      ]),
    ),
    extra,
    nextKey: extra.length,
  };
}

/** Shows any JSON value as text; for members the schema says nothing about. */
export const anyNode: FieldNode = {
  kind: "json",
  title: undefined,
  description: undefined,
  initial: undefined,
  isNullable: false,
  isDeprecated: false,
  example: undefined,
  branches: [],
};

function indexOfOption(node: NodeOf<"choices">, value: Json): number {
  return node.options.findIndex((option) => isEqualJson(option.value, value));
}

/** Whether a value has the shape of a node; chooses the option of a variant a given value belongs to. */
export function fits(node: FieldNode, value: Json): boolean {
  if (value === null && node.isNullable) return true;
  switch (node.kind) {
    case "text":
      return typeof value === "string";
    case "number":
      return typeof value === "number" && (!node.isInteger || Number.isInteger(value));
    case "boolean":
      return typeof value === "boolean";
    case "choice":
      return node.options.some((option) => isEqualJson(option.value, value));
    case "choices":
      return Array.isArray(value) && value.every((item) => indexOfOption(node, item) >= 0);
    case "const":
      return isEqualJson(node.value, value);
    case "list":
      return Array.isArray(value) && value.every((item) => fits(node.item(), item));
    case "group": {
      if (!isObject(value)) return false;
      const members = value as Record<string, Json>;
      const names = new Set(node.fields.map((field) => field.name));
      return (
        node.fields.every(({ name, isRequired, node: field }) => {
          const member = Object.hasOwn(members, name) ? members[name] : undefined;
          return member === undefined ? !isRequired : fits(field(), member);
        }) &&
        Object.entries(members).every(([name, member]) => names.has(name) || (node.rest !== null && fits(node.rest(), member)))
      );
    }
    case "variant":
      return node.options.some((option) => fits(option.node(), value));
    case "json":
      return true;
  }
}

export type Problem = { pointer: string; code: "missing" | "not-a-number" | "not-json" | "name-missing" | "name-twice" };
/** Which option of an `anyOf` or `oneOf` was chosen at a place; errors of the other options say nothing. */
export type Chosen = { pointer: string; keyword: "anyOf" | "oneOf"; index: number };
export type Reading = { value: Json | undefined; problems: Problem[]; chosen: Chosen[] };

/** The value a draft stands for, and what in it is no value yet. Never throws. */
export function readDraft(node: FieldNode, draft: Draft, isRequired = true): Reading {
  const reading: Reading = { value: undefined, problems: [], chosen: [] };
  reading.value = read(node, draft, isRequired, "", reading);
  return reading;
}

function read(node: FieldNode, draft: Draft, isRequired: boolean, pointer: string, into: Reading): Json | undefined {
  for (const branch of node.branches) into.chosen.push({ pointer, ...branch });
  switch (draft.kind) {
    case "absent":
      if (isRequired) into.problems.push({ pointer, code: "missing" });
      return undefined;
    case "null":
      return null;
    case "text":
      return draft.text;
    case "number": {
      const value = parseNumber(draft.text);
      if (value === undefined) into.problems.push({ pointer, code: "not-a-number" });
      return value;
    }
    case "boolean":
      return draft.value;
    case "choice":
      return node.kind === "choice" ? node.options[draft.index]?.value : undefined;
    case "choices":
      return node.kind === "choices" ? draft.indexes.flatMap((index) => node.options[index]?.value ?? []) : undefined;
    case "const":
      return node.kind === "const" ? node.value : undefined;
    case "list":
      return node.kind === "list"
        ? draft.items.map((item, index) => read(node.item(), item.draft, true, pointerTo(pointer, index), into) ?? null)
        : undefined;
    case "group":
      return node.kind === "group" ? readGroup(node, draft, pointer, into) : undefined;
    case "variant": {
      const option = node.kind === "variant" ? node.options[draft.index] : undefined;
      return option === undefined ? undefined : read(option.node(), draft.draft, isRequired, pointer, into);
    }
    case "json":
      return readJson(draft.text, isRequired, pointer, into);
  }
}

function readGroup(node: NodeOf<"group">, draft: DraftOf<"group">, pointer: string, into: Reading): Json {
  const entries: [string, Json][] = [];
  for (const field of node.fields) {
    const member = draft.fields[field.name] ?? absent;
    const value = read(field.node(), member, field.isRequired, pointerTo(pointer, field.name), into);
    if (value !== undefined) entries.push([field.name, value]);
  }
  const rest = node.rest?.() ?? anyNode;
  const taken = new Set(node.fields.map((field) => field.name));
  for (const { key, name, draft: member } of draft.extra) {
    const at = extraPointer(pointer, key);
    if (name === "") into.problems.push({ pointer: at, code: "name-missing" });
    else if (taken.has(name)) into.problems.push({ pointer: at, code: "name-twice" });
    taken.add(name);
    const value = read(rest, member, true, pointerTo(pointer, name), into);
    if (value !== undefined) entries.push([name, value]);
  }
  return Object.fromEntries(entries);
}

/** Where problems with the name of an added member are reported; no JSON pointer ever looks like this. */
export function extraPointer(parent: string, key: number): string {
  return `${parent}/~name/${key}`;
}

function readJson(text: string, isRequired: boolean, pointer: string, into: Reading): Json | undefined {
  if (text.trim() === "") {
    if (isRequired) into.problems.push({ pointer, code: "missing" });
    return undefined;
  }
  try {
    return JSON.parse(text) as Json;
  } catch {
    into.problems.push({ pointer, code: "not-json" });
    return undefined;
  }
}

/** A decimal number with blanks around it forgiven; undefined when it is none. */
export function parseNumber(text: string): number | undefined {
  const trimmed = text.trim().replace(/^\+/, "");
  if (!/^-?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(trimmed)) return undefined;
  const value = Number(trimmed);
  return Number.isFinite(value) ? value : undefined;
}
