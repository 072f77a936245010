import { type Schema as CfSchema, type OutputUnit, type SchemaDraft, Validator } from "@cfworker/json-schema";
import { type Draft, type Problem, type Reading, readDraft } from "./draft.ts";
import { isObject, type Json, membersOf, pointerTo } from "./json.ts";
import type { FieldNode } from "./node.ts";
import { resolveReference } from "./parse.ts";

/*
INVARIANTS
- A value is only called right when the whole schema, references and conditions included, accepts it.
- A schema that cannot be checked (a reference to elsewhere, a broken pattern) never blocks a call: the server decides.
*/

/** Something that is not right at one place. `keyword` is JSON Schema's; `limit` is what the schema says there. */
export type Invalid = {
  pointer: string;
  code: Problem["code"] | "keyword";
  keyword: string;
  limit: Json | undefined;
  detail: string;
};

export type Check =
  | { state: "valid"; value: Json | undefined }
  | { state: "invalid"; value: Json | undefined; errors: ReadonlyMap<string, Invalid> }
  /** The schema itself could not be used. */
  | { state: "unchecked"; value: Json | undefined; reason: string };

/** Wrappers that only say that something below is wrong. */
const wrappers = new Set([
  "properties",
  "patternProperties",
  "additionalProperties",
  "unevaluatedProperties",
  "items",
  "prefixItems",
  "additionalItems",
  "unevaluatedItems",
  "$ref",
  "$recursiveRef",
  "allOf",
  "if",
  "dependentSchemas",
]);

export type SchemaCheck = { (node: FieldNode, draft: Draft): Check; ofValue(value: Json): Check };

/** Makes the check for one schema. The schema is copied; nothing is evaluated as code. */
export function createCheck(schema: Readonly<Record<string, unknown>>): SchemaCheck {
  const copy = structuredClone(schema) as CfSchema;
  let validator: Validator | undefined;
  let broken: string | undefined;
  try {
    validator = new Validator(copy, dialectOf(schema), false);
  } catch (error) {
    broken = reasonOf(error);
  }

  const check = (reading: Reading): Check => {
    const { value, problems } = reading;
    const errors = new Map<string, Invalid>();
    for (const { pointer, code } of problems) {
      if (!errors.has(pointer)) errors.set(pointer, { pointer, code, keyword: "", limit: undefined, detail: "" });
    }
    if (validator === undefined) return verdict(value, errors, broken);
    let units: OutputUnit[];
    try {
      units = value === undefined ? [] : validator.validate(withoutPrototypes(value)).errors;
    } catch (error) {
      return verdict(value, errors, reasonOf(error));
    }
    for (const unit of relevant(units, reading)) {
      const invalid = toInvalid(unit, schema);
      if (!errors.has(invalid.pointer)) errors.set(invalid.pointer, invalid);
    }
    const [first] = units;
    if (errors.size === 0 && first !== undefined) errors.set("", toInvalid(first, schema));
    return verdict(value, errors, undefined);
  };

  const ofDraft = (node: FieldNode, draft: Draft) => check(readDraft(node, draft));
  return Object.assign(ofDraft, { ofValue: (value: Json) => check({ value, problems: [], chosen: [] }) });
}

function verdict(value: Json | undefined, errors: ReadonlyMap<string, Invalid>, broken: string | undefined): Check {
  if (errors.size > 0) return { state: "invalid", value, errors };
  return broken === undefined ? { state: "valid", value } : { state: "unchecked", value, reason: broken };
}

/** Leaves out wrappers, and behind an `anyOf` or `oneOf` the errors of every option that was not chosen. */
function relevant(units: OutputUnit[], reading: Reading): OutputUnit[] {
  const chosenAt = new Map<string, number | undefined>();
  for (const unit of units) {
    if (unit.keyword !== "anyOf" && unit.keyword !== "oneOf") continue;
    const pointer = toPointer(unit.instanceLocation);
    const choice = reading.chosen.find((chosen) => chosen.keyword === unit.keyword && chosen.pointer === pointer);
    chosenAt.set(unit.keywordLocation, choice?.index);
  }
  return units.filter((unit) => {
    if (wrappers.has(unit.keyword)) return false;
    if (chosenAt.has(unit.keywordLocation)) {
      const chosen = `${unit.keywordLocation}/${chosenAt.get(unit.keywordLocation)}`;
      if (units.some((other) => isUnder(other.keywordLocation, chosen))) return false;
    }
    for (const [location, index] of chosenAt) {
      if (unit.keywordLocation === location || !isUnder(unit.keywordLocation, location)) continue;
      if (index === undefined || !isUnder(unit.keywordLocation, `${location}/${index}`)) return false;
    }
    return true;
  });
}

function isUnder(location: string, parent: string): boolean {
  return location === parent || location.startsWith(`${parent}/`);
}

function toInvalid(unit: OutputUnit, schema: Readonly<Record<string, unknown>>): Invalid {
  const limit = keywordValue(schema, unit.keywordLocation);
  const at = toPointer(unit.instanceLocation);
  const missing = unit.keyword === "required" ? /property "(.*)"\.$/s.exec(unit.error)?.[1] : undefined;
  if (missing !== undefined)
    return { pointer: pointerTo(at, missing), code: "missing", keyword: "", limit: undefined, detail: "" };
  return { pointer: at, code: "keyword", keyword: unit.keyword, limit: limit as Json | undefined, detail: unit.error };
}

function toPointer(instanceLocation: string): string {
  return membersOf(instanceLocation).reduce<string>(pointerTo, "");
}

/** What the schema says at a keyword location, following the references on the way. */
function keywordValue(root: Readonly<Record<string, unknown>>, location: string): unknown {
  let current: unknown = root;
  for (const member of membersOf(location)) {
    if (Array.isArray(current)) current = current[Number(member)];
    else if (!isObject(current) || !Object.hasOwn(current, member)) return undefined;
    else current = member === "$ref" ? resolveReference(root, String(current.$ref)) : current[member];
  }
  return current;
}

function dialectOf(schema: Readonly<Record<string, unknown>>): SchemaDraft {
  const dialect = typeof schema.$schema === "string" ? schema.$schema : "";
  if (dialect.includes("draft-04")) return "4";
  if (dialect.includes("draft-06") || dialect.includes("draft-07")) return "7";
  return dialect.includes("2019-09") ? "2019-09" : "2020-12";
}

/** The validator asks `key in value`; without this, `constructor` would be a member of everything. */
function withoutPrototypes(value: Json): unknown {
  if (Array.isArray(value)) return value.map(withoutPrototypes);
  if (!isObject(value)) return value;
  const copy: Record<string, unknown> = Object.create(null);
  for (const [name, member] of Object.entries(value)) copy[name] = withoutPrototypes(member as Json);
  return copy;
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error);
}
