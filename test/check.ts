import { checkLint, checkTypes, runSuites, say, sum } from "./setup/gates.ts";

/* `npm run check`: what is quick enough to run before every commit. */

const total = sum([await checkTypes(), await checkLint(), await runSuites(["unit", "guards"])]);
say(`\n${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed === 0 ? 0 : 1;
