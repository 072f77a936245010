import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

export type ProgramResult = { code: number; output: string };

export type ProgramOptions = {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** Show what it prints while it runs; otherwise it is only in the result. */
  show?: boolean;
};

const running = new Set<number>();

/** Runs a program to its end; never rejects. A program that cannot be started has the code 127. */
export function runProgram(command: string, args: readonly string[], options: ProgramOptions = {}): Promise<ProgramResult> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      stdio: ["ignore", options.show ? "inherit" : "pipe", options.show ? "inherit" : "pipe"],
      // Its own group, so that ending it ends what it started.
      detached: process.platform !== "win32",
    });
    let output = "";
    if (child.pid !== undefined) running.add(child.pid);
    child.stdout?.on("data", (chunk) => (output += chunk));
    child.stderr?.on("data", (chunk) => (output += chunk));
    child.on("error", (error) => resolve({ code: 127, output: error.message }));
    child.on("close", (code) => {
      if (child.pid !== undefined) running.delete(child.pid);
      resolve({ code: code ?? 1, output });
    });
  });
}

/** Ends the groups of all programs that still run. */
export function endPrograms(): void {
  for (const pid of running) {
    try {
      process.kill(process.platform === "win32" ? pid : -pid, "SIGTERM");
    } catch {
      // It has just ended by itself.
    }
  }
}

/** The path of a program on PATH, or undefined. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  const names = process.platform === "win32" ? [`${name}.exe`, `${name}.cmd`] : [name];
  return folders.flatMap((folder) => names.map((file) => join(folder, file))).find((path) => existsSync(path));
}
