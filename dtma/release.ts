import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createReadStream, createWriteStream, existsSync, readFileSync, realpathSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { pathToFileURL } from "node:url";
import { createGzip } from "node:zlib";
import { pack } from "tar-stream";

/*
Makes dist/dtma-VERSION-linux-ARCH.tar.gz and its .sha256: all a machine with Docker needs to become a toolbox.

  VERSION, SHA256SUMS            the second one names every other file
  bin/node, bin/dtma             this project's own Node, and the command that runs the DTMA with it
  dist/, package.json            the bundle
  node_modules/                  the packages the bundle still loads by name, and what they need
  install.sh and the other files of resources/toolbox

INVARIANTS
- The same sources and the same node_modules make the same bytes: entries are sorted, times and owners are fixed.
- What the bundle loads is read from the bundle; nothing is listed here by hand.
- Optional packages stay out: whoever names them as optional works without them.
*/

const root = dirname(import.meta.dirname);
const modules = join(root, "node_modules");
/** 2000-01-01: tar warns about times near zero. */
const fixedTime = new Date(946_684_800_000);

type Entry = { mode: number } & ({ content: string } | { source: string; size: number });
type Manifest = {
  name: string;
  version: string;
  description?: string;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
};

export type Release = { version: string; archive: string; sha256: string };

