import { chmod, chown, type FileHandle, open, readFile, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { hashToken } from "./token-hash.ts";

/*
The configuration file: lines of NAME=value, as a shell and systemd read them.

INVARIANTS
- A token in clear, as the agent that ran on toolboxes before wanted it, is there until the first start only: its line then
  holds its hash. Every other line stays as it is, byte for byte.
- The last line of a name counts.
- The file is never empty on the way, nor without its other lines, whenever a kill comes.
*/

export const clearName = "DTMA_AUTH_TOKEN";
export const hashName = "DTMA_AUTH_TOKEN_SHA256";

const assignment = /^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*$/;

/** undefined when a line is neither an assignment, nor empty, nor a comment. */
export function parseConfiguration(text: string): Record<string, string> | undefined {
  const found: [string, string][] = [];
  for (const line of text.split("\n")) {
    if (/^\s*(#|$)/.test(line)) continue;
    const parsed = assignmentOf(line);
    if (parsed === undefined) return undefined;
    found.push(parsed);
  }
  return Object.fromEntries(found);
}

/** The text with the hash in the place of the token; undefined when there is no token in clear. */
export function withHashedToken(text: string): string | undefined {
  const lines = text.split("\n");
  const namesOf = lines.map((line) => (/^\s*#/.test(line) ? undefined : assignmentOf(line)));
  const last = namesOf.findLastIndex((parsed) => parsed?.[0] === clearName);
  const token = namesOf[last]?.[1] ?? "";
  if (last < 0 || token === "") return undefined;
  const lineEnd = lines[last]?.endsWith("\r") ? "\r" : "";
  return lines
    .map((line, index) => (index === last ? `${hashName}=${hashToken(token)}${lineEnd}` : line))
    .filter((_line, index) => index === last || ![clearName, hashName].includes(namesOf[index]?.[0] ?? ""))
    .join("\n");
}

/**
 * Puts the hash in the place of a token in clear; answers whether there was one. In one step that is seen as a whole, but
 * where the file alone may be written: in the sandbox of the service, and in a container that it is mounted into.
 */
export async function hideToken(file: string): Promise<boolean> {
  const path = await realpath(file);
  const before = await readFile(path, "utf8");
  const text = withHashedToken(before);
  if (text === undefined) return false;
  const { uid, gid } = await stat(path);
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await writeFile(temporary, text, { mode: 0o600, flush: true });
    await chmod(temporary, 0o600);
    await chown(temporary, uid, gid);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    if (!["EROFS", "EBUSY"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    const handle = await open(path, "r+");
    await overwrite(handle, before, text).finally(() => handle.close());
  }
  return true;
}

/**
 * Writes over a file in its place. Whatever is there between two of these steps reads as the old text or as the new one:
 * room is made first, with empty lines, and what is too much at the end is empty lines before it is cut off.
 */
export async function overwrite(file: Pick<FileHandle, "write" | "truncate" | "sync">, before: string, text: string) {
  const [old, bytes] = [Buffer.byteLength(before), Buffer.byteLength(text)];
  if (bytes > old) await file.write("\n".repeat(bytes - old), old);
  await file.write(text + "\n".repeat(Math.max(0, old - bytes)), 0);
  await file.sync();
  await file.truncate(bytes);
  await file.sync();
}

function assignmentOf(line: string): [string, string] | undefined {
  const [, name, value] = assignment.exec(line) ?? [];
  return name === undefined || value === undefined ? undefined : [name, value.replace(/^(["'])(.*)\1$/, "$2")];
}
