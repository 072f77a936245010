import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { parseSync } from "vite";

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Paths of all files that are committed or could be, from the root, with forward slashes. */
export function listFiles(): string[] {
  const listed = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
    cwd: root,
    encoding: "utf8",
  });
  return [...new Set(listed.split("\n"))].filter((file) => file !== "" && existsSync(join(root, file)));
}

export function readSource(file: string): string {
  return readFileSync(join(root, file), "utf8");
}

export type Import = {
  /** As it is written. */
  specifier: string;
  /** A path from the root for our own files, otherwise the specifier. */
  target: string;
};

/** Every import of a file: static, for types only, re-exported, and dynamic with a literal. */
export function listImports(file: string, code = readSource(file)): Import[] {
  const { module, errors } = parseSync(file, code);
  if (errors.length > 0) throw new Error(`${file} cannot be parsed: ${errors[0]?.message}`);
  const specifiers = [
    ...module.staticImports.map(({ moduleRequest }) => moduleRequest.value),
    ...module.staticExports.flatMap(({ entries }) => entries.flatMap(({ moduleRequest }) => moduleRequest?.value ?? [])),
    ...module.dynamicImports.flatMap(({ moduleRequest }) => {
      const literal = /^(["'`])(.*)\1$/.exec(code.slice(moduleRequest.start, moduleRequest.end).trim());
      return literal?.[2] ?? [];
    }),
  ];
  return [...new Set(specifiers)].map((specifier) => ({
    specifier,
    target: specifier.startsWith(".") ? posix.join(posix.dirname(file), specifier) : specifier,
  }));
}
