import { getEventIteratorSchemaDetails, isContractProcedure } from "@orpc/contract";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { contract } from "../../shared/contract/index.ts";
import { listFiles, readSource } from "./sources.ts";

type Route = { name: string; definition: { meta: unknown; inputSchema?: unknown; outputSchema?: unknown } };

function listRoutes(node: object, path: readonly string[] = []): Route[] {
  return Object.entries(node as Record<string, object>).flatMap(([key, value]): Route[] => {
    const here = [...path, key];
    return isContractProcedure(value) ? [{ name: here.join("."), definition: value["~orpc"] }] : listRoutes(value, here);
  });
}

const routes = listRoutes(contract);

/** These ask for nothing, so they declare no input. Any other route says what it takes, be it `z.void()`. */
const routesWithoutInput = ["session.get"];

/** The schema of what a route answers; of its events, where it answers with a stream. */
function outputOf({ definition }: Route): z.ZodType {
  const stream = getEventIteratorSchemaDetails(definition.outputSchema as never);
  return (stream?.yields ?? definition.outputSchema) as z.ZodType;
}

describe("every route of the contract", () => {
  it("is found by this test", () => {
    expect(routes.length).toBeGreaterThan(20);
  });

  it.each(routes.map((route) => [route.name, route] as const))("%s names its role, its input and its output", (name, route) => {
    expect(route.definition.meta).toEqual({ role: expect.stringMatching(/^(admin|user)$/) });
    expect(route.definition.outputSchema).toBeDefined();
    expect(route.definition.inputSchema === undefined).toBe(routesWithoutInput.includes(name));
  });

  it.each(routes.map((route) => [route.name, route] as const))(
    "%s answers no field that looks like a secret",
    (_name, route) => {
      expect(findSecretFields(outputOf(route))).toEqual([]);
    },
  );

  /** Tests call a route through the contract's typed client, so there `.servers.deploy(` can be nothing else. */
  it("is called by a test that runs it for real", () => {
    const tests = listFiles()
      .filter((file) => /^test\/(integration|e2e)\/.*\.ts$/.test(file))
      .map(readSource)
      .join("\n");
    const untested = routes.filter(({ name }) => !new RegExp(`\\.\\s*${name.replace(".", "\\s*\\.\\s*")}\\s*\\(`).test(tests));
    expect(untested.map(({ name }) => name)).toEqual([]);
  });
});

describe("the search for secrets in outputs", () => {
  it.each([
    z.object({ token: z.string() }),
    z.array(z.object({ deep: z.object({ apiKey: z.string().optional() }) })),
    z.discriminatedUnion("type", [
      z.object({ type: z.literal("a"), clientSecret: z.string() }),
      z.object({ type: z.literal("b") }),
    ]),
    z.record(z.string(), z.object({ Authorization: z.string() })),
    z.tuple([z.object({ password: z.string().nullable() })]),
  ])("finds one, however deep", (schema) => {
    expect(findSecretFields(schema)).not.toEqual([]);
  });

  it("lets the names of secrets pass", () => {
    expect(findSecretFields(z.object({ secrets: z.array(z.object({ name: z.string(), required: z.boolean() })) }))).toEqual([]);
  });
});

/** Paths of fields that could hold a secret: their name says so and their value is a text, or anything at all. */
function findSecretFields(schema: z.ZodType): string[] {
  const json = z.toJSONSchema(schema, { io: "output", unrepresentable: "any" });
  return walk(json, json, "", new Set());
}

type Json = Record<string, unknown>;

const secretName = /token|secret|passw|passphrase|authorization|cookie|api_?key|private_?key|credential/i;

function walk(node: unknown, document: Json, path: string, above: ReadonlySet<unknown>): string[] {
  if (typeof node !== "object" || node === null || above.has(node)) return [];
  if (Array.isArray(node)) return node.flatMap((item) => walk(item, document, path, above));
  const here = node as Json;
  const inside = new Set([...above, node]);
  if (typeof here.$ref === "string") return walk(resolve(here.$ref, document), document, path, inside);
  const fields = Object.entries((here.properties ?? {}) as Json).flatMap(([name, field]) => {
    const fieldPath = `${path}.${name}`;
    const own = secretName.test(name) && canHoldText(field, document) ? [fieldPath] : [];
    return [...own, ...walk(field, document, fieldPath, inside)];
  });
  const parts = ["items", "prefixItems", "additionalProperties", "anyOf", "oneOf", "allOf"];
  return [...fields, ...parts.flatMap((part) => walk(here[part], document, path, inside))];
}

/** A text, a record or list of texts, or a value of any kind. A list of objects says in its own fields what it holds. */
function canHoldText(node: unknown, document: Json): boolean {
  if (typeof node !== "object" || node === null) return node === true;
  const schema = node as Json;
  if (typeof schema.$ref === "string") return canHoldText(resolve(schema.$ref, document), document);
  const choices = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (Array.isArray(choices)) return choices.some((choice) => canHoldText(choice, document));
  if (schema.enum !== undefined || schema.const !== undefined) return false;
  if ([schema.type].flat().includes("string")) return true;
  if (schema.type === "array") return canHoldText(schema.items, document);
  if (schema.type === "object") return canHoldText(schema.additionalProperties, document);
  return schema.type === undefined;
}

function resolve(reference: string, document: Json): unknown {
  return reference
    .replace(/^#\/?/, "")
    .split("/")
    .filter((part) => part !== "")
    .reduce<unknown>((node, part) => (node as Json | undefined)?.[part], document);
}
