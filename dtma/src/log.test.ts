import { expect, it } from "vitest";
import { createLog, createLogTail } from "./log.ts";

it("writes one JSON object a line and nothing that a secret could stand in", () => {
  const lines: string[] = [];
  const log = createLog(
    (line) => lines.push(line),
    () => 0,
  );
  log.info("a.thing", {
    count: 1,
    authToken: "canary",
    nested: { secretValues: ["canary"], ok: true },
    list: [{ password: "canary" }],
  });
  log.error("a.failure", new Error("outer", { cause: new Error("inner\nline") }), { authorization: "canary" });
  expect(lines.join("")).not.toContain("canary");
  expect(lines.map((line) => line.endsWith("\n") && JSON.parse(line))).toEqual([
    expect.objectContaining({ at: "1970-01-01T00:00:00.000Z", level: "info", event: "a.thing", count: 1 }),
    expect.objectContaining({ level: "error", event: "a.failure", error: "outer ← inner\nline" }),
  ]);
});

it("keeps its last lines, oldest first", () => {
  const tail = createLogTail(3);
  for (const line of ["one\n", "two\n", "three\n", "four\n"]) tail.add(line);
  expect([tail.last(9), tail.last(2), tail.last(0)]).toEqual([["two", "three", "four"], ["three", "four"], []]);
});
