import { AppError } from "../../../shared/errors.ts";

/*
What uv says about a package of PyPI, as pure functions.
*/

export type PinnedPackage = { version: string; hashes: string[] };

/** PyPI's one form of a project's name (packaging.python.org, "Names and normalization"). */
export function normalName(name: string): string {
  return name.toLowerCase().replace(/[-_.]+/g, "-");
}

/** The line of a requirements file that asks for a package; `latest` asks for whatever uv takes. */
export function toRequirement(name: string, version: string): string {
  return version === "latest" ? `${name}\n` : `${name}==${version}\n`;
}

/** A package in requirements with hashes as `uv pip compile` writes them; undefined when it is not in them. */
export function findPinned(requirements: string, name: string): PinnedPackage | undefined {
  for (const line of requirements.replace(/\\\n/g, " ").split("\n")) {
    const [, found = "", version = ""] = /^([A-Za-z0-9][\w.-]*)==([^\s;]+)/.exec(line.trim()) ?? [];
    if (normalName(found) !== normalName(name)) continue;
    const hashes = [...line.matchAll(/--hash=(sha\d+:[a-f0-9]+)/g)].map(([, hash = ""]) => hash);
    return { version, hashes: hashes.sort() };
  }
  return undefined;
}

/** The command named like the package, or its only one. PACKAGE_INSTALL_FAILED when there is none, or no single one. */
export function choosePythonCommand(name: string, commands: Record<string, string>): [command: string, target: string] {
  const entries = Object.entries(commands);
  const chosen = entries.find(([command]) => normalName(command) === normalName(name)) ?? entries[0];
  if (chosen !== undefined && (entries.length === 1 || normalName(chosen[0]) === normalName(name))) return chosen;
  const message =
    entries.length === 0
      ? `The package ${name} has no command, so it is not a server.`
      : `The package ${name} has several commands and none is named like it: ${Object.keys(commands).join(", ")}.`;
  throw new AppError("PACKAGE_INSTALL_FAILED", { message });
}

/** What uv's failure means. Names and passwords in addresses, such as those of an index, are left out. */
export function uvProblem(wanted: string, printed: string): AppError {
  const output = printed.replace(/\b([a-z][a-z0-9+.-]*:\/\/)[^\s/@]+@/gi, "$1");
  if (/not found in the package registry|there (?:is|are) no versions? of/i.test(output.replace(/\s+/g, " "))) {
    const message = `The package index has no package ${wanted}.`;
    return new AppError("PACKAGE_NOT_FOUND", { message, field: "spec.source.package", output });
  }
  if (/no space left on device/i.test(output)) {
    return new AppError("DISK_FULL", { message: "The toolbox's disk is full.", output });
  }
  return new AppError("PACKAGE_INSTALL_FAILED", { message: `The package ${wanted} could not be installed.`, output });
}

const passedOn =
  /^(?:UV_(?:INDEX|DEFAULT_INDEX|INDEX_URL|EXTRA_INDEX_URL|INDEX_STRATEGY|INDEX_[A-Z0-9_]+_(?:USERNAME|PASSWORD)|INSECURE_HOST|HTTP_TIMEOUT|EXCLUDE_NEWER|PRERELEASE)|(?:HTTP|HTTPS|ALL|NO)_PROXY|(?:http|https|all|no)_proxy)$/;

/** What of the DTMA's own environment says where packages come from: it goes to uv by name, and to nothing else. */
export function uvEnvironment(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => passedOn.test(entry[0]) && entry[1] !== undefined),
  );
}
