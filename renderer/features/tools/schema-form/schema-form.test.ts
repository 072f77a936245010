import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { absent, type Draft, draftOf, emptyDraft, readDraft } from "./draft.ts";
import type { Json, JsonObject } from "./json.ts";
import type { FieldNode } from "./node.ts";
import { parseSchema } from "./parse.ts";
import { createCheck } from "./validate.ts";

type Sample = { schema: JsonObject; value: Json };

const word = fc.stringMatching(/^[a-z][a-z0-9_]{0,7}$/);

const leaf: fc.Arbitrary<Sample> = fc.oneof(
  fc
    .record({ value: fc.string({ maxLength: 30 }), slack: fc.nat(5) })
    .map(({ value, slack }) => ({ schema: { type: "string", maxLength: [...value].length + slack }, value })),
  fc
    .record({ value: fc.integer(), below: fc.nat(9) })
    .map(({ value, below }) => ({ schema: { type: "integer", minimum: value - below }, value })),
  fc
    .double({ noNaN: true, noDefaultInfinity: true })
    .filter((value) => !Object.is(value, -0))
    .map((value) => ({ schema: { type: "number", maximum: value }, value })),
  fc.boolean().map((value) => ({ schema: { type: "boolean" }, value })),
  fc
    .uniqueArray(fc.oneof(word, fc.integer(), fc.constant(null)), { minLength: 1, maxLength: 4 })
    .map((values) => ({ schema: { enum: values }, value: values[0] as Json })),
  word.map((value) => ({ schema: { const: value }, value })),
  fc.constant<Sample>({ schema: { type: ["string", "null"] }, value: null }),
  fc.jsonValue().map((value) => ({ schema: {}, value: JSON.parse(JSON.stringify(value)) as Json })),
);

const { sample } = fc.letrec<{ sample: Sample; list: Sample; object: Sample; map: Sample; either: Sample; shared: Sample }>(
  (tie) => ({
    sample: fc.oneof(
      { maxDepth: 3, withCrossShrink: true },
      leaf,
      tie("object"),
      tie("list"),
      tie("map"),
      tie("either"),
      tie("shared"),
    ),
    list: fc.record({ item: tie("sample"), length: fc.nat(3) }).map(({ item, length }) => ({
      schema: { type: "array", items: item.schema },
      value: Array.from({ length }, () => item.value),
    })),
    object: fc
      .uniqueArray(fc.record({ name: word, member: tie("sample"), isRequired: fc.boolean(), isGiven: fc.boolean() }), {
        selector: (entry) => entry.name,
        maxLength: 4,
      })
      .map((members) => ({
        schema: {
          type: "object",
          properties: Object.fromEntries(members.map(({ name, member }) => [name, member.schema])),
          required: members.filter((entry) => entry.isRequired).map((entry) => entry.name),
          additionalProperties: false,
        },
        value: Object.fromEntries(
          members.filter((entry) => entry.isRequired || entry.isGiven).map(({ name, member }) => [name, member.value]),
        ),
      })),
    map: fc.record({ names: fc.uniqueArray(word, { maxLength: 3 }), member: tie("sample") }).map(({ names, member }) => ({
      schema: { type: "object", additionalProperties: member.schema },
      value: Object.fromEntries(names.map((name) => [name, member.value])),
    })),
    either: fc
      .record({ chosen: tie("sample"), other: tie("sample"), isFirst: fc.boolean() })
      .map(({ chosen, other, isFirst }) => ({
        schema: { anyOf: isFirst ? [chosen.schema, other.schema] : [other.schema, chosen.schema] },
        value: chosen.value,
      })),
    shared: tie("sample").map(({ schema, value }) => ({ schema: { allOf: [schema, { description: "twice" }] }, value })),
  }),
);