/** Builds the bundle and packs it. Rejects on anything but Linux: the Node in it is the one this program runs with. */
export async function makeRelease(options: { folder: string; version?: string; level?: number }): Promise<Release> {
  if (process.platform !== "linux") throw new Error("A release is made on Linux: the Node of this machine goes into it.");
  const own = readManifest(join(root, "dtma"));
  const version = options.version ?? own.version;
  const name = `dtma-${version}-linux-${process.arch}`;
  const work = await mkdtemp(join(tmpdir(), "dtma-release-"));
  try {
    await buildBundle(work);
    const entries = new Map<string, Entry>();
    const text = (path: string, content: string, mode = 0o644) => entries.set(path, { mode, content });
    await addFolder(entries, work, "dist");
    for (const folder of findPackages(await readBundle(work), own)) {
      await addFolder(entries, folder, folder.slice(folder.indexOf("node_modules")), isNeeded);
    }
    await addFolder(entries, join(root, "resources", "toolbox"), "");
    await addFile(entries, realpathSync(join(modules, "node", "bin", "node")), "bin/node", 0o755);
    text("bin/dtma", command, 0o755);
    const { description = "" } = own;
    text("package.json", `${JSON.stringify({ name: "dtma", version, description, type: "module", private: true }, null, 2)}\n`);
    text("VERSION", `${version}\n`);
    text("SHA256SUMS", await listSums(entries));

    await mkdir(options.folder, { recursive: true });
    const archive = join(options.folder, `${name}.tar.gz`);
    const unfinished = `${archive}.part`;
    await writeArchive(entries, name, unfinished, options.level ?? 6);
    await rename(unfinished, archive);
    const sha256 = await hashFile(archive);
    await writeFile(`${archive}.sha256`, `${sha256}  ${name}.tar.gz\n`);
    return { version, archive, sha256 };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Follows the links through which it was called, so that it works from /usr/local/bin. */
const command = `#!/bin/sh
here=$(dirname "$(dirname "$(readlink -f "$0")")")
exec "$here/bin/node" --disable-warning=ExperimentalWarning "$here/dist/dtma.mjs" "$@"
`;

/** As the control centre's build does it, but into a folder of its own and without source maps. */
async function buildBundle(folder: string): Promise<void> {
  const vite = join(modules, "vite", "bin", "vite.js");
  const args = ["build", "--logLevel", "warn", "--outDir", folder, "--emptyOutDir", "--sourcemap", "false"];
  const child = spawn(process.execPath, [vite, ...args], { cwd: join(root, "dtma"), stdio: ["ignore", 2, 2] });
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error(`The bundle could not be built (exit code ${code}).`);
}

async function readBundle(folder: string): Promise<string> {
  const files = (await readdir(folder, { recursive: true })).filter((file) => /\.[cm]?js$/.test(file));
  return (await Promise.all(files.map((file) => readFile(join(folder, file), "utf8")))).join("\n");
}

/** Folders of the packages that the bundle loads by name, and of those they depend on. */
function findPackages(bundle: string, own: Manifest): string[] {
  const loads = bundle.matchAll(/\b(?:from|import|require|resolve)\s*\(?\s*(["'`])((?:@[\w.-]+\/)?[\w.-]+)(?:\/[^"'`]*)?\1/g);
  const loaded = new Set([...loads].map(([, , name]) => name));
  const found = new Set<string>();
  const add = (name: string, from: string) => {
    const folder = resolvePackage(name, from);
    if (found.has(folder)) return;
    found.add(folder);
    const { dependencies = {}, optionalDependencies = {} } = readManifest(folder);
    for (const next of Object.keys(dependencies)) if (!(next in optionalDependencies)) add(next, folder);
  };
  for (const name of Object.keys(own.dependencies ?? {})) if (loaded.has(name)) add(name, join(root, "dtma"));
  return [...found];
}

/** As Node looks for a package: beside the one that wants it, then further up. */
function resolvePackage(name: string, from: string): string {
  for (let folder = from; folder.startsWith(root); folder = dirname(folder)) {
    const candidate = join(folder, "node_modules", name);
    if (existsSync(join(candidate, "package.json"))) return candidate;
  }
  throw new Error(`${from} needs the package ${name}, which is not installed. Run npm ci.`);
}

function readManifest(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
}

/** Whether a file of a package, by its path in it, is used when it runs. Licences stay. */
function isNeeded(path: string): boolean {
  if (/^(?:docs?|man|tests?|__tests__|examples?|bench(?:mark)?s?|\.github)\//i.test(path)) return false;
  if (/(?:^|\/)(?:licen[cs]e|notice|copying)[^/]*$/i.test(path)) return true;
  return !/\.(?:map|test\.[cm]?js|md|markdown|[cm]?ts|tsbuildinfo|flow)$/i.test(path);
}

/** Files below `folder` without the node_modules in it, whose packages are found on their own. */
async function addFolder(
  entries: Map<string, Entry>,
  folder: string,
  target: string,
  isWanted: (path: string) => boolean = () => true,
): Promise<void> {
  for (const file of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const source = join(file.parentPath, file.name);
    const path = source.slice(folder.length + 1);
    if (!file.isFile() || path.split("/").includes("node_modules") || !isWanted(path)) continue;
    await addFile(entries, source, join(target, path));
  }
}

async function addFile(entries: Map<string, Entry>, source: string, target: string, mode?: number): Promise<void> {
  const found = await stat(source);
  entries.set(target, { source, size: found.size, mode: mode ?? ((found.mode & 0o100) === 0 ? 0o644 : 0o755) });
}

function sorted(entries: Map<string, Entry>): [string, Entry][] {
  return [...entries].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** In the form of sha256sum. */
async function listSums(entries: Map<string, Entry>): Promise<string> {
  let lines = "";
  for (const [path, entry] of sorted(entries)) {
    const hash = "content" in entry ? createHash("sha256").update(entry.content).digest("hex") : await hashFile(entry.source);
    lines += `${hash}  ${path}\n`;
  }
  return lines;
}

async function hashFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

async function writeArchive(entries: Map<string, Entry>, name: string, path: string, level: number): Promise<void> {
  const tar = pack();
  const written = pipeline(tar, createGzip({ level }), createWriteStream(path));
  const owner = { uid: 0, gid: 0, uname: "root", gname: "root", mtime: fixedTime };
  const made = new Set<string>();
  const folder = (path: string) => {
    if (path === "." || made.has(path)) return;
    folder(dirname(path));
    made.add(path);
    tar.entry({ ...owner, name: path, type: "directory", mode: 0o755 });
  };
  const fill = async () => {
    for (const [target, entry] of sorted(entries)) {
      const full = join(name, target);
      folder(dirname(full));
      const header = { ...owner, name: full, mode: entry.mode };
      if ("content" in entry) tar.entry(header, entry.content);
      else await pipeline(createReadStream(entry.source), tar.entry({ ...header, size: entry.size }));
    }
    tar.finalize();
  };
  await Promise.all([written, fill().catch((error: Error) => tar.destroy(error))]);
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { archive, sha256 } = await makeRelease({ folder: join(root, "dist") });
  const { size } = await stat(archive);
  process.stdout.write(`${archive}\n${(size / 2 ** 20).toFixed(1)} MiB, SHA-256 ${sha256}\n`);
}
