import { existsSync, readFileSync } from "node:fs";
import { keepSmall, startSmall } from "./memory.ts";
import { asksForHelp, helpText, readSettings, SettingsError } from "./settings.ts";

startSmall();

if (asksForHelp(process.argv.slice(2))) {
  process.stdout.write(helpText);
  process.exit(0);
}

// Only now: what the modules make when they are loaded would let the young generation grow.
const { startDtma } = await import("./dtma.ts");
try {
  await startDtma(
    readSettings({
      argv: process.argv.slice(2),
      env: process.env,
      readFile: (path) => (existsSync(path) ? readFileSync(path, "utf8") : undefined),
      isRoot: process.getuid?.() === 0,
      execPath: process.execPath,
    }),
  );
  keepSmall();
} catch (error) {
  if (!(error instanceof SettingsError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exit(2);
}