const tool: fc.Arbitrary<{ schema: JsonObject; value: JsonObject }> = fc
  .uniqueArray(fc.record({ name: word, member: sample, isShared: fc.boolean() }), {
    selector: (entry) => entry.name,
    maxLength: 4,
  })
  .map((members) => ({
    schema: {
      type: "object",
      $defs: Object.fromEntries(members.map(({ name, member }) => [name, member.schema])),
      properties: Object.fromEntries(
        members.map(({ name, member, isShared }) => [name, isShared ? { $ref: `#/$defs/${name}` } : member.schema]),
      ),
      required: members.map((entry) => entry.name),
    },
    value: Object.fromEntries(members.map(({ name, member }) => [name, member.value])),
  }));

describe("a form made from a schema", () => {
  it("gives back exactly the value it was filled with, and that value validates", () => {
    fc.assert(
      fc.property(tool, ({ schema, value }) => {
        const node = parseSchema(schema);
        const draft = draftOf(node, value);
        expect(readDraft(node, draft)).toMatchObject({ value, problems: [] });
        expect(createCheck(schema)(node, draft)).toEqual({ state: "valid", value });
      }),
      { numRuns: 300 },
    );
  });

  it("keeps every value whatever the schema says, also one that does not fit", () => {
    fc.assert(
      fc.property(tool, fc.jsonValue(), ({ schema }, anything) => {
        const node = parseSchema(schema);
        const value = JSON.parse(JSON.stringify(anything)) as Json;
        expect(readDraft(node, draftOf(node, value)).value).toEqual(value);
      }),
    );
  });

  it("is valid once a person has filled what it marks as missing", () => {
    fc.assert(
      fc.property(tool, ({ schema, value }) => {
        const node = parseSchema(schema);
        const filled = fillMissing(node, emptyDraft(node, true), value, true);
        const check = createCheck(schema)(node, filled);
        const left = check.state === "invalid" ? [...check.errors.values()].filter((error) => error.code === "missing") : [];
        expect(left).toEqual([]);
      }),
    );
  });

  it("never throws, whatever a server calls a schema", () => {
    fc.assert(
      fc.property(
        fc.dictionary(
          fc.constantFrom("type", "properties", "items", "anyOf", "allOf", "$ref", "enum", "required", "const"),
          fc.jsonValue(),
        ),
        (schema) => {
          const node = parseSchema(schema);
          const check = createCheck(schema)(node, emptyDraft(node, true));
          expect(["valid", "invalid", "unchecked"]).toContain(check.state);
        },
      ),
    );
  });
});

/** Types a known good value into required parts that are still empty, as a person would. */
function fillMissing(node: FieldNode, draft: Draft, value: Json | undefined, isRequired: boolean): Draft {
  if (draft.kind === "absent") return isRequired ? draftOf(node, value) : draft;
  if (node.kind === "group" && draft.kind === "group" && typeof value === "object" && value !== null && !Array.isArray(value)) {
    const fields = node.fields.map((field) => [
      field.name,
      fillMissing(field.node(), draft.fields[field.name] ?? absent, value[field.name], field.isRequired),
    ]);
    return { ...draft, fields: Object.fromEntries(fields) as Record<string, Draft> };
  }
  return node.kind === "variant" ? draftOf(node, value) : draft;
}

function kindsOf(schema: JsonObject): Record<string, string> {
  const node = parseSchema(schema);
  if (node.kind !== "group") return { "": node.kind };
  return Object.fromEntries(node.fields.map((field) => [field.name, field.node().kind]));
}

