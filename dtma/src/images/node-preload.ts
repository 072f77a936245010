import { inputEnding, outputEnding, pipesVariable } from "../docker/pipes.ts";

/** Variables to set, as `VARIABLE:SECRET,…`; both are environment names, so no other character needs care. */
export const secretVariablesVariable = "DTMA_SECRET_VARIABLES";

/**
 * Loaded by Node before a package's command. Takes the named pipes it is told of as standard streams: the lowest free
 * descriptor is the one opened next, and Node looks at its streams when they are first asked for. Sets the variables that the
 * server wants from the files under /run/secrets, so that no value stands in the container's configuration.
 */
export const nodePreload = `"use strict";
const { closeSync, constants, openSync, readFileSync, writeSync } = require("node:fs");
const pipes = process.env.${pipesVariable};
delete process.env.${pipesVariable};
if (pipes !== undefined) {
  for (const [descriptor, ending, way] of [[0, "${inputEnding}", constants.O_RDONLY], [1, "${outputEnding}", constants.O_WRONLY]]) {
    closeSync(descriptor);
    if (openSync(pipes + ending, way) !== descriptor) throw new Error("No standard stream.");
  }
  writeSync(1, "\\n");
}
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
