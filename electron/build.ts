import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/*
Builds the app and the DTMA into out/ and dtma/dist/, or finds that nothing changed since it was last done.

INVARIANTS
- "Changed" means content: the stamp is a hash over every file that can end up in the build, and over the lock file.
- The stamp is written after a build that succeeded, so a build that was cut short is done again.
- What the bundlers print goes to standard error.
*/

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const stampFile = join(root, "out", "build-stamp");
const products = [
  "out/main/index.js",
  "out/main/browser.js",
  "out/preload/index.cjs",
  "out/renderer/index.html",
  "dtma/dist/dtma.mjs",
];
const sources = [
  "electron",
  "shared",
  "renderer",
  "resources",
  "dtma/src",
  "dtma/vite.config.ts",
  "dtma/package.json",
  "electron.vite.config.ts",
  "package.json",
  "package-lock.json",
];

/** Resolves to whether something had to be built. Rejects with the name of the step that failed. */
export async function buildIfChanged({ force = false } = {}): Promise<boolean> {
  const stamp = hashSources();
  if (!force && readStamp() === stamp && products.every((product) => existsSync(join(root, product)))) return false;
  await run("the window and the control centre", join(root, "node_modules", "electron-vite", "bin", "electron-vite.js"), root);
  await run("the DTMA", join(root, "node_modules", "vite", "bin", "vite.js"), join(root, "dtma"));
  writeFileSync(stampFile, `${stamp}\n`);
  return true;
}

function run(what: string, tool: string, cwd: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [tool, "build", "--logLevel", "warn"], { cwd, stdio: ["ignore", 2, 2] });
    child.on("error", reject);
    child.on("exit", (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`Building ${what} failed (${signal ?? `exit code ${code}`}).`));
    });
  });
}

function readStamp(): string | undefined {
  return existsSync(stampFile) ? readFileSync(stampFile, "utf8").trim() : undefined;
}

function hashSources(): string {
  const hash = createHash("sha256").update(process.version);
  for (const file of sources.flatMap((source) => listFiles(source)).sort()) {
    hash.update(`\0${file}\0`).update(readFileSync(join(root, file)));
  }
  return hash.digest("hex");
}

function listFiles(path: string): string[] {
  const absolute = join(root, path);
  if (!existsSync(absolute)) return [];
  try {
    return readdirSync(absolute, { withFileTypes: true })
      .filter((entry) => !/\.test\.tsx?$/.test(entry.name))
      .flatMap((entry) => listFiles(`${path}/${entry.name}`));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOTDIR") return [path];
    throw error;
  }
}

if (import.meta.main) {
  try {
    await buildIfChanged({ force: !process.argv.includes("--if-changed") });
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
    process.exit(1);
  }
}