describe("parseSchema", () => {
  it("shows each kind of schema with its own control", () => {
    const properties: JsonObject = {
      text: { type: "string" },
      whole: { type: "integer" },
      flag: { type: "boolean" },
      fixed: { const: 7 },
      pick: { enum: ["a", "b"] },
      titled: { oneOf: [{ const: "a", title: "First" }, { const: "b" }] },
      several: { type: "array", uniqueItems: true, items: { enum: ["x", "y"] } },
      list: { type: "array", items: { type: "string" } },
      nested: { type: "object", properties: { deep: { type: "string" } } },
      map: { type: "object", additionalProperties: { type: "number" } },
      either: { anyOf: [{ type: "string" }, { type: "integer" }] },
      optional: { anyOf: [{ type: "string" }, { type: "null" }], default: null },
      types: { type: ["string", "integer"] },
      pair: { type: "array", prefixItems: [{ type: "string" }, { type: "number" }] },
      free: { type: "object" },
      anything: {},
      elsewhere: { $ref: "https://example.com/schema.json" },
      clash: { allOf: [{ type: "string" }, { type: "number" }] },
    };
    expect(kindsOf({ type: "object", properties })).toEqual({
      text: "text",
      whole: "number",
      flag: "boolean",
      fixed: "const",
      pick: "choice",
      titled: "choice",
      several: "choices",
      list: "list",
      nested: "group",
      map: "group",
      either: "variant",
      optional: "text",
      types: "variant",
      pair: "json",
      free: "json",
      anything: "json",
      elsewhere: "json",
      clash: "json",
    });
  });

  it("follows references through $defs, definitions and anchors", () => {
    const schema: JsonObject = {
      type: "object",
      properties: { a: { $ref: "#/$defs/A" }, b: { $ref: "#/definitions/B%20b" }, c: { $ref: "#see" } },
      $defs: { A: { $ref: "#/definitions/B%20b" }, C: { $anchor: "see", type: "boolean" } },
      definitions: { "B b": { type: "integer" } },
    };
    expect(kindsOf(schema)).toEqual({ a: "number", b: "number", c: "boolean" });
  });

  it("opens a schema that contains itself only as deep as somebody looks", () => {
    const node = parseSchema({
      type: "object",
      properties: { tree: { $ref: "#/$defs/Tree" } },
      required: ["tree"],
      $defs: {
        Tree: { type: "object", properties: { child: { $ref: "#/$defs/Tree" } }, required: ["child"] },
        Loop: { $ref: "#/$defs/Loop" },
      },
    });
    expect(emptyDraft(node, true).kind).toBe("group");
  });

  it("gives up on references and allOf that go in circles, for that part only", () => {
    const schema: JsonObject = {
      type: "object",
      properties: { a: { $ref: "#/$defs/A" }, b: { $ref: "#/$defs/B" }, c: { type: "string" } },
      $defs: { A: { $ref: "#/$defs/A" }, B: { allOf: [{ $ref: "#/$defs/B" }] } },
    };
    expect(kindsOf(schema)).toEqual({ a: "json", b: "json", c: "text" });
  });

  it("names the options of a choice by title, telling constant or type", () => {
    const node = parseSchema({
      type: "object",
      properties: {
        shape: {
          oneOf: [
            { type: "object", title: "A circle", properties: { kind: { const: "circle" } } },
            { type: "object", properties: { kind: { const: "square" } } },
            { type: "string" },
          ],
        },
      },
    });
    const shape = node.kind === "group" ? node.fields[0]?.node() : undefined;
    expect(shape?.kind === "variant" && shape.options.map((option) => option.label)).toEqual(["A circle", "square", "string"]);
  });

  it("starts with the defaults and leaves out what is optional", () => {
    const node = parseSchema({
      type: "object",
      properties: {
        limit: { type: "integer", default: 10 },
        query: { type: "string" },
        tags: { type: "array", items: { type: "string" } },
        token: { anyOf: [{ type: "string" }, { type: "null" }], default: null },
        strict: { type: "boolean" },
      },
      required: ["query"],
    });
    expect(readDraft(node, emptyDraft(node, true))).toEqual({
      value: { limit: 10, token: null },
      problems: [{ pointer: "/query", code: "missing" }],
      chosen: expect.anything(),
    });
  });

  it("keeps a member called __proto__ as a plain member", () => {
    const node = parseSchema({ type: "object", additionalProperties: { type: "string" } });
    const value = JSON.parse('{"__proto__":"x"}') as Json;
    expect(JSON.stringify(readDraft(node, draftOf(node, value)).value)).toBe('{"__proto__":"x"}');
  });
});

