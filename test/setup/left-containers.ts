import { runProgram } from "./program.ts";

/** Removes the containers that carry a label, with their volumes, and says which those were. */
export async function removeLeftContainers(label: string): Promise<string[]> {
  const { code, output } = await runProgram("docker", ["ps", "-aq", "--filter", `label=${label}`]);
  const left = code === 0 ? output.split("\n").filter((line) => line !== "") : [];
  if (left.length > 0) await runProgram("docker", ["rm", "-f", "-v", ...left]);
  return left;
}
