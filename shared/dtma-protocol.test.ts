import { createHash } from "node:crypto";
import { expect, it } from "vitest";
import { z } from "zod";
import * as protocol from "./dtma-protocol.ts";

/**
 * What each published version of the protocol looks like. A change of a schema needs a new `dtmaProtocolVersion` and a
 * new line here; a line that is there is never changed once a DTMA with that version has been released.
 */
const published: Readonly<Record<number, string>> = {
  1: "2f96c8e390ebd6252f2f0a1df54d678c6c1a436209ea92eac46f83953cdfdc9f",
  2: "e434a416a8961caef54ed3ce6afc4974f65457cf0dc7ba7d58ffcfd6947b695c",
  3: "fcfd20f730f7257ada5bf2064c0167e9a7019fd2ae177e896e09de48e437dc51",
};

it("keeps the protocol as it was published, or has a new version", () => {
  const schemas = Object.entries<unknown>(protocol)
    .filter((entry): entry is [string, z.ZodType] => entry[1] instanceof z.ZodType)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, schema]) => [
      name,
      z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }),
      z.toJSONSchema(schema, { io: "output", unrepresentable: "any" }),
    ]);
  expect(schemas.length).toBeGreaterThan(10);
  const hash = createHash("sha256").update(JSON.stringify(schemas)).digest("hex");
  expect(hash, `version ${protocol.dtmaProtocolVersion} of the protocol`).toBe(published[protocol.dtmaProtocolVersion]);
});