describe("createCheck", () => {
  const errorsOf = (schema: JsonObject, value: Json) => {
    const node = parseSchema(schema);
    const check = createCheck(schema)(node, draftOf(node, value));
    return check.state === "invalid"
      ? Object.fromEntries([...check.errors].map(([at, error]) => [at, [error.keyword || error.code, error.limit]]))
      : check.state;
  };

  it("puts each error at its field with the limit that was crossed", () => {
    const schema: JsonObject = {
      type: "object",
      properties: {
        name: { $ref: "#/$defs/Name" },
        "a/b c": { type: "array", items: { type: "integer", maximum: 5 }, minItems: 3 },
        mail: { type: "string", format: "email" },
      },
      required: ["name", "age"],
      $defs: { Name: { type: "string", minLength: 2 } },
    };
    expect(errorsOf(schema, { name: "x", "a/b c": [1, 9], mail: "nobody" })).toEqual({
      "/name": ["minLength", 2],
      "/age": ["missing", undefined],
      "/a~1b c": ["minItems", 3],
      "/a~1b c/1": ["maximum", 5],
      "/mail": ["format", "email"],
    });
  });

  it("reports only the chosen option of an anyOf", () => {
    const schema: JsonObject = {
      type: "object",
      properties: {
        target: {
          anyOf: [
            {
              type: "object",
              properties: { kind: { const: "file" }, path: { type: "string", minLength: 3 } },
              required: ["kind", "path"],
            },
            { type: "object", properties: { kind: { const: "url" }, url: { type: "string" } }, required: ["kind", "url"] },
          ],
        },
      },
    };
    expect(errorsOf(schema, { target: { kind: "file", path: "x" } })).toEqual({ "/target/path": ["minLength", 3] });
  });

  it("says so when a value belongs to two options of a oneOf", () => {
    const schema: JsonObject = {
      type: "object",
      properties: { n: { oneOf: [{ type: "integer" }, { type: "number", minimum: 0 }] } },
    };
    expect(errorsOf(schema, { n: 3 })).toEqual({ "/n": ["oneOf", expect.anything()] });
    expect(errorsOf(schema, { n: 3.5 })).toBe("valid");
  });

  it("holds conditions that the form itself does not show", () => {
    const schema: JsonObject = {
      type: "object",
      properties: { mode: { enum: ["all", "one"] }, id: { type: "string" } },
      if: { properties: { mode: { const: "one" } } },
      // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
      then: { required: ["id"] },
    };
    expect(errorsOf(schema, { mode: "one" })).toEqual({ "/id": ["missing", undefined] });
    expect(errorsOf(schema, { mode: "all" })).toBe("valid");
  });

  it("does not take members of every object for given ones", () => {
    const schema: JsonObject = { type: "object", properties: {}, required: ["constructor"] };
    expect(errorsOf(schema, {})).toEqual({ "/constructor": ["missing", undefined] });
  });

  it("lets a call through when the schema itself cannot be checked", () => {
    expect(errorsOf({ type: "object", properties: { a: { $ref: "https://example.com/a.json" } } }, { a: 1 })).toBe("unchecked");
    expect(errorsOf({ type: "object", properties: { a: { type: "string", pattern: "(" } } }, { a: "x" })).toBe("unchecked");
  });

  it("marks text that is no number and no JSON", () => {
    const schema: JsonObject = { type: "object", properties: { n: { type: "number" }, any: {} } };
    const node = parseSchema(schema);
    const draft: Draft = {
      kind: "group",
      fields: { n: { kind: "number", text: "1e" }, any: { kind: "json", text: "{" } },
      extra: [],
      nextKey: 0,
    };
    const check = createCheck(schema)(node, draft);
    expect(check.state === "invalid" && [...check.errors].map(([at, error]) => [at, error.code])).toEqual([
      ["/n", "not-a-number"],
      ["/any", "not-json"],
    ]);
  });
});
