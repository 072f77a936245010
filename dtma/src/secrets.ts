import { randomUUID } from "node:crypto";
import { chmod, mkdir, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { SecretState } from "../../shared/dtma-protocol.ts";
import { AppError } from "../../shared/errors.ts";
import type { ServerSpec } from "../../shared/model/spec.ts";
import { fromDisk } from "./data-folder.ts";

/*
INVARIANTS
- Values live in files below the data folder, which no other user of the host can enter, and nowhere else.
- Each deploy has a folder of its own, bound into its container: undoing a deploy removes its folder and the container
  before it still has its values.
- The folder itself can be entered and its files read by anybody who can reach them, because the container's user has no
  capability to read what is not its own.
*/

export interface Secrets {
  /** SECRET_MISSING, with the name in `field`, when a required secret has no value, neither given now nor kept from before. */
  check(spec: ServerSpec, given: GivenSecrets): Promise<void>;
  /** Writes the values of a deploy. undefined when the spec declares no secrets. SECRET_MISSING. */
  write(spec: ServerSpec, given: GivenSecrets): Promise<WrittenSecrets | undefined>;
  /** What a server has been given, by name. */
  list(spec: ServerSpec, folder: string | undefined): Promise<SecretState[]>;
  /** The text without any value that is in the folder. */
  scrub(folder: string | undefined, text: string): Promise<string>;
  remove(folder: string): Promise<void>;
  /** Removes every folder that is not in use. */
  removeUnused(usedFolders: ReadonlySet<string>): Promise<void>;
}

export type GivenSecrets = {
  values: Readonly<Record<string, string>>;
  /** Names whose kept values are not carried over. */
  removed: readonly string[];
  /** Where the values lie that are not given again. */
  previousFolder: string | undefined;
  /** Of a server that is not to run now: a required one may be missing until it is to start. */
  mayLack: boolean;
};

export type WrittenSecrets = {
  folder: string;
  /** Values by the variable the server wants them in. */
  variables: Record<string, string>;
  /** The variable → name under /run/secrets. */
  files: Record<string, string>;
};

export function createSecrets(dataFolder: string): Secrets {
  const root = join(dataFolder, "secrets");

  /** The values to deliver, and since when those are good that were kept. */
  async function collect(spec: ServerSpec, { values, removed, previousFolder, mayLack }: GivenSecrets) {
    const delivered = new Map<string, { value: string; since: Date | undefined }>();
    for (const { name, required } of spec.secrets) {
      const given = Object.hasOwn(values, name) ? values[name] : undefined;
      const kept = given !== undefined || removed.includes(name) ? undefined : await readKept(previousFolder, name);
      const value = given ?? kept?.value;
      if (value !== undefined && value !== "") delivered.set(name, { value, since: kept?.since });
      else if (required && !mayLack) {
        throw new AppError("SECRET_MISSING", {
          message: `The required secret ${name} is missing.`,
          field: `secretValues.${name}`,
        });
      }
    }
    return delivered;
  }

  async function fill(folder: string, delivered: Awaited<ReturnType<typeof collect>>): Promise<void> {
    await mkdir(root, { recursive: true, mode: 0o700 });
    await mkdir(folder, { mode: 0o755 });
    await chmod(folder, 0o755);
    for (const [name, { value, since }] of delivered) {
      const file = join(folder, name);
      await writeFile(file, value, { mode: 0o444, flush: true });
      await chmod(file, 0o444);
      if (since !== undefined) await utimes(file, since, since);
    }
  }

  return {
    async check(spec, given) {
      await collect(spec, given);
    },

    async write(spec, given) {
      if (spec.secrets.length === 0) return undefined;
      const delivered = await collect(spec, given);
      const folder = join(root, randomUUID());
      try {
        await fill(folder, delivered);
      } catch (error) {
        await rm(folder, { recursive: true, force: true }).catch(() => {});
        throw fromDisk(error);
      }
      const wanted = spec.secrets.filter(({ name, variable }) => variable !== undefined && delivered.has(name));
      return {
        folder,
        variables: Object.fromEntries(wanted.map(({ name, variable }) => [variable ?? name, delivered.get(name)?.value ?? ""])),
        files: Object.fromEntries(wanted.map(({ name, variable }) => [variable ?? name, name])),
      };
    },

    async list(spec, folder) {
      return await Promise.all(
        spec.secrets.map(async ({ name, variable, required }) => {
          const kept = await readKept(folder, name);
          return {
            name,
            ...(variable === undefined ? {} : { variable }),
            required,
            isSet: kept !== undefined && kept.value !== "",
            changedAt: kept === undefined ? null : Math.round(kept.since.getTime()),
          };
        }),
      );
    },

    async scrub(folder, text) {
      if (folder === undefined) return text;
      let clean = text;
      for (const name of await readdir(folder).catch(() => [])) {
        const value = (await readKept(folder, name))?.value.trim();
        if (value !== undefined && value !== "") clean = clean.replaceAll(value, "[removed]");
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

async function readKept(folder: string | undefined, name: string): Promise<{ value: string; since: Date } | undefined> {
  if (folder === undefined) return undefined;
  const file = join(folder, name);
  try {
    return { value: await readFile(file, "utf8"), since: (await stat(file)).mtime };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
