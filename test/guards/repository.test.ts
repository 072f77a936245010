import { expect, it } from "vitest";
import { listFiles, readSource } from "./sources.ts";

const texts = listFiles().filter((file) => /\.(tsx?|mjs|cjs|js|json|md|ya?ml|css|html|sh|sql|toml)$|^\.ci\//.test(file));

/** Lines of committed files that match, with where they are. */
function findLines(pattern: RegExp, files: readonly string[]): string[] {
  return files.flatMap((file) =>
    readSource(file)
      .split("\n")
      .flatMap((line, index) => (pattern.test(line) ? [`${file}:${index + 1}: ${line.trim().slice(0, 160)}`] : [])),
  );
}

it("has no path of anybody's machine", () => {
  expect(findLines(/(^|[\s"'`=(])(\/(home|Users|root|work)\/(?!me\b)[\w.-]+|[A-Z]:\\Users\\)/, texts)).toEqual([]);
});

it("takes every package from the registry that npm is set to", () => {
  const lock = JSON.parse(readSource("package-lock.json")) as { packages: Record<string, { resolved?: string }> };
  const hosts = Object.values(lock.packages).flatMap(({ resolved }) =>
    resolved?.startsWith("http") ? [new URL(resolved).host] : [],
  );
  expect(hosts.filter((host) => host !== "registry.npmjs.org")).toEqual([]);
  expect(listFiles().filter((file) => /(^|\/)\.npmrc$/.test(file))).toEqual([]);
});

it("knows no address of the service that the seed expected on this computer", () => {
  const address = new RegExp(["local", "host:80", "00"].join(""));
  const papers = texts.filter((file) => !file.endsWith(".md"));
  expect(findLines(address, papers)).toEqual([]);
});

it("has no merge conflict, no left-over note to oneself and no single test that silences the others", () => {
  const notes = new RegExp(`^(<{7}|>{7}) |\\b${["TO", "DO"].join("")}\\b|\\b${["FIX", "ME"].join("")}\\b`);
  const focused = /\b(it|test|describe)\.only\(/;
  const code = texts.filter((file) => /\.(tsx?|sql|sh)$/.test(file) && file !== "test/guards/repository.test.ts");
  expect([...findLines(notes, code), ...findLines(focused, code)]).toEqual([]);
});
