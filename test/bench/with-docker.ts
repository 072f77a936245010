import { randomUUID } from "node:crypto";
import { removeLeftContainers } from "../setup/left-containers.ts";
import { partVariables } from "../setup/parts.ts";
import { endPrograms, runProgram } from "../setup/program.ts";

/**
 * Runs this program again, as one that may use Docker: what a machine has is read from the environment once, at the start.
 * Containers that it leaves are removed, whatever ended it.
 */
export async function runWithDocker(): Promise<void> {
  const label = `dtma-test=${randomUUID()}`;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, endPrograms);
  const env = { ...process.env, [partVariables.docker]: "1", [partVariables.containerLabel]: label };
  const { code } = await runProgram(process.execPath, process.argv.slice(1), { env, show: true });
  await removeLeftContainers(label);
  process.exitCode = code;
}
