import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readMessage } from "./json-rpc.ts";
import { asStateless, member } from "./stateless-request.ts";

const version = "io.modelcontextprotocol/protocolVersion";
const meta = [member(version, '"2026-07-28"')];
const extra = [member("requestState", '"s"')];

function changed(text: string, params: Buffer[] = []): string {
  const message = readMessage(Buffer.from(text));
  if (message === undefined) throw new Error("no message");
  return asStateless(message, { id: "7", meta, params }).toString();
}

describe("a request on its way to a stateless server", () => {
  it.each([
    [
      "without params",
      '{"jsonrpc":"2.0","id":"a","method":"m"}',
      '{"jsonrpc":"2.0","id":7,"method":"m","params":{"_meta":{"V":"2026-07-28"}}}',
    ],
    ["with empty params", '{"id":1,"method":"m","params":{ }}', '{"id":7,"method":"m","params":{ "_meta":{"V":"2026-07-28"}}}'],
    [
      "with params that are null",
      '{"id":1,"method":"m","params":null}',
      '{"id":7,"method":"m","params":{"_meta":{"V":"2026-07-28"}}}',
    ],
    [
      "with metadata",
      '{"id":1,"method":"m","params":{"_meta":{"progressToken":1},"n":1.0}}',
      '{"id":7,"method":"m","params":{"_meta":{"progressToken":1,"V":"2026-07-28"},"n":1.0}}',
    ],
    [
      "with empty metadata",
      '{"id":1,"method":"m","params":{"_meta":{}}}',
      '{"id":7,"method":"m","params":{"_meta":{"V":"2026-07-28"}}}',
    ],
    [
      "with metadata that is none",
      '{"id":1,"method":"m","params":{"_meta":5}}',
      '{"id":7,"method":"m","params":{"_meta":{"V":"2026-07-28"}}}',
    ],
    [
      "that claims a revision of its own",
      '{"id":1,"method":"m","params":{"_meta":{"V":"1999","x":2}}}',
      '{"id":7,"method":"m","params":{"_meta":{"x":2,"V":"2026-07-28"}}}',
    ],
    ["with params by position", '{"id":1,"method":"m","params":[1]}', '{"id":7,"method":"m","params":[1]}'],
  ])("%s has its metadata, and stays what it was otherwise", (_what, sent, arrives) => {
    expect(changed(sent.replaceAll('"V"', `"${version}"`))).toBe(arrives.replaceAll('"V"', `"${version}"`));
  });

  it("gains what belongs to a further round, which counts more than what was there", () => {
    const sent = changed('{"id":1,"method":"m","params":{"requestState":"mine","a":1}}', extra);
    expect(JSON.parse(sent).params).toEqual({ requestState: "s", a: 1, _meta: { [version]: "2026-07-28" } });
  });

  it("says the same whatever it was", () => {
    const params = fc.dictionary(fc.string(), fc.jsonValue()).filter((one) => !("__proto__" in one) && !("_meta" in one));
    fc.assert(
      fc.property(params, fc.option(fc.dictionary(fc.string(), fc.jsonValue()), { nil: undefined }), (given, theirs) => {
        if (theirs !== undefined && ("__proto__" in theirs || version in theirs)) return;
        const body = { jsonrpc: "2.0", id: 1, method: "m", params: theirs === undefined ? given : { ...given, _meta: theirs } };
        expect(JSON.parse(changed(JSON.stringify(body)))).toEqual({
          ...JSON.parse(JSON.stringify(body)),
          id: 7,
          params: {
            ...JSON.parse(JSON.stringify(given)),
            _meta: { ...JSON.parse(JSON.stringify(theirs ?? {})), [version]: "2026-07-28" },
          },
        });
      }),
    );
  });
});
