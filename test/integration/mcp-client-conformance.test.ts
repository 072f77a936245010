import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { type Revision, runClientScenario } from "../fixtures/mcp-servers/conformance/suite.ts";

/*
What the control centre's own MCP client claims of the official conformance suite, for each revision it knows: both eras, tools,
streams that are taken up again, schemas that are left alone, and every rule of signing in that its users can meet. The test
program stands in for the vault and for the person, in the browser and at the window, and for nothing else.

Not claimed:
- `auth/basic-cimd`: a client that is known by the address of its metadata needs an address of its own on the web, and the
  project has none; such a server registers this client instead, which the suite passes with a warning.
- `auth/2025-03-26-*`: endpoints guessed from the server's address, without metadata that names an authorization server. Later
  revisions dropped them, and a 401 of somebody who names nobody means that the connection was revoked.
- Extensions of `auth/*` (client credentials, enterprise-managed, DPoP, workload identity): no person signs in there.
- Elicitation and multi-round-trip requests: it asks no person and no model on behalf of a server.
*/

const sessions = ["2025-11-25"] as const;
const both = ["2025-11-25", "2026-07-28"] as const;
const stateless = ["2026-07-28"] as const;
const all = ["2025-06-18", ...both] as const;

const claimed: readonly (readonly [scenario: string, revisions: readonly Revision[]])[] = [
  ["initialize", ["2025-06-18", "2025-11-25"]],
  ["tools_call", all],
  ["sse-retry", sessions],
  ["request-metadata", stateless],
  ["http-standard-headers", stateless],
  ["http-invalid-tool-headers", stateless],
  ["http-custom-headers", stateless],
  ["json-schema-ref-no-deref", stateless],
  ["json-schema-2020-12-preservation", both],
  ["auth/metadata-default", both],
  ["auth/metadata-var1", both],
  ["auth/metadata-var2", both],
  ["auth/metadata-var3", both],
  ["auth/scope-from-www-authenticate", both],
  ["auth/scope-from-scopes-supported", both],
  ["auth/scope-omitted-when-undefined", both],
  ["auth/scope-step-up", both],
  ["auth/scope-retry-limit", both],
  ["auth/token-endpoint-auth-basic", all],
  ["auth/token-endpoint-auth-post", all],
  ["auth/token-endpoint-auth-none", all],
  ["auth/pre-registration", both],
  ["auth/resource-mismatch", stateless],
  ["auth/offline-access-scope", stateless],
  ["auth/offline-access-not-supported", stateless],
  ["auth/authorization-server-migration", stateless],
  ["auth/iss-supported", stateless],
  ["auth/iss-not-advertised", stateless],
  ["auth/iss-supported-missing", stateless],
  ["auth/iss-wrong-issuer", stateless],
  ["auth/iss-unexpected", stateless],
  ["auth/iss-normalized", stateless],
  ["auth/metadata-issuer-mismatch", stateless],
];

const program = fileURLToPath(new URL("../fixtures/mcp-servers/conformance/control-centre.ts", import.meta.url));
const runs = claimed.flatMap(([scenario, revisions]) => revisions.map((revision) => [scenario, revision] as const));

test.concurrent.each(runs)("the client of the control centre passes %s of %s", async (scenario, revision) => {
  const { succeeded, failed, warned } = await runClientScenario(`${process.execPath} ${program}`, scenario, revision);
  expect({ failed, warned }).toEqual({ failed: [], warned: [] });
  expect(succeeded.length).toBeGreaterThan(0);
});
