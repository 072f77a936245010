import { describe, expect, it } from "vitest";
import { asRequest, readInputRequired, retryMembers } from "./input-required.ts";
import { readMessage } from "./json-rpc.ts";
import { object } from "./stateless-request.ts";

function read(result: string) {
  const message = readMessage(Buffer.from(`{"jsonrpc":"2.0","id":1,"result":${result}}`));
  if (message === undefined) throw new Error("no message");
  return readInputRequired(message);
}

describe("what a server asks for", () => {
  it("becomes requests with the very same params", () => {
    const params = '{ "messages":[], "n": 12345678901234567890 }';
    const found = read(
      `{"inputRequests":{"a b":{"method":"sampling/createMessage","params":${params}},"r":{"method":"roots/list"}}}`,
    );
    expect(found?.questions.map(({ key, method }) => [key, method])).toEqual([
      ["a b", "sampling/createMessage"],
      ["r", "roots/list"],
    ]);
    const [first, second] = found?.questions ?? [];
    if (first === undefined || second === undefined) throw new Error("nothing asked");
    expect(asRequest(first, '"q-1"').toString()).toBe(
      `{"jsonrpc":"2.0","id":"q-1","method":"sampling/createMessage","params":${params}}`,
    );
    expect(asRequest(second, "2").toString()).toBe('{"jsonrpc":"2.0","id":2,"method":"roots/list"}');
  });

  it("has a name where a URL has to be visited", () => {
    const found = read(
      '{"inputRequests":{"u":{"method":"elicitation/create","params":{"mode":"url","url":"https://a.example"}}}}',
    );
    const asked = JSON.parse(asRequest(found?.questions[0] ?? { key: "", method: "", params: undefined }, "1").toString());
    expect(asked.params).toEqual({
      mode: "url",
      url: "https://a.example",
      elicitationId: expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
  });

  it.each([
    ["nothing at all", "{}"],
    ["a method of its own", '{"inputRequests":{"a":{"method":"tools/call"}}}'],
    ["no method", '{"inputRequests":{"a":{}}}'],
    ["a list", '{"inputRequests":[]}'],
    ["a state that is no string", '{"requestState":{}}'],
    [
      "more than anybody answers",
      `{"inputRequests":{${Array.from({ length: 101 }, (_, n) => `"${n}":{"method":"roots/list"}`)}}}`,
    ],
  ])("makes no sense with %s", (_what, result) => {
    expect(read(result)).toBeUndefined();
  });

  it("is sent back with the state as it came", () => {
    const found = read('{"requestState":"\\u00e4\\/x"}');
    expect(found?.questions).toEqual([]);
    expect(object(retryMembers(new Map(), found?.state)).toString()).toBe('{"requestState":"\\u00e4\\/x"}');
    expect(object(retryMembers(new Map([['k"', Buffer.from("{ }")]]), undefined)).toString()).toBe(
      '{"inputResponses":{"k\\"":{ }}}',
    );
  });
});
