import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, mkdir, readdir, readFile, realpath, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { z } from "zod";
import { AppError } from "../../shared/errors.ts";
import type { Log } from "./log.ts";
import { SettingsError } from "./settings.ts";

/*
INVARIANTS
- Only the DTMA's own user can enter the folder (0700), and only one DTMA at a time works in it. The lock is SQLite's file
  lock on an otherwise empty file: the operating system gives it up with the process, however that ends.
- A token of the toolbox is never in it, only its SHA-256 (tokens.ts).
*/

export type DataFolder = {
  path: string;
  /** Reads a file of ours; undefined when there is none. */
  read(name: string): Promise<string | undefined>;
  /** Renames a file of ours that cannot be understood to `NAME.broken`, where a person can look at it. */
  setAside(name: string): Promise<void>;
  /** Replaces a file of ours as a whole, readable by us only. */
  write(name: string, content: string): Promise<void>;
  close(): void;
};

/** Makes and locks the folder. SettingsError when it cannot be used or another DTMA works in it. */
export async function openDataFolder(folder: string): Promise<DataFolder> {
  let path: string;
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await chmod(folder, 0o700);
    path = await realpath(folder);
  } catch (error) {
    throw new SettingsError(`The data folder ${folder} cannot be used: ${(error as Error).message}.`);
  }
  const lock = lockFolder(path);
  // Of a DTMA that was killed while it wrote: what it was to replace is still whole.
  const torn = (await readdir(path)).filter((name) => /\.[0-9a-f]{12}\.tmp$/.test(name));
  for (const name of torn) await rm(join(path, name), { force: true });
  return {
    path,
    async read(name) {
      const file = join(path, name);
      return existsSync(file) ? await readFile(file, "utf8") : undefined;
    },
    async setAside(name) {
      await rename(join(path, name), join(path, `${name}.broken`));
    },
    async write(name, content) {
      const temporary = join(path, `${name}.${randomBytes(6).toString("hex")}.tmp`);
      try {
        await writeFile(temporary, content, { mode: 0o600, flush: true });
        await rename(temporary, join(path, name));
      } catch (error) {
        await rm(temporary, { force: true }).catch(() => {});
        throw fromDisk(error);
      }
    },
    close: () => lock.close(),
  };
}

/**
 * What a file of ours holds; undefined when there is none. One that is torn, or was written by a newer DTMA, is set aside and
 * counts as none: no such file is a reason to stand still for ever.
 */
export async function readKept<T>(data: DataFolder, name: string, schema: z.ZodType<T>, log: Log): Promise<T | undefined> {
  const text = await data.read(name);
  if (text === undefined) return undefined;
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    // What JSON.parse says quotes the file, which may hold a password.
    log.error("file.set-aside", error instanceof SyntaxError ? new Error("It is no JSON.") : error, { file: name });
    await data.setAside(name);
    return undefined;
  }
}

/** A full disk is something a person can mend; anything else stays what it is. */
export function fromDisk(error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== "ENOSPC" && code !== "EDQUOT") return error;
  return new AppError("DISK_FULL", { message: "The disk with the DTMA's data folder is full.", cause: error });
}

/** Whether a DTMA works in this folder now. Takes the lock for a moment when nobody has it. */
export function isFolderInUse(path: string): boolean {
  if (!existsSync(join(path, "lock"))) return false;
  try {
    lockFolder(path).close();
    return false;
  } catch (error) {
    if (error instanceof SettingsError) return true;
    throw error;
  }
}

function lockFolder(path: string): DatabaseSync {
  try {
    const lock = new DatabaseSync(join(path, "lock"));
    lock.exec("BEGIN EXCLUSIVE");
    return lock;
  } catch (error) {
    if (!(error as Error).message.includes("locked")) throw error;
    throw new SettingsError(`Another DTMA is at work in the data folder ${path}. Stop it, or give this one another --data.`);
  }
}
