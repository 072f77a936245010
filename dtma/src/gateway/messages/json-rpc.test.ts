import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  elementsAt,
  errorAnswer,
  membersAt,
  parseClientBody,
  readMessage,
  stringAt,
  tokenAt,
  withoutNewlines,
} from "./json-rpc.ts";

const bytes = (value: unknown, space?: string | number) => Buffer.from(JSON.stringify(value, null, space));
const key = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.constantFrom("id", "method", "params", 'a"b', "\\", "ü", "🙂", "__proto__"),
);
const value = fc.jsonValue({ maxDepth: 4, stringUnit: "binary" });

describe("the scanner", () => {
  test("finds the same members as JSON.parse, whatever the object and its white space", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(key, value)), fc.constantFrom("", " ", "\t", "\r\n"), (entries, space) => {
        const parts = entries.map(
          ([name, one]) => `${space}${JSON.stringify(name)}${space}:${space}${JSON.stringify(one, null, space)}${space}`,
        );
        const body = Buffer.from(`{${parts.join(",") || space}}`);
        const text = body.toString("latin1");
        const found = membersAt(text, 0);
        expect(found?.end).toBe(body.length);
        expect(
          found?.members.map((member) => [member.key, JSON.parse(body.subarray(member.start, member.end).toString())]),
        ).toEqual(entries.map(([name, one]) => [name, JSON.parse(JSON.stringify(one))]));
      }),
    );
  });

  test("finds the same elements as JSON.parse", () => {
    fc.assert(
      fc.property(fc.array(value), fc.constantFrom(undefined, 1, "\t"), (list, space) => {
        const body = bytes(list, space);
        const spans = elementsAt(body.toString("latin1"), 0) ?? [];
        expect(spans.map(({ start, end }) => JSON.parse(body.subarray(start, end).toString()))).toEqual(
          JSON.parse(body.toString()),
        );
      }),
    );
  });

  test("never throws and never runs past the end, whatever the bytes", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.string().map((text) => Buffer.from(`{"id":${text}`)),
        ),
        (noise) => {
          readMessage(Buffer.from(noise));
          parseClientBody(Buffer.from(noise));
        },
      ),
    );
  });

  test("takes strings full of backslashes in one pass", () => {
    const text = "\\".repeat(400_000) + '"'.repeat(400_000);
    expect(readMessage(bytes({ jsonrpc: "2.0", result: text, id: 1 }))?.id).toBe("1");
  });
});

describe("readMessage", () => {
  const kinds: [string, string | undefined][] = [
    ['{"jsonrpc":"2.0","id":1,"method":"ping"}', "request"],
    ['{"jsonrpc":"2.0","id":"a","method":"ping"}', "request"],
    ['{"jsonrpc":"2.0","method":"x"}', "notification"],
    ['{"result":{"id":9,"method":"no"},"jsonrpc":"2.0","id":1}', "response"],
    ['{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}', "response"],
    ['{"jsonrpc":"2.0","id":null,"method":"ping"}', undefined],
    ['{"jsonrpc":"2.0","id":[1],"method":"ping"}', undefined],
    ['{"jsonrpc":"2.0","id":1,"method":5}', undefined],
    ['{"jsonrpc":"2.0","id":1}', undefined],
    ["Server listens on port 3000", undefined],
    ["", undefined],
    ["{}", undefined],
    ['{"jsonrpc":"2.0","id":1,"method":"ping"} trailing', undefined],
  ];
  test.each(kinds)("%s is a %s", (text, kind) => {
    expect(readMessage(Buffer.from(text))?.kind).toBe(kind);
  });

  test("ids are equal when they mean the same, and only then", () => {
    const id = (text: string) => tokenAt(text, { start: 0, end: text.length });
    expect([id("1"), id("1.0"), id("1e0"), id('"1"'), id('"\\u0031"'), id("null"), id("{}")]).toEqual([
      "1",
      "1",
      "1",
      '"1"',
      '"1"',
      undefined,
      undefined,
    ]);
  });
});

describe("parseClientBody", () => {
  test("keeps the bytes of every message of a batch", () => {
    const body = parseClientBody(Buffer.from(' [ {"jsonrpc":"2.0","method":"ü"} ,\n{"jsonrpc":"2.0","id":2,"method":"b"}]'));
    expect("messages" in body && body.batch && body.messages.map((message) => message.bytes.toString())).toEqual([
      '{"jsonrpc":"2.0","method":"ü"}',
      '{"jsonrpc":"2.0","id":2,"method":"b"}',
    ]);
  });

  test("refuses what is not UTF-8, even inside a string", () => {
    const body = Buffer.concat([Buffer.from('{"jsonrpc":"2.0","method":"'), Buffer.from([0xff]), Buffer.from('"}')]);
    expect(parseClientBody(body)).toMatchObject({ error: { code: -32700 } });
  });

  test("takes nesting of 512 levels and refuses more", () => {
    const nested = (levels: number) =>
      `{"jsonrpc":"2.0","method":"x","params":${"[".repeat(levels - 1)}${"]".repeat(levels - 1)}}`;
    expect(parseClientBody(Buffer.from(nested(512)))).toHaveProperty("messages");
    expect(parseClientBody(Buffer.from(nested(513)))).toMatchObject({ error: { code: -32600 } });
    expect(parseClientBody(Buffer.from(nested(1_000_000)))).toMatchObject({ error: { code: -32600 } });
  });
});

test("newlines become spaces and nothing else changes", () => {
  const pretty = bytes({ a: "line\nbreak", b: [1, 2] }, 2);
  const flat = withoutNewlines(pretty);
  expect(flat.includes(0x0a)).toBe(false);
  expect(JSON.parse(flat.toString())).toEqual(JSON.parse(pretty.toString()));
  expect(pretty.includes(0x0a)).toBe(true);
});

test("an error answer is a message with the very id", () => {
  const answer = readMessage(errorAnswer('"a\\"b"', { code: -32000, message: "Nö." }));
  expect(answer).toMatchObject({ kind: "response", id: '"a\\"b"', hasError: true });
  expect(
    stringAt(
      answer?.text ?? "",
      answer?.members.find((member) => member.key === "jsonrpc"),
    ),
  ).toBe("2.0");
});
