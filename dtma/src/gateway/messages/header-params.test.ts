import { describe, expect, it } from "vitest";
import { type HeaderParam, headerParams, learnTools, paramHeaders } from "./header-params.ts";
import { readMessage } from "./json-rpc.ts";

const message = (text: string) => {
  const read = readMessage(Buffer.from(text));
  if (read === undefined) throw new Error("no message");
  return read;
};
const region = { type: "string", "x-mcp-header": "Region" };
const schema = (properties: object, more: object = {}) => ({ type: "object", properties, ...more });

describe("the arguments that a tool wants in headers", () => {
  it("are found at any depth of properties", () => {
    const level = { type: "integer", "x-mcp-header": "Level" };
    expect(headerParams(schema({ region, deep: schema({ level }) }))).toEqual([
      { path: ["region"], header: "Region" },
      { path: ["deep", "level"], header: "Level" },
    ]);
    expect(headerParams(schema({ region: { type: "string" } }))).toEqual([]);
    expect(headerParams(undefined)).toEqual([]);
  });

  it("may have any name themselves, and annotations in data are data", () => {
    const properties = { "x-mcp-header": { type: "string" }, properties: region };
    expect(headerParams(schema(properties))).toEqual([{ path: ["properties"], header: "Region" }]);
    expect(headerParams(schema({ a: { type: "object", default: { "x-mcp-header": "A b" }, enum: [region] } }))).toEqual([]);
  });

  it.each([
    ["an empty name", schema({ a: { type: "string", "x-mcp-header": "" } })],
    ["a name that is no token", schema({ a: { type: "string", "x-mcp-header": "a b" } })],
    ["a line break in the name", schema({ a: { type: "string", "x-mcp-header": "a\r\nb" } })],
    ["a name that is none", schema({ a: { type: "string", "x-mcp-header": 3 } })],
    ["the same name twice", schema({ a: region, b: { ...region, "x-mcp-header": "REGION" } })],
    ["a number", schema({ a: { type: "number", "x-mcp-header": "A" } })],
    ["an object", schema({ a: { type: "object", "x-mcp-header": "A" } })],
    ["no type", schema({ a: { "x-mcp-header": "A" } })],
    ["the schema itself", { ...region }],
    ["elements of a list", schema({ a: { type: "array", items: region } })],
    ["properties of such elements", schema({ a: { type: "array", items: schema({ region }) } })],
    ["one of several schemas", schema({}, { oneOf: [schema({ region })] })],
    ["a condition", schema({}, { if: schema({ region }) })],
    ["a definition that is referred to", schema({ a: { $ref: "#/$defs/r" } }, { $defs: { r: region } })],
    ["nesting without end", JSON.parse(`${'{"properties":{"a":'.repeat(200)}{}${"}}".repeat(200)}`)],
  ])("must not be annotated with %s", (_what, given) => {
    expect(headerParams(given)).toBeUndefined();
  });

  it("are read from the call, byte by byte", () => {
    const wanted: HeaderParam[] = ["s", "i", "big", "b", "nothing", "missing", "o"].map((key) => ({
      path: [key],
      header: key,
    }));
    const call = message(
      '{"id":1,"method":"tools/call","params":{"name":"t","arguments":{"s":"\\u00e4","i":-7,"big":42.0,"b":true,"nothing":null,"o":{}}}}',
    );
    expect(paramHeaders(call, wanted)).toEqual({
      "mcp-param-s": "=?base64?w6Q=?=",
      "mcp-param-i": "-7",
      "mcp-param-big": "42",
      "mcp-param-b": "true",
    });
    expect(paramHeaders(message('{"id":1,"method":"tools/call","params":{"name":"t"}}'), wanted)).toEqual({});
  });
});

describe("a list of tools", () => {
  const sound = JSON.stringify({ name: "sound", inputSchema: schema({ region }) });
  const odd = JSON.stringify({ name: "odd", inputSchema: schema({ a: { type: "number", "x-mcp-header": "A" } }) });
  const list = (...tools: string[]) =>
    message(`{"jsonrpc":"2.0","id":1,"result":{"tools":[ ${tools.join(" , ")} ],"ttlMs":0}}`);

  it("is the very same where there is nothing to leave out", () => {
    const known = new Map<string, readonly HeaderParam[]>();
    const answer = list(sound, '{"name":"plain"}');
    expect(learnTools(answer, known)).toBe(answer.bytes);
    expect([...known]).toEqual([["sound", [{ path: ["region"], header: "Region" }]]]);
  });

  it("loses the tools that break a rule, and forgets what a tool wants no longer", () => {
    const known = new Map<string, readonly HeaderParam[]>([["odd", []]]);
    expect(learnTools(list(odd, sound, odd), known).toString()).toBe(
      `{"jsonrpc":"2.0","id":1,"result":{"tools":[${sound}],"ttlMs":0}}`,
    );
    learnTools(list('{"name":"sound"}'), known);
    expect(known.size).toBe(0);
  });
});
