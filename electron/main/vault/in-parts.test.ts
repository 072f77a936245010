import { expect, it } from "vitest";
import { inParts } from "./in-parts.ts";
import { inTurns } from "./in-turns.ts";
import type { Keychain } from "./keychain.ts";

const entryBytes = 40;

function shortKeychain() {
  const entries = new Map<string, string>();
  let takes = Number.POSITIVE_INFINITY;
  const keychain: Keychain = {
    get: async (account) => entries.get(account),
    async set(account, value) {
      takes -= 1;
      if (takes < 0 || Buffer.byteLength(value) > entryBytes + 16) throw new Error("The stub received bad data.");
      entries.set(account, value);
    },
    delete: async (account) => void entries.delete(account),
  };
  return { entries, keychain: inTurns(inParts(keychain, entryBytes)), takeOnly: (count: number) => (takes = count) };
}

it.each(["", "short", "ü".repeat(20), "ü".repeat(21), "long ".repeat(100), "in-parts:2:of something else"])(
  "a secret comes back as it was given, and nothing of it stays when it is deleted: %j",
  async (secret) => {
    const { keychain, entries } = shortKeychain();
    await keychain.set("one", secret);
    expect(await keychain.get("one")).toBe(secret);
    await keychain.delete("one");
    expect(entries.size).toBe(0);
    expect(await keychain.get("one")).toBeUndefined();
  },
);

it("a secret that is replaced leaves nothing of the one before, be they short or long", async () => {
  const { keychain, entries } = shortKeychain();
  for (const secret of ["long ".repeat(50), "longer ".repeat(60), "short", "long again ".repeat(20)]) {
    await keychain.set("one", secret);
    expect(await keychain.get("one")).toBe(secret);
  }
  await keychain.set("one", "short");
  expect([...entries]).toEqual([["one", "short"]]);
});

it.each([0, 1, 3])("a secret stays whole when another one cannot be written in its place (after %i entries)", async (count) => {
  const { keychain, entries, takeOnly } = shortKeychain();
  await keychain.set("one", "the first one, ".repeat(10));
  const before = [...entries];
  takeOnly(count);
  await expect(keychain.set("one", "the second one, ".repeat(20))).rejects.toThrow("bad data");
  expect([...entries]).toEqual(before);
  expect(await keychain.get("one")).toBe("the first one, ".repeat(10));
});

it("a secret of which a part is missing is not given back in part", async () => {
  const { keychain, entries } = shortKeychain();
  await keychain.set("one", "long ".repeat(50));
  entries.delete([...entries.keys()].find((account) => account.endsWith(".1")) ?? "");
  await expect(keychain.get("one")).rejects.toThrow("missing");
});

it("changes of one secret that are made at once are made in their order, and whole", async () => {
  const { keychain, entries } = shortKeychain();
  await Promise.all([
    keychain.set("one", "long ".repeat(50)),
    keychain.set("one", "longer ".repeat(60)),
    keychain.delete("one"),
  ]);
  expect([...entries]).toEqual([]);
  const [, read] = await Promise.all([keychain.set("one", "again ".repeat(50)), keychain.get("one")]);
  expect(read).toBe("again ".repeat(50));
});
