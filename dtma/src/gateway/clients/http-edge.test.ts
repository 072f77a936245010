import type { IncomingMessage } from "node:http";
import { describe, expect, test } from "vitest";
import { accepts, headerFault, isForeignOrigin, isJsonType } from "./http-edge.ts";

const request = (method: string, headers: Record<string, string>) => ({ method, headers }) as unknown as IncomingMessage;

test("Accept is read as HTTP says", () => {
  const accepted = ["text/event-stream", "application/json, text/event-stream;q=0.5", "text/*", "*/*", "TEXT/Event-Stream"];
  for (const accept of accepted) expect(accepts(accept, "text/event-stream"), accept).toBe(true);
  for (const accept of [undefined, "", "application/json", "text/event-stream;q=0", "xtext/event-stream"]) {
    expect(accepts(accept, "text/event-stream"), accept).toBe(false);
  }
});

test("only JSON in UTF-8 is a body", () => {
  for (const type of ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"']) {
    expect(isJsonType(type), type).toBe(true);
  }
  for (const type of [undefined, "text/json", "application/json; charset=latin1", "application/jsonp"]) {
    expect(isJsonType(type), type).toBe(false);
  }
});

test("pages of another origin are refused, programs without an origin are not", () => {
  const from = (origin: string | undefined) =>
    isForeignOrigin(request("POST", { host: "toolbox:30000", ...(origin === undefined ? {} : { origin }) }));
  expect([from(undefined), from("https://toolbox:30000")]).toEqual([false, false]);
  expect([from("https://toolbox"), from("https://evil.example"), from("null"), from("")]).toEqual([true, true, true, true]);
});

describe("headerFault", () => {
  const good = { accept: "application/json, text/event-stream", "content-type": "application/json" };
  const faults: [string, Record<string, string>, number | undefined][] = [
    ["POST", good, undefined],
    ["POST", { ...good, accept: "application/json" }, 406],
    ["POST", { ...good, "content-type": "text/plain" }, 415],
    ["POST", { ...good, "content-encoding": "gzip" }, 415],
    ["GET", { accept: "text/event-stream" }, undefined],
    ["GET", { accept: "application/json" }, 406],
    ["DELETE", {}, undefined],
  ];
  test.each(faults)("%s with %o is %s", (method, headers, status) => {
    expect(headerFault(request(method, headers))?.status).toBe(status);
  });
});
