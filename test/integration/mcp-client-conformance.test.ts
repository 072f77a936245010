import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { type Revision, runClientScenario } from "../fixtures/mcp-servers/conformance/suite.ts";

/*
What the control centre's own MCP client claims of the official conformance suite: sessions, tools, streams that are taken up
again, and schemas that are left alone. It asks no person and no model, and has a connection's token instead of OAuth: a
toolbox names no authorization server.
*/

const claimed: [scenario: string, revision: Revision][] = [
  ["initialize", "2025-06-18"],
  ["initialize", "2025-11-25"],
  ["tools_call", "2025-06-18"],
  ["tools_call", "2025-11-25"],
  ["sse-retry", "2025-11-25"],
  ["json-schema-2020-12-preservation", "2025-11-25"],
];

const program = fileURLToPath(new URL("../fixtures/mcp-servers/conformance/control-centre.ts", import.meta.url));

test.each(claimed)("the client of the control centre passes %s of %s", async (scenario, revision) => {
  const { succeeded, failed, warned } = await runClientScenario(`${process.execPath} ${program}`, scenario, revision);
  expect({ failed, warned }).toEqual({ failed: [], warned: [] });
  expect(succeeded.length).toBeGreaterThan(0);
});
