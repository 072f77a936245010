import { isEqualJson, isObject, type Json, membersOf } from "./json.ts";
import { mergeSchemas, type Schema } from "./merge.ts";
import type { Branch, FieldNode, GroupField, Option, TextFormat, VariantOption } from "./node.ts";

/*
INVARIANTS
- Every schema gives a node; what has no form of its own becomes `json` for that part only.
- A node is as wide as its schema or wider, never narrower by guess: the validator has the last word.
- Nodes below a node are made when they are asked for, so schemas that contain themselves are fine.
*/

const maxReferenceHops = 32;
const maxNesting = 16;

/** The form of a tool's input schema. The root is always a group or `json`, as MCP demands an object. */
export function parseSchema(root: Readonly<Record<string, unknown>>): FieldNode {
  const node = new Parser(root).node(root.type === undefined ? { ...root, type: "object" } : root, { isRoot: true });
  return node.kind === "group" || node.kind === "variant" ? node : { ...plain, kind: "json" };
}

/** The schema a local reference (`#`, `#/…`, `#anchor`) points to; undefined when there is none. */
export function resolveReference(root: unknown, reference: string): unknown {
  if (!reference.startsWith("#")) return undefined;
  if (reference !== "#" && !reference.startsWith("#/")) return findAnchor(root, reference.slice(1), 0);
  let target: unknown = root;
  for (const member of membersOf(reference)) {
    if (Array.isArray(target)) target = target[Number(member)];
    else if (isObject(target) && Object.hasOwn(target, member)) target = target[member];
    else return undefined;
  }
  return target;
}

function findAnchor(schema: unknown, anchor: string, depth: number): unknown {
  if (depth > 16 || typeof schema !== "object" || schema === null) return undefined;
  if (isObject(schema) && schema.$anchor === anchor) return schema;
  for (const below of Object.values(schema)) {
    const found = findAnchor(below, anchor, depth + 1);
    if (found !== undefined) return found;
  }
  return undefined;
}

type Common = Pick<FieldNode, keyof typeof plain>;

const plain = {
  title: undefined,
  description: undefined,
  initial: undefined,
  isNullable: false,
  isDeprecated: false,
  example: undefined,
  branches: [],
};

type Context = { isRoot?: boolean; name?: string; branches?: readonly Branch[]; isNullable?: boolean };

class Parser {
  readonly #root: Readonly<Record<string, unknown>>;

  constructor(root: Readonly<Record<string, unknown>>) {
    this.#root = root;
  }

  node(schema: unknown, context: Context): FieldNode {
    const flat = this.#flatten(schema);
    if (flat === undefined) return { ...plain, branches: context.branches ?? [], kind: "json" };
    const common = {
      title: textOf(flat.title),
      description: textOf(flat.description),
      initial: flat.default as Json | undefined,
      isNullable: (context.isNullable ?? false) || flat.nullable === true,
      isDeprecated: flat.deprecated === true,
      example: exampleOf(flat),
      branches: context.branches ?? [],
    };

    if (flat.const !== undefined) return { ...common, kind: "const", value: flat.const as Json };
    if (Array.isArray(flat.enum)) return choice(common, flat.enum as Json[], flat.enumNames);

    for (const keyword of ["oneOf", "anyOf"] as const) {
      const branches = flat[keyword];
      if (Array.isArray(branches) && branches.length > 0) return this.#branched(flat, keyword, branches, common, context);
    }

    const types = typesOf(flat);
    const isNullable = common.isNullable || (types.length > 1 && types.includes("null"));
    const [type, ...others] = types.filter((name) => name !== "null" || types.length === 1);
    if (others.length > 0 && type !== undefined) {
      const options = [type, ...others].map((name) => ({
        label: name,
        node: lazy(() => this.node({ ...flat, type: name, title: undefined, default: undefined }, context)),
      }));
      return { ...common, isNullable, kind: "variant", keyword: "type", options };
    }
    return this.#typed(flat, type, { ...common, isNullable }, context);
  }

