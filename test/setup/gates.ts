import { readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildIfChanged } from "../../electron/build.ts";
import { runProgram } from "./program.ts";

/*
The checks, each of which ends in a count. A gate such as `types` counts as one; a suite counts its tests.
*/

export type Outcome = { passed: number; failed: number /** Names of the tests that did not run. */; skipped: string[] };

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const require = createRequire(join(root, "package.json"));

export const runtimes = ["shared", "electron", "electron/preload", "renderer", "dtma", "test"] as const;

/** Every runtime has its own tsconfig, and each of them must be clean. */
export async function checkTypes(): Promise<Outcome> {
  const compiler = join(dirname(require.resolve("typescript/package.json")), "bin", "tsc");
  const check = (runtime: string) => runProgram(process.execPath, [compiler, "-p", runtime, "--pretty"], { cwd: root });
  const results = await Promise.all(runtimes.map(check));
  for (const { output } of results) if (output !== "") say(output);
  return gate(
    "types",
    results.every(({ code }) => code === 0),
  );
}

export async function checkLint(): Promise<Outcome> {
  const biome = require.resolve("@biomejs/biome/bin/biome");
  const { code } = await runProgram(process.execPath, [biome, "check", "."], { cwd: root, show: true });
  return gate("lint", code === 0);
}

export async function checkBuild({ force }: { force: boolean }): Promise<Outcome> {
  try {
    await buildIfChanged({ force });
    return gate("build", true);
  } catch (error) {
    say(error instanceof Error ? error.message : String(error));
    return gate("build", false);
  }
}

export type SuiteOptions = { env?: NodeJS.ProcessEnv; wrap?: (command: readonly string[]) => readonly string[] };

/** Runs projects of vitest.config.ts. */
export async function runSuites(projects: readonly string[], { env, wrap }: SuiteOptions = {}): Promise<Outcome> {
  say(`\n== ${projects.join(", ")}`);
  const reportFile = join(tmpdir(), `vitest-${process.pid}-${projects.join("-")}.json`);
  const vitest = join(dirname(require.resolve("vitest/package.json")), "vitest.mjs");
  const command = [
    process.execPath,
    vitest,
    "run",
    ...projects.flatMap((project) => ["--project", project]),
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${reportFile}`,
  ];
  const [program = "", ...args] = wrap?.(command) ?? command;
  const { code } = await runProgram(program, args, { cwd: root, show: true, ...(env === undefined ? {} : { env }) });
  try {
    const report = JSON.parse(await readFile(reportFile, "utf8")) as Report;
    const outcome = countReport(report);
    say(`Longest: ${longestFiles(report).join(", ")}`);
    // An error outside of any test, such as an unhandled rejection, is in the exit code only.
    return code !== 0 && outcome.failed === 0 ? { ...outcome, failed: 1 } : outcome;
  } catch {
    say(`${projects.join(", ")}: the suite ended without a report.`);
    return { passed: 0, failed: 1, skipped: [] };
  } finally {
    await rm(reportFile, { force: true });
  }
}

type Report = {
  testResults: {
    name: string;
    status: string;
    startTime: number;
    endTime: number;
    assertionResults: { fullName: string; status: string }[];
  }[];
};

function countReport(report: Report): Outcome {
  const outcome: Outcome = { passed: 0, failed: 0, skipped: [] };
  for (const file of report.testResults) {
    const tests = file.assertionResults;
    outcome.passed += tests.filter(({ status }) => status === "passed").length;
    const failed = tests.filter(({ status }) => status === "failed").length;
    // A file that could not be loaded, or whose setup failed, has no failed test of its own.
    outcome.failed += failed === 0 && file.status === "failed" ? 1 : failed;
    outcome.skipped.push(
      ...tests.filter(({ status }) => status !== "passed" && status !== "failed").map(({ fullName }) => fullName.trim()),
    );
  }
  return outcome;
}

/** What a shorter run would begin with. */
function longestFiles({ testResults }: Report): string[] {
  return testResults
    .map(({ name, startTime, endTime }) => ({ name: basename(name), seconds: Math.round((endTime - startTime) / 1_000) }))
    .sort((one, other) => other.seconds - one.seconds)
    .slice(0, 8)
    .map(({ name, seconds }) => `${name} ${seconds} s`);
}

export function sum(outcomes: readonly Outcome[]): Outcome {
  return {
    passed: outcomes.reduce((total, { passed }) => total + passed, 0),
    failed: outcomes.reduce((total, { failed }) => total + failed, 0),
    skipped: outcomes.flatMap(({ skipped }) => skipped),
  };
}

export function gate(name: string, passed: boolean): Outcome {
  say(`${passed ? "passed" : "FAILED"}  ${name}`);
  return { passed: passed ? 1 : 0, failed: passed ? 0 : 1, skipped: [] };
}

export function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
