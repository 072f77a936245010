import { SettingsError } from "../settings.ts";
import { gatherFacts } from "./doctor-facts.ts";
import { type Finding, findingsOf } from "./doctor-findings.ts";
import type { Command } from "./index.ts";

/** Looks at the host and says what is wrong with it. Changes nothing. Exit code 1 when something must be mended. */
export const doctor: Command = async ({ flags, settings, env, write }) => {
  const findings = await findAll();
  const hasProblem = findings.some(({ level }) => level === "problem");
  write(flags.includes("--json") ? `${JSON.stringify({ ok: !hasProblem, findings }, null, 2)}\n` : asText(findings));
  return hasProblem ? 1 : 0;

  async function findAll(): Promise<Finding[]> {
    try {
      return findingsOf(await gatherFacts(settings(), env));
    } catch (error) {
      if (!(error instanceof SettingsError)) throw error;
      return [{ subject: "settings", level: "problem", says: error.message, advice: "Correct it in /etc/dtma.conf." }];
    }
  }
};

function asText(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ subject }) => subject.length));
  const lines = findings.map(({ subject, level, says, advice }) => {
    const indent = " ".repeat(11 + width);
    return `${level.padEnd(8)} ${subject.padEnd(width)}  ${says}${advice === undefined ? "" : `\n${indent}→ ${advice}`}`;
  });
  const count = (level: Finding["level"]) => findings.filter((finding) => finding.level === level).length;
  const [problems, warnings] = [count("problem"), count("warning")];
  const sum = problems + warnings === 0 ? "Nothing is wrong." : `Problems: ${problems}. Warnings: ${warnings}.`;
  return `${[...lines, sum].join("\n")}\n`;
}
