import { isEqualJson, isObject } from "./json.ts";

export type Schema = Readonly<Record<string, unknown>>;

const annotations = new Set([
  "title",
  "description",
  "default",
  "examples",
  "example",
  "$comment",
  "deprecated",
  "readOnly",
  "writeOnly",
]);
const smallest = new Set(["maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"]);
const largest = new Set(["minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"]);

/**
 * One schema that allows what both allow; annotations of `over` win. undefined when that cannot be said without
 * `allOf`, so that the caller can fall back.
 */
export function mergeSchemas(under: Schema, over: Schema): Schema | undefined {
  const merged: Record<string, unknown> = { ...under };
  for (const [keyword, value] of Object.entries(over)) {
    if (value === undefined) continue;
    const other = Object.hasOwn(merged, keyword) ? merged[keyword] : undefined;
    const both =
      other === undefined || annotations.has(keyword) || isEqualJson(other, value)
        ? value
        : mergeKeyword(keyword, other, value);
    if (both === undefined) return undefined;
    merged[keyword] = both;
  }
  return merged;
}

function mergeKeyword(keyword: string, a: unknown, b: unknown): unknown {
  if (typeof a === "number" && typeof b === "number") {
    if (smallest.has(keyword)) return Math.min(a, b);
    if (largest.has(keyword)) return Math.max(a, b);
  }
  switch (keyword) {
    case "type":
      return mergeTypes(a, b);
    case "required":
      return Array.isArray(a) && Array.isArray(b) ? [...new Set([...a, ...b])] : undefined;
    case "enum":
      return Array.isArray(a) && Array.isArray(b) ? intersect(a, b) : undefined;
    case "allOf":
      return Array.isArray(a) && Array.isArray(b) ? [...a, ...b] : undefined;
    case "$defs":
    case "definitions":
      return isObject(a) && isObject(b) ? { ...a, ...b } : undefined;
    case "properties":
      return isObject(a) && isObject(b) ? mergeMembers(a, b) : undefined;
    case "additionalProperties":
      return a === true ? b : b === true ? a : undefined;
    case "items":
      return isObject(a) && isObject(b) ? mergeSchemas(a, b) : a === true ? b : b === true ? a : undefined;
    case "uniqueItems":
      return a === true || b === true;
    default:
      return undefined;
  }
}

function mergeMembers(a: Schema, b: Schema): Schema | undefined {
  const merged: Record<string, unknown> = { ...a };
  for (const [name, value] of Object.entries(b)) {
    const other = Object.hasOwn(a, name) ? a[name] : true;
    const both =
      other === true
        ? value
        : value === true
          ? other
          : isObject(other) && isObject(value)
            ? mergeSchemas(other, value)
            : undefined;
    if (both === undefined) return undefined;
    merged[name] = both;
  }
  return merged;
}

function mergeTypes(a: unknown, b: unknown): unknown {
  const left = Array.isArray(a) ? a : [a];
  const right = Array.isArray(b) ? b : [b];
  const both = left.filter((type) => right.includes(type) || (type === "integer" && right.includes("number")));
  if (left.includes("number") && right.includes("integer") && !both.includes("integer")) both.push("integer");
  if (both.length === 0) return undefined;
  return both.length === 1 ? both[0] : both;
}

function intersect(a: unknown[], b: unknown[]): unknown[] | undefined {
  const both = a.filter((value) => b.some((other) => isEqualJson(value, other)));
  return both.length === 0 ? undefined : both;
}
