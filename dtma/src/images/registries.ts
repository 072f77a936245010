import { z } from "zod";
import { type RegistryLogin, registryCredentials, registryLogin } from "../../../shared/dtma-protocol.ts";
import { type DataFolder, readKept } from "../data-folder.ts";
import type { RegistryCredentials } from "../docker/docker.ts";
import { registryOf } from "../docker/image-name.ts";
import type { Log } from "../log.ts";

/*
INVARIANTS
- Passwords are in one file of the data folder, which only the DTMA's own user can read, and are given to Docker for a pull
  from their own registry. They are in no answer, log line, label or argument.
*/

const fileName = "registries.json";
const kept = z.array(registryLogin.extend(registryCredentials.shape));

export interface Registries {
  /** By registry, without passwords. */
  all(): RegistryLogin[];
  put(registry: string, credentials: { username: string; password: string }): Promise<void>;
  /** Nothing happens when there are none for it. */
  remove(registry: string): Promise<void>;
  /** What to pull this image with; undefined when nothing is kept for its registry. */
  loginFor(reference: string): RegistryCredentials | undefined;
}

/** Credentials of private registries. `registry` is a name as `canonicalRegistry` gives it. */
export async function openRegistries(data: DataFolder, log: Log, now: () => number = Date.now): Promise<Registries> {
  const logins = new Map((await readKept(data, fileName, kept, log))?.map((login) => [login.registry, login]));
  let saved: Promise<void> = Promise.resolve();

  /** One after the other, so that the file ends as the memory does. */
  function save(): Promise<void> {
    saved = saved.catch(() => {}).then(() => data.write(fileName, JSON.stringify([...logins.values()])));
    return saved;
  }

  return {
    all() {
      const list = [...logins.values()].map(({ registry, username, changedAt }) => ({ registry, username, changedAt }));
      return list.sort((left, right) => (left.registry < right.registry ? -1 : 1));
    },
    async put(registry, { username, password }) {
      logins.set(registry, { registry, username, password, changedAt: now() });
      await save();
    },
    async remove(registry) {
      if (logins.delete(registry)) await save();
    },
    loginFor(reference) {
      const found = logins.get(registryOf(reference));
      return found === undefined ? undefined : { registry: found.registry, username: found.username, password: found.password };
    },
  };
}
