/** A place in the vault, by what it belongs to: access by connection, clients by issuer. */
export type Secrets = {
  get(id: string): Promise<string | undefined>;
  set(id: string, value: string): Promise<void>;
  delete(id: string): Promise<void>;
};

export interface Remembered<T> {
  of(id: string): Promise<T | undefined>;
  keep(id: string, value: T): Promise<void>;
  forget(id: string): Promise<void>;
}

/**
 * Values in a place of the vault and in this process's memory: they are read at every call, and a keychain is slow. `parse` says
 * undefined to what it does not understand, because another version kept it.
 */
export function createRemembered<T>(secrets: Secrets, parse: (value: unknown) => T | undefined): Remembered<T> {
  const known = new Map<string, Promise<T | undefined>>();

  async function read(id: string): Promise<T | undefined> {
    const value = await secrets.get(id);
    return value === undefined ? undefined : parse(JSON.parse(value));
  }

  return {
    of(id) {
      const value = known.get(id) ?? read(id);
      known.set(id, value);
      value.catch(() => known.delete(id));
      return value;
    },
    async keep(id, value) {
      known.set(id, Promise.resolve(value));
      await secrets.set(id, JSON.stringify(value));
    },
    async forget(id) {
      known.set(id, Promise.resolve(undefined));
      await secrets.delete(id);
    },
  };
}
