/** Variables to set, as `VARIABLE:SECRET,…`; both are environment names, so no other character needs care. */
export const secretVariablesVariable = "DTMA_SECRET_VARIABLES";

export const secretPreloadPath = "/app/dtma-secrets.cjs";

/**
 * Loaded by Node before a package's command: sets the variables that the server wants from the files under
 * /run/secrets, so that no value stands in the container's configuration.
 */
export const secretPreload = `"use strict";
const { readFileSync } = require("node:fs");
for (const pair of (process.env.${secretVariablesVariable} ?? "").split(",").filter(Boolean)) {
  const [variable, name] = pair.split(":");
  try {
    process.env[variable] = readFileSync("/run/secrets/" + name, "utf8");
  } catch {
    // An optional secret without a value has no file.
  }
}
delete process.env.${secretVariablesVariable};
`;
