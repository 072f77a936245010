import { parseArgs } from "node:util";
import { checkBuild, checkLint, checkTypes, gate, type Outcome, runSuites, say, sum } from "./setup/gates.ts";
import { type Machine, prepareMachine } from "./setup/machine.ts";
import { endPrograms } from "./setup/program.ts";

/*
`npm test`: every check, from types to the window in a real browser. `--only SUITE` runs one suite with real parts.

INVARIANTS
- The last line on standard output is `N passed, N failed`, and the exit code follows it.
- What could not be tested is listed before that line; with CI=true it counts as failed.
- Whatever ends the run, what it started is ended and what it wrote outside the checkout is removed.
*/

const suitesWithRealParts = ["integration", "e2e"] as const;
const strict = process.env.CI === "true" || process.env.CI === "1";

const { values } = parseArgs({ options: { only: { type: "string" } } });
const chosen = values.only;
if (chosen !== undefined && ![...suitesWithRealParts, "screenshots"].includes(chosen)) {
  process.stderr.write(`--only is "${chosen}"; use one of: ${[...suitesWithRealParts, "screenshots"].join(", ")}.\n`);
  process.exit(2);
}

/** Begun early: it downloads and waits while the first checks compute. */
let preparing: Promise<Machine> | undefined;
let machine: Machine | undefined;
let interrupted = false;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    interrupted = true;
    endPrograms();
  });
}

const outcomes: Outcome[] = [];
try {
  await runChecks();
} catch (error) {
  say(error instanceof Error ? (error.stack ?? error.message) : String(error));
  outcomes.push({ passed: 0, failed: 1, skipped: [] });
} finally {
  machine = await preparing?.catch(() => undefined);
  if (interrupted) await machine?.removeLeftContainers();
  await machine?.close();
}
report();

async function runChecks(): Promise<void> {
  preparing = prepareMachine();
  // What makes it fail is said where it is waited for.
  preparing.catch(() => undefined);
  if (chosen === undefined) {
    await step(checkTypes);
    await step(checkLint);
    await step(() => runSuites(["unit", "guards"]));
  }
  const built = await step(() => checkBuild({ force: chosen === undefined }));
  if (interrupted) return;
  if (built?.failed !== 0) {
    say("The suites with real parts need a build and were not run.");
    outcomes.push({ passed: 0, failed: 1, skipped: [] });
    return;
  }
  machine = await preparing;
  const { env, inSession } = machine;
  await step(() => runSuites(chosen === undefined ? suitesWithRealParts : [chosen], { env, wrap: inSession }));
  await step(checkNothingIsLeft);
}

async function step(check: () => Promise<Outcome>): Promise<Outcome | undefined> {
  if (interrupted) return undefined;
  const outcome = await check();
  outcomes.push(outcome);
  return outcome;
}

async function checkNothingIsLeft(): Promise<Outcome> {
  const left = (await machine?.removeLeftContainers()) ?? [];
  if (left.length > 0) say(`Containers of the tests were left: ${left.join(" ")}`);
  return gate("no container is left", left.length === 0);
}

function report(): void {
  const total = sum(outcomes);
  const missing = machine?.missing ?? [];
  if (missing.length + total.skipped.length > 0) {
    say("\nNot tested:");
    for (const sentence of missing) say(`  ${sentence}`);
    for (const name of total.skipped) say(`  skipped: ${name}`);
  }
  if (interrupted) say("\nInterrupted.");
  const failed = total.failed + (strict ? missing.length + total.skipped.length : 0) + (interrupted ? 1 : 0);
  say(`\n${total.passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}