  #typed(schema: Schema, type: string | undefined, common: Common, context: Context): FieldNode {
    switch (type) {
      case "string":
        return {
          ...common,
          kind: "text",
          format: formatOf(schema, context.name),
          formatName: textOf(schema.format),
          minLength: numberOf(schema.minLength) ?? 0,
          maxLength: numberOf(schema.maxLength),
          pattern: textOf(schema.pattern),
        };
      case "number":
      case "integer":
        return {
          ...common,
          kind: "number",
          isInteger: type === "integer",
          minimum: numberOf(schema.minimum) ?? numberOf(schema.exclusiveMinimum),
          maximum: numberOf(schema.maximum) ?? numberOf(schema.exclusiveMaximum),
        };
      case "boolean":
        return { ...common, kind: "boolean" };
      case "null":
        return { ...common, kind: "const", value: null };
      case "array":
        return this.#list(schema, common);
      case "object":
        return this.#group(schema, common, context);
      default:
        return { ...common, kind: "json" };
    }
  }

  #list(schema: Schema, common: Common): FieldNode {
    if (schema.prefixItems !== undefined || Array.isArray(schema.items)) return { ...common, kind: "json" };
    const item = this.#flatten(schema.items ?? true);
    const bounds = { minItems: numberOf(schema.minItems) ?? 0, maxItems: numberOf(schema.maxItems) };
    if (schema.uniqueItems === true && item !== undefined && bounds.minItems <= 1) {
      const node = this.node(item, {});
      if (node.kind === "choice" && !node.isNullable && bounds.maxItems === undefined) {
        return { ...common, kind: "choices", options: node.options };
      }
    }
    return { ...common, kind: "list", item: lazy(() => this.node(schema.items ?? true, {})), ...bounds };
  }

  #group(schema: Schema, common: Common, context: Context): FieldNode {
    const properties = isObject(schema.properties) ? schema.properties : {};
    const required = Array.isArray(schema.required) ? schema.required.filter((name) => typeof name === "string") : [];
    const names = [...Object.keys(properties), ...required.filter((name) => !Object.hasOwn(properties, name))];
    const rest = schema.additionalProperties;
    const hasRest = rest === true || isObject(rest);
    if (names.length === 0 && !hasRest && rest !== false && context.isRoot !== true) return { ...common, kind: "json" };
    const fields = names.map(
      (name): GroupField => ({
        name,
        isRequired: required.includes(name),
        node: lazy(() => this.node(Object.hasOwn(properties, name) ? properties[name] : true, { name })),
      }),
    );
    return { ...common, kind: "group", fields, rest: hasRest ? lazy(() => this.node(rest, {})) : null };
  }

  #branched(schema: Schema, keyword: Branch["keyword"], branches: unknown[], common: Common, context: Context): FieldNode {
    const { [keyword]: _, title: _title, description: _description, default: _default, ...base } = schema;
    const flats = branches.map((branch) => this.#flatten(branch));
    if (flats.some((flat) => flat === undefined)) return { ...common, kind: "json" };

    const constants = flats.map((flat) => constantOf(flat));
    if (constants.every((option) => option !== undefined) && Object.keys(base).every((key) => key === "type")) {
      return { ...common, kind: "choice", options: constants, isNullable: common.isNullable };
    }

    const real = branches.map((branch, index) => ({ branch, index, flat: flats[index] })).filter(({ flat }) => !isNull(flat));
    const isNullable = common.isNullable || real.length < branches.length;
    const merged = real.map(({ branch, index, flat }) => ({
      schema: mergeSchemas(base, isObject(branch) ? branch : {}),
      flat,
      branches: [...common.branches, { keyword, index }],
    }));
    if (merged.some((entry) => entry.schema === undefined) || merged.length === 0)
      return { ...common, isNullable, kind: "json" };

    const [only] = merged;
    if (merged.length === 1 && only !== undefined) {
      const inner = this.node(only.schema, { ...context, branches: only.branches, isNullable });
      return { ...inner, ...overlay(common, inner) };
    }
    const labels = labelsOf(merged.map((entry) => entry.flat ?? {}));
    const options = merged.map(
      (entry, position): VariantOption => ({
        label: labels[position] ?? String(position + 1),
        node: lazy(() => this.node(entry.schema, { ...context, branches: entry.branches })),
      }),
    );
    return { ...common, isNullable, kind: "variant", keyword, options };
  }

  /** Follows references and folds `allOf` in; undefined when that cannot be said as one schema. */
  #flatten(schema: unknown, depth = 0): Schema | undefined {
    if (depth > maxNesting) return undefined;
    let current: unknown = schema;
    for (let hops = 0; hops < maxReferenceHops; hops += 1) {
      if (current === true) return {};
      if (!isObject(current)) return undefined;
      if (typeof current.$ref === "string") {
        const { $ref, ...siblings } = current;
        const target = resolveReference(this.#root, $ref as string);
        if (target === true) current = siblings;
        else if (isObject(target)) current = mergeSchemas(target, siblings);
        else return undefined;
        continue;
      }
      if (Array.isArray(current.allOf)) {
        const { allOf, ...rest } = current;
        let merged: Schema | undefined = rest;
        for (const part of allOf as unknown[]) {
          const flat = this.#flatten(part, depth + 1);
          merged = merged === undefined || flat === undefined ? undefined : mergeSchemas(flat, merged);
        }
        current = merged;
        continue;
      }
      return current;
    }
    return undefined;
  }
}

