import { randomUUID } from "node:crypto";
import { chmod, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { AppError } from "../../shared/errors.ts";
import type { ServerSpec } from "../../shared/model/spec.ts";

/*
INVARIANTS
- Values live in files below the data folder, which no other user of the host can enter, and nowhere else.
- Each deploy has a folder of its own, bound into its container: undoing a deploy removes its folder and the container
  before it still has its values.
- The folder itself can be entered and its files read by anybody who can reach them, because the container's user has no
  capability to read what is not its own.
*/

export interface Secrets {
  /** SECRET_MISSING when a required secret has no value, neither sent now nor kept in `previousFolder`. */
  check(spec: ServerSpec, values: Record<string, string>, previousFolder: string | undefined): Promise<void>;
  /**
   * Writes the values of a deploy; `previousFolder` gives those that were not sent again. undefined when the spec
   * declares no secrets. SECRET_MISSING with the name in `field`.
   */
  write(
    spec: ServerSpec,
    values: Record<string, string>,
    previousFolder: string | undefined,
  ): Promise<WrittenSecrets | undefined>;
  /** The text without any value that is in the folder. */
  scrub(folder: string | undefined, text: string): Promise<string>;
  remove(folder: string): Promise<void>;
  /** Removes every folder that is not in use. */
  removeUnused(usedFolders: ReadonlySet<string>): Promise<void>;
}

export type WrittenSecrets = {
  folder: string;
  /** Values by the variable the server wants them in. */
  variables: Record<string, string>;
  /** The variable → name under /run/secrets. */
  files: Record<string, string>;
};

export function createSecrets(dataFolder: string): Secrets {
  const root = join(dataFolder, "secrets");

  async function collect(spec: ServerSpec, values: Record<string, string>, previousFolder: string | undefined) {
    const delivered = new Map<string, string>();
    for (const { name, required } of spec.secrets) {
      const value = values[name] ?? (await readValue(previousFolder, name));
      if (value !== undefined && value !== "") delivered.set(name, value);
      else if (required) {
        throw new AppError("SECRET_MISSING", {
          message: `The required secret ${name} is missing.`,
          field: `secretValues.${name}`,
        });
      }
    }
    return delivered;
  }

  return {
    async check(spec, values, previousFolder) {
      await collect(spec, values, previousFolder);
    },

    async write(spec, values, previousFolder) {
      if (spec.secrets.length === 0) return undefined;
      const delivered = await collect(spec, values, previousFolder);
      await mkdir(root, { recursive: true, mode: 0o700 });
      const folder = join(root, randomUUID());
      await mkdir(folder, { mode: 0o755 });
      await chmod(folder, 0o755);
      for (const [name, value] of delivered) {
        await writeFile(join(folder, name), value, { mode: 0o444 });
        await chmod(join(folder, name), 0o444);
      }
      const wanted = spec.secrets.filter(({ name, variable }) => variable !== undefined && delivered.has(name));
      return {
        folder,
        variables: Object.fromEntries(wanted.map(({ name, variable }) => [variable ?? name, delivered.get(name) ?? ""])),
        files: Object.fromEntries(wanted.map(({ name, variable }) => [variable ?? name, name])),
      };
    },

    async scrub(folder, text) {
      if (folder === undefined) return text;
      let clean = text;
      for (const name of await readdir(folder).catch(() => [])) {
        const value = await readValue(folder, name);
        if (value !== undefined && value.trim() !== "") clean = clean.replaceAll(value.trim(), "[removed]");
      }
      return clean;
    },

    async remove(folder) {
      // A container found on the toolbox may name a folder of another DTMA's data; only folders made like ours are removed.
      if (/[/\\]secrets[/\\][0-9a-f-]{36}$/.test(folder)) await rm(folder, { recursive: true, force: true });
    },

    async removeUnused(usedFolders) {
      for (const entry of await readdir(root).catch(() => [])) {
        const folder = join(root, entry);
        if (!usedFolders.has(folder)) await rm(folder, { recursive: true, force: true });
      }
    },
  };
}

async function readValue(folder: string | undefined, name: string): Promise<string | undefined> {
  if (folder === undefined) return undefined;
  try {
    return await readFile(join(folder, name), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
