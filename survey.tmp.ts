import { runClientScenario } from "./test/fixtures/mcp-servers/conformance/suite.ts";
const program = new URL("./test/fixtures/mcp-servers/conformance/control-centre.ts", import.meta.url).pathname;
const only = process.argv.slice(2);
const names: Record<string,string[]> = {
 "2025-03-26": ["2025-03-26-oauth-metadata-backcompat","2025-03-26-oauth-endpoint-fallback"],
 "2025-06-18": ["token-endpoint-auth-basic","token-endpoint-auth-post","token-endpoint-auth-none"],
 "2025-11-25": ["metadata-default","metadata-var1","metadata-var2","metadata-var3","basic-cimd","scope-from-www-authenticate","scope-from-scopes-supported","scope-omitted-when-undefined","scope-step-up","scope-retry-limit","token-endpoint-auth-basic","token-endpoint-auth-post","token-endpoint-auth-none","pre-registration"],
};
names["2026-07-28"] = [...names["2025-11-25"]!, "resource-mismatch","offline-access-scope","offline-access-not-supported","authorization-server-migration","iss-supported","iss-not-advertised","iss-supported-missing","iss-wrong-issuer","iss-unexpected","iss-normalized","metadata-issuer-mismatch"];
for (const rev of Object.keys(names)) for (const n of names[rev]!) {
  if (only.length && !only.includes(n) && !only.includes(rev)) continue;
  try {
    const v = await runClientScenario(`${process.execPath} ${program}`, `auth/${n}`, rev as never);
    console.log(v.failed.length||v.warned.length ? "FAIL":"ok  ", rev, n, v.succeeded.length, JSON.stringify([...v.failed, ...v.warned]).slice(0,600));
  } catch (e) { console.log("ERR", rev, n, String(e).slice(0,800)); }
}
