import type { Settings } from "../settings.ts";
import { doctor } from "./doctor.ts";
import { fingerprint } from "./fingerprint.ts";
import { health } from "./health.ts";

export type CommandInput = {
  /** What followed the command, without the flags that are settings. */
  flags: readonly string[];
  /** SettingsError when they cannot be read. */
  settings(): Settings;
  env: NodeJS.ProcessEnv;
  write(text: string): void;
};

/** Does its work and resolves to the exit code. */
export type Command = (input: CommandInput) => Promise<number>;

/** Flags of commands; everything else is a setting. */
const commandFlags = ["--json"];

/** The command an argument list begins with, and what is left for it; undefined starts the DTMA. */
export function findCommand(argv: readonly string[]): { run: Command; flags: string[]; settings: string[] } | undefined {
  const commands: Record<string, Command> = { doctor, fingerprint, health };
  const [name = "", ...rest] = argv;
  const run = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (run === undefined) return undefined;
  const isFlag = (argument: string) => commandFlags.includes(argument);
  return { run, flags: rest.filter(isFlag), settings: rest.filter((argument) => !isFlag(argument)) };
}
