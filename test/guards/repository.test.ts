import { describe, expect, it } from "vitest";
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
  expect(findLines(/(^|[\s"'`=(])(\/(home|Users|root|work)\/(?!(me|someone)\b)[\w.-]+|[A-Z]:\\Users\\)/, texts)).toEqual([]);
});

it("brings no settings of npm along", () => {
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

describe("the lock file", () => {
  type Locked = {
    packages: Record<string, { optionalDependencies?: Record<string, string>; resolved?: string; link?: boolean }>;
  };
  const { packages } = JSON.parse(readSource("package-lock.json")) as Locked;

  /** An install on one platform can drop the binaries of the others from the lock file, and `npm ci` then refuses it. */
  it("names the optional packages of every platform", () => {
    const missing = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
      Object.keys(optionalDependencies).filter((name) => !isFoundFrom(path, name)),
    );
    expect(missing).toEqual([]);
  });

  it("names no registry", () => {
    expect(Object.values(packages).filter(({ resolved, link }) => resolved !== undefined && link !== true)).toEqual([]);
  });

  /** As Node looks for it: beside the package, then further up. */
  function isFoundFrom(path: string, name: string): boolean {
    if (packages[`${path === "" ? "" : `${path}/`}node_modules/${name}`] !== undefined) return true;
    return (
      path !== "" && isFoundFrom(path.replace(/(?:^|\/)node_modules\/(?:@[^/]+\/)?[^/]+$/, "").replace(/^dtma$/, ""), name)
    );
  }
});
