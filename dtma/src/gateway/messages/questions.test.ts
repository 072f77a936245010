import { expect, it } from "vitest";
import { type Message, readMessage } from "./json-rpc.ts";
import { statelessAnswer } from "./questions.ts";

const answer = (code: number) =>
  readMessage(Buffer.from(`{"jsonrpc":"2.0","id":1,"error":{"message":"Paid.", "code": ${code},"data":[1.0]}}`)) as Message;

it.each([
  ["tools/call", -32_020, -32_000],
  ["tools/call", -32_021, -32_000],
  ["tools/call", -32_022, -32_000],
  ["tools/call", -32_002, -32_002],
  ["resources/read", -32_002, -32_602],
  ["tools/call", 7, 7],
])("an error of a server with sessions to %s with the code %i has the code %i without one", (method, code, told) => {
  expect(statelessAnswer(method, answer(code), undefined).toString()).toBe(answer(told).text);
});
