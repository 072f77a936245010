import { existsSync, readFileSync } from "node:fs";
import { keepSmall, startSmall } from "./memory.ts";
import { asksForHelp, helpText, readSettings, type Settings, SettingsError } from "./settings.ts";

const argv = process.argv.slice(2);
if (asksForHelp(argv)) {
  process.stdout.write(helpText);
  process.exit(0);
}

const settingsOf = (flags: readonly string[]): Settings =>
  readSettings({
    argv: flags,
    env: process.env,
    readFile: (path) => (existsSync(path) ? readFileSync(path, "utf8") : undefined),
    isRoot: process.getuid?.() === 0,
    execPath: process.execPath,
  });

try {
  // What commands need stays out of the memory of a DTMA that serves.
  const isCommand = argv[0] !== undefined && !argv[0].startsWith("-");
  const command = isCommand ? (await import("./commands/index.ts")).findCommand(argv) : undefined;
  if (command === undefined) await serve();
  else {
    process.exitCode = await command.run({
      flags: command.flags,
      settings: () => settingsOf(command.settings),
      env: process.env,
      write: (text) => process.stdout.write(text),
    });
  }
} catch (error) {
  if (!(error instanceof SettingsError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exit(2);
}

async function serve(): Promise<void> {
  startSmall();
  // Only now: what the modules make when they are loaded would let the young generation grow.
  const { startDtma } = await import("./dtma.ts");
  await startDtma(settingsOf(argv));
  keepSmall();
}
