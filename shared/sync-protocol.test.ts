import { createHash } from "node:crypto";
import { expect, it } from "vitest";
import { z } from "zod";
import * as protocol from "./sync-protocol.ts";

/**
 * What each published version of the protocol looks like. A change of a schema needs a new `syncProtocolVersion` and a
 * new line here; a line that is there is never changed once a control centre with that version has been released.
 */
const published: Readonly<Record<number, string>> = {
  1: "e6c0a4401a24e572bf385ae2afd64b7ff0652becb2a19a2c6e1a997c641d7512",
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
  expect(schemas.length).toBeGreaterThan(20);
  const hash = createHash("sha256").update(JSON.stringify(schemas)).digest("hex");
  expect(hash, `version ${protocol.syncProtocolVersion} of the protocol`).toBe(published[protocol.syncProtocolVersion]);
});

it("finds the code in the message of a failed call, wherever a transport puts it", () => {
  expect(protocol.syncErrorCode("FORBIDDEN: Only an admin can do this.")).toBe("FORBIDDEN");
  expect(protocol.syncErrorCode("error: LAST_ADMIN: The last admin stays.")).toBe("LAST_ADMIN");
  expect(protocol.syncErrorCode("ERROR: permission denied for function sync_pull")).toBeUndefined();
});

it("knows every entity by a schema of its rows", () => {
  expect([...protocol.syncEntities].sort()).toEqual(["agent", "connection", "person", "server", "template", "toolbox"]);
});
