import { existsSync, readFileSync } from "node:fs";
import { startDtma } from "./dtma.ts";
import { keepYoungGenerationSmall } from "./memory.ts";
import { asksForHelp, helpText, readSettings, SettingsError } from "./settings.ts";

keepYoungGenerationSmall();

if (asksForHelp(process.argv.slice(2))) {
  process.stdout.write(helpText);
  process.exit(0);
}

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
} catch (error) {
  if (!(error instanceof SettingsError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exit(2);
}
