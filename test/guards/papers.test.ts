import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { errorCatalogue } from "../../shared/errors.ts";
import { listFiles, readSource, root } from "./sources.ts";

type Manifest = { scripts?: Record<string, string> };

const manifest = JSON.parse(readSource("package.json")) as Manifest;
const dtmaManifest = JSON.parse(readSource("dtma/package.json")) as Manifest;

describe("docs/errors.md", () => {
  it("says of every code what the app says, and of no other", () => {
    const rows = [...readSource("docs/errors.md").matchAll(/^\| `([A-Z_]+)` *\| (.+?) *\| (.+?) *\|$/gm)];
    const documented = Object.fromEntries(rows.map(([, code = "", sentence, nextStep]) => [code, { sentence, nextStep }]));
    expect(documented).toEqual(errorCatalogue);
  });
});

describe("the commands in the papers", () => {
  const papers = listFiles().filter((file) => /^([A-Z]+\.md|docs\/.*\.md)$/.test(file));
  const commands = papers.flatMap((file) => listCommands(readSource(file)).map((command) => [file, command] as const));

  it.runIf(commands.length > 0).each(commands)("%s: %s", (_file, command) => {
    expect(findProblem(command)).toBeUndefined();
  });

  it("are checked by a function that notices a script that does not exist", () => {
    expect(listCommands("```sh\n$ npm run nothing\n```")).toEqual(["npm run nothing"]);
    expect(findProblem("npm run nothing")).toContain("nothing");
    expect(findProblem("npm ci && npm start -- --host=browser")).toBeUndefined();
    expect(findProblem("node electron/nothing.ts")).toContain("nothing");
  });
});

/** Lines of fenced shell blocks, without prompts, comments and the continuation of lines. */
function listCommands(markdown: string): string[] {
  const blocks = [...markdown.matchAll(/^```(?:sh|bash|shell|console)\n([\s\S]*?)^```/gm)].map(([, body = ""]) => body);
  return blocks
    .join("\n")
    .replace(/\\\n\s*/g, " ")
    .split("\n")
    .map((line) =>
      line
        .replace(/^\s*\$\s+/, "")
        .replace(/(^|\s)#\s.*$/, "")
        .trim(),
    )
    .filter((line) => line !== "");
}

/** What is wrong with a command, as far as the repository can tell: npm scripts and files of ours must exist. */
function findProblem(command: string): string | undefined {
  for (const part of command.split(/\s*(?:&&|;|\|\|?)\s*/)) {
    const words = part.split(/\s+/).filter((word) => !/^[A-Z_]+=/.test(word));
    const [program, first = "", second = ""] = words;
    if (program === "npm") {
      const scripts = /\s(-w|--workspace)[= ]dtma\b/.test(part) ? dtmaManifest.scripts : manifest.scripts;
      const script = first === "run" ? second : ["start", "test"].includes(first) ? first : undefined;
      if (script !== undefined && scripts?.[script] === undefined) return `package.json has no script "${script}"`;
    }
    const file = program === "node" ? first : program?.startsWith("./") || program?.startsWith(".ci/") ? program : undefined;
    if (file !== undefined && !file.startsWith("-") && !existsSync(join(root, file))) return `there is no file ${file}`;
  }
  return undefined;
}
