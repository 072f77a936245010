import { createReadStream } from "node:fs";
import { lstat, readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Pack } from "tar-stream";
import type { TarStream } from "../docker/docker.ts";

const smallFileBytes = 256 * 1024;

export type Owner = { uid: number; gid: number };
const root: Owner = { uid: 0, gid: 0 };

/** Sends a tar while `fill` still writes it. Throws what `fill` threw rather than the broken stream it left behind. */
export async function sendTar(fill: (tar: Pack) => Promise<void>, send: (tar: TarStream) => Promise<void>): Promise<void> {
  // Loaded late: only a deploy needs it.
  const { pack } = await import("tar-stream");
  const tar = pack();
  let failure: unknown;
  fill(tar).catch((error: Error) => {
    failure ??= error;
    tar.destroy(error);
  });
  try {
    await send(tar);
  } catch (error) {
    failure ??= error;
    tar.destroy();
    throw failure;
  }
}

/** Adds a file or a folder of this machine as `name`; `onBytes` is told of every file. */
export async function addTree(
  tar: Pack,
  path: string,
  name: string,
  { owner = root, onBytes }: { owner?: Owner; onBytes?: (bytes: number) => void } = {},
): Promise<void> {
  const info = await lstat(path);
  const { mtime } = info;
  if (info.isDirectory()) {
    tar.entry({ name, type: "directory", mode: 0o755, mtime, ...owner });
    for (const entry of await readdir(path)) {
      await addTree(tar, join(path, entry), `${name}/${entry}`, { owner, ...(onBytes === undefined ? {} : { onBytes }) });
    }
  } else if (info.isSymbolicLink()) {
    tar.entry({ name, type: "symlink", linkname: await readlink(path), mtime, ...owner });
  } else if (info.isFile()) {
    const header = { name, size: info.size, mode: (info.mode & 0o111) === 0 ? 0o644 : 0o755, mtime, ...owner };
    // A package has thousands of small files, for which a stream each costs more than the copy.
    if (info.size <= smallFileBytes) tar.entry(header, await readFile(path));
    else await pipeline(createReadStream(path), tar.entry(header));
    onBytes?.(info.size);
  }
}

/**
 * Adds what is in another tar below `folder`, as root's: a program that made it cannot change it any more. Only files,
 * folders and links, and no setuid bits: the container that wrote it ran a stranger's code.
 */
export async function addTar(
  tar: Pack,
  source: Readable,
  folder: string,
  { onBytes }: { onBytes?: (bytes: number) => void } = {},
): Promise<void> {
  const { extract } = await import("tar-stream");
  const entries = extract();
  const reading = pipeline(source, entries);
  // Both ends fail together; the loop below is the one that tells.
  reading.catch(() => {});
  for await (const entry of entries) {
    const { name, type, size = 0, mode = 0, mtime, linkname } = entry.header;
    const path = `${folder}/${name.replace(/\/$/, "")}`;
    // Python takes a compiled file only for the time of its source.
    const header = { name: path, mode: mode & 0o755, ...root, ...(mtime === undefined ? {} : { mtime }) };
    if (type === "file") {
      await pipeline(entry, tar.entry({ ...header, size }));
      onBytes?.(size);
      continue;
    }
    if (type === "directory") tar.entry({ ...header, type, mode: 0o755 });
    else if (type === "symlink") tar.entry({ ...header, type, linkname: linkname ?? "" });
    else if (type === "link") tar.entry({ ...header, type, linkname: `${folder}/${linkname ?? ""}` });
    entry.resume();
  }
  await reading;
}
