import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { createVault, type SecretKey } from "../../electron/main/vault/index.ts";
import { openKeychain } from "../../electron/main/vault/keychain.ts";
import { parts } from "../setup/parts.ts";

describe.skipIf(!parts.keychain)("the vault over the keychain of this machine", () => {
  const service = `dtma-test ${randomUUID()}`;
  const key: SecretKey = { kind: "server-secret", id: randomUUID(), name: "API_KEY" };
  const secret = "päss wörd with spaces\nand a second line";
  const open = () => createVault({ openKeychain: () => openKeychain(service), onCondition: () => undefined });

  it("keeps a secret from one run to the next, and forgets it when it is deleted", async () => {
    const first = await open();
    expect(first.condition()).toEqual({ state: "available" });
    await first.set(key, secret);
    const second = await open();
    expect(await second.get(key)).toBe(secret);
    expect(await second.get({ ...key, name: "OTHER" })).toBeUndefined();
    await second.delete(key);
    expect(await (await open()).get(key)).toBeUndefined();
  });

  it("does not mix up two services, as two workspaces have them", async () => {
    const mine = await open();
    const other = await createVault({ openKeychain: () => openKeychain(`${service} other`), onCondition: () => undefined });
    await mine.set(key, "mine");
    expect(await other.get(key)).toBeUndefined();
    await mine.delete(key);
  });

  it("takes any number of changes at once, also two of one secret", async () => {
    const [one, other] = [await open(), await open()];
    const keys = Array.from({ length: 12 }, (): SecretKey => ({ kind: "connection", id: randomUUID() }));
    for (let round = 0; round < 5; round += 1) {
      await Promise.all(keys.flatMap((each) => [one.set(each, secret), other.get(each)]));
      await Promise.all(keys.flatMap((each) => [one.delete(each), other.delete(each), one.get(each), other.delete(each)]));
      expect(await Promise.all(keys.map((each) => other.get(each)))).toEqual(keys.map(() => undefined));
    }
    expect(one.condition()).toEqual({ state: "available" });
  });
});
