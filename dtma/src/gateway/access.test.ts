import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { refusal, withoutHiddenTools } from "./access.ts";
import { type Message, readMessage } from "./messages/json-rpc.ts";

function message(text: string): Message {
  const read = readMessage(Buffer.from(text));
  if (read === undefined) throw new Error(`No message: ${text}`);
  return read;
}

/** How readers of other languages understand an object: which of several members counts, and how names compare. */
type Reading = Map<string, string>;
function readings(members: [string, string][]): Reading[] {
  const fold = (name: string) => name.normalize("NFKC").toUpperCase().toLowerCase();
  const exact = (name: string) => name;
  return [fold, exact].flatMap((same) =>
    [members, [...members].reverse()].map((ordered) => new Map(ordered.map(([name, value]) => [same(name), value]))),
  );
}

describe("an allow-list", () => {
  test("passes no call that any reader could take for a tool outside of it", () => {
    const member = fc.tuple(
      fc.constantFrom("method", "METHOD", "Method", "params", "Params", "param\u017f", "id", "x"),
      fc.constantFrom(
        '"tools/call"',
        '"tools\\/call"',
        '"ping"',
        '{"name":"secret"}',
        '{"name":"open"}',
        '{"Name":"secret","name":"open"}',
        "1",
      ),
    );
    fc.assert(
      fc.property(fc.array(member, { minLength: 1, maxLength: 6 }), (members) => {
        const text = `{"jsonrpc":"2.0",${members.map(([name, value]) => `"${name}":${value}`).join(",")}}`;
        const read = readMessage(Buffer.from(text));
        if (read === undefined || refusal(read, new Set(["open"])) !== undefined) return;
        for (const reading of readings(members)) {
          if (JSON.parse(reading.get("method") ?? "null") !== "tools/call") continue;
          expect(reading.get("params"), text).toBe('{"name":"open"}');
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test("without entries refuses every call, and null refuses none", () => {
    const call = message('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}');
    expect(refusal(call, new Set())).toMatchObject({ code: -32602, message: expect.stringContaining('"echo"') });
    expect(refusal(call, null)).toBeUndefined();
    expect(refusal(call, new Set(["echo"]))).toBeUndefined();
  });

  test("compares names character for character", () => {
    for (const name of ["Echo", "echo ", "ech\u043e", "echo\\u0000", "e", ""]) {
      const call = message(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"${name}"}}`);
      expect(refusal(call, new Set(["echo"])), name).toBeDefined();
    }
  });

  test("leaves everything else alone", () => {
    const others = [
      '{"jsonrpc":"2.0","id":1,"method":"tools/list"}',
      '{"jsonrpc":"2.0","id":1,"method":"vendor/anything","params":{"name":"x","Name":"y"}}',
      '{"jsonrpc":"2.0","id":"s","result":{"content":1,"content":2}}',
    ];
    for (const text of others) expect(refusal(message(text), new Set())).toBeUndefined();
  });
});

describe("withoutHiddenTools", () => {
  test("keeps exactly the allowed tools, in order, and every other member", () => {
    const tool = fc.record({ name: fc.constantFrom("a", "b", "c", "ü"), inputSchema: fc.object({ maxDepth: 2 }) });
    const extra = fc.record({ nextCursor: fc.string(), _meta: fc.object({ maxDepth: 2 }) }, { requiredKeys: [] });
    fc.assert(
      fc.property(
        fc.array(tool),
        extra,
        fc.subarray(["a", "b", "c", "ü"]),
        fc.constantFrom(undefined, 2),
        (tools, rest, allowed, space) => {
          const answer = { result: { tools, ...rest }, jsonrpc: "2.0", id: 1 };
          const filtered = withoutHiddenTools(message(JSON.stringify(answer, null, space)), new Set(allowed));
          const kept = tools.filter(({ name }) => allowed.includes(name));
          expect(JSON.parse(filtered.toString())).toEqual(
            JSON.parse(JSON.stringify({ ...answer, result: { tools: kept, ...rest } })),
          );
        },
      ),
    );
  });

  test("gives back the very same bytes when nothing is hidden", () => {
    const answer = message('{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"}]}}');
    expect(withoutHiddenTools(answer, new Set(["a"]))).toBe(answer.bytes);
    expect(withoutHiddenTools(answer, null)).toBe(answer.bytes);
    const other = message('{"jsonrpc":"2.0","id":1,"result":{"content":[{"name":"b"}]}}');
    expect(withoutHiddenTools(other, new Set())).toBe(other.bytes);
  });

  test("hides tools in every reading: lists named twice, names given twice, tools without a name", () => {
    const odd =
      '{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"b"}],"tools":[{"name":"a"},{"name":"a","name":"b"},{},5]},"result":{"tools":[{"name":"b"}]}}';
    expect(withoutHiddenTools(message(odd), new Set(["a"])).toString()).toBe(
      '{"jsonrpc":"2.0","id":1,"result":{"tools":[],"tools":[{"name":"a"}]},"result":{"tools":[]}}',
    );
  });
});