function overlay(common: Common, inner: FieldNode) {
  return {
    title: common.title ?? inner.title,
    description: common.description ?? inner.description,
    initial: common.initial === undefined ? inner.initial : common.initial,
    example: common.example ?? inner.example,
    isDeprecated: common.isDeprecated || inner.isDeprecated,
  };
}

function choice(common: Common, values: Json[], names: unknown): FieldNode {
  const labels = Array.isArray(names) && names.length === values.length ? names : undefined;
  const options = values
    .map((value, index): Option => ({ value, label: textOf(labels?.[index]) ?? labelOf(value), detail: undefined }))
    .filter((option, index) => values.findIndex((value) => isEqualJson(value, option.value)) === index);
  return { ...common, kind: "choice", options };
}

function constantOf(schema: Schema | undefined): Option | undefined {
  if (schema === undefined) return undefined;
  const values = Array.isArray(schema.enum) && schema.enum.length === 1 ? schema.enum : [];
  const value = (schema.const === undefined ? values[0] : schema.const) as Json | undefined;
  if (value === undefined) return undefined;
  return { value, label: textOf(schema.title) ?? labelOf(value), detail: textOf(schema.description) };
}

function isNull(schema: Schema | undefined): boolean {
  return schema !== undefined && (schema.type === "null" || schema.const === null);
}

/** Names for the branches of a choice: a title, the value of a constant member that tells them apart, or the type. */
function labelsOf(schemas: Schema[]): string[] {
  const labels = schemas.map(
    (schema, index) => textOf(schema.title) ?? discriminatorOf(schema) ?? typeLabelOf(schema) ?? `${index + 1}`,
  );
  return labels.map((label, index) =>
    labels.indexOf(label) === labels.lastIndexOf(label) ? label : `${label} (${index + 1})`,
  );
}

function discriminatorOf(schema: Schema): string | undefined {
  if (!isObject(schema.properties)) return undefined;
  for (const member of Object.values(schema.properties)) {
    const constant = isObject(member) ? constantOf(member) : undefined;
    if (constant !== undefined) return labelOf(constant.value);
  }
  const required = Array.isArray(schema.required) ? schema.required : [];
  return required.length > 0 ? required.join(", ") : undefined;
}

function typeLabelOf(schema: Schema): string | undefined {
  const [type] = typesOf(schema);
  if (type !== "array" || !isObject(schema.items)) return type;
  const [item] = typesOf(schema.items);
  return item === undefined ? type : `${type} (${item})`;
}

function labelOf(value: Json): string {
  return typeof value === "string" && value !== "" ? value : JSON.stringify(value);
}

/** The types a schema allows; guessed from its keywords when it names none, as many servers leave them out. */
function typesOf(schema: Schema): string[] {
  if (typeof schema.type === "string") return [schema.type];
  if (Array.isArray(schema.type)) return schema.type.filter((name) => typeof name === "string");
  if (isObject(schema.properties) || isObject(schema.additionalProperties)) return ["object"];
  if (schema.items !== undefined) return ["array"];
  return [];
}

function formatOf(schema: Schema, name: string | undefined): TextFormat {
  switch (schema.format) {
    case "date":
    case "email":
    case "date-time":
    case "time":
    case "uuid":
    case "password":
      return schema.format;
    case "uri":
    case "url":
      return "url";
    case "multiline":
    case "textarea":
    case "markdown":
      return "multiline";
    case undefined:
      break;
    default:
      return "other";
  }
  if (schema.writeOnly === true) return "password";
  if (typeof schema.contentMediaType === "string") return "multiline";
  if (schema.pattern !== undefined || (numberOf(schema.maxLength) ?? 1_000) <= 80) return "line";
  return name !== undefined && /(?:content|body|text|code|sql|script|markdown|prompt|source)$/i.test(name)
    ? "multiline"
    : "any";
}

function exampleOf(schema: Schema): string | undefined {
  const [example] = Array.isArray(schema.examples) ? schema.examples : [schema.example];
  return typeof example === "string" || typeof example === "number" ? String(example) : undefined;
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value.trim() !== "" ? value : undefined;
}

function numberOf(value: unknown): number | undefined {
  return typeof value === "number" ? value : undefined;
}

function lazy<Value>(make: () => Value): () => Value {
  let made: { value: Value } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
